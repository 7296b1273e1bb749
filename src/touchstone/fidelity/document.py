"""The evidence for readers: lines for a terminal, a page of HTML, and Markdown with SVG files."""

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from touchstone.fidelity.evidence import Check, Evidence, Table
from touchstone.fidelity.suite import Report, Result
from touchstone.pages import figure, page, table
from touchstone.plots import svg_file

ROWS_MAX: Final = 60
"""Rows of a table that Markdown shows; the page and the JSON have all."""

COMMAND: Final = "touchstone fidelity --data DIR --write-docs"


def lines_of(report: Report) -> Iterator[str]:
    """Yield the report as lines of text: every check, and what failed last."""
    for result in report.results:
        yield f"{_mark(holds=result.holds)}  {heading(result)}  ({result.seconds:.1f} s)"
        if result.evidence is None:
            yield f"      not measured: {result.error}"
            continue
        for check in result.evidence.checks:
            yield (
                f"      {_mark(holds=check.holds)}  {check.name}: {cell_text(check.measured)}  "
                f"[{check.bar}]"
            )
        for one in result.evidence.unmeasured:
            yield f"      not measured: {one.name}: {one.why}"
    for name, why in report.passed_over:
        yield f"passed over: {name}: {why}"
    if not report.with_data:
        yield "no data folder (--data DIR): only the parts that need none were measured"
    done = report.to_json()
    yield (
        f"{done['checks']} checks, {done['checks_failed']} do not hold; "
        f"parts that do not hold: {', '.join(done['parts_failed']) or 'none'}"
    )


def html_page(report: Report) -> str:
    """Return the report as one page that needs nothing else."""
    rows = [
        (
            heading(result),
            "holds" if result.holds else "does not hold",
            "-" if result.evidence is None else len(result.evidence.checks),
            _failed(result),
            f"{result.seconds:.1f}",
        )
        for result in report.results
    ]
    verdict = "Every check holds." if report.holds else "Not every check holds."
    css = "good" if report.holds else "bad"
    sections = [
        "<h1>Fidelity</h1>",
        f'<p class="{css}">{verdict}</p>',
        f"<p>Markets: {escape(', '.join(report.markets) or 'none')}. Seed {report.seed}.</p>",
        table(("Part", "Verdict", "#Checks", "#Not held", "#Seconds"), rows),
    ]
    for result in report.results:
        sections += _html_section(result)
    if report.passed_over:
        sections += ["<h2>Files passed over</h2>", table(("File", "Why"), report.passed_over)]
    return page("Fidelity", sections)


def markdown(report: Report, folder: str = "fidelity") -> tuple[str, dict[str, str]]:
    """Return the page as Markdown, and its figures: name of the file in `folder` and its text."""
    figures: dict[str, str] = {}
    blocks = [
        "# Fidelity",
        _INTRODUCTION.format(command=_command(report)),
        f"Data: {', '.join(report.markets) or 'none'}. Seed {report.seed}.",
        _markdown_table(
            ("Part", "Checks", "Not held"),
            [
                (
                    heading(result),
                    "-" if result.evidence is None else len(result.evidence.checks),
                    _failed(result),
                )
                for result in report.results
            ],
        ),
    ]
    for place, result in enumerate(report.results):
        blocks.append(f"## {heading(result)}")
        if result.evidence is None:
            blocks.append(f"Not measured: {result.error}")
            continue
        blocks.append(result.evidence.text)
        blocks.append(_markdown_table(_CHECK_HEADS, _check_rows(result.evidence.checks)))
        if result.evidence.unmeasured:
            blocks.append(_markdown_table(_UNMEASURED_HEADS, _unmeasured_rows(result.evidence)))
        for number, drawn in enumerate(result.evidence.figures, 1):
            name = f"{place + 1}-{_slug(result.part)}-{number}.svg"
            figures[name] = svg_file(drawn)
            blocks.append(f"![{drawn.title}]({folder}/{name})")
            blocks.append(f"*{drawn.title}*")
        for shown in result.evidence.tables:
            blocks.append(f"**{shown.title}**")
            blocks.append(_markdown_table(shown.columns, _text_rows(shown)[:ROWS_MAX]))
            if len(shown.rows) > ROWS_MAX:
                blocks.append(f"{len(shown.rows) - ROWS_MAX} more rows are in the page and JSON.")
    if report.passed_over:
        blocks += ["## Files passed over", _markdown_table(("File", "Why"), report.passed_over)]
    return "\n\n".join(blocks) + "\n", figures


