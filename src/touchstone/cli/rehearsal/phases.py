"""The three phases: run the plan's line, put it to its tests, hold its criteria to the records."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from touchstone.cli.rehearsal import criteria
from touchstone.cli.rehearsal.background import PostOnlyFlow, hold
from touchstone.cli.rehearsal.ground import RICH, Ground, Line, ground
from touchstone.cli.rehearsal.lines import Phase
from touchstone.cli.rehearsal.order_tests import RAISED, OrderTests
from touchstone.cli.rehearsal.verdicts import Findings
from touchstone.kit.tasks import stop_tasks

DRY_HOURS: Final = 1.0
"""Of the printed line, which sends nothing: the long run is without its --dry-run."""
PROGRESS_SECONDS: Final = 5.0
LATE_FACTOR: Final = 4.0
"""A machine that needs so many times as long as the speed says is too slow for it."""
USUAL_ORDERS_A_MINUTE: Final = 60
DAILY_LOSS: Final = {"TOUCHSTONE_GATEWAY_MAX_DAILY_LOSS": "2000"}
"""The plan's bound of the drawdown, 2 % of the account. A profile's own limit (in dev a tenth of a
position) is what fees and spread of a day come to on a market in which nothing is to be earned: the
guard closes entries after some hours, as it should, and there is no run of a day to look at."""

Json = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(slots=True)
class PhaseReport:
    """What a phase came to."""

    phase: Phase
    findings: Findings
    hours: float
    matrix: Json = field(default_factory=dict)
    figures: Json = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Return whether every test and criterion held, and no row of the matrix is red."""
        return self.findings.all_held and self.matrix.get("decision") != "NO-GO"

    def to_json(self) -> Json:
        """Return it as JSON values."""
        return {
            "phase": self.phase.name,
            "line": self.phase.line,
            "passed": self.passed,
            "venue_hours": self.hours,
            "seconds": round(self.seconds, 1),
            "findings": self.findings.to_json(),
            "figures": self.figures,
            "go_no_go": self.matrix,
        }


