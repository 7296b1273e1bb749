"""Keep a rollback in the rollout file as well: one value changes, everything else stays as it is.

The state in Redis is the truth; this is what a first boot on an empty Redis starts from, so that a
rollback outlives the loss of Redis and of every router's disk.
"""

import io
import os
import secrets
from pathlib import Path
from typing import Any, Final

import structlog
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lob.errors import ConfigError
from touchstone.kit.flags import FILE_BYTES_MAX

_ENDS: Final = " \t\r\n#,}"
_log = structlog.get_logger("touchstone.router")


class RolloutFile:
    """The file with `rollout:` that this router was told to start from."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def set_phase(self, phase: str) -> bool:
        """Set `rollout.phase`, comments and layout kept; return whether the file now says so.

        Blocks on the disk. A file that cannot be read or written is one line in the log: the
        rollback does not depend on it.
        """
        try:
            path = self._path.resolve(strict=True)
            before = _read(path)
            after = with_phase(before, phase)
            if after != before:
                _replace(path, after)
                _log.warning("rollout_file_rewritten", path=str(self._path), phase=phase)
        except (OSError, ConfigError, UnicodeDecodeError) as error:
            _log.warning("rollout_file_not_rewritten", path=str(self._path), error=str(error))
            return False
        return True


def with_phase(text: str, phase: str) -> str:
    r"""Return YAML text whose `rollout.phase` is `phase`, changed nowhere else.

    >>> with_phase("rollout: # ours\n  phase: shadow  # now\n", "rolled_back")
    'rollout: # ours\n  phase: rolled_back  # now\n'

    Raises:
        ConfigError: it is no rollout file.
    """
    document = _load(text)
    section = document.get("rollout") if isinstance(document, dict) else None
    if not isinstance(section, dict):
        raise ConfigError("rollout: missing; allowed: a section with keys")
    if section.get("phase") == phase:
        return text
    wanted = {**document, "rollout": {**section, "phase": phase}}
    edited = _edited(text, section, phase)
    try:
        if edited is not None and _load(edited) == wanted:
            return edited
    except ConfigError:
        pass
    # An unusual layout: written anew by the library, which keeps comments and quotes.
    section["phase"] = phase
    out = io.StringIO()
    _yaml().dump(document, out)
    return out.getvalue()


def _edited(text: str, section: Any, phase: str) -> str | None:
    """Return the text with the value replaced in place, or a line added; None where it cannot."""
    lines = text.splitlines(keepends=True)
    if "phase" not in section:
        first = next(iter(section), None)
        if first is None:
            return None
        line, column = section.lc.key(first)
        return "".join([*lines[:line], f"{' ' * column}phase: {phase}\n", *lines[line:]])
    line, column = section.lc.value("phase")
    row = lines[line]
    quote = row[column] if row[column : column + 1] in {'"', "'"} else ""
    if quote:
        end = row.find(quote, column + 1) + 1
    else:
        end = next((i for i in range(column, len(row)) if row[i] in _ENDS), len(row))
    if end <= column:
        return None
    return "".join([*lines[:line], row[:column], phase, row[end:], *lines[line + 1 :]])


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _load(text: str) -> Any:
    try:
        return _yaml().load(text)
    except YAMLError as error:
        raise ConfigError(str(error).splitlines()[0]) from None


def _read(path: Path) -> str:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise ConfigError(f"larger than {FILE_BYTES_MAX} bytes")
    # newline="" keeps the file's own line ends.
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _replace(path: Path, text: str) -> None:
    """Replace the file in one step, with its mode."""
    # No process id: routers in containers of their own may share the folder and have the same.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
