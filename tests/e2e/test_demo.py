"""The main job, end to end, as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)


def run_demo(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `touchstone demo` with a stray variable-free environment and return what it printed."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TOUCHSTONE_")
    }
    return subprocess.run(
        [sys.executable, "-m", "touchstone.cli", "demo", "--json", *options],
        cwd=root,
        env=environment | {"TOUCHSTONE_HOME": str(root)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_demo_shows_the_main_job(root: Path) -> None:
    """Flow is replayed, requests are routed and mirrored, a perp is filled, the kill is obeyed."""
    done = run_demo(root, "--requests", "600", "--seed", "11")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert {"L2": 600} == report["routing"]["answers_by_arm"]
    assert 600 == report["comparison"]["overall"]["pairs"]
    assert 0.0 == report["comparison"]["overall"]["candidate_error_rate"]
    # L3 sees what L2 cannot: the market moves while an order travels.
    assert report["comparison"]["overall"]["rmse_bps"] > 0.0
    assert "filled" == report["perps"]["order"]["status"]
    assert {"order_intent", "fill", "order_filled"} <= set(report["perps"]["events"])
    assert "order_intent" == report["perps"]["events"][0]
    assert report["perps"]["order"]["post_only"] is True
    assert (409, "HALTED") == (
        report["kill"]["refused_with_status"],
        report["kill"]["refusal"]["code"],
    )


def test_demo_replays_a_recorded_session(root: Path, market_data: Path) -> None:
    """Real order flow goes through the same path."""
    file = market_data / "lobster" / "AAPL_2012-06-21_34200000_37800000_message_50.csv"
    done = run_demo(root, "--requests", "300", "--file", str(file))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert ["AAPL"] == list(report["comparison"]["by_symbol"])
    assert 300 == report["comparison"]["overall"]["pairs"]


def test_demo_refuses_a_file_it_cannot_read_in_one_line(root: Path, tmp_path: Path) -> None:
    """A wrong file is one clear line, no traceback, and nothing is left running."""
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("this is no LOBSTER file\n")
    done = run_demo(root, "--file", str(wrong))
    assert 2 == done.returncode
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"touchstone: {wrong}:1:")
    assert "Traceback" not in done.stderr
