"""The health file: one JSON document that is always whole, for whoever looks without HTTP."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

HEALTH_FILE: Final = "health.json"

_log = structlog.get_logger("touchstone.gateway.bot")


class HealthFile:
    """Write a document to a file, atomically: a reader finds the old one or the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._failed = False

    def write(self, document: Mapping[str, Any]) -> bool:
        """Replace the file; return whether that worked. A failure is logged once, not raised.

        Trading does not stop because somebody's disk for reports is full.
        """
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            temporary.write_text(json.dumps(document, indent=2, default=str) + "\n")
            temporary.replace(self.path)
        except OSError as error:
            if not self._failed:
                _log.warning("health_file_not_written", path=str(self.path), why=str(error))
            self._failed = True
            return False
        self._failed = False
        return True