def heading(result: Result) -> str:
    """Return the title of a result, with its market where it has one."""
    title = result.evidence.title if result.evidence else result.title
    return f"{title}: {result.market}" if result.market else title


def cell_text(value: object) -> str:
    """Return a figure in a few digits, a text as it is.

    >>> [cell_text(v) for v in (0.123456789, 1234567, 25641.0, "yes", 1e-12)]
    ['0.123457', '1,234,567', '25,641', 'yes', '1.0e-12']
    """
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:  # noqa: PLR2004
        return f"{int(value):,}"
    if isinstance(value, float) and 0 < abs(value) < 1e-4:  # noqa: PLR2004 - a difference, mostly
        return f"{value:.1e}"
    return f"{value:.6g}"


def _command(report: Report) -> str:
    """Return the command that wrote the report, with the folder's own name left out."""
    parts = [COMMAND if report.with_data else COMMAND.replace(" --data DIR", "")]
    parts += ["--only", ",".join(report.only)] if report.only else []
    parts += ["--seed", str(report.seed)] if report.seed else []
    return " ".join(parts)


_CHECK_HEADS: Final = ("Check", "Measured", "Bar", "Holds")
_UNMEASURED_HEADS: Final = ("Not measured", "Why")

_INTRODUCTION: Final = """How close the models and the simulator come to the literature and to real
markets, and where they do not. Each part says what is shown, how it was measured, and its limits.
A check compares one measured figure with a bar; what does not hold is shown as plainly as what
does.

This page is written by

    {command}

which prints the same as text (`--json`: as one object; `--out FILE.html`: as a page; `--only
NAME`: some parts only) and exits 0 only where every check holds. Without `--data` it measures what
needs no market. The data are licensed apart and not part of the project. Limits: one instrument's
hour is one sample of one market; what was fitted was fitted on the past of the same market, as
each part says."""


def _html_section(result: Result) -> list[str]:
    sections = [f"<h2>{escape(heading(result))}</h2>"]
    if result.evidence is None:
        return [*sections, f'<p class="bad">Not measured: {escape(result.error)}</p>']
    sections += [
        *(f"<p>{escape(part)}</p>" for part in result.evidence.text.split("\n\n")),
        table(("Check", "#Measured", "Bar", "Holds"), _check_rows(result.evidence.checks)),
        *_html_unmeasured(result.evidence),
        *(figure(drawn) for drawn in result.evidence.figures),
    ]
    for shown in result.evidence.tables:
        sections.append(f"<h3>{escape(shown.title)}</h3>")
        sections.append(table(shown.columns, _text_rows(shown)))
    return sections


def _html_unmeasured(evidence: Evidence) -> list[str]:
    return [table(_UNMEASURED_HEADS, _unmeasured_rows(evidence))] if evidence.unmeasured else []


def _unmeasured_rows(evidence: Evidence) -> list[tuple[str, str]]:
    return [(one.name, one.why) for one in evidence.unmeasured]


def _check_rows(checks: tuple[Check, ...]) -> list[tuple[str, ...]]:
    return [
        (one.name, cell_text(one.measured), one.bar, "yes" if one.holds else "NO") for one in checks
    ]


def _text_rows(shown: Table) -> list[tuple[str, ...]]:
    return [tuple(cell_text(cell) for cell in row) for row in shown.rows]


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [_row(heads), "|" + "---|" * len(heads), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _failed(result: Result) -> str:
    if result.evidence is None:
        return "not measured"
    return str(sum(not one.holds for one in result.evidence.checks))


def _mark(*, holds: bool) -> str:
    return "holds" if holds else "FAILS"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
