"""The benchmark of the books runs, and says plainly what it measured and what it could not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import book as bench_book
from bench.bar_chart import BarRow, bars_svg
from bench.bars import BARS, bars_of, ratios_of
from bench.book import Options, chosen_sizes, held, lines_of, measure
from bench.book_cases import kinds
from bench.book_docs import read_document, write
from bench.footprint import import_ms, measured_bytes
from bench.stream import SIZES, cached
from lob.errors import ConfigError, InvalidInput
from touchstone.cli.bench import app

TINY = Options(sizes=("2k",), rounds=2, messages=2_000, footprint=False, patience_seconds=0.0)
RUNNER = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout that a run measures from."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def document(home: Path) -> dict[str, Any]:
    """A run of 2,000 commands with the books there are."""
    return measure(TINY, home, lambda _text: None)


def _rates(**rates: float) -> dict[str, Any]:
    """Return a document in which the 12k contestants have these rates."""
    books = {"native feed": "native", "hft": "hftbacktest"}
    contestants = {
        name: {
            "book": books.get(name, "x"),
            "kind": "feed",
            "figures": {"messages_per_second": {"median": rate}},
        }
        for name, rate in rates.items()
    }
    sizes = {"12k": {"contestants": contestants}}
    return {"sizes": sizes, "backends": ["native"], "footprint": {}}


def test_every_book_is_measured_and_comes_to_the_right_touch(document: dict[str, Any]) -> None:
    """Each of our books has its rates in every case, and the stream's touch."""
    contestants = document["sizes"]["2k"]["contestants"]
    for kind in kinds():
        for case in ("feed", "matching", "tape", "calls"):
            found = contestants[f"{kind.name} {case}"]
            assert found["rounds"] == 2
            assert found["figures"]["messages_per_second"]["median"] > 0
            assert found["touch_ok"] is True
    assert document["wrong_touches"] == []


