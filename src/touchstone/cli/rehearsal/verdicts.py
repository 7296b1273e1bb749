"""What a rehearsal found: one line for each test and each criterion, held or not, and by what."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from lob.errors import Fault


@dataclass(frozen=True, slots=True)
class Finding:
    """One test or criterion of the plan: whether it held, and the figures behind that."""

    kind: str
    name: str
    held: bool
    detail: str


class NotHeldError(Exception):
    """A step of a test came out otherwise than it has to."""


@dataclass(slots=True)
class Findings:
    """Everything one phase found, told as it is found."""

    tell: Callable[[Finding], None]
    found: list[Finding] = field(default_factory=list)

    def add(self, kind: str, name: str, held: bool, detail: str) -> None:
        """Note one finding."""
        finding = Finding(kind, name, held, detail)
        self.found.append(finding)
        self.tell(finding)

    @contextmanager
    def test(self, name: str) -> Iterator[list[str]]:
        """Note a test: it held when the block ends, which may append to what is said about it.

        A step that is not as it has to be, or that nobody answers, ends the test and not the
        rehearsal.
        """
        details: list[str] = []
        try:
            yield details
        except (NotHeldError, Fault, httpx.HTTPError) as error:
            self.add("test", name, held=False, detail="; ".join([*details, f"NOT: {error}"]))
        else:
            self.add("test", name, held=True, detail="; ".join(details))

    @property
    def all_held(self) -> bool:
        """Return whether everything held, and anything was looked at."""
        return bool(self.found) and all(finding.held for finding in self.found)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the findings as JSON values."""
        return [asdict(finding) for finding in self.found]


def require(held: bool, what: str) -> None:
    """Raise `NotHeldError` unless it holds."""
    if not held:
        raise NotHeldError(what)
