"""`touchstone report`: the same orders through L2 and L3 on one market, as a page."""

from pathlib import Path
from typing import Annotated

import typer

from lob.errors import InvalidInput
from lob.types import AssetClass
from touchstone.cli.console import EXIT_OK, JsonOption, err, guarded, out, print_json
from touchstone.cli.fidelity import require_writable, write_text
from touchstone.fidelity.comparison import compare
from touchstone.fidelity.comparison_page import html_page, lines_of
from touchstone.fidelity.market import load_market, survey_markets
from touchstone.fidelity.scenes import Scenes, generated_scenes, market_scenes


def report(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="A file of orders, or a folder with one; without it, generated flow."
        ),
    ] = None,
    json_output: JsonOption = False,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the report as a self-contained HTML page.")
    ] = None,
    scenes: Annotated[
        int, typer.Option("--scenes", min=1, max=100_000, help="Moments at which orders are tried.")
    ] = 200,
    asset_class: Annotated[
        AssetClass | None,
        typer.Option("--asset-class", help="Decides fees and defaults; else the instrument's own."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the flow and of the orders.")] = 0,
) -> None:
    """Compare the L2 and the L3 provider on a market: fills, slippage, agreement, speed.

    Exit code 0 when it was measured, 2 on bad usage or data.
    """

    def measured() -> int:
        require_writable(out_file)
        found = compare(
            _scenes(data, scenes, seed), progress=_progress, seed=seed, asset_class=asset_class
        )
        if out_file is not None:
            write_text(out_file, html_page(found))
        if json_output:
            print_json(found.to_json())
        else:
            for line in lines_of(found):
                out.print(line, markup=False, soft_wrap=True)
        return EXIT_OK

    raise typer.Exit(guarded(measured))


def _scenes(data: Path | None, count: int, seed: int) -> Scenes:
    if data is None:
        return generated_scenes(count, seed)
    path = data
    if data.is_dir():
        survey = survey_markets(data, progress=_progress)
        if not survey.found:
            raise InvalidInput(
                f"data: {data} has no market that can be measured; "
                f"{len(survey.passed_over)} files were passed over"
            )
        path = survey.found[0]
    return market_scenes(load_market(path, progress=_progress), count, _progress)


def _progress(text: str) -> None:
    err.print(f"report: {text}", markup=False, soft_wrap=True)
