"""Environments of their own for other projects' code, made from hashed locks on first use."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from lob.errors import ConfigError

STAMP: Final = "locked-environment-stamp"


def locked_environment(lock: Path, venv: Path, whose: str) -> Path:
    """Return the Python of the environment that holds exactly this lock; make it on first use.

    `whose` names it in messages, as "the peers'". Two processes may ask at once. `ConfigError`
    where it cannot be made.
    """
    python = venv / "bin" / "python"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    wanted = f"{hashlib.sha256(lock.read_bytes()).hexdigest()} {version}\n"
    venv.parent.mkdir(parents=True, exist_ok=True)
    with venv.with_suffix(".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        stamp = venv / STAMP
        if python.exists() and stamp.exists() and stamp.read_text("ascii") == wanted:
            return python
        sys.stderr.write(f"making {whose} environment (first use; up to a minute or two) ...\n")
        stamp.unlink(missing_ok=True)
        _make(venv, python, lock, whose)
        stamp.write_text(wanted, "ascii")
    return python


def bare_environment() -> dict[str, str]:
    """Return this process's variables without those that lead to its own Python packages."""
    own = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in own}


def _make(venv: Path, python: Path, lock: Path, whose: str) -> None:
    uv = shutil.which("uv")
    if uv:
        _tool(
            [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(venv)],
            whose,
        )
        _tool(
            [uv, "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(lock)],
            whose,
        )
        return
    _tool([sys.executable, "-m", "venv", "--clear", str(venv)], whose)
    install = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    _tool([str(python), "-m", "pip", *install, "-r", str(lock)], whose)


def _tool(command: list[str], whose: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise ConfigError(f"{whose} environment cannot be made: {lines[-1].strip()}")
