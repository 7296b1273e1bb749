"""The bot's loop: look at each symbol in venue time, decide, have the gateway act, record why.

It asks the engine like any caller and has no way past its checks. What it knows it reads anew at
each look, from the ledger and the feed, so that a restart goes on where the orders are.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol

from lob.errors import Fault
from services.order_gateway.bot_orders import (
    DecisionKey,
    entries,
    entry_intent,
    exit_intent,
    protection_intent,
    reducing,
)
from services.order_gateway.engine import Submitted
from touchstone.kit.event_store import Record
from touchstone.perps.checks import Refusal, RefusalReason
from touchstone.perps.filters import EntryRefusal, MarketView
from touchstone.perps.indicators import BarBuilder
from touchstone.perps.orders import Intent, Order
from touchstone.perps.products import ProductRules
from touchstone.perps.profiles import Profile
from touchstone.perps.strategy import AccountView, Action, Decision, Strategy

LOOKS_A_BAR: Final = 5
"""A market that is thin for a moment is asked again before the bar ends."""
POLL_SECONDS: Final = 0.01
"""Of our clock: on a venue whose time is accelerated it is seconds."""
ENTRY_BARS: Final = 12
"""A resting entry that has not filled after so many bars is no longer about this market."""
CANCEL_SECONDS: Final = 2.0
CANCEL_POLL_SECONDS: Final = 0.01
_NS: Final = 1_000_000_000


class Desk(Protocol):
    """What the bot sees of the gateway."""

    def now_ns(self) -> int | None:
        """Return the venue's time; None before it is known."""
        ...

    def market(self, symbol: str) -> MarketView:
        """Return the market as it is now."""
        ...

    def account(self, symbol: str) -> AccountView:
        """Return the account as far as a decision about the symbol needs it."""
        ...

    def rules(self, symbol: str) -> ProductRules | None:
        """Return the product's rules; None before they are known."""
        ...

    def working(self, symbol: str) -> list[Order]:
        """Return the orders of the symbol that are not over."""
        ...

    async def submit(self, intent: Intent) -> Submitted | Refusal:
        """Ask for an order."""
        ...

    async def cancel(self, client_order_id: str) -> None:
        """Ask for a cancel."""
        ...

    def note(self, record: Record) -> None:
        """Append an event."""
        ...


Say = Callable[[str, str], None]
"""Told the symbol and one line about it."""


@dataclass(slots=True)
class _Watched:
    """What is remembered of one symbol between two looks."""

    strategy: Strategy
    bars: BarBuilder
    bar_ns: int = 0
    told: tuple[object, ...] = ()
    entry_since_ns: dict[str, int] = field(default_factory=dict)


