"""The one interface of all providers, and what they share."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal, getcontext, setcontext
from hashlib import blake2b
from itertools import repeat
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final, NamedTuple, Protocol

from execution_providers.fees import DEFAULT_FEES, FeeSchedule
from execution_providers.slippage import (
    EXACT,
    Seen,
    Slippage,
    Totals,
    average_price,
    plain,
    rounded,
)
from execution_providers.types import (
    BarData,
    CostEstimate,
    Fill,
    FillStatus,
    MarketState,
    Order,
    PartialFill,
)
from lob.errors import Fault, InvalidInput, NotSupported
from lob.types import AssetClass

ARITHMETIC: Final = Context(prec=28)
"""What operators on decimals mean in here, whatever the thread's own context says."""
_BPS_DIGITS: Final = Decimal("1E-9")
SEED_MAX: Final = 2**64 - 1
ONLY_AT_L3: Final = "only at level L3"
MODELS_OF_L3: Final = (
    "fill_probability",
    "queue_value",
    "market_impact",
    "hidden_liquidity",
    "dark_pools",
)


# A fill is filled through these: `Fill(...)` of a frozen class takes twice as long.
_new: Final = object.__new__
_made: Final = tuple.__new__
_slots: Final = vars(Fill)
_put_status: Final = _slots["status"].__set__
_put_filled: Final = _slots["filled_quantity"].__set__
_put_average: Final = _slots["average_price"].__set__
_put_fees: Final = _slots["fees"].__set__
_put_slippage: Final = _slots["slippage_bps"].__set__
_put_fills: Final = _slots["fills"].__set__
_put_why: Final = vars(Fill.__base__)["_why"].__set__


class ExecutionProvider(ABC):
    """Execute orders against a market state.

    A provider keeps counts and nothing else that a result could depend on: the same order, market,
    bar and seed give the same fill, whatever came before.
    """

    level: str

    def __init__(
        self, asset_class: AssetClass, seed: int = 0, fees: FeeSchedule | None = None
    ) -> None:
        self.asset_class = asset_class
        self.seed = require_seed(seed)
        self.fees = DEFAULT_FEES[asset_class] if fees is None else fees
        self._counts = dict.fromkeys(FillStatus, 0)
        self._seen: Seen | None = None

    def execute(
        self,
        order: Order,
        market_state: MarketState,
        bar: BarData | None = None,
        *,
        seed: int | None = None,
    ) -> Fill | None:
        """Return what becomes of `order`; these providers always answer with a `Fill`.

        Args:
            order: what is asked for.
            market_state: the market at the decision.
            bar: what trades while the order lives; without it the order meets the given depth only.
            seed: replaces the provider's own seed for this execution.

        Raises:
            InvalidInput: something the order needs is missing; the text names it.
            NotSupported: the order asks for what this version does not do.
        """
        base = self.seed if seed is None else require_seed(seed)
        own_seed = _made(OwnSeed, (base, order, market_state))
        ambient = getcontext()
        setcontext(ARITHMETIC)
        try:
            fill = self._execute(order, market_state, bar, own_seed)
        finally:
            setcontext(ambient)
        self._counts[fill.status] += 1
        return fill

    def execute_many(
        self,
        orders: Sequence[Order],
        market_state: MarketState,
        bar: BarData | None = None,
        *,
        seeds: Sequence[int] | None = None,
    ) -> list[Fill | Fault]:
        """Return what becomes of each of `orders` by itself, in the order they are given.

        Each answer is that of `execute` with the same seed, or the fault that it raises: one wrong
        order leaves the others alone. What all of them ask of the market is found once.

        Args:
            orders: each meets the market as it is given; they do not see one another.
            market_state: the market at the decision of all of them.
            bar: what trades while they live.
            seeds: one for each order, in place of the provider's own.

        Raises:
            InvalidInput: another number of seeds than of orders, or a wrong seed.
        """
        if seeds is None:
            bases: Iterable[int] = repeat(self.seed)
        elif len(seeds) != len(orders):
            raise InvalidInput(f"seeds: {len(seeds)}; allowed: one for each order ({len(orders)})")
        else:
            bases = [require_seed(seed) for seed in seeds]
        answers: list[Fill | Fault] = []
        answer, counts, execute = answers.append, self._counts, self._execute
        ambient = getcontext()
        setcontext(ARITHMETIC)
        try:
            for order, base in zip(orders, bases, strict=False):
                try:
                    own_seed = _made(OwnSeed, (base, order, market_state))
                    fill = execute(order, market_state, bar, own_seed)
                except Fault as fault:
                    answer(fault)
                    continue
                counts[fill.status] += 1
                answer(fill)
        finally:
            setcontext(ambient)
        return answers

    def _seen_in(self, market: MarketState) -> Seen:
        """Return what executions ask of a market, found once where it is the same as before."""
        seen = self._seen
        if seen is None or seen.market is not market:
            seen = self._seen = Seen(market)
        return seen

    @abstractmethod
    def _execute(
        self, order: Order, market: MarketState, bar: BarData | None, seed: "OwnSeed"
    ) -> Fill: ...

    @abstractmethod
    def estimate_execution_cost(
        self, order: Order, market_state: MarketState, bar: BarData | None = None
    ) -> CostEstimate:
        """Return the expected cost of executing `order` at once, before latency."""

    @abstractmethod
    def stats(self) -> dict[str, Any]:
        """Return counts, the seed, and which models are on."""

    def get_fill_probability(
        self,
        order: Order,  # noqa: ARG002 - the interface's arguments
        market_state: MarketState,  # noqa: ARG002
        horizon_seconds: float,  # noqa: ARG002
    ) -> float:
        """Refuse: this level has no model of it.

        Raises:
            NotSupported: always.
        """
        raise NotSupported(f"fill probability: none at level {self.level}; allowed: level L3")

    def _base_stats(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "asset_class": self.asset_class.value,
            "seed": self.seed,
            "executions": sum(self._counts.values()),
            "by_status": {status.value: count for status, count in self._counts.items()},
        }

    def _finish(
        self,
        order: Order,
        status: FillStatus,
        fills: tuple[PartialFill, ...],
        totals: Totals,
        seen: Seen | None,
        slippage: Slippage,
        told: "Mapping[str, Any] | Tells",
    ) -> Fill:
        """Return a Fill with fees, averages and the attribution all providers give.

        `totals` are those of `fills`; `seen` is the market's, None for an order that ended before.
        `told` is the provider's own part of the attribution, or what makes it when it is asked for.
        """
        fees = self.fees.of_totals(order.side, totals)
        fees = rounded(fees) if fees else fees
        average = average_price(totals)
        fill = _new(Fill)
        _put_status(fill, status)
        _put_filled(fill, totals.quantity)
        _put_average(fill, average)
        _put_fees(fill, fees)
        _put_slippage(fill, slippage.total if fills else None)
        _put_why(fill, (explained, (self.level, seen, slippage, fees, average, totals, told)))
        _put_fills(fill, fills)
        return fill


