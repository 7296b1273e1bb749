"""`touchstone bench`: measure books beside others, providers, router, exchange and gateway.

The benchmarks are in the checkout's `bench` folder and not in the installed package.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from lob.errors import ConfigError
from touchstone.cli.console import EXIT_FAILED, EXIT_OK, JsonOption, err, guarded, out, print_json

app = typer.Typer(help="Measure speed, beside other projects.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure speed, beside other projects."""


@app.command("book")
def book(
    peers: Annotated[
        bool,
        typer.Option(
            "--peers", help="Measure other projects' books too (makes their environment)."
        ),
    ] = False,
    json_output: JsonOption = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of each contestant.")] = 7,
    sizes: Annotated[
        str, typer.Option("--sizes", help="Book sizes, with commas between.")
    ] = "2k,12k,220k",
    messages: Annotated[
        int, typer.Option("--messages", min=100, help="Commands in each size's stream.")
    ] = 5_000_000,
    patience: Annotated[
        float,
        typer.Option(
            "--patience", min=0, help="Seconds to wait in all for the machine's best pace."
        ),
    ] = 300.0,
    write_docs: Annotated[
        bool, typer.Option("--write-docs", help="Write docs/benchmarks.md, its plots and JSON.")
    ] = False,
    from_json: Annotated[
        Path | None,
        typer.Option("--from-json", help="Take this run's JSON and measure nothing."),
    ] = None,
) -> None:
    """Measure the order books on one stream in several sizes.

    Exit code 0 when every bar that could be measured holds, 1 when one does not, 2 on bad usage.
    """

    def run() -> int:
        return _book(
            peers=peers,
            json_output=json_output,
            rounds=rounds,
            sizes=sizes,
            messages=messages,
            patience=patience,
            write_docs=write_docs,
            from_json=from_json,
        )

    raise typer.Exit(guarded(run))


def _book(
    *,
    peers: bool,
    json_output: bool,
    rounds: int,
    sizes: str,
    messages: int,
    patience: float,
    write_docs: bool,
    from_json: Path | None,
) -> int:
    home = _checkout()
    # Only now is the checkout importable.
    from bench.book import Options, chosen_sizes, held, lines_of, measure  # noqa: PLC0415
    from bench.book_docs import read_document, write  # noqa: PLC0415

    if from_json is not None:
        document = read_document(from_json)
    else:
        options = Options(
            sizes=chosen_sizes(sizes),
            rounds=rounds,
            messages=messages,
            peers=peers,
            patience_seconds=patience,
        )
        document = measure(options, home, _tell)
    if write_docs:
        for path in write(document, home / "docs"):
            err.print(f"bench: wrote {path.relative_to(home)}")
    _show(document, None if json_output else lines_of(document))
    return EXIT_OK if held(document) else EXIT_FAILED


@app.command("router")
def router(
    json_output: JsonOption = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.2, max=600, help="Length of each block.")
    ] = 4.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Blocks of each case.")] = 5,
    write_docs: Annotated[
        bool, typer.Option("--write-docs", help="Put the results into docs/router-speed.md.")
    ] = False,
) -> None:
    """Measure executions through REST, the router, gRPC and L3, with real processes.

    Exit code 0 when every bar holds, 1 when one does not, 2 on bad usage.
    """

    def run() -> int:
        home = _checkout()
        from bench import router as served  # noqa: PLC0415

        return _served(served, home, "router", seconds, rounds, write_docs, json_output)

    raise typer.Exit(guarded(run))


@app.command("exchange")
def exchange(
    json_output: JsonOption = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.5, max=100, help="Length of each block.")
    ] = 4.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Blocks of each case.")] = 3,
    write_docs: Annotated[
        bool, typer.Option("--write-docs", help="Put the results into docs/exchange-speed.md.")
    ] = False,
) -> None:
    """Measure the paper exchange: signed orders over REST, level2 to many clients.

    Exit code 0 when every bar holds, 1 when one does not, 2 on bad usage.
    """

    def run() -> int:
        home = _checkout()
        from bench import exchange as served  # noqa: PLC0415

        return _served(served, home, "exchange", seconds, rounds, write_docs, json_output)

    raise typer.Exit(guarded(run))


@app.command("gateway")
def gateway(
    json_output: JsonOption = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.5, max=100, help="Length of each block.")
    ] = 5.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Blocks of each case.")] = 3,
    write_docs: Annotated[
        bool, typer.Option("--write-docs", help="Put the results into docs/gateway-speed.md.")
    ] = False,
) -> None:
    """Measure the order gateway: decision to bytes on the socket, orders a second, REST.

    Exit code 0 when every bar holds, 1 when one does not, 2 on bad usage.
    """

    def run() -> int:
        home = _checkout()
        from bench import gateway as served  # noqa: PLC0415

        return _served(served, home, "gateway", seconds, rounds, write_docs, json_output)

    raise typer.Exit(guarded(run))


