"""One process: the gateway with everything that belongs to it, and the bot beside it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from lob.errors import Fault, Unavailable
from services.order_gateway.app import create_app
from services.order_gateway.bot import Bot
from services.order_gateway.bot_desk import GatewayDesk
from services.order_gateway.bot_plan import STRATEGY, BotPlan
from services.order_gateway.bot_report import BotReport
from services.order_gateway.health_file import HEALTH_FILE, HealthFile
from services.order_gateway.wiring import Components, wire
from touchstone.kit.event_store import Record
from touchstone.kit.health import CheckResult
from touchstone.kit.lifecycle import serve_web
from touchstone.kit.logs import configure_logging
from touchstone.perps.kill import TradingState
from touchstone.perps.strategy import MaCrossover
from touchstone.rollout.go_no_go import Verdict

HEALTH_SECONDS: Final = 1.0
READY_POLL_SECONDS: Final = 0.1
REPORT_POLL_SECONDS: Final = 0.05
SAY_WAITING_SECONDS: Final = 5.0
RUN_ONCE_WAITS_SECONDS: Final = 30.0
LOG_FILE: Final = "perps_bot.log"
STARTED: Final = "bot_started"
STOPPED: Final = "bot_stopped"
METRICS: Final = "metrics"
_NS: Final = 1_000_000_000

Say = Callable[[str], None]

_log = structlog.get_logger("touchstone.gateway.bot")


def set_up_logs(plan: BotPlan) -> None:
    """Send the log to a file in the folder of logs; what is an error to stderr as well.

    Raises:
        Unavailable: the folder cannot be written to.
    """
    configure_logging("perps_bot", plan.options.log_level, plan.settings.log_format)
    root = logging.getLogger()
    path = plan.log_dir / LOG_FILE
    try:
        plan.log_dir.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path)
    except OSError as error:
        raise Unavailable(f"LOG_DIR: {path}: {error.strerror}") from None
    for handler in root.handlers:
        file.setFormatter(handler.formatter)
        handler.setLevel(logging.ERROR)
    root.addHandler(file)


async def run(plan: BotPlan, say: Say) -> Verdict:
    """Run until SIGTERM, or until the bot is done; return the go/no-go verdict at the end.

    Raises:
        Fault: it did not start, or the bot could not do its one look.
    """
    set_up_logs(plan)
    failed: Fault | None = None
    async with wire(plan.settings) as components:
        running = _Run(plan, components, say)
        try:
            await running.until_over()
        except Fault as fault:
            # Raised once all is shut down: the gateway's loops would wrap it in a group.
            failed = fault
    if failed is not None:
        raise failed
    return running.last_verdict


class _Run:
    """The parts of one run."""

    def __init__(self, plan: BotPlan, components: Components, say: Say) -> None:
        self._plan = plan
        self._parts = components
        self._say = say
        self._stop = asyncio.Event()
        self._health = HealthFile(plan.log_dir / HEALTH_FILE)
        self._status = "starting"
        self._failed = False
        self._problems: dict[str, str] = {}
        self._told_state = TradingState.ACTIVE
        engine, profile = components.engine, plan.profile
        self._bot = Bot(
            GatewayDesk(
                engine,
                components.clock.now_ns,
                strategy=STRATEGY,
                equity=lambda: components.money.equity,
                liquidation_price=components.money.liquidation_price,
            ),
            profile,
            plan.options.symbols,
            bot_id=plan.settings.bot_id,
            update_seconds=plan.options.update_interval,
            make_strategy=lambda: MaCrossover(profile.parameters()),
            say=self._say_of,
            protect=not plan.options.fallback,
        )
        self._report: BotReport | None = None
        self.last_verdict = components.go_no_go.evaluate()

    async def until_over(self) -> None:
        """Serve REST, trade, report; on SIGTERM or when the bot is done, stop entering first."""
        settings = self._plan.settings
        await self._begin()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._end)
            reporting = await stack.enter_async_context(_beside(self._report_forever()))
            trading = await stack.enter_async_context(_beside(self._trade()))
            for task in (reporting, trading):
                task.add_done_callback(lambda _task: self._stop.set())
            self._failed = True
            await serve_web(
                create_app(self._parts),
                settings.host,
                settings.port,
                proxy_headers=False,
                on_started=self._tell_address,
                on_stopping=self._stop_entering,
                stop=self._stop,
            )
            self._stop_entering()
            for task in (reporting, trading):
                if task.done():
                    task.result()
            self._failed = False

    async def _begin(self) -> None:
        plan, parts = self._plan, self._parts
        starts = 1 + await _starts_before(parts)
        self._report = BotReport(
            plan,
            parts.engine,
            self._bot,
            parts.go_no_go,
            parts.order_counts,
            starts=starts,
            money=parts.money.pnl,
        )
        lines = list(plan.lines())
        for line in lines:
            self._say(line)
        parts.engine.ledger.note(Record(type=STARTED, payload={"starts": starts, "plan": lines}))
        if plan.profile.reduce_only:
            kill = parts.kill_switch
            made = await kill.tighten(
                TradingState.REDUCE_ONLY, actor="bot --reduce-only", reason="started so"
            )
            self._say(f"no entries: the kill switch is {made.state} ({made.detail})")
            self._told_state = made.state

    async def _trade(self) -> None:
        """Wait until the venue is there, then let the bot look until it is done."""
        once = self._plan.options.run_once
        await self._until_ready(RUN_ONCE_WAITS_SECONDS if once else None)
        self._status = "running"
        self._tell_trading_state()
        now_ns = self._parts.clock.now_ns()
        if once and now_ns is not None:
            await self._bot.look_at_all(now_ns)
            return
        await self._bot.run(self._plan.options.duration)
        if not self._bot.stopping:
            self._say(f"done: {self._plan.options.duration:g} s of venue time are over")

    async def _until_ready(self, seconds_max: float | None) -> None:
        loop = asyncio.get_running_loop()
        started, said = loop.time(), -SAY_WAITING_SECONDS
        while True:
            problems = await self._look_for_problems()
            symbols = self._plan.options.symbols
            blind = [s for s in symbols if self._parts.quotes.mark(s) is None]
            if blind and not problems:
                problems["market"] = f"no market yet: {', '.join(blind)}"
            if not problems:
                return
            text = "; ".join(f"{name}: {why}" for name, why in problems.items())
            waited = loop.time() - started
            if seconds_max is not None and waited > seconds_max:
                raise Unavailable(f"not ready after {seconds_max:.0f} s: {text}")
            if waited > 1 and waited - said > SAY_WAITING_SECONDS:
                self._say(f"waiting: {text}")
                said = waited
            await asyncio.sleep(READY_POLL_SECONDS)

    async def _look_for_problems(self) -> dict[str, str]:
        results = await self._parts.readiness.run()
        found = {name: one.detail for name, one in results.items() if _stops(one)}
        self._problems = {name: one.detail for name, one in results.items() if not one.ok}
        return found

    async def _report_forever(self) -> None:
        """Keep the health file, each second; keep the metrics, each interval of venue time."""
        kept_ns: int | None = None
        interval_ns = round(self._plan.options.metrics_interval * _NS)
        loop, wrote_at = asyncio.get_running_loop(), 0.0
        while True:
            if loop.time() - wrote_at >= HEALTH_SECONDS:
                await self._look_for_problems()
                if self._status == "running":
                    self._tell_trading_state()
                self._write_health()
                wrote_at = loop.time()
            now_ns = self._parts.clock.now_ns()
            if now_ns is not None and (kept_ns is None or now_ns - kept_ns >= interval_ns):
                kept_ns = now_ns
                self._keep_metrics(now_ns)
            await asyncio.sleep(REPORT_POLL_SECONDS)

    def _keep_metrics(self, now_ns: int) -> None:
        if self._report is not None:
            record = Record(type=METRICS, ts_event_ns=now_ns, payload=self._report.figures())
            self._parts.engine.ledger.note(record)

    def _write_health(self) -> None:
        status = self._status
        if status == "running" and self._problems:
            status = "degraded"
        self.last_verdict = self._parts.go_no_go.evaluate()
        if self._report is not None:
            self._health.write(self._report.health(status, self._problems, self.last_verdict))

    async def _end(self) -> None:
        """Record the end, whatever brought it about; the drain comes after, with the gateway's."""
        self._stop_entering()
        now_ns = self._parts.clock.now_ns()
        if now_ns is not None:
            self._keep_metrics(now_ns)
        if self._report is not None:
            self._parts.engine.ledger.note(Record(type=STOPPED, payload=self._report.figures()))
        self._status = "failed" if self._failed else "stopped"
        self._write_health()

    def _stop_entering(self) -> None:
        if not self._bot.stopping:
            self._bot.stopping = True
            self._status = "stopping"
            self._say("stopping: no more entries; resting entries are cancelled, stops stay")

    def _tell_trading_state(self) -> None:
        """Say what the kill switch permits where that is not what was said last."""
        gate = self._parts.kill_switch.gate()
        if gate.state is not self._told_state:
            self._told_state = gate.state
            word = "entries" if gate.state is TradingState.ACTIVE else "no entries"
            self._say(f"{word}: the kill switch is {gate.state}: {gate.why}")

    def _tell_address(self, port: int) -> None:
        self._say(f"REST on http://{self._plan.settings.host}:{port}")

    def _say_of(self, symbol: str, text: str) -> None:
        now_ns = self._parts.clock.now_ns()
        moment = datetime.fromtimestamp((now_ns or 0) / _NS, UTC)
        self._say(f"{moment:%H:%M:%S} {symbol:<9} {text}")
        _log.info("decision", symbol=symbol, what=text)


def _stops(result: CheckResult) -> bool:
    return result.required and not result.ok


async def _starts_before(parts: Components) -> int:
    """Return how often this bot was started before; 0 where the store does not say."""
    try:
        rows = await parts.store.load_events(event_type=STARTED, limit=1, newest_first=True)
    except Fault:
        return 0
    found = rows[0]["payload"].get("starts") if rows else 0
    return found if isinstance(found, int) else 0


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a coroutine beside the block and end it with the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
