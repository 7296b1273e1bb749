"""A temporary folder that is held while it is used, and swept by the next user where it is stale.

A drill that ends by `kill -9` cannot clean up. Its children are ended by the kernel; its folder is
recognised by the lock that nobody holds any more. The tests' folder in memory goes the same way.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PREFIX: Final = "touchstone-drill-"
_LOCK: Final = "drill.lock"
_UNLOCKED_SECONDS_MAX: Final = 3_600.0
"""A folder without a lock file is being made, or is left over from a drill without one."""


@contextlib.contextmanager
def held_folder(parent: Path | None = None, prefix: str = PREFIX) -> Iterator[Path]:
    """Make a folder for the length of a `with` block, after removing those of dead processes."""
    parent = parent or Path(tempfile.gettempdir())
    sweep(parent, prefix)
    with contextlib.ExitStack() as stack:
        # What a process that is just ending still writes is left to the next sweep.
        made = tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(made))
        lock = stack.enter_context((folder / _LOCK).open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def sweep(parent: Path, prefix: str = PREFIX) -> list[Path]:
    """Remove the folders of dead processes of this user below `parent`, and return them."""
    swept = []
    for folder in sorted(parent.glob(f"{prefix}*")):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if folder.is_symlink() or not folder.is_dir() or found.st_uid != os.getuid():
                continue
            if _is_stale(folder, found.st_mtime):
                shutil.rmtree(folder, ignore_errors=True)
                swept.append(folder)
    return swept


def _is_stale(folder: Path, changed_at: float) -> bool:
    try:
        with (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return time.time() - changed_at > _UNLOCKED_SECONDS_MAX
    except BlockingIOError:
        return False
    return True
