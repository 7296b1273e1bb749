"""The simulation in CI: a hundred seeds without a violation, and every planted mistake found.

Many more: `python -m tests.simulation --seeds 10000 --processes 2`. A seed that fails is repeated
with `python -m tests.simulation --seed N --trace`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Where each mistake shows soon; a gateway without it passes these seeds like all others.
FIRST_SEEDS = {
    "resends": 4,
    "books-twice": 2,
    "gate-early": 20,
    "believes-cancels": 0,
    "no-sync": 15,
    "forgets-ids": 26,
    "forgets-exits": 4,
    "loses-a-state": 0,
    "replaces-too-soon": 4,
}


def run(root: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run the simulation as a process of its own; return its exit code and its lines."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=root,
        env=os.environ | {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode in (0, 1), done.stderr[-2_000:]
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("first", [0, 1_000])
def test_seeds_pass(root: Path, first: int) -> None:
    """Venue, journal, memory and SQL agree, and nothing left that must not, in every seed."""
    code, lines = run(root, "--first", str(first), "--seeds", "50", "--json")
    summary: dict[str, Any] = json.loads(lines[-1])
    assert (summary["failed"], code, lines[:-1][:5]) == ([], 0, lines[:-1][:5])
    totals = summary["totals"]
    # A simulation in which little happens shows little.
    assert summary["seeds"] == 50
    assert totals["at the venue"] > 300
    assert totals["fills"] > 120
    assert totals["lives"] > 60


def test_a_process_may_die_at_any_callback(root: Path) -> None:
    """One seed over and over, its first process gone at a callback that moves on."""
    code, lines = run(root, "--seed", "12", "--sweep", "61")
    summary: dict[str, Any] = json.loads(lines[-1])
    assert (summary["failed"], code) == ([], 0), lines[:5]
    assert summary["steps"] > 500


def test_a_seed_repeats_itself(root: Path) -> None:
    """The same number is the same story, line by line."""
    first = run(root, "--seed", "3", "--trace")
    assert first == run(root, "--seed", "3", "--trace")
    assert len(first[1]) > 50


@pytest.mark.parametrize("mistake", FIRST_SEEDS)
def test_mistakes_are_found(root: Path, mistake: str) -> None:
    """Each mistake that is put into the gateway on purpose is found within a few seeds."""
    first = str(FIRST_SEEDS[mistake])
    arguments = ("--plant", mistake, "--first", first, "--seeds", "45", "--limit", "1", "--json")
    code, lines = run(root, *arguments)
    assert code == 1, f"{mistake}: not found in {json.loads(lines[-1])['seeds']} seeds"
