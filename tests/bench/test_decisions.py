"""`python -m bench.decisions`: what it records through the router is replayed byte for byte."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(root: Path, *words: str) -> dict[str, Any]:
    """Run a module and return the JSON it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_recorded_is_replayed(root: Path, tmp_path: Path) -> None:
    """Through every phase; in another process."""
    made = run(root, "bench.decisions", "--count", "400", "--dir", str(tmp_path))
    assert 400 == made["count"]
    folder = ("--dir", made["folder"], "--json")
    report = run(root, "touchstone.cli", "decisions", "replay", "--all", *folder)
    assert (400, 0) == (report["decisions"], report["different"])
    rules = {"shadow", "allow_list", "percentage", "default", "rolled_back"}
    assert rules <= set(report["rules"])
    moved = run(root, "touchstone.cli", "decisions", "what-if", "--phase", "full", *folder)
    assert {"L2 -> L3"} == {each["moves"] for each in moved["symbols"]}