class Tells(Protocol):
    """What makes a provider's own part of an attribution when it is asked for."""

    def __call__(self) -> Mapping[str, Any]:
        """Return it; it must not look at anything that may have changed since the execution."""
        ...


class OwnSeed(NamedTuple):
    """The seed of one execution, made when something draws from it or it is reported.

    Without an order it is `base` itself.
    """

    base: int
    order: Order | None = None
    market: MarketState | None = None

    @property
    def value(self) -> int:
        """Return it; whoever asks often keeps it (`made`)."""
        base, order, market = self
        if order is None or market is None:
            return base
        return execution_seed(base, order, market)

    def made(self) -> "OwnSeed":
        """Return the same seed, which is not made anew each time."""
        return OwnSeed(self.value)


def explained(
    level: str,
    seen: Seen | None,
    slippage: Slippage,
    fees: Decimal,
    average: Decimal | None,
    totals: Totals,
    told: Mapping[str, Any] | Tells,
) -> dict[str, Any]:
    """Return the attribution of a fill."""
    return {
        "provider": level,
        "reference_price": None if seen is None else seen.text,
        "reference": None if seen is None else seen.reference.kind,
        "slippage": slippage.parts(),
        "fees_bps": fees_bps(fees, average, totals),
        **(told() if callable(told) else told),
    }


def require_seed(seed: object) -> int:
    """Return `seed`; `InvalidInput` unless it is a whole number of 64 bits."""
    if type(seed) is not int or not 0 <= seed <= SEED_MAX:
        raise InvalidInput(f"seed: {seed!r}; allowed: a whole number, 0..{SEED_MAX}")
    return seed


def execution_seed(seed: int, order: Order, market: MarketState) -> int:
    """Return the seed of one execution: a hash of the base seed and of what names the order.

    It does not depend on what was executed before, so that two runs, two providers or two
    configurations meet the same draws (common random numbers). An order without a client order id
    is named by its fields and the time of the market state. What is hashed is a JSON list.
    """
    if order.client_order_id:
        named = f'[{seed},"id",{quoted(order.client_order_id)}]'
    else:
        limit = "" if order.limit_price is None else plain(order.limit_price)
        stop = "" if order.stop_price is None else plain(order.stop_price)
        # Joined, as the text of an enumeration's member takes a call that its joining does not.
        named = "".join(
            (
                f'[{seed},"order",{quoted(order.symbol)},"',
                order.side,
                f'","{plain(order.quantity)}","',
                order.type,
                f'","{limit}","{stop}","',
                order.time_in_force,
                f'","{market.timestamp_ms}"]',
            )
        )
    return int.from_bytes(blake2b(named.encode(), digest_size=8).digest(), "big") >> 1


def fees_bps(fees: Decimal, average: Decimal | None, totals: Totals) -> str | None:
    """Return fees in bps as text; None without fills."""
    if average is None:
        return None
    return plain(_bps_of(fees, average, totals.quantity)) if fees else "0"


def _bps_of(fees: Decimal, average: Decimal, quantity: Decimal) -> Decimal:
    """Return fees in bps of the notional, to nine decimals."""
    if not fees:
        return fees
    share = ARITHMETIC.divide(fees, ARITHMETIC.multiply(average, quantity))
    return ARITHMETIC.multiply(share, 10_000).quantize(_BPS_DIGITS, None, EXACT)