class Bot:
    """Trade some symbols through a desk."""

    def __init__(
        self,
        desk: Desk,
        profile: Profile,
        symbols: tuple[str, ...],
        *,
        bot_id: str,
        update_seconds: float,
        make_strategy: Callable[[], Strategy],
        say: Say,
        protect: bool = True,
    ) -> None:
        """Make a bot that has seen nothing yet.

        Args:
            desk: the gateway.
            profile: what it goes by.
            symbols: what it trades.
            bot_id: part of every client id.
            update_seconds: the length of a bar, in venue time.
            make_strategy: one strategy for each symbol.
            say: told each decision.
            protect: whether positions get a stop at the venue.
        """
        self._desk = desk
        self._profile = profile
        self._bot_id = bot_id
        self._say = say
        self._protect = protect
        self._bar_ns = max(1, round(update_seconds * _NS))
        self._watched = {s: _Watched(make_strategy(), BarBuilder(self._bar_ns)) for s in symbols}
        self.entries_accepted = 0
        self.entries_rejected = 0
        self.exits = 0
        self.reasons: Counter[str] = Counter()
        self.last_look_ns: int | None = None
        self.stopping = False
        self._done: dict[str, dict[tuple[object, ...], int]] = {}

    async def run(self, duration_seconds: float | None = None) -> None:
        """Look again and again, until cancelled or `duration_seconds` of venue time are over."""
        started_ns: int | None = None
        looked_ns = 0
        while not self.stopping:
            now_ns = self._desk.now_ns()
            if now_ns is not None and now_ns - looked_ns >= self._bar_ns // LOOKS_A_BAR:
                started_ns = now_ns if started_ns is None else started_ns
                looked_ns = now_ns
                await self.look_at_all(now_ns)
                if duration_seconds is not None and (now_ns - started_ns >= duration_seconds * _NS):
                    return
            await asyncio.sleep(POLL_SECONDS)

    async def look_at_all(self, now_ns: int) -> None:
        """Look at each symbol once."""
        for symbol in self._watched:
            if self.stopping:
                return
            try:
                await self.look(symbol, now_ns)
            except Fault as fault:
                self._tell(symbol, ("fault", str(fault)), f"not done: {fault}")
        self.last_look_ns = now_ns

    async def look(self, symbol: str, now_ns: int) -> Decision:
        """Decide about a symbol and act on it; return the decision."""
        watched, market = self._watched[symbol], self._desk.market(symbol)
        watched.bar_ns = now_ns // self._bar_ns * self._bar_ns
        if market.mark is not None and market.is_fresh:
            bar = watched.bars.add(now_ns, market.mark)
            if bar is not None:
                watched.strategy.on_bar(bar.end_ns, bar.close)
        account = self._desk.account(symbol)
        decision = watched.strategy.decide(market, account)
        key = DecisionKey(self._bot_id, symbol, watched.bar_ns)
        if decision.action is Action.ENTER:
            await self._enter(key, decision, market, account, now_ns)
        elif decision.action is Action.EXIT:
            await self._exit(key, decision, market)
        else:
            self._note_hold(key, decision, market, account)
            await self._tidy(key, account, now_ns)
        return decision

    # ------------------------------------------------------------- entries and exits

    async def _enter(
        self,
        key: DecisionKey,
        decision: Decision,
        market: MarketView,
        account: AccountView,
        now_ns: int,
    ) -> None:
        working = self._desk.working(key.symbol)
        rules = self._desk.rules(key.symbol)
        # A cross is acted on once: what it came to is working, or was refused in this bar.
        if (
            entries(working, self._strategy(key.symbol).name)
            or decision.side is None
            or decision.notional is None
            or rules is None
            or not self._is_new(key, "entered")
        ):
            return
        intent = entry_intent(
            key,
            decision.side,
            decision.notional,
            market,
            profile=self._profile,
            rules=rules,
            strategy=self._strategy(key.symbol).name,
            expires_at_ns=now_ns + ENTRY_BARS * self._bar_ns,
        )
        if isinstance(intent, str):
            self._reject(key, decision, market, account, (EntryRefusal.SIZE.value,), intent)
            return
        outcome = await self._desk.submit(intent)
        reason, message = _refusal_of(outcome)
        dry = reason == RefusalReason.DRY_RUN
        if reason and not dry:
            self._reject(key, decision, market, account, (reason,), message, intent)
            return
        order = outcome.order if isinstance(outcome, Submitted) else None
        self.entries_accepted += 1
        self._record(
            "entry_accepted", key, decision, market, account=account, intent=intent, order=order
        )
        sized = order.intent.quantity if order is not None else intent.quantity
        self._tell(
            key.symbol,
            ("entry", key.bar_ns),
            f"ENTER{' (dry run: not sent)' if dry else ''} {_terms(intent, sized)}: "
            f"{decision.message}; {_market_text(market)}",
        )

    async def _exit(self, key: DecisionKey, decision: Decision, market: MarketView) -> None:
        """Close the position: first what waits in the way of it goes, then a market order."""
        name = self._strategy(key.symbol).name
        if not await self._clear(key.symbol):
            return
        position = self._desk.account(key.symbol).quantity
        if not position:
            return
        intent = exit_intent(key, position, name)
        if not self._is_new(key, "left"):
            return
        outcome = await self._desk.submit(intent)
        reason, message = _refusal_of(outcome)
        self.exits += not reason
        order = outcome.order if isinstance(outcome, Submitted) else None
        event = "exit_refused" if reason else "exit_sent"
        self._record(event, key, decision, market, intent=intent, order=order, why=message)
        word = f"EXIT refused ({reason}): {message}" if reason else "EXIT"
        self._tell(
            key.symbol,
            ("exit", key.bar_ns),
            f"{word} {_terms(intent, intent.quantity)}: {decision.message} "
            f"[{', '.join(decision.reasons)}]",
        )

    async def _clear(self, symbol: str) -> bool:
        """Cancel the strategy's orders of a symbol and wait for it; return whether all are over."""
        name = self._strategy(symbol).name
        own = [o for o in self._desk.working(symbol) if o.intent.strategy == name]
        for order in own:
            if not order.cancel_wanted:
                await self._desk.cancel(order.intent.client_order_id)
        ids = {order.intent.client_order_id for order in own}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CANCEL_SECONDS
        while any(o.intent.client_order_id in ids for o in self._desk.working(symbol)):
            if loop.time() > deadline:
                self._tell(symbol, ("clear",), "EXIT waits: orders in its way are not over yet")
                return False
            await asyncio.sleep(CANCEL_POLL_SECONDS)
        return True

    # ------------------------------------------------------------- between decisions

    async def _tidy(self, key: DecisionKey, account: AccountView, now_ns: int) -> None:
        """Cancel entries that are too old, and keep exactly one stop behind a position."""
        watched = self._watched[key.symbol]
        name = watched.strategy.name
        working = self._desk.working(key.symbol)
        for order in entries(working, name):
            client_id = order.intent.client_order_id
            since_ns = watched.entry_since_ns.setdefault(client_id, now_ns)
            if now_ns - since_ns > ENTRY_BARS * self._bar_ns and not order.cancel_wanted:
                await self._desk.cancel(client_id)
                self._tell(key.symbol, ("old", client_id), f"entry {client_id} not filled: cancel")
        if len(watched.entry_since_ns) > len(working):
            alive = {order.intent.client_order_id for order in working}
            kept = {k: v for k, v in watched.entry_since_ns.items() if k in alive}
            watched.entry_since_ns = kept
        if account.quantity is not None:
            await self._protect_position(key, account, reducing(working, name))

    async def _protect_position(
        self, key: DecisionKey, account: AccountView, stops: list[Order]
    ) -> None:
        position, price = account.quantity, account.entry_price
        for order in stops:
            # In the way of a new stop, or of nothing any more.
            if order.intent.quantity != abs(position or 0) and not order.cancel_wanted:
                await self._desk.cancel(order.intent.client_order_id)
        rules = self._desk.rules(key.symbol)
        if not self._protect or not position or stops or price is None or rules is None:
            return
        intent = protection_intent(
            key,
            position,
            price,
            stop_pct=self._profile.stop_pct,
            rules=rules,
            strategy=self._strategy(key.symbol).name,
        )
        if not self._is_new(key, "protected"):
            return
        outcome = await self._desk.submit(intent)
        reason, message = _refusal_of(outcome)
        if reason:
            self._tell(key.symbol, ("stop", reason), f"no protective stop ({reason}): {message}")
        else:
            where = f"at {intent.stop_price:f}, limit {intent.limit_price:f}"
            text = f"protective stop {intent.side.value} {intent.quantity:f} {where}"
            self._tell(key.symbol, ("stop", key.bar_ns), text)

    # ------------------------------------------------------------- what is recorded and said

    def _note_hold(
        self, key: DecisionKey, decision: Decision, market: MarketView, account: AccountView
    ) -> None:
        if decision.side is not None and decision.reasons:
            self._reject(key, decision, market, account, decision.reasons, decision.message)
        elif decision.reasons:
            self._tell(key.symbol, decision.reasons, f"HOLD: {decision.message}")

    def _reject(
        self,
        key: DecisionKey,
        decision: Decision,
        market: MarketView,
        account: AccountView,
        reasons: tuple[str, ...],
        message: str,
        intent: Intent | None = None,
    ) -> None:
        """Count and record an entry that is not made, once a bar for the same reasons."""
        if not self._is_new(key, *reasons):
            return
        self.entries_rejected += 1
        self.reasons.update(reasons)
        self._record(
            "entry_rejected",
            key,
            decision,
            market,
            account=account,
            intent=intent,
            reasons=reasons,
            why=message,
        )
        side = decision.side.value if decision.side else ""
        text = f"no entry {side} [{', '.join(reasons)}]: {message}; {_market_text(market)}"
        self._tell(key.symbol, ("rejected", key.bar_ns, reasons), text)

    def _record(
        self,
        event_type: str,
        key: DecisionKey,
        decision: Decision,
        market: MarketView,
        *,
        account: AccountView | None = None,
        intent: Intent | None = None,
        order: Order | None = None,
        reasons: tuple[str, ...] = (),
        why: str = "",
    ) -> None:
        payload: dict[str, Any] = {
            "bar_ns": key.bar_ns,
            "strategy": self._strategy(key.symbol).name,
            "side": decision.side.value if decision.side else None,
            "reasons": list(reasons or decision.reasons),
            "message": why or decision.message,
            "market": _market_json(market),
        }
        if account is not None:
            payload["equity"] = _text(account.equity)
            payload["notional"] = _text(decision.notional)
        if intent is not None:
            payload["quantity"] = _text(intent.quantity)
        if order is not None:
            payload["sized_quantity"] = _text(order.intent.quantity)
            payload["status"] = order.state.value
        self._desk.note(
            Record(
                type=event_type,
                symbol=key.symbol,
                client_order_id=None if intent is None else intent.client_order_id,
                ts_event_ns=self._desk.now_ns(),
                payload=payload,
            ),
        )

    def _strategy(self, symbol: str) -> Strategy:
        return self._watched[symbol].strategy

    def _is_new(self, key: DecisionKey, *what: object) -> bool:
        """Return whether this was not done in this bar yet, and remember it."""
        seen = self._done.setdefault(key.symbol, {})
        if seen.get(what) == key.bar_ns:
            return False
        seen[what] = key.bar_ns
        return True

    def _tell(self, symbol: str, what: tuple[object, ...], text: str) -> None:
        """Say a line, unless it is what was said last of this symbol."""
        watched = self._watched[symbol]
        if watched.told != what:
            watched.told = what
            self._say(symbol, text)


