"""The suite runs what is asked for, hides nothing, and is said in text, Markdown, HTML and JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lob.errors import InvalidInput
from touchstone.cli import fidelity
from touchstone.fidelity import suite
from touchstone.fidelity.document import html_page, lines_of, markdown
from touchstone.fidelity.evidence import Check, Evidence, Figure, Series, Table
from touchstone.fidelity.suite import Part, Report, Result, chosen_parts, run

app = typer.Typer(pretty_exceptions_enable=False)
app.command("fidelity")(fidelity.fidelity)
runner = CliRunner()


def silent(_: str) -> None:
    """Show no progress."""


def evidence(*, holds: bool = True, name: str = "one") -> Evidence:
    """Return evidence of one check, one table and one figure."""
    return Evidence(
        name,
        "A <title>",
        "First.\n\nSecond | text.",
        (Check("a | b", 0.25, "at most 1", holds), Check("text", "words", "words", holds=True)),
        (Table("cells", ("x", "y"), ((1, float("nan")), ("a|b", 2.5))),),
        (Figure("plot", "x", "y", (Series("s", (0.0, 1.0), (1.0, float("inf"))),)),),
    )


def report(*, holds: bool = True) -> Report:
    """Return a report of two parts, one of which could not be measured."""
    results = (
        Result("reference", "Closed forms", None, 1.0, evidence(holds=holds)),
        Result("sweeps", "Sweeps", "AAA <file>", 2.0, None, "no sweeps"),
    )
    return Report(results, ("AAA <file>",), (("x.csv", "too short"),), with_data=True)


def of_stub(
    monkeypatch: pytest.MonkeyPatch, *parts: tuple[str, Callable[..., Evidence] | Exception]
) -> None:
    """Put parts in the place of the real ones: each gives its evidence, or fails."""

    def import_measure(part: Part) -> Callable[..., Evidence]:
        found = dict(parts)[part.name]

        def measure(*given: object, **options: object) -> Evidence:
            if isinstance(found, Exception):
                raise found
            return found(*given, **options)

        return measure

    monkeypatch.setattr(suite, "PARTS", tuple(Part(n, n, n.title(), "nothing") for n, _ in parts))
    monkeypatch.setattr(suite, "import_measure", import_measure)


def test_a_part_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever one part raises becomes its result, and the next part is measured."""
    of_stub(
        monkeypatch,
        ("bad", ZeroDivisionError("by zero")),
        ("refused", InvalidInput("a: 1; allowed: 2")),
        ("good", lambda **_: evidence()),
    )

    found = run(None, progress=silent)

    assert ["ZeroDivisionError: by zero", "a: 1; allowed: 2", ""] == [
        result.error for result in found.results
    ]
    assert [False, False, True] == [result.holds for result in found.results]
    assert not found.holds


def test_a_part_without_checks_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence that checks nothing proves nothing."""
    of_stub(monkeypatch, ("empty", lambda **_: Evidence("empty", "Empty", "", ())))
    assert not run(None, progress=silent).holds


def test_every_part_is_there() -> None:
    """Each part's module has a `measure` of its own."""
    assert len(suite.PARTS) == len({part.name for part in suite.PARTS})
    for part in suite.PARTS:
        found = __import__(f"touchstone.fidelity.{part.module}", fromlist=["measure"])
        assert callable(found.measure)


def test_parts_by_name() -> None:
    """Parts are chosen by name; another name is refused with the known ones."""
    assert ["engine"] == [part.name for part in chosen_parts(["engine"])]
    assert suite.PARTS == chosen_parts([])
    with pytest.raises(InvalidInput, match=r"^only: 'nothing'; allowed: .*engine"):
        chosen_parts(["nothing"])


def test_a_folder_without_anything_is_refused(tmp_path: Path) -> None:
    """No folder, and a folder with nothing to measure, are bad usage."""
    with pytest.raises(InvalidInput, match=r"^data: .*; allowed: a folder"):
        run(tmp_path / "none", progress=silent)
    (tmp_path / "notes.txt").write_text("nothing", encoding="utf-8")
    with pytest.raises(InvalidInput, match="neither a market that can be measured nor"):
        run(tmp_path, progress=silent)


def test_lines_say_every_check() -> None:
    """Text lines have every check, the part that could not be measured, and a sum."""
    text = "\n".join(lines_of(report(holds=False)))
    assert "FAILS  a | b: 0.25  [at most 1]" in text
    assert "not measured: no sweeps" in text
    assert "passed over: x.csv: too short" in text
    assert "2 checks, 1 do not hold; parts that do not hold: reference, sweeps" in text


def test_markdown_has_figures_and_no_time() -> None:
    """The page names its figures' files, escapes bars in tables, and says no duration."""
    text, figures = markdown(report())
    assert ["1-reference-1.svg"] == list(figures)
    assert "![plot](fidelity/1-reference-1.svg)" in text
    assert "| a \\| b | 0.25 | at most 1 | yes |" in text
    assert figures["1-reference-1.svg"].startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert markdown(report()) == (text, figures)


def test_html_is_escaped() -> None:
    """Names from data are escaped, and the page has the figure inside."""
    text = html_page(report())
    assert "AAA <file>" not in text
    assert "AAA &lt;file&gt;" in text
    assert "<svg " in text


def test_json_has_no_nan() -> None:
    """What is not finite is null."""
    document = json.loads(json.dumps(report().to_json(), allow_nan=False))
    (table,) = document["parts"][0]["evidence"]["tables"]
    assert [[1, None], ["a|b", 2.5]] == table["rows"]
    assert ["sweeps (AAA <file>)"] == document["parts_failed"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0 with a page and JSON where all holds, 1 where not, 2 for wrong usage."""
    of_stub(monkeypatch, ("good", lambda **_: evidence()), ("bad", ValueError("no")))
    page = tmp_path / "page.html"

    fine = runner.invoke(app, ["--only", "good", "--json", "--out", str(page)])
    assert 0 == fine.exit_code
    assert json.loads(fine.stdout)["holds"]
    assert "Every check holds" in page.read_text(encoding="utf-8")
    assert 1 == runner.invoke(app, []).exit_code
    assert 2 == runner.invoke(app, ["--only", "ugly"]).exit_code
    assert 2 == runner.invoke(app, ["--out", str(tmp_path)]).exit_code
    assert 2 == runner.invoke(app, ["--data", str(tmp_path / "none")]).exit_code


def test_the_command_writes_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docs and plots are written, those of an earlier run go, and paths are not in them."""
    of_stub(monkeypatch, ("good", lambda **_: evidence()))
    monkeypatch.setenv("TOUCHSTONE_HOME", str(tmp_path))
    assert 2 == runner.invoke(app, ["--write-docs"]).exit_code
    (tmp_path / "docs" / "fidelity").mkdir(parents=True)
    (tmp_path / "docs" / "fidelity" / "old.svg").write_text("", encoding="utf-8")

    assert 0 == runner.invoke(app, ["--write-docs"]).exit_code

    written = tmp_path / "docs" / "fidelity"
    assert ["1-good-1.svg"] == [path.name for path in written.iterdir()]
    assert str(tmp_path) not in (tmp_path / "docs" / "fidelity.md").read_text(encoding="utf-8")