def _served(
    service: ModuleType,
    home: Path,
    name: str,
    seconds: float,
    rounds: int,
    write_docs: bool,
    json_output: bool,
) -> int:
    """Measure a service by its module of benchmarks; results go into its page if asked to."""
    options = service.Options(seconds=seconds, rounds=rounds)
    document = service.measure(options, home, _tell)
    if write_docs:
        service.write(document, home / "docs" / f"{name}-speed.md")
        err.print(f"bench: wrote docs/{name}-speed.md")
    _show(document, None if json_output else service.lines_of(document))
    return EXIT_OK if service.held(document) else EXIT_FAILED


@app.command("providers")
def providers(
    json_output: JsonOption = False,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=1_000, help="Rounds; the median counts.")
    ] = 15,
    write_docs: Annotated[
        bool,
        typer.Option("--write-docs", help="Write docs/providers-speed.md, its plot and JSON."),
    ] = False,
    from_json: Annotated[
        Path | None,
        typer.Option("--from-json", help="Take this run's JSON and measure nothing."),
    ] = None,
) -> None:
    """Measure executions a second of both levels in this process, in batch and one by one.

    Exit code 0 when every bar holds, 1 when one does not, 2 on bad usage.
    """

    def run() -> int:
        return _providers(
            json_output=json_output, rounds=rounds, write_docs=write_docs, from_json=from_json
        )

    raise typer.Exit(guarded(run))


def _providers(*, json_output: bool, rounds: int, write_docs: bool, from_json: Path | None) -> int:
    home = _checkout()
    from bench.provider_docs import read_document, write  # noqa: PLC0415
    from bench.provider_rates import Options, held, lines_of, measure  # noqa: PLC0415

    if from_json is not None:
        document = read_document(from_json)
    else:
        document = measure(Options(rounds=rounds), _tell)
    if write_docs:
        for path in write(document, home / "docs"):
            err.print(f"bench: wrote {path.relative_to(home)}")
    _show(document, None if json_output else lines_of(document))
    return EXIT_OK if held(document) else EXIT_FAILED


@app.command("shadow")
def shadow(
    json_output: JsonOption = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.2, max=60, help="Length of each block.")
    ] = 1.5,
    pairs: Annotated[
        int, typer.Option("--pairs", min=1, help="Pairs of blocks for a candidate that behaves.")
    ] = 12,
    hostile_pairs: Annotated[
        int, typer.Option("--hostile-pairs", min=1, help="Pairs of blocks for one that does not.")
    ] = 6,
    candidates: Annotated[
        str, typer.Option("--candidates", help="Their names, with commas between; all without.")
    ] = "",
) -> None:
    """Measure whether shadow comparison can matter to the answers, whatever the candidate does.

    Exit code 0 when no answer changes and the bar holds, 1 when not, 2 on bad usage.
    """

    def run() -> int:
        home = _checkout()
        from bench.shadow import Options, chosen, held, lines_of, measure  # noqa: PLC0415

        options = Options(
            block_seconds=seconds,
            pairs=pairs,
            hostile_pairs=hostile_pairs,
            candidates=chosen(candidates),
        )
        document = measure(options, home, _tell)
        _show(document, None if json_output else lines_of(document))
        return EXIT_OK if held(document) else EXIT_FAILED

    raise typer.Exit(guarded(run))


@app.command("soak")
def soak(
    json_output: JsonOption = False,
    executions: Annotated[
        int, typer.Option("--executions", min=1, help="How many orders to execute.")
    ] = 1_000_000,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="The L3 file to run under; configs/execution_l3.yaml."),
    ] = None,
) -> None:
    """Execute a million orders through one simulator process and watch its memory.

    Exit code 0 when memory stays within its bound, 1 when it does not, 2 on bad usage.
    """

    def run() -> int:
        home = _checkout()
        from bench.soak import Options, held, lines_of, measure  # noqa: PLC0415

        options = Options(executions=executions, config=config)
        document = measure(options, home, _tell)
        _show(document, None if json_output else lines_of(document))
        return EXIT_OK if held(document) else EXIT_FAILED

    raise typer.Exit(guarded(run))


def _tell(text: str) -> None:
    err.print(f"bench: {text}")


def _show(document: dict[str, Any], lines: Iterable[str] | None) -> None:
    """Print the document's lines, or without them the document as JSON."""
    if lines is None:
        print_json(document)
        return
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


def _checkout() -> Path:
    """Return the checkout, made importable; `ConfigError` where its benchmarks are not there."""
    home = Path(os.environ.get("TOUCHSTONE_HOME", ".")).absolute()
    if not (home / "bench" / "book.py").is_file():
        raise ConfigError(
            f"TOUCHSTONE_HOME: {home} has no bench/book.py; benchmarks run from a checkout of the "
            "source, they are not in the installed package"
        )
    if str(home) not in sys.path:
        sys.path.insert(0, str(home))
    return home
