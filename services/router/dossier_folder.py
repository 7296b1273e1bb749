"""Dossiers on disk: a JSON document and a page each, replaced in one step, bounded in number."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from touchstone.rollout.dossier_page import dossier_page

DOSSIERS_MAX: Final = 100
_NAME: Final = re.compile(r"\d{8}T\d{6}\d{3}Z-(?:g\d{1,16}|here)-[0-9a-f]{8}")

_log = structlog.get_logger("touchstone.router")


class DossierFolder:
    """Write, list and read the dossiers of one router. Every method blocks: call it in a thread."""

    def __init__(self, path: Path, dossiers_max: int = DOSSIERS_MAX) -> None:
        self._path = path
        self._dossiers_max = dossiers_max

    def write(self, dossier: Mapping[str, Any]) -> None:
        """Write or replace a dossier, page first: what is listed has both. Old ones go.

        Raises:
            OSError: the disk refuses.
            ValueError: the document holds what JSON cannot, or its id is none.
        """
        name = str(dossier["id"])
        if not _NAME.fullmatch(name):
            raise ValueError(f"dossier id: {name!r}; allowed: {_NAME.pattern}")
        encoded = json.dumps(dossier, indent=1, allow_nan=False)
        self._path.mkdir(parents=True, exist_ok=True)
        self._replace(f"{name}.html", dossier_page(dossier))
        self._replace(f"{name}.json", encoded + "\n")
        for old in self.names()[self._dossiers_max :]:
            for suffix in ("json", "html"):
                (self._path / f"{old}.{suffix}").unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the ids of all dossiers, newest first."""
        try:
            found = [entry.stem for entry in self._path.iterdir() if entry.suffix == ".json"]
        except OSError:
            return []
        return sorted((name for name in found if _NAME.fullmatch(name)), reverse=True)

    def list(self) -> list[dict[str, Any]]:
        """Return one line of each dossier, newest first; a damaged one says so."""
        return [self._summary(name) for name in self.names()]

    def read(self, name: str, suffix: str) -> str | None:
        """Return a dossier's text (`json` or `html`); None where there is none of that id."""
        if not _NAME.fullmatch(name) or suffix not in ("json", "html"):
            return None
        try:
            return (self._path / f"{name}.{suffix}").read_text(encoding="utf-8")
        except OSError:
            return None

    def _summary(self, name: str) -> dict[str, Any]:
        try:
            dossier = json.loads(self.read(name, "json") or "")
            rollback, trigger = dossier["rollback"], dossier["trigger"]
            return {
                "id": name,
                "kind": dossier["kind"],
                "generation": rollback["generation"],
                "at": rollback["at"],
                "actor": rollback["actor"],
                "reason": rollback["reason"],
                "trigger": None if trigger is None else trigger["trigger"],
                "affected_orders": dossier["orders"]["count"],
            }
        except (ValueError, KeyError, TypeError) as error:
            return {"id": name, "unreadable": f"{type(error).__name__}: {error}"}

    def _replace(self, name: str, text: str) -> None:
        temporary = self._path / f".{name}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path / name)
