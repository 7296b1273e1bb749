"""The command line: every command, its options, its exit code."""

import sys

import typer

import touchstone
from lob.errors import Fault
from touchstone.cli import (
    bench,
    calibrate,
    capabilities,
    checks,
    config,
    convert,
    decisions,
    demo,
    docs,
    emergency_close,
    fidelity,
    go_no_go,
    kill,
    perps_bot,
    pnl,
    rehearse,
    replay,
    report,
    rollout,
    status,
    up,
)
from touchstone.cli.console import complain, exit_code_of
from touchstone.cli.drill import command as drill

app = typer.Typer(
    name="touchstone",
    help="Market-by-order simulator, safe L3 rollout, perps gateway and paper exchange.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("up")(up.up)
app.command("down")(up.down)
app.command("demo")(demo.demo)
app.command("status")(status.status)
app.command(
    "test",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(checks.run_checks)
app.command("replay")(replay.replay)
app.command("convert")(convert.convert_file)
app.command("simulate")(replay.simulate)
app.command("calibrate")(calibrate.calibrate)
app.command("fidelity")(fidelity.fidelity)
app.command("report")(report.report)
app.command("rollback")(rollout.rollback)
app.add_typer(rollout.app, name="rollout")
app.add_typer(go_no_go.app, name="go-no-go")
app.add_typer(decisions.app, name="decisions")
app.add_typer(config.app, name="config")
app.add_typer(bench.app, name="bench")
app.command("kill")(kill.kill)
app.command("reduce-only")(kill.reduce_only)
app.command("emergency-close")(emergency_close.emergency_close)
app.command("capabilities")(capabilities.capabilities)
app.add_typer(drill.app, name="drill")
app.command("rehearse")(rehearse.rehearse)
app.command("pnl")(pnl.pnl)
app.command("perps-bot", context_settings=perps_bot.PASS_ON)(perps_bot.advanced_command)
app.command("perps-bot-fallback", context_settings=perps_bot.PASS_ON)(perps_bot.fallback_command)
app.command("docs")(docs.docs)


@app.command("version")
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"{touchstone.__version__}\n")


def main() -> None:
    """Run the command line; a fault is one line on stderr and a stable exit code."""
    try:
        app()
    except Fault as fault:
        complain(str(fault))
        sys.exit(exit_code_of(fault))
