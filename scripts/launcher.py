"""Run a Touchstone program from any Python: in this one where it can, else in the project's own.

A plain system Python has none of the dependencies. `./touchstone` makes the project's environment
where it is missing and goes on there, in the same process: the pid that was started stays the one
to send signals to.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(command: str, load: "Callable[[], Callable[[list[str]], int]]") -> None:
    """Run the function that `load` imports; without the dependencies, `./touchstone <command>`.

    Args:
        command: the same program as a command of `./touchstone`.
        load: imports the main function, which takes the arguments and returns the exit code.
    """
    os.environ.setdefault("TOUCHSTONE_HOME", str(ROOT))
    try:
        main = load()
    except ImportError:
        # No dependencies here, or a Python too old: the launcher knows what to do about either.
        launcher = [sys.executable, str(ROOT / "touchstone"), command, *sys.argv[1:]]
        os.execv(sys.executable, launcher)  # noqa: S606 - our own program, in the same process
    else:
        sys.exit(main(sys.argv[1:]))