def _refusal_of(outcome: Submitted | Refusal) -> tuple[str, str]:
    """Return the reason and the text of what did not go to the venue or was refused there."""
    if isinstance(outcome, Refusal):
        return outcome.reason.value, outcome.message
    if outcome.refusal is not None:
        return outcome.refusal.reason.value, outcome.refusal.message
    if outcome.order.state.value == "rejected":
        return "VENUE_REJECTED", outcome.order.reason
    return "", ""


def _terms(intent: Intent, quantity: Decimal) -> str:
    price = "" if intent.limit_price is None else f" @ {intent.limit_price:f}"
    kind = intent.order_type.value.lower()
    fitted = "" if quantity == intent.quantity else f" (sized down from {intent.quantity:f})"
    return f"{intent.side.value} {quantity.normalize():f} {kind}{price}{fitted}"


def _market_json(market: MarketView) -> dict[str, Any]:
    return {
        "mark": _text(market.mark),
        "bid": _text(market.bid),
        "ask": _text(market.ask),
        "spread_bps": _text(market.spread_bps, "0.0001"),
        "depth_l1_usd": {side.value: _text(usd, "0.01") for side, usd in market.depth_l1.items()},
        "depth_l10_usd": {side.value: _text(usd, "0.01") for side, usd in market.depth_l10.items()},
        "volume_1m_usd": _text(market.volume_1m_usd, "0.01"),
        "age_seconds": None if market.age_seconds is None else round(market.age_seconds, 3),
    }


def _market_text(market: MarketView) -> str:
    spread = "?" if market.spread_bps is None else f"{market.spread_bps:.2f}"
    volume = "?" if market.volume_1m_usd is None else f"{market.volume_1m_usd:.0f}"
    mark = "?" if market.mark is None else f"{market.mark:.2f}"
    return f"mark {mark}, spread {spread} bps, volume {volume} USD/min"


def _text(value: Decimal | None, places: str | None = None) -> str | None:
    if value is None:
        return None
    return format(value if places is None else value.quantize(Decimal(places)), "f")
