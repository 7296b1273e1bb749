"""The kill switch of one gateway process: every scope that applies to an order must permit it.

The effective state is the strictest of the scopes (global, account, strategy, symbol), and in each
the strictest of what Redis says and what this process was told directly (`kill_scope`). A scope
without a record is HALTED, and so is one that this gateway does not have.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Self

import structlog

from lob.errors import Conflict, Fault, InvalidInput
from services.order_gateway.kill_scope import (
    PERSIST_SECONDS,
    Change,
    KillJournal,
    ScopeSwitch,
    control_scope,
)
from services.order_gateway.metrics import GatewayMetrics
from touchstone.kit.control import KILL_SCOPE, ControlStore, ScopesReader
from touchstone.kit.leases import SendGate
from touchstone.kit.ledger_entries import Watermark
from touchstone.kit.membership import SEEN_MILLISECONDS, Membership, member_name
from touchstone.perps.kill import (
    GLOBAL_SCOPE,
    Gate,
    TradingState,
    scopes_of,
    strictest_gate,
)

WATCH_SECONDS: Final = 0.05
HEARTBEAT_MILLISECONDS: Final = 1_000
# Answers kept for the next order, never beyond what was checked.
CACHED_MAX: Final = 1_024

_log = structlog.get_logger("touchstone.gateway.kill")


class KillSwitch:
    """Answer `gate()` without waiting, and change the state of any scope.

    Use it as an async context manager: it reads all scopes in one round trip, holds a lease on
    each, and leaves each when it ends.
    """

    def __init__(
        self,
        control: ControlStore,
        journal: KillJournal,
        metrics: GatewayMetrics,
        *,
        scopes: Iterable[str],
        watermarks: Mapping[str, Watermark],
        first_state: TradingState,
        stale_after_seconds: float,
        account: str = "",
        send_gate: SendGate | None = None,
    ) -> None:
        """Make the switch; `first_state` is of the global scope, the others begin ACTIVE.

        Args:
            control: Redis.
            journal: what keeps generations over a restart.
            metrics: where states and waits are counted.
            scopes: every scope that an order here can have, global included.
            watermarks: by scope name in Redis, what the journal kept.
            first_state: of the global scope, where nothing ever had a state.
            stale_after_seconds: how old the control state may be.
            account: whose orders these are.
            send_gate: what orders pass between their last check and the socket.
        """
        self._metrics = metrics
        self._account = account
        self.member = member_name("gateway")
        gate = send_gate or SendGate()
        members = {
            scope: Membership(
                self.member,
                gate=gate,
                # A watchdog looks here whether this process lives: one small write a second.
                seen_milliseconds=HEARTBEAT_MILLISECONDS
                if scope == GLOBAL_SCOPE
                else SEEN_MILLISECONDS,
            )
            for scope in scopes
        }
        keys = {scope: control_scope(scope) for scope in members}
        self._reader = ScopesReader(
            control,
            {keys[scope]: member for scope, member in members.items()},
            floors={key: mark.generation for key, mark in watermarks.items()},
        )
        self.scopes = {
            scope: ScopeSwitch(
                scope,
                control,
                self._reader,
                journal,
                watermark=watermarks.get(keys[scope]),
                first_state=first_state if scope == GLOBAL_SCOPE else TradingState.ACTIVE,
                stale_after_seconds=stale_after_seconds,
            )
            for scope in members
        }
        for scope, member in members.items():
            member.before_ack = self.scopes[scope].remember
        self._cache: dict[tuple[str, str], tuple[float, int, Gate]] = {}
        self.send_gate = gate
        self.may_go_active: Callable[[], str] = lambda: ""
        """Returns why ACTIVE is not allowed yet (positions not reconciled), '' when it is."""

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.__aexit__(None, None, None)

    def gate(self, symbol: str = "", strategy: str = "") -> Gate:
        """Return what holds for an order of this symbol and strategy now; never waits.

        With neither it is what holds for the whole account. Constant time: while nothing changed,
        the last answer serves until a lease or the age ends it.
        """
        version = self._version()
        cached = self._cache.get((symbol, strategy))
        if cached is not None and cached[1] == version and time.monotonic() < cached[0]:
            return cached[2]
        names = scopes_of(self._account, strategy, symbol)
        now = time.monotonic()
        gate = strictest_gate({name: self._gate_of(name) for name in names})
        if gate.known and all(name in self.scopes for name in names):
            holds = min(self.scopes[name].holds_seconds() for name in names)
            if len(self._cache) >= CACHED_MAX:
                self._cache.clear()
            self._cache[symbol, strategy] = (now + holds, version, gate)
        return gate

    def closes(self, symbol: str, strategy: str = "") -> bool:
        """Return whether some scope is set to REDUCE_ONLY or stricter for these orders.

        A state that is merely unknown closes the gate, but it cancels nothing.
        """
        names = scopes_of(self._account, strategy, symbol)
        return any(name in self.scopes and _is_closed(self.scopes[name].gate()) for name in names)

    def describe(self) -> dict[str, Any]:
        """Return the kill switch as `GET /v1/kill-switch` shows it: the global scope, then all."""
        shown = self._global.describe()
        gate = self.gate()
        return shown | {
            "state": gate.state.value,
            "known": gate.known,
            "why": gate.why,
            "scopes": [scope.describe() for scope in self.scopes.values()],
        }

    @property
    def generation(self) -> int:
        """Return the highest generation of the global scope that was seen or stored."""
        return self._global.generation

    async def change(
        self,
        wanted: TradingState,
        *,
        actor: str,
        reason: str,
        expected_generation: int | None,
        scope: str = GLOBAL_SCOPE,
    ) -> Change:
        """Tighten (always works) or loosen (needs reason, generation and a live Redis).

        Raises:
            Conflict: the loosening is not allowed from the present state or generation.
            InvalidInput: no such scope here; the loosening has no reason or no generation.
            Unavailable: a loosening while the control state is unknown or Redis is away.
        """
        switch = self._scope(scope)
        if not switch.loosens(wanted):
            return await self.tighten(wanted, actor=actor, reason=reason, scope=scope)
        if wanted is TradingState.ACTIVE and reason.strip() and (why := self.may_go_active()):
            raise Conflict(f"state: ACTIVE: not allowed yet: {why}")
        made = await switch.loosen(
            wanted, actor=actor, reason=reason, expected_generation=expected_generation
        )
        closed = [
            f"{name} ({gate.state})"
            for name, other in self.scopes.items()
            if name != scope and _is_closed(gate := other.gate())
        ]
        if not closed:
            return made
        # Whoever opens one scope hears of the others that keep orders back.
        return replace(made, detail=f"{made.detail}; still closed: {', '.join(closed)}")

    async def tighten(
        self, wanted: TradingState, *, actor: str, reason: str, scope: str = GLOBAL_SCOPE
    ) -> Change:
        """Close a scope: at once in process, then in Redis, then acknowledged by every gateway."""
        made = await self._scope(scope).tighten(wanted, actor=actor, reason=reason)
        told = made.acknowledgement
        if told is not None and told.acked is not None:
            # One child for all that is not global: who makes up scopes must not make up series.
            name = KILL_SCOPE if scope == GLOBAL_SCOPE else f"kill:{scope.partition(':')[0]}"
            self._metrics.ack_seconds.labels(name).observe(told.seconds)
        return made

    async def watch(self, on_closed: Callable[[], Awaitable[None]]) -> None:
        """Keep metrics, watermarks, latches and first states up to date, until cancelled.

        `on_closed` is called whenever a scope is set to REDUCE_ONLY or stricter (not when it is
        merely unknown: that closes the gate, but cancels nothing), again until it succeeds.
        """
        tried, handled = 0, frozenset[str]()
        while True:
            handled = await self._handle_closed(on_closed, handled)
            for switch in self.scopes.values():
                await _succeeds(switch.note_generation)
            tried += 1
            # Every fifth turn: what Redis refused a moment ago is not asked for at once.
            if tried % 5 == 1:
                for switch in self.scopes.values():
                    await _succeeds(switch.first_record, PERSIST_SECONDS)
                    await _succeeds(switch.persist_latch, PERSIST_SECONDS)
            await asyncio.sleep(WATCH_SECONDS)

    async def _handle_closed(
        self, on_closed: Callable[[], Awaitable[None]], handled: frozenset[str]
    ) -> frozenset[str]:
        """Have entries cancelled under what has closed since; return what is handled now.

        No store or Redis stands before this.
        """
        gates = {name: switch.gate() for name, switch in self.scopes.items()}
        self._metrics.kill_state.set(self.gate().state.strictness)
        self._metrics.control_age.labels(KILL_SCOPE).set(gates[GLOBAL_SCOPE].age_seconds)
        for name, gate in gates.items():
            self._metrics.safety.scope_state.labels(name).set(gate.state.strictness)
        closed = frozenset(name for name, gate in gates.items() if _is_closed(gate))
        return closed if closed <= handled or await _succeeds(on_closed) else handled & closed

    @property
    def _global(self) -> ScopeSwitch:
        return self.scopes[GLOBAL_SCOPE]

    def _scope(self, name: str) -> ScopeSwitch:
        switch = self.scopes.get(name)
        if switch is None:
            known = ", ".join(self.scopes)
            raise InvalidInput(f"scope: {name!r}: no order here has it; allowed: {known}")
        return switch

    def _gate_of(self, name: str) -> Gate:
        switch = self.scopes.get(name)
        if switch is None:
            why = f"{name} is no scope of this gateway"
            return Gate(TradingState.HALTED, known=False, age_seconds=0.0, why=why)
        return switch.gate()

    def _version(self) -> int:
        version = self._reader.version
        for switch in self.scopes.values():
            version += switch.version
        return version


def _is_closed(gate: Gate) -> bool:
    return gate.known and gate.state is not TradingState.ACTIVE


async def _succeeds(step: Callable[[], Awaitable[None]], seconds: float | None = None) -> bool:
    """Take one step, for at most `seconds`; return False where it is to be tried again."""
    try:
        async with asyncio.timeout(seconds):
            await step()
    except (Fault, TimeoutError) as error:
        _log.debug("kill_switch_pending", why=str(error) or type(error).__name__)
        return False
    return True
