"""Every scenario file is a page of the rulebook, and the book keeps to it."""

import re
from pathlib import Path

import pytest

from lob.book import OrderBook
from lob.books import available_books
from lob.errors import InvalidInput
from lob.scenario import Scenario, read_scenarios, run_scenario
from tests.conftest import ROOT

FILES = sorted(Path(__file__).parent.glob("*.book"))
SCENARIOS = [
    pytest.param(scenario, id=f"{path.stem}: {scenario.title}")
    for path in FILES
    for scenario in read_scenarios(path)
]


@pytest.mark.parametrize("book", available_books())
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_holds(scenario: Scenario, book: type[OrderBook]) -> None:
    """Every book there is does what the scenario says."""
    failure = run_scenario(scenario, book)

    assert failure is None, f"\n{failure}"


def test_there_is_a_rulebook() -> None:
    """Every rule of docs/rulebook.md is named by a scenario file, and no file names another."""
    written = (ROOT / "docs" / "rulebook.md").read_text(encoding="utf-8")
    rules = {int(number) for number in re.findall(r"^(\d+)\. ", written, re.MULTILINE)}
    named = set()
    for path in FILES:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        numbers = re.match(r"# Rules? ([\d, and]+):", first)
        assert numbers is not None, f"{path.name}: {first}"
        named |= {int(number) for number in re.findall(r"\d+", numbers[1])}

    assert rules - {39, 40, 43} == named  # those three are said of arrays and of hashes


def test_a_failure_shows_both_pictures_and_the_line(tmp_path: Path) -> None:
    """A wrong expectation names its line, what was expected and what is there."""
    path = tmp_path / "wrong.book"
    path.write_text("scenario Wrong\ngiven asks 101:[5]\nbook | | 101 | 4 |\n", encoding="utf-8")

    failure = str(run_scenario(read_scenarios(path)[0]))

    assert f"{path}:3" in failure
    assert "|              |      101 | 4            |" in failure
    assert "|              |      101 | 5            |" in failure


def test_unexpected_events_fail(tmp_path: Path) -> None:
    """What nobody expected is a failure, not a silence."""
    path = tmp_path / "silent.book"
    text = "scenario Silent\ngiven asks 101:[5]\nbook | | 101 | 5 |\nwhen o1 BUY 5 @101\n"
    path.write_text(text, encoding="utf-8")

    failure = run_scenario(read_scenarios(path)[0])

    assert failure is not None
    assert "traded 5@101 ; o1 filled" == failure.actual


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("given asks 101:[5]\n", ":1: 'given' before the first"),
        ("scenario A\nwen o1 BUY 5 @1\n", ":2: 'wen'; allowed:"),
        ("scenario A\nwhen o1 BUY\nthen nothing\n", ":2: when: 'o1 BUY' is no command"),
        ("scenario A\ngiven asks 1:[x]\nbook empty\n", ":2: given: 'x'"),
        ("scenario A\nbook | 1 | nonsense |\n", ":2: book:"),
        ("scenario A\nwhen o1 BUY 1 @1\n", "expects nothing"),
        ("scenario A\nwhen o1 BUY 1 @1 SOON\nthen nothing\n", ":2: when: 'SOON' is no time"),
        ("scenario A\nwhen o1 BUY 1 @1 IOC@\nthen nothing\n", ":2: when: 'IOC@'"),
        ("scenario A\nwhen o1 BUY 1 @1 display\nthen nothing\n", ":2: when: 'display'"),
        ("scenario A\nwhen feed burn o1\nthen nothing\n", ":2: when: 'feed burn o1'"),
        ("scenario A\ngiven asks 1:[5/x]\nbook empty\n", ":2: given: '5/x'"),
        ("scenario A\ngiven asks 1:[5]\ngiven pro-rata\nbook empty\n", ":3: given: 'pro-rata'"),
        ("scenario A\nqueue o1 first\n", ":2: queue: 'o1 first'"),
        ("scenario A\nqueue o1 behind 1 lots of 1\n", ":2: order_id: 1 does not rest"),
        ("scenario A\nwalk BUY all\n", ":2: walk: 'BUY all'"),
        ("scenario A\nwhen advance to -1\nthen nothing\n", ":2: now_ns: -1"),
        ("\n", "no scenario in it"),
    ],
)
def test_a_bad_file_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    """A line that makes no sense is refused with file and line."""
    path = tmp_path / "bad.book"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InvalidInput) as caught:
        run_scenario(read_scenarios(path)[0])

    assert message in str(caught.value)
