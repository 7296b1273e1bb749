"""What a book costs besides time: bytes of a resting order, and the import of `lob` over numpy's.

Each is measured in processes of its own: `python -m bench.footprint BOOK` prints the bytes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np

from bench.book_cases import kinds
from bench.stream import uniforms
from lob.messages import MESSAGE_DTYPE, Action, Array

ORDERS: Final = 1_000_000
IMPORT_TRIES: Final = 30

_IMPORT = """
import time, numpy
started = time.perf_counter()
import lob
print(time.perf_counter() - started)
"""


def resting(count: int) -> Array:
    """Return `count` orders that rest on 2,000 prices of both sides, in no order of price."""
    found = np.zeros(count, MESSAGE_DTYPE)
    found["action"] = Action.FEED_ADD
    found["order_id"] = 10_000_000 + np.cumsum(1 + (uniforms(1, 0, 0, count) * 16).astype(np.int64))
    buys = uniforms(1, 1, 0, count) < 0.5  # noqa: PLR2004 - a half
    found["side"] = np.where(buys, 1, -1)
    offsets = 1 + (uniforms(1, 2, 0, count) * 1_000).astype(np.int64)
    found["price_ticks"] = 50_000 - np.where(buys, offsets, -offsets)
    found["quantity_lots"] = 1 + (uniforms(1, 3, 0, count) * 15).astype(np.int64)
    return found


def resident_bytes() -> int:
    """Return this process's resident memory; 0 where the system does not say (not Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def bytes_per_order(kind_name: str, count: int = ORDERS) -> dict[str, float]:
    """Return resident bytes for each order of a book that holds `count`, in this process.

    `reported_bytes` is what the book itself says (`memory_bytes`), where it does.
    """
    kind = next(kind for kind in kinds() if kind.name == kind_name)
    messages = resting(count)
    warm = kind.book()
    warm.apply(messages[:1_000])
    before = resident_bytes()
    book = kind.book()
    book.apply(messages)
    found = {"orders": float(len(book))}
    if before:
        found["resident_bytes"] = (resident_bytes() - before) / count
    reported = getattr(book, "memory_bytes", None)
    if reported is not None:
        found["reported_bytes"] = float(reported()) / count
    return found


def measured_bytes(kind_name: str, count: int = ORDERS) -> dict[str, float]:
    """Return `bytes_per_order` of a process of its own."""
    return dict(json.loads(_python("-m", "bench.footprint", kind_name, str(count))))


def import_ms(tries: int = IMPORT_TRIES) -> float:
    """Return how long `import lob` takes after numpy, in ms: the best of `tries` processes."""
    return min(float(_python("-c", _IMPORT)) for _ in range(max(1, tries))) * 1e3


def _python(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    done = subprocess.run(  # noqa: S603 - this interpreter, our own arguments
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write(json.dumps(bytes_per_order(sys.argv[1], int(sys.argv[2]))) + "\n")
