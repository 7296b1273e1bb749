"""The drill's temporary folder: held while it runs, and swept by the next drill where it is stale.

A drill that ends by `kill -9` cannot clean up. Its children are ended by the kernel; its folder is
recognised by the lock that nobody holds any more.
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
def drill_folder() -> Iterator[Path]:
    """Make a folder for the length of a `with` block, after removing those of dead drills."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, (Path(name) / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def sweep(parent: Path) -> list[Path]:
    """Remove the folders of dead drills of this user below `parent`, and return them."""
    swept = []
    for folder in sorted(parent.glob(f"{PREFIX}*")):
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
