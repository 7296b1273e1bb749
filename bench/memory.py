"""A folder in memory, for what a measurement or a test is not about the disk of."""

import shutil
from pathlib import Path
from typing import Final

BYTES_FREE_MIN: Final = 1 << 30


def in_memory(otherwise: Path) -> Path:
    """Return a folder in memory that has room, else the other one."""
    found = Path("/dev/shm")  # noqa: S108 - private folders are made in it
    if not found.is_dir() or shutil.disk_usage(found).free < BYTES_FREE_MIN:
        return otherwise
    return found
