"""How far the control state had come when this router last saw it, kept on local disk.

A restart must not forget: a record below this generation is unknown, and a rollback that was never
persisted in Redis is still latched.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from lob.errors import InvalidInput
from touchstone.kit.control_store import GENERATION_MAX, require_text

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
        latch = None if saved["latch"] is None else _latch(**saved["latch"])
        return Watermark(_generation(saved["generation"]), bool(saved["rolled_back"]), latch)
    except FileNotFoundError:
        return Watermark()
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InvalidInput) as error:
        _log.warning("watermark_unreadable", path=str(path), error=str(error))
        return Watermark(latch=Latch(f"watermark file {path.name} is unreadable", "router"))


def _generation(value: object) -> int:
    """Return a generation that a record above it may have; `ValueError` for any other."""
    if type(value) is not int or not 0 <= value < GENERATION_MAX:
        raise ValueError(f"generation: {value!r}; allowed: 0..{GENERATION_MAX - 1}")
    return value


def _latch(*, reason: str, actor: str, generation: int | None = None, join: bool = False) -> Latch:
    """Return a latch that can be persisted; `InvalidInput` or `TypeError` where it cannot."""
    for name, text in (("reason", reason), ("actor", actor)):
        if not isinstance(text, str):
            raise TypeError(f"{name}: {text!r}")
        require_text(name, text)
    held = None if generation is None else _generation(generation)
    return Latch(reason, actor, held, join=bool(join))


def save_watermark(path: Path, watermark: Watermark) -> str:
    """Replace the file in one step; return why the disk refused, empty where it did not."""
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w") as file:
            json.dump(asdict(watermark), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        return str(error)
    return ""