@dataclass(slots=True)
class Rehearsal:
    """How phases are rehearsed: so many hours of the venue, so fast."""

    folder: Path
    hours: float
    speed: float
    progress: Progress

    async def run(self, phase: Phase, findings: Findings) -> PhaseReport:
        """Rehearse one phase in a folder of its own."""
        started = time.monotonic()
        report = PhaseReport(phase, findings, self.hours)
        sandbox = phase.name == "sandbox"
        how = self._sandbox if sandbox else self._trading
        folder, money = self.folder / phase.name, RICH if sandbox else {}
        async with ground(folder, self._say_part, money) as found:
            await how(found, report)
        report.seconds = time.monotonic() - started
        return report

    async def _sandbox(self, found: Ground, report: PhaseReport) -> None:
        phase, findings = report.phase, report.findings
        taken = await found.orders_taken()
        hours = min(self.hours, DRY_HOURS)
        self.progress(f"the printed line, with --dry-run, for {hours:g} h of the venue's time")
        async with found.line(phase.words()) as line:
            await self._pass(found, line, hours)
            code = await line.stop()
        criteria.dry_run(findings, line.records, code, await found.orders_taken() - taken)
        words = phase.words(without=("--dry-run",))
        self.progress("the same line without --dry-run: five of the tests")
        async with found.line(words, self._paced()) as line:
            await OrderTests(found, line, findings).run()
            self.progress(f"... and {self.hours:g} h with the bot and a post-only order each 12 s")
            await found.set_speed(self.speed)
            async with _beside(PostOnlyFlow(found, line).run()):
                await self._pass(found, line, self.hours)
            await self._end(found, line, report)
        criteria.sandbox(findings, line.records, phase)
        self.progress("the same line with room for 5,000,000 dollars: the sizing test")
        async with found.line(words, {**self._paced(), **RAISED}) as line:
            await OrderTests(found, line, findings).sizing()

    async def _trading(self, found: Ground, report: PhaseReport) -> None:
        phase = report.phase
        self.progress(f"the printed line for {self.hours:g} h of the venue's time")
        async with found.line(phase.words(), self._paced()) as line:
            generation = (await line.ask("GET", "/v1/kill-switch"))[1]["generation"]
            if phase.name == "demo":
                self.progress("and some ETH-PERP held beside it through every funding time")
                await hold(line, "BUY")
            await self._pass(found, line, self.hours)
            if phase.name == "demo":
                await hold(line, "SELL", reduce_only=True)
            touched = (await line.ask("GET", "/v1/kill-switch"))[1]["generation"] - generation
            await self._end(found, line, report)
        money = report.figures["venue"]
        if phase.name == "demo":
            criteria.demo(report.findings, line.records, phase, money)
        else:
            criteria.canary(report.findings, line.records, phase, touched)

    async def _end(self, found: Ground, line: Line, report: PhaseReport) -> None:
        """Read what only a running gateway tells, stop it, and look for errors."""
        await found.set_speed(1)
        # What was filled last is booked, and the books are compared once more.
        await asyncio.sleep(2)
        status, report.matrix = await line.ask("GET", "/v1/go-no-go")
        if status != criteria.OK:
            report.matrix = {"decision": "HOLD", "rows": [], "reasons": [str(report.matrix)]}
        metrics = (await line.client.get("/metrics")).text
        money = await found.money()
        code = await line.stop()
        report.figures |= {
            "orders": line.records.orders(),
            "decisions": line.health["decisions"],
            "pnl": line.health["pnl"],
            "venue": money["accounts"]["default"],
            "exit_code": code,
        }
        criteria.metrics_kept(report.findings, line.records, self.hours, self.speed, metrics)
        criteria.no_errors(
            report.findings, line.records, line.log, code, hours=self.hours, whole=money
        )

    async def _pass(self, found: Ground, line: Line, hours: float) -> None:
        """Let so much of the venue's time pass, at speed; say how it goes."""
        await found.set_speed(self.speed)
        began = _seconds(await found.money())
        deadline = time.monotonic() + 60 + LATE_FACTOR * hours * 3_600 / self.speed
        said = time.monotonic()
        while True:
            await asyncio.sleep(0.2)
            passed = (_seconds(await found.money()) - began) / 3_600
            if passed >= hours or line.process.returncode is not None:
                break
            if time.monotonic() > deadline:
                self.progress(f"too slow: {passed:.1f} h have passed; a lower --speed helps")
                break
            if time.monotonic() - said >= PROGRESS_SECONDS:
                said = time.monotonic()
                with contextlib.suppress(OSError, ValueError, KeyError):
                    self.progress(f"{passed:6.2f} h of {hours:g}: {_in_short(line.health)}")
        await found.set_speed(1)

    def _paced(self) -> dict[str, str]:
        """Return the environment that has local rates keep up with the venue's time.

        And room to lose: see `DAILY_LOSS`.
        """
        rate = str(round(USUAL_ORDERS_A_MINUTE * max(1.0, self.speed)))
        return {"TOUCHSTONE_GATEWAY_MAX_ORDERS_PER_MINUTE": rate, **DAILY_LOSS}

    def _say_part(self, name: str, what: str) -> None:
        self.progress(f"{name.replace('_', ' ')}: {what}")


def _in_short(health: Json) -> str:
    orders, decisions, pnl = health["orders"], health["decisions"], health["pnl"]
    return (
        f"{orders['placed']} orders, {orders['filled']} filled, "
        f"{decisions['entries_accepted']} entries, {decisions['entries_rejected']} rejected, "
        f"equity {float(pnl['equity'] or 'nan'):,.2f}, {health['status']}"
    )


def _seconds(money: Json) -> float:
    # Python reads microseconds, the exchange tells nanoseconds.
    whole = money["time"][:26].rstrip("Z")
    return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()


@contextlib.asynccontextmanager
async def _beside(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await stop_tasks([task])
