"""What the bot tells of itself: the health file's document, and the metrics that are kept."""

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import touchstone
from services.order_gateway.bot import Bot
from services.order_gateway.bot_plan import BotPlan
from services.order_gateway.engine import Engine
from services.order_gateway.go_no_go import GoNoGo
from services.order_gateway.models import position_json
from services.order_gateway.outcomes import OrderCounts
from touchstone.rollout.go_no_go import Measurement, Verdict


class BotReport:
    """Gather figures of one run; nothing is asked of anybody who would have to wait."""

    def __init__(
        self,
        plan: BotPlan,
        engine: Engine,
        bot: Bot,
        go_no_go: GoNoGo,
        counts: OrderCounts,
        *,
        starts: int,
        money: Callable[[], Mapping[str, Any]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Report about these.

        Args:
            plan: what the run goes by.
            engine: of the gateway.
            bot: its decisions.
            go_no_go: its verdict.
            counts: its orders.
            starts: how often this bot was started, this time included.
            money: profit by kind, as JSON values.
            monotonic: local seconds.
        """
        self._plan = plan
        self._engine = engine
        self._bot = bot
        self._go_no_go = go_no_go
        self._counts = counts
        self._starts = starts
        self._money = money
        self._monotonic = monotonic
        self._started = monotonic()
        self._started_at = datetime.now(UTC)

    def health(self, status: str, problems: Mapping[str, str], verdict: Verdict) -> dict[str, Any]:
        """Return the health file's document.

        Args:
            status: starting, running, degraded, stopping, stopped or failed.
            problems: what is not as it should be, by name.
            verdict: of the go/no-go matrix.
        """
        plan, gate = self._plan, self._engine.kill_switch.gate()
        return {
            "status": status,
            "problems": dict(problems),
            "bot_id": plan.settings.bot_id,
            "pid": os.getpid(),
            "version": touchstone.__version__,
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "updated_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "uptime_seconds": round(self._monotonic() - self._started, 1),
            "starts": self._starts,
            "venue_time": _moment(self._bot.last_look_ns),
            "mode": {
                "runner": "fallback" if plan.options.fallback else "week3",
                "profile": plan.profile.name,
                "venue": "paper" if plan.paper else "coinbase",
                "dry_run": plan.profile.dry_run,
                "trading_state": gate.state.value,
                "trading_state_known": gate.known,
                "trading_state_why": gate.why,
            },
            **self.figures(),
            "last_event_age_seconds": self._ages(),
            "go_no_go": {"decision": verdict.decision.value, "reasons": list(verdict.reasons)},
        }

    def figures(self) -> dict[str, Any]:
        """Return the figures that are kept each metrics interval, too."""
        now = self._go_no_go.now()
        rows = self._go_no_go.measurements(now)
        bot, engine = self._bot, self._engine
        return {
            "orders": {**self._counts.to_json(), "working": len(engine.ledger.working())},
            "decisions": {
                "entries_accepted": bot.entries_accepted,
                "entries_rejected": bot.entries_rejected,
                "rejected_by_reason": dict(bot.reasons.most_common()),
                "exits": bot.exits,
            },
            "last_day": {name: _short(row) for name, row in rows.items()},
            "positions": [
                position_json(engine.ledger.position(symbol), engine.quotes.mark(symbol))
                for symbol in engine.symbols
            ],
            "pnl": dict(self._money()),
        }

    def _ages(self) -> dict[str, float | None]:
        now = self._monotonic()
        ages: dict[str, float | None] = {
            f"market {symbol}": self._engine.quotes.age_seconds(symbol)
            for symbol in self._plan.options.symbols
        }
        for name, at in (
            ("order", self._counts.answered_at),
            ("fill", self._counts.filled_at),
        ):
            ages[name] = None if at is None else now - at
        return {name: None if age is None else round(age, 3) for name, age in ages.items()}


def _short(row: Measurement) -> dict[str, Any]:
    """Return what a row of the matrix is measured at, without its single values."""
    if row.values:
        ordered = sorted(row.values)
        return {
            "n": row.n,
            "p50": ordered[len(ordered) // 2],
            "p95": ordered[int(len(ordered) * 0.95)],
            "max": ordered[-1],
        }
    if row.total:
        return {"n": row.n, "mean": row.total / row.n}
    return {"n": row.n, "count": row.part, "share": row.part / row.n}


def _moment(time_ns: int | None) -> str | None:
    if time_ns is None:
        return None
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="seconds")