def test_the_same_run_is_measured_without_a_native_book(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where no native book was built, its bars are not measured, and none of them is missed."""
    python = [kind for kind in kinds() if kind.name == "python"]
    monkeypatch.setattr(bench_book, "kinds", lambda: python)
    found = measure(TINY, tmp_path, lambda _text: None)
    assert found["backends"] == ["python"]
    assert {bar["ok"] for bar in found["bars"]} == {None}
    assert held(found)


def test_every_case_of_a_native_book_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever book takes the native one's place has all its figures, and the right touches."""
    stand_in = kinds()[-1]._replace(name="native")
    monkeypatch.setattr(bench_book, "kinds", lambda: [stand_in])
    found = measure(replace(TINY, messages=6_000), tmp_path, lambda _text: None)
    contestants = found["sizes"]["2k"]["contestants"]
    figures = {name: set(contestant["figures"]) for name, contestant in contestants.items()}
    rate = "messages_per_second"
    assert figures == {
        "native feed": {rate},
        "native matching": {rate},
        "native tape": {rate, "tape_over_plain"},
        "native two threads": {
            rate,
            "two_threads_over_one",
            "two_processes_over_one",
            "two_threads_over_one_of_two",
        },
        "native stepping": {"step_1_ns", "step_100_ns", "p50_ns", "p99_ns", "max_ns"},
        "native calls": {rate, "submit_ns", "cancel_ns", "mixed_ns"},
    }
    assert {contestant["touch_ok"] for contestant in contestants.values()} == {True}


@pytest.mark.usefixtures("document")
def test_stream_is_cached_under_the_checkout(home: Path) -> None:
    """What a run made is there for the next, which reads it."""
    folder = home / ".touchstone" / "bench"
    (path,) = folder.glob("*.npz")
    made = path.stat().st_mtime_ns
    stream = cached(folder, SIZES["2k"], TINY.messages, TINY.seed)
    assert (2_000, [path]) == (stream.body_commands, list(folder.glob("*.npz")))
    assert made == path.stat().st_mtime_ns


def test_a_wrong_touch_is_shown_and_fails(document: dict[str, Any]) -> None:
    """A book of ours that comes to another touch is no success, and a line says so."""
    copied = json.loads(json.dumps(document))
    found = copied["sizes"]["2k"]["contestants"]["python feed"]
    found["touch_ok"], found["touch"] = False, [1, 1, 2, 1]
    copied["wrong_touches"] = ["2k python feed"]
    assert not held(copied)
    assert any("WRONG TOUCH [1, 1, 2, 1]" in line for line in lines_of(copied))


@pytest.mark.parametrize(("rate", "ok"), [(60.0, True), (59.9, False)])
def test_a_ratio_holds_at_its_target(rate: float, ok: bool) -> None:
    """A bar of 20 times holds at 20.0 and is missed below."""
    rates = {"native feed": rate, "hftbacktest exchange_and_local": 3.0}
    bars = {bar["name"]: bar for bar in bars_of(_rates(**rates))}
    assert bars["feed replay over hftbacktest exchange and local"]["ok"] is ok


@pytest.mark.parametrize(("rate", "ok"), [(40e6, True), (39.9e6, False)])
def test_a_time_holds_at_its_target(rate: float, ok: bool) -> None:
    """Matching holds at 25 ns a command and is missed above."""
    bars = {bar["name"]: bar for bar in bars_of(_rates(**{"native matching": rate}))}
    assert bars["matching in bulk, ns a command"]["ok"] is ok


def test_what_was_not_measured_is_neither_held_nor_missed() -> None:
    """A bar without its figures is null, not a success."""
    assert {bar["ok"] for bar in bars_of(_rates())} == {None}
    assert len(BARS) + 3 == len(bars_of(_rates()))


def test_ratios_are_ours_over_theirs() -> None:
    """A peer of a third of our rate is beaten three times."""
    assert {"12k": {"native over hft": 3.0}} == ratios_of(
        _rates(**{"native feed": 9.0, "hft": 3.0})
    )


def test_docs_are_written_from_the_document(document: dict[str, Any], tmp_path: Path) -> None:
    """Page, plots and JSON come from one document, and the JSON reads back as it was."""
    written = write(document, tmp_path)
    assert {"benchmarks.md", "book.json", "feed-2k.svg", "calls-2k.svg"} == {
        path.name for path in written
    }
    assert document == read_document(tmp_path / "benchmarks" / "book.json")
    page = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert "benchmarks/feed-2k.svg" in page
    assert "plain Python: feed replay" in page


def test_a_file_that_is_no_document_is_refused(tmp_path: Path) -> None:
    """A file that is missing, no JSON, or other JSON is named in one line."""
    path = tmp_path / "other.json"
    for text in (None, "{", "[]", '{"schema": 0}'):
        if text is not None:
            path.write_text(text, "utf-8")
        with pytest.raises(InvalidInput, match=r"other\.json"):
            read_document(path)


def test_plot_escapes_and_scales() -> None:
    """Words are escaped, and a value ten times another is further right by one decade."""
    drawing = bars_svg(
        "a < b", "M/s", [BarRow("one & two", 1.0, ours=True), BarRow("x", 10.0, ours=False)]
    )
    assert "a &lt; b" in drawing
    assert "one &amp; two" in drawing
    assert drawing.startswith("<svg ")
    assert drawing.endswith("</svg>\n")


def test_unknown_size_is_refused() -> None:
    """A size that does not exist is named with those that do."""
    with pytest.raises(ConfigError, match="'3k'; allowed: 2k, 12k, 220k"):
        chosen_sizes("2k,3k")
    assert chosen_sizes("12k, 2k") == ("12k", "2k")


def test_command_says_where_benchmarks_are_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Outside a checkout the command ends with 2 and one line."""
    monkeypatch.setenv("TOUCHSTONE_HOME", str(tmp_path))
    result = RUNNER.invoke(app, ["book"])
    assert result.exit_code == 2
    assert "has no bench/book.py" in result.stderr


def test_command_judges_an_earlier_run(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path
) -> None:
    """An earlier run's JSON is printed as it is, with the exit code of its bars."""
    monkeypatch.setenv("TOUCHSTONE_HOME", str(root))
    path = tmp_path / "run.json"
    for ok, code in ((True, 0), (False, 1)):
        path.write_text(json.dumps({**document, "bars": [{"ok": ok}]}), "utf-8")
        result = RUNNER.invoke(app, ["book", "--from-json", str(path), "--json"])
        assert result.exit_code == code
        assert json.loads(result.stdout)["bars"] == [{"ok": ok}]


@pytest.mark.parametrize("name", [kind.name for kind in kinds()])
def test_bytes_of_an_order_are_positive(name: str) -> None:
    """A book of 20,000 orders holds them all, and they take memory."""
    found = measured_bytes(name, 20_000)
    assert found["orders"] == 20_000
    assert found["resident_bytes"] > 0


def test_import_takes_time() -> None:
    """The import is measured in another process."""
    assert 0 < import_ms(tries=1) < 60_000
