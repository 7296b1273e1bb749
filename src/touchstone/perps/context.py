"""What the checks of an order look at: the market, the limits, and the account at one moment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from touchstone.perps.capabilities import ASSUMED, Capability
from touchstone.perps.kill import Gate
from touchstone.perps.orders import Intent, Order
from touchstone.perps.products import ProductRules
from touchstone.perps.refusals import Refusal
from touchstone.perps.sizing import SizingMode


@dataclass(frozen=True, slots=True)
class Quote:
    """The touch: best bid and ask, in quote currency, and how old they are."""

    bid: Decimal | None
    ask: Decimal | None
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Depth:
    """What stands at the touch and within ten levels of one side of the book, in dollars."""

    l1: Decimal
    l10: Decimal


@dataclass(frozen=True, slots=True)
class Sizing:
    """How entries are fitted to the depth: the mode, and the impact that is accepted."""

    mode: SizingMode
    max_impact_bps: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of risk, in quote currency; None is no limit."""

    max_order_notional: Decimal
    max_orders_per_minute: int
    quote_stale_after_seconds: float = 10.0
    max_position_notional: Decimal | None = None
    max_total_notional: Decimal | None = None
    max_leverage: Decimal | None = None
    sizing: Sizing | None = None
    dry_run: bool = False


EntryRule = Callable[[Intent, Decimal], Refusal | None]
"""One more rule for entries: the order and its worst price, to a refusal or None. It is pure: what
it knows of the market and the account was gathered before, and what it does not know refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything the checks look at, gathered at one moment without awaiting anything.

    `position` is the confirmed signed quantity of the symbol, `working` the symbol's orders that
    may still fill (those of unknown outcome included), `entries_last_minute` how many went out
    that could increase risk. `depth` is what the order would consume, `other_exposure` what all
    other symbols may come to in the worst case; both, and `equity`, are None where nobody knows.
    `venue_now_ns` is the venue's clock, None before it is known.
    """

    gate: Gate
    limits: Limits
    now_ns: int
    rules: ProductRules | None
    quote: Quote | None
    position: Decimal
    reconciled: bool
    known: Mapping[str, Order] = field(default_factory=dict)
    working: Sequence[Order] = ()
    entries_last_minute: int = 0
    draining: bool = False
    capabilities: frozenset[Capability] = ASSUMED
    depth: Depth | None = None
    other_exposure: Decimal | None = Decimal(0)
    equity: Decimal | None = None
    venue_now_ns: int | None = None
    entry_rules: Sequence[EntryRule] = ()
