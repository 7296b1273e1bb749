"""Whoever gives the gateway its orders: a bot that lives longer than any gateway process.

It asks for anything that may be asked for, repeats itself, changes its mind, and after a crash asks
again for what it has no answer to. What it does is drawn from the seed and from what it can see.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from lob.errors import Fault
from lob.types import Side, TimeInForce
from services.order_gateway.engine import Engine, Submitted
from services.order_gateway.flatten import Flattening
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.replacing import Terms
from touchstone.perps.checks import Refusal
from touchstone.perps.kill import LOOSENING, TradingState
from touchstone.perps.orders import Attached, Intent, OrderType

MIDDLE: Final = {"BTC-PERP": Decimal(100_000), "ETH-PERP": Decimal(4_000)}
TICK: Final = {"BTC-PERP": Decimal(5), "ETH-PERP": Decimal("0.5")}
UNIT: Final = {"BTC-PERP": Decimal("0.01"), "ETH-PERP": Decimal("0.1")}
AGAIN: Final = 4
"""How many earlier orders a bot asks for again when the gateway is back."""


@dataclass
class Asked:
    """One order that the bot has asked for, and the last it heard of it."""

    intent: Intent
    answered: bool = False
    outcome: str = ""


@dataclass
class Client:
    """The bot: what it has asked for, and the dice that decide what comes next."""

    rng: random.Random
    symbols: list[str]
    venue_now_ns: Callable[[], int]
    pace_seconds: float
    asked: dict[str, Asked] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    kills: bool = True
    closes: int = 0
    trace: Callable[..., None] = lambda *_: None
    weights: dict[str, int] = field(default_factory=dict)

    async def trade(self, engine: Engine, kill_switch: KillSwitch, flattening: Flattening) -> None:
        """Do one thing after the other, several at once where they take long; until cancelled."""
        async with asyncio.TaskGroup() as group:
            before = list(self.asked.values())
            again = [asked for asked in before if not asked.answered]
            # And what it has an answer to, as one that has lost its memory.
            again += self.rng.sample(before, min(AGAIN, len(before)))
            for asked in again:
                group.create_task(self._submit(engine, asked.intent))
            while True:
                await asyncio.sleep(self.rng.expovariate(1 / self.pace_seconds))
                group.create_task(self._act(engine, kill_switch, flattening))

    async def _act(self, engine: Engine, kill_switch: KillSwitch, flattening: Flattening) -> None:
        acts: dict[str, Callable[[], Any]] = {
            "enter": lambda: self._submit(engine, self._entry(engine)),
            "exit": lambda: self._submit(engine, self._exit(engine)),
            "cancel": lambda: self._cancel(engine),
            "repeat": lambda: self._repeat(engine),
            "replace": lambda: self._replace(engine),
            "close": lambda: self._close(engine),
            "kill": lambda: self._kill(kill_switch),
            "flatten": lambda: flattening.start(reason="drawn", actor="simulation"),
        }
        weights = [self.weights.get(name, _WEIGHTS[name]) for name in acts]
        name = self.rng.choices(list(acts), weights)[0]
        self.trace("act", name)
        try:
            await acts[name]()
        except Fault as fault:
            self.trace(name, "fault", str(fault))

    async def _submit(self, engine: Engine, intent: Intent) -> None:
        asked = self.asked.setdefault(intent.client_order_id, Asked(intent))
        self.trace("submit", intent)
        outcome = await engine.submit(intent)
        asked.answered = True
        if isinstance(outcome, Refusal):
            asked.outcome = f"refusal {outcome.reason}"
        elif isinstance(outcome, Submitted):
            asked.outcome = outcome.order.state.value
        self.trace("submitted", intent.client_order_id, asked.outcome)

    async def _cancel(self, engine: Engine) -> None:
        key = self._some_id(engine)
        if key:
            self.trace("cancel", key)
            order = await engine.cancel(key)
            self.trace("cancelled", key, order.state.value)

    async def _repeat(self, engine: Engine) -> None:
        if not self.asked:
            return
        intent = self.rng.choice(list(self.asked.values())).intent
        if self.rng.random() < 0.4:
            other = replace(intent, quantity=intent.quantity + UNIT[intent.symbol])
            self.trace("repeat with other terms", intent.client_order_id)
            await engine.submit(other)
        else:
            await self._submit(engine, intent)

    async def _replace(self, engine: Engine) -> None:
        key = self._some_id(engine)
        order = engine.ledger.get(key)
        if order is None:
            return
        rng, intent = self.rng, order.intent
        quantity = self._quantity(intent.symbol) if rng.random() < 0.6 else None
        price = self._price(intent.symbol, intent.side, rng.randint(-1, 6))
        has_limit = intent.order_type.has_limit and rng.random() < 0.7
        terms = Terms(quantity=quantity, limit_price=price if has_limit else None)
        self.trace("replace", key, terms)
        outcome = await engine.replace(key, terms)
        if isinstance(outcome, Refusal):
            self.trace("not replaced", key, outcome.reason)
        else:
            self.trace("replaced", key, outcome.original.state, outcome.child and "by a child")

    async def _close(self, engine: Engine) -> None:
        symbol = self.rng.choice(self.symbols)
        again = self.closes and self.rng.random() < 0.3
        if not again:
            self.closes += 1
        self.trace("close", symbol, self.closes)
        closed = await engine.close(symbol, f"k{self.closes}", seconds=3.0)
        self.trace("closed", symbol, closed.quantity, closed.refusal, closed.problem)

    async def _kill(self, kill_switch: KillSwitch) -> None:
        if not self.kills:
            return
        rng, scopes = self.rng, kill_switch.scopes
        closed = [s for s in scopes if scopes[s].gate().state is not TradingState.ACTIVE]
        if closed and rng.random() < 0.85:
            scope = rng.choice(closed)
            present = scopes[scope].gate().state
            looser = sorted(LOOSENING[present] - {TradingState.CANCEL_ONLY})
            state: TradingState = looser[0]
        elif rng.random() < 0.3:
            scope = rng.choice(("global", *scopes))
            present = scopes[scope].gate().state
            state = rng.choice(_TIGHTER)
        else:
            return
        self.trace("kill", scope, present, "->", state)
        await kill_switch.change(
            state,
            actor="simulation",
            reason="drawn",
            expected_generation=kill_switch.scopes[scope].generation,
            scope=scope,
        )

    # ---------------------------------------------------------------- what to ask for

    def _entry(self, engine: Engine) -> Intent:
        symbol = self.rng.choice(self.symbols)
        held = engine.ledger.position(symbol).quantity
        leaning = 0 if held == 0 else (1 if held > 0 else -1)
        side = self.rng.choice(list(Side))
        if leaning * side.sign > 0 and self.rng.random() < 0.5:
            side = side.opposite
        return self._terms(symbol, side, self._quantity(symbol), reduce_only=False)

    def _exit(self, engine: Engine) -> Intent:
        symbol = self.rng.choice(self.symbols)
        held = engine.ledger.position(symbol).quantity
        side = Side.SELL if held > 0 else Side.BUY
        whole = abs(held) if held and self.rng.random() < 0.5 else self._quantity(symbol)
        return self._terms(symbol, side, whole, reduce_only=self.rng.random() < 0.9)

    def _terms(self, symbol: str, side: Side, quantity: Decimal, *, reduce_only: bool) -> Intent:
        rng = self.rng
        base = Intent(
            client_order_id=f"c{len(self.asked)}",
            symbol=symbol,
            side=side,
            quantity=quantity,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.IOC,
            reduce_only=reduce_only,
        )
        away = self._price(symbol, side, rng.randint(1, 5))
        across = self._price(symbol, side, -rng.randint(1, 4))
        kind = rng.choices(
            ("market", "limit", "post", "gtd", "ioc", "fok", "stop", "stop-limit", "bracket"),
            (3, 4, 3, 2, 2, 1, 3, 2, 1),
        )[0]
        expires = self.venue_now_ns() + int(rng.uniform(0.2, 5.0) * 1e9)
        limit = replace(
            base, order_type=OrderType.LIMIT, time_in_force=TimeInForce.GTC, limit_price=away
        )
        beyond = self._price(symbol, side, -rng.randint(1, 4))
        match kind:
            case "limit":
                intent = limit
            case "post":
                intent = replace(limit, post_only=True)
            case "gtd":
                intent = replace(limit, time_in_force=TimeInForce.GTD, expires_at_ns=expires)
            case "ioc":
                intent = replace(limit, time_in_force=TimeInForce.IOC, limit_price=across)
            case "fok":
                intent = replace(limit, time_in_force=TimeInForce.FOK, limit_price=across)
            case "stop":
                intent = replace(
                    base,
                    order_type=OrderType.STOP,
                    time_in_force=TimeInForce.GTC,
                    stop_price=beyond,
                )
            case "stop-limit":
                intent = replace(
                    limit,
                    order_type=OrderType.STOP_LIMIT,
                    stop_price=beyond,
                    limit_price=beyond + side.sign * TICK[symbol] * rng.randint(0, 4),
                )
            case "bracket":
                intent = replace(
                    limit,
                    order_type=OrderType.BRACKET,
                    reduce_only=True,
                    limit_price=self._price(symbol, side, 5),
                    stop_price=self._price(symbol, side, -6),
                )
            case _:
                intent = base
        if not reduce_only and kind in ("limit", "market", "ioc") and rng.random() < 0.15:
            exit_side = side.opposite
            attached = Attached(
                take_profit_price=self._price(symbol, exit_side, 8),
                stop_price=self._price(symbol, exit_side, -8),
            )
            intent = replace(intent, attached=attached)
        return intent

    def _price(self, symbol: str, side: Side, ticks_away: int) -> Decimal:
        """Return a price so many ticks on the passive side of the first middle."""
        return MIDDLE[symbol] - side.sign * TICK[symbol] * ticks_away

    def _quantity(self, symbol: str) -> Decimal:
        return UNIT[symbol] * self.rng.choice((1, 1, 2, 3, 5, 8))

    def _some_id(self, engine: Engine) -> str:
        working = [order.intent.client_order_id for order in engine.ledger.working()]
        if working and self.rng.random() < 0.8:
            return self.rng.choice(working)
        return self.rng.choice(list(self.asked)) if self.asked else ""


_TIGHTER: Final = (
    TradingState.REDUCE_ONLY,
    TradingState.REDUCE_ONLY,
    TradingState.CANCEL_ONLY,
    TradingState.HALTED,
)
_WEIGHTS: Final = {
    "enter": 40,
    "exit": 22,
    "cancel": 14,
    "repeat": 8,
    "replace": 8,
    "close": 1,
    "kill": 8,
    "flatten": 1,
}
