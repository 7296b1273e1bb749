"""How far the control state had come when this router last saw it, kept on local disk.

A restart must not forget: a record below this generation is unknown, and a rollback that was never
persisted in Redis is still latched.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

_log = structlog.get_logger("touchstone.router")


@dataclass(frozen=True, slots=True)
class Latch:
    """A rollback of this process. `generation` is its record's, None until persisted.

    With `join` a rollback that somebody else wrote first is as good as one's own.
    """

    reason: str
    actor: str
    generation: int | None = None
    join: bool = False


@dataclass(frozen=True, slots=True)
class Watermark:
    """The highest generation seen, whether it was a rollback, and a latch not yet in Redis."""

    generation: int = 0
    rolled_back: bool = False
    latch: Latch | None = None


def load_watermark(path: Path) -> Watermark:
    """Return what was last saved; nothing where nothing was. A damaged file is a latch."""
    try:
        saved = json.loads(path.read_bytes())
        latch = None if saved["latch"] is None else Latch(**saved["latch"])
        return Watermark(int(saved["generation"]), bool(saved["rolled_back"]), latch)
    except FileNotFoundError:
        return Watermark()
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("watermark_unreadable", path=str(path), error=str(error))
        return Watermark(latch=Latch(f"watermark file {path.name} is unreadable", "router"))


def save_watermark(path: Path, watermark: Watermark) -> None:
    """Replace the file in one step; a disk that refuses is logged, and the router goes on."""
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w") as file:
            json.dump(asdict(watermark), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        _log.warning("watermark_not_saved", path=str(path), error=str(error))
