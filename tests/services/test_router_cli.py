"""`touchstone rollout` against a router that listens."""

import asyncio
import json
import os
import sys
from typing import Any

import pytest

from tests.services.router_harness import Harness, to_canary


async def run(*words: str, **environment: str) -> tuple[int, str, str]:
    """Run one command of the `rollout` app and return exit code, stdout and stderr."""
    code = (
        "import sys; from lob.errors import Fault; from touchstone.cli import rollout\n"
        "from touchstone.cli.console import complain, exit_code_of\n"
        "try: rollout.app()\n"
        "except Fault as fault: complain(str(fault)); sys.exit(exit_code_of(fault))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"NO_COLOR": "1"} | environment,
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


async def test_show_prints_the_state_for_people_and_for_programs(url: str) -> None:
    """Both say the same."""
    code, stdout, _ = await run("show", "--url", url)
    assert code == 0
    assert "SHADOW" in stdout
    assert "5 % of symbols" in stdout
    code, stdout, _ = await run("show", "--url", url, "--json")
    state: dict[str, Any] = json.loads(stdout)
    assert (code, state["phase"], state["generation"]) == (0, "SHADOW", 1)


async def test_set_changes_what_is_given_and_signs_it(url: str, harness: Harness) -> None:
    """Phase, share and lists in one change, with reason and actor in the audit."""
    code, stdout, _ = await run(
        "set",
        "--phase",
        "canary",
        "--percentage",
        "0.01",
        "--deny-symbols",
        "tsla, gme",
        "--canary-symbols",
        "",
        "--reason",
        "week 2",
        "--json",
        "--url",
        url,
        LOGNAME="casey",
    )
    state = json.loads(stdout)
    assert (code, state["phase"], state["basis_points"]) == (0, "CANARY", 100)
    assert (state["reason"], state["actor"]) == ("week 2", "casey")
    assert state["document"]["deny_symbols"] == ["GME", "TSLA"]
    assert state["document"]["canary_symbols"] == []


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("set", "--phase", "full"), 1, "allowed from here: OFF, SHADOW, CANARY"),
        (("set", "--phase", "canary", "--generation", "9"), 1, "present generation is 1"),
        (("set", "--phase", "half"), 2, "phase: 'HALF'; allowed: OFF"),
        (("set", "--percentage", "5%"), 2, "percentage: '5%'"),
        (("set",), 2, "nothing to change"),
        (("set", "--share", "1"), 2, "No such option"),
    ],
)
async def test_a_refusal_is_a_clear_line_and_a_stable_code(
    url: str, words: tuple[str, ...], code: int, named: str
) -> None:
    """1 where the state forbids it, 2 where the request is wrong."""
    found, stdout, stderr = await run(*words, "--url", url)
    assert (found, stdout) == (code, "")
    assert named in stderr
    assert "Traceback" not in stderr


async def test_a_router_that_is_not_there_is_one_line_and_exit_code_1() -> None:
    """The line names the address."""
    code, _, stderr = await run("show", "--url", "http://127.0.0.1:1")
    assert (code, len(stderr.splitlines())) == (1, 1)
    assert "no answer from the router at http://127.0.0.1:1" in stderr


async def rollback(*words: str) -> tuple[int, str, str]:
    """Run `touchstone rollback` without a terminal."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "touchstone.cli",
        "rollback",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


async def test_rollback_asks_first_and_then_latches(url: str) -> None:
    """Without a confirmation nothing happens; with one the phase is ROLLED_BACK for everybody."""
    words = ("--emergency", "--reason", "test", "--url", url)
    code, _, complaint = await rollback(*words)
    assert (2, "touchstone: would roll back to L2; say --confirm to do it\n") == (code, complaint)
    _, shown, _ = await run("show", "--url", url, "--json")
    assert "SHADOW" == json.loads(shown)["phase"]
    code, stdout, _ = await rollback(*words, "--confirm", "--json")
    assert 0 == code
    assert json.loads(stdout)["persisted"] is True
    _, shown, _ = await run("show", "--url", url, "--json")
    assert "ROLLED_BACK" == json.loads(shown)["phase"]


async def test_a_graceful_rollback_drains_verifies_and_reports(url: str, harness: Harness) -> None:
    """From a canary: the words say what was found; a second one is refused with the way out."""
    await to_canary(harness)
    code, stdout, complaint = await rollback("--reason", "month end", "--url", url, "--confirm")
    assert (0, "") == (code, complaint)
    assert "drained in 0." in stdout
    assert "all on L2: yes (1 routers, " in stdout
    code, _, complaint = await rollback("--reason", "again", "--url", url, "--confirm")
    assert 1 == code
    assert "rolled back already; allowed: POST /v1/rollout/rearm" in complaint


async def test_a_graceful_rollback_for_programs(url: str) -> None:
    """The report as it came."""
    words = ("--reason", "r", "--url", url, "--confirm", "--json", "--drain-seconds", "1")
    code, stdout, _ = await rollback(*words)
    report = json.loads(stdout)
    assert (0, "graceful", False) == (code, report["mode"], report["drain"]["needed"])
