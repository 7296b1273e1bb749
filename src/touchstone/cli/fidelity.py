"""`touchstone fidelity`: the models and the simulator against the literature and real markets."""

import os
from pathlib import Path
from typing import Annotated

import typer

from lob.errors import ConfigError, InvalidInput
from touchstone.cli.console import EXIT_FAILED, EXIT_OK, JsonOption, err, guarded, out, print_json
from touchstone.fidelity.document import html_page, lines_of, markdown
from touchstone.fidelity.suite import PARTS, run

_NAMES = ", ".join(part.name for part in PARTS)


def fidelity(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A folder of market data and reference_cases.json."),
    ] = None,
    json_output: JsonOption = False,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the report as a self-contained HTML page.")
    ] = None,
    write_docs: Annotated[
        bool, typer.Option("--write-docs", help="Write docs/fidelity.md and its plots.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help=f"These parts, with commas or given again: {_NAMES}."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything simulated.")] = 0,
) -> None:
    """Measure how close the models come to published results and to real markets.

    Exit code 0 when every check holds, 1 when one does not, 2 on bad usage or data.
    """

    def measured() -> int:
        names = [name.strip() for given in only or () for name in given.split(",") if name.strip()]
        docs = _docs_folder() if write_docs else None
        require_writable(out_file)
        report = run(
            data,
            progress=lambda text: err.print(f"fidelity: {text}", markup=False, soft_wrap=True),
            only=names,
            seed=seed,
        )
        if out_file is not None:
            write_text(out_file, html_page(report))
        if docs is not None:
            text, figures = markdown(report)
            folder = docs / "fidelity"
            folder.mkdir(exist_ok=True)
            for stale in folder.glob("*.svg"):
                stale.unlink()
            write_text(docs / "fidelity.md", text)
            for name, drawn in figures.items():
                write_text(folder / name, drawn)
            err.print(f"fidelity: wrote docs/fidelity.md and {len(figures)} plots")
        if json_output:
            print_json(report.to_json())
        else:
            for line in lines_of(report):
                out.print(line, markup=False, soft_wrap=True)
        return EXIT_OK if report.holds else EXIT_FAILED

    raise typer.Exit(guarded(measured))


def require_writable(path: Path | None) -> None:
    """Raise `InvalidInput` where a page could not be written: before the measuring, not after."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise InvalidInput(f"out: {path}; allowed: a file in a folder that exists")


def write_text(path: Path, text: str) -> None:
    """Write a file; `InvalidInput` where that cannot be done."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"out: {path}: {error.strerror or error}") from error


def _docs_folder() -> Path:
    folder = Path(os.environ.get("TOUCHSTONE_HOME", ".")).absolute() / "docs"
    if not folder.is_dir():
        raise ConfigError(
            f"TOUCHSTONE_HOME: {folder.parent} has no docs folder; --write-docs is for a checkout"
        )
    return folder
