"""`touchstone calibrate`: the simulator's parameters from a market's own orders."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import Progress

from lob.calibration.market_fit import MarketCalibration, fit_market
from lob.calibration.moments import DEFAULT_EVALUATIONS
from lob.clustered_profile import save_profile
from lob.config import create_l3_config
from lob.errors import InvalidInput
from lob.hidden import Depth, Sweep
from touchstone.cli.calibrate_text import lines_of
from touchstone.cli.console import EXIT_OK, JsonOption, guarded, out, print_json
from touchstone.cli.feeds import (
    FORMATS,
    LotSize,
    Publisher,
    Quiet,
    Snapshot,
    Source,
    Symbol,
    TickSize,
    advance,
    find_source,
    progress_bar,
)
from touchstone.cli.fidelity import require_writable
from touchstone.fidelity.market import Market, load_market, make_market
from touchstone.fidelity.sweeps_read import decisions_of, sweeps_of

_SECONDS_PER_HOUR = 3_600.0


def calibrate(
    file: Annotated[Path, typer.Argument(help="A file of orders, of any known format.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the configuration of the L3 simulator.")
    ] = None,
    profile_file: Annotated[
        Path | None, typer.Option("--profile", help="Write the profile of the flow's generator.")
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="Where the keys come from that no data tells.")
    ] = "equity",
    day_hours: Annotated[
        float, typer.Option("--day-hours", min=0.01, max=24, help="A session: 24 for crypto.")
    ] = 6.5,
    evaluations: Annotated[
        int,
        typer.Option(
            "--evaluations", min=0, max=10_000, help="Flows drawn to tune the generator; 0: none."
        ),
    ] = DEFAULT_EVALUATIONS,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the flows drawn.")] = 0,
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"If not found: {FORMATS}.")
    ] = None,
    symbol: Symbol = None,
    publisher: Publisher = None,
    tick_size: TickSize = None,
    lot_size: LotSize = None,
    snapshot: Snapshot = None,
    json_output: JsonOption = False,
    quiet: Quiet = False,
) -> None:
    """Fit rates, impact, latency, hidden liquidity and the flow's generator to a file of orders.

    Exit code 0 when everything that the file can tell is fitted, 2 when a file or an option cannot
    be used, or the market is too small: the message names what is missing.
    """

    def run() -> int:
        for path in (out_file, profile_file):
            require_writable(path)
        create_l3_config(preset)  # one that is not known is refused now, not after the fits
        source = find_source(
            file, format_name, symbol, tick_size, lot_size, publisher=publisher, quiet=quiet
        )
        source = source._replace(snapshot=snapshot)
        with progress_bar(quiet) as bar:
            fitted = _fitted(source, day_hours * _SECONDS_PER_HOUR, evaluations, seed, bar)
        config = fitted.config(preset)
        if out_file is not None:
            config.to_yaml(out_file)
        if profile_file is not None:
            save_profile(fitted.profile, profile_file)
        written = {"config": out_file, "profile": profile_file}
        document: dict[str, Any] = {
            "file": str(file),
            "format": source.format,
            **fitted.to_json(),
            "config": config.model_dump(mode="json"),
            "written": {name: str(path) for name, path in written.items() if path is not None},
        }
        if json_output:
            print_json(document)
        else:
            for line in lines_of(fitted, document["written"]):
                out.print(line, markup=False, soft_wrap=True)
        return EXIT_OK

    raise typer.Exit(guarded(run))


class _Read(NamedTuple):
    """A market, and the two clocks of its messages where the file has them."""

    market: Market
    receipts: tuple[NDArray[np.int64], NDArray[np.int64]] | None


def _fitted(
    source: Source, session_seconds: float, evaluations: int, seed: int, bar: Progress
) -> MarketCalibration:
    read = _read(source, bar)
    market = read.market
    steps: dict[str, Any] = {}

    def told(text: str, done: int, total: int) -> None:
        if text not in steps:
            steps[text] = advance(bar, text)
        steps[text](done, total)

    return fit_market(
        market.name,
        market.messages,
        market.instrument,
        # A feed that names no hidden execution says nothing of them.
        market.hidden if len(market.hidden) else None,
        sweeps=_sweeps(market),
        receipts=read.receipts,
        session_seconds=session_seconds,
        evaluations=evaluations,
        seed=seed,
        progress=told,
    )


def _read(source: Source, bar: Progress) -> _Read:
    if source.format == "lobster" and source.snapshot is None:
        moved = advance(bar, source.path.name)
        market = load_market(source.path, progress=lambda _: None, feed=source.open())
        found = _Read(market, None)
        moved(1, 1)
        return found
    feed = source.open()
    moved = advance(bar, source.path.name)
    blocks = []
    for block in feed.blocks():
        blocks.append(block)
        moved(feed.bytes_done, feed.bytes_total)
    if not blocks:
        raise InvalidInput(f"{source.path}: no messages; allowed: a file of orders")
    messages = np.concatenate([block.messages for block in blocks])
    receipts = np.concatenate([block.ts_recv_ns for block in blocks])
    market = make_market(source.instrument.symbol, source.instrument, messages)
    clocks = (messages["ts_event_ns"], receipts) if receipts.any() else None
    return _Read(market, clocks)


def _sweeps(market: Market) -> list[tuple[Sweep, Depth]]:
    if not len(market.hidden):
        return []
    sweeps = sweeps_of(market)
    decisions = decisions_of(market, sweeps, 0)
    return [
        (met.sweep, decision.depth)
        for met, decision in zip(sweeps, decisions, strict=True)
        if decision is not None
    ]
