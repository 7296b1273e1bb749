"""Readiness: named checks of what a service needs, each bounded in time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Check = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found: `detail` says what is there, or why it is not."""

    ok: bool
    detail: str
    required: bool


class Readiness:
    """Run a service's checks.

    A check returns a short detail, or raises. A *required* check that fails makes the service not
    ready; any other is reported as degraded, because the service keeps its promises without it.
    """

    def __init__(self, timeout_seconds: float = 1.0) -> None:
        self._timeout_seconds = timeout_seconds
        self._checks: dict[str, tuple[Check, bool]] = {}

    def add(self, name: str, check: Check, *, required: bool = True) -> None:
        """Add a check under `name`."""
        self._checks[name] = (check, required)

    async def run(self) -> dict[str, CheckResult]:
        """Run all checks side by side and return their results by name."""
        names = list(self._checks)
        results = await asyncio.gather(*(self._run_one(name) for name in names))
        return dict(zip(names, results, strict=True))

    async def _run_one(self, name: str) -> CheckResult:
        check, required = self._checks[name]
        try:
            async with asyncio.timeout(self._timeout_seconds):
                detail = await check()
        except TimeoutError:
            detail = f"no answer within {self._timeout_seconds} s"
        except Exception as error:  # noqa: BLE001 - a failing dependency is what a check reports
            detail = str(error) or type(error).__name__
        else:
            return CheckResult(ok=True, detail=detail, required=required)
        return CheckResult(ok=False, detail=detail, required=required)


def is_ready(results: dict[str, CheckResult]) -> bool:
    """Return whether every required check passed."""
    return all(result.ok for result in results.values() if result.required)
