"""The kill switch as a table: what each trading state permits, and how states may change.

Permission expires, prohibition never does: a missing record means HALTED, an unreadable or stale
one closes the gate to new risk, and of several states the strictest wins. Tightening is free;
loosening takes a reason and the present generation, and passes through REDUCE_ONLY. Each scope
(global, an account, a strategy, a symbol) has a state of its own, and all that apply must permit.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lob.errors import InvalidInput


class TradingState(StrEnum):
    """How far trading is closed, from open to shut."""

    ACTIVE = "ACTIVE"
    REDUCE_ONLY = "REDUCE_ONLY"
    CANCEL_ONLY = "CANCEL_ONLY"
    HALTED = "HALTED"

    @property
    def strictness(self) -> int:
        """Return 0 for ACTIVE up to 3 for HALTED."""
        return STRICTNESS[self]


class Action(StrEnum):
    """What a command does to risk."""

    INCREASE = "INCREASE"
    REDUCE = "REDUCE"
    CANCEL = "CANCEL"


STRICTNESS: Final = {state: rank for rank, state in enumerate(TradingState)}

# A cancel is permitted everywhere: no state may keep an order alive that its owner wants gone.
PERMITTED: Final[dict[TradingState, frozenset[Action]]] = {
    TradingState.ACTIVE: frozenset({Action.INCREASE, Action.REDUCE, Action.CANCEL}),
    TradingState.REDUCE_ONLY: frozenset({Action.REDUCE, Action.CANCEL}),
    TradingState.CANCEL_ONLY: frozenset({Action.CANCEL}),
    TradingState.HALTED: frozenset({Action.CANCEL}),
}

# The only ways to loosen: nothing but REDUCE_ONLY leads back to ACTIVE.
LOOSENING: Final[dict[TradingState, frozenset[TradingState]]] = {
    TradingState.ACTIVE: frozenset(),
    TradingState.REDUCE_ONLY: frozenset({TradingState.ACTIVE}),
    TradingState.CANCEL_ONLY: frozenset({TradingState.REDUCE_ONLY}),
    TradingState.HALTED: frozenset({TradingState.CANCEL_ONLY, TradingState.REDUCE_ONLY}),
}


@dataclass(frozen=True, slots=True)
class Gate:
    """What the kill switch says at one moment.

    `known` is false where the control state is unread, older than its limit, or of a lower
    generation than one seen before; `state` then is the strictest of REDUCE_ONLY and what was
    last known. `why` says in words how the state came about.
    """

    state: TradingState
    known: bool
    age_seconds: float
    why: str

    def permits(self, action: Action) -> bool:
        """Return whether `action` may go ahead now."""
        return permits(self.state, action)


def permits(state: TradingState, action: Action) -> bool:
    """Return whether `state` permits `action`.

    >>> permits(TradingState.REDUCE_ONLY, Action.INCREASE)
    False
    """
    return action in PERMITTED[state]


def strictest(states: Iterable[TradingState]) -> TradingState:
    """Return the strictest of `states`; HALTED when there is none.

    >>> strictest([TradingState.ACTIVE, TradingState.CANCEL_ONLY])
    <TradingState.CANCEL_ONLY: 'CANCEL_ONLY'>
    """
    return max(states, key=STRICTNESS.__getitem__, default=TradingState.HALTED)


def parse_state(text: str) -> TradingState:
    """Return the state named `text`; HALTED for a name that is none of ours."""
    try:
        return TradingState(text)
    except ValueError:
        return TradingState.HALTED


def is_loosening(present: TradingState, wanted: TradingState) -> bool:
    """Return whether going from `present` to `wanted` permits more than before."""
    return wanted.strictness < present.strictness


def why_not(present: TradingState, wanted: TradingState, reason: str) -> str:
    """Return why the change is not allowed, or '' when it is.

    The generation of a loosening is compared where the state is stored, atomically.
    """
    if not is_loosening(present, wanted):
        return ""
    if not reason.strip():
        return "reason: '': loosening the kill switch needs a reason"
    if wanted not in LOOSENING[present]:
        allowed = ", ".join(sorted(LOOSENING[present]))
        return f"state: {wanted}: from {present} it may only be loosened to {allowed}"
    return ""


GLOBAL_SCOPE: Final = "global"
SCOPE_FORM: Final = r"global|(account|strategy|symbol):[A-Za-z0-9_.:-]{1,64}"
"""How a scope is written: one of everything, or one account, strategy or symbol."""
_SCOPE: Final = re.compile(SCOPE_FORM)


def parse_scope(text: str) -> str:
    """Return the scope written as `text`.

    Raises:
        InvalidInput: it is none.

    >>> parse_scope("symbol:BTC-PERP")
    'symbol:BTC-PERP'
    """
    if not _SCOPE.fullmatch(text):
        raise InvalidInput(
            f"scope: {text[:80]!r}; allowed: global, account:<id>, strategy:<name>, symbol:<symbol>"
        )
    return text


def scopes_of(account: str, strategy: str = "", symbol: str = "") -> tuple[str, ...]:
    """Return the scopes that apply to an order, widest first; one left empty has none.

    >>> scopes_of("main", symbol="BTC-PERP")
    ('global', 'account:main', 'symbol:BTC-PERP')
    """
    parts = (("account", account), ("strategy", strategy), ("symbol", symbol))
    return (GLOBAL_SCOPE, *(f"{kind}:{name}" for kind, name in parts if name))


def strictest_gate(gates: Mapping[str, Gate]) -> Gate:
    """Return what holds where several scopes apply: the strictest, and of equals one that is known.

    A missing scope is no gate at all, so that whoever has none is HALTED.
    """
    if not gates:
        return Gate(TradingState.HALTED, known=False, age_seconds=float("inf"), why="no scope")
    scope, gate = max(gates.items(), key=lambda item: (item[1].state.strictness, item[1].known))
    age = max(each.age_seconds for each in gates.values())
    why = gate.why if scope == GLOBAL_SCOPE else f"{scope}: {gate.why}"
    return Gate(gate.state, known=gate.known, age_seconds=age, why=why)
