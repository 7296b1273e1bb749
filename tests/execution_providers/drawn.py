"""Execution requests drawn from a seed: the same ones on every run, of every kind there is."""

from collections.abc import Iterator
from decimal import Decimal
from random import Random

from execution_providers import (
    AssetClass,
    BarData,
    ExecutionProvider,
    ExecutionRequest,
    MarketState,
    Order,
    OrderType,
    Side,
    TimeInForce,
    create_execution_provider,
)
from lob.config import create_l3_config
from lob.types import Instrument

# Decimals of a price and of a size; coarse ones, usual ones, and finer than any usual tick or lot.
_DECIMALS = ((2, 0), (2, 1), (1, 8), (4, 3), (0, 0), (8, 10))
_SYMBOL = "ABC"
KINDS = ("L2", "minimal", "equity", "crypto", "equity_retail", "instrument")
"""What `provider_of` makes: L2, L3 by preset, and L3 minimal with an instrument of its own."""


def provider_of(kind: str, asset_class: AssetClass, seed: int) -> ExecutionProvider:
    """Return a provider of a kind."""
    if kind == "L2":
        return create_execution_provider(asset_class, "L2", seed=seed)
    share = Instrument(
        symbol=_SYMBOL,
        asset_class=asset_class,
        tick_size=Decimal("0.02"),
        lot_size=Decimal("0.5"),
    )
    return create_execution_provider(
        asset_class,
        "L3",
        config=create_l3_config("minimal" if kind == "instrument" else kind),
        seed=seed,
        instruments={_SYMBOL: share} if kind == "instrument" else None,
    )


def requests(seed: int, count: int) -> Iterator[tuple[ExecutionRequest, int]]:
    """Yield requests, each with the seed of its execution."""
    rng = Random(seed)
    for _ in range(count):
        yield _request(rng), rng.randrange(2**32)


def _request(rng: Random) -> ExecutionRequest:
    price_decimals, size_decimals = rng.choice(_DECIMALS)
    tick = Decimal(1).scaleb(-price_decimals)
    lot = Decimal(1).scaleb(-size_decimals)
    middle = rng.choice((200, 10_000, 6_493_431))
    gap = rng.choice((1, 1, 2, 10))
    market = MarketState(
        timestamp_ms=rng.randrange(2**41),
        bids=_levels(rng, middle, -1, tick, lot),
        asks=_levels(rng, middle + gap, 1, tick, lot),
        last_price=_sometimes(rng, 0.9, (middle + rng.randrange(-3, 4)) * tick),
        adv_notional=_sometimes(rng, 0.3, Decimal(rng.randrange(1, 10**9))),
        volatility=_sometimes(rng, 0.3, Decimal(rng.randrange(500)) / 10_000),
    )
    return ExecutionRequest(
        order=_order(rng, middle, tick, lot),
        market=market,
        bar=_bar(rng, middle, tick) if rng.random() < 0.3 else None,
        asset_class=rng.choice(list(AssetClass)),
    )


def _sometimes(rng: Random, share: float, value: Decimal) -> Decimal | None:
    return value if rng.random() < share else None


def _levels(
    rng: Random, touch: int, direction: int, tick: Decimal, lot: Decimal
) -> tuple[tuple[Decimal, Decimal], ...]:
    """Draw up to 50 levels of one side, now and then none."""
    levels: list[tuple[Decimal, Decimal]] = []
    for _ in range(rng.choice((0, 1, 2, 3, 5, 10, 10, 10, 50))):
        if touch <= 0:
            break
        levels.append((touch * tick, rng.choice((1, 10, 1_000)) * rng.randrange(1, 900) * lot))
        touch += direction * rng.choice((1, 1, 1, 2, 9))
    return tuple(levels)


def _order(rng: Random, middle: int, tick: Decimal, lot: Decimal) -> Order:
    kind = rng.choice((OrderType.MARKET, OrderType.LIMIT, *OrderType))
    quantity = rng.choice((1, 10, 1_000, 100_000)) * rng.randrange(1, 900) * lot
    limited = kind in {OrderType.LIMIT, OrderType.STOP_LIMIT}
    stopped = kind in {OrderType.STOP, OrderType.STOP_LIMIT}
    near = (middle + rng.randrange(-6, 9)) * tick
    # Half a tick asks for a finer one than the market's.
    limit_price = near + tick / 2 if rng.random() < 0.1 else near
    return Order(
        symbol=_SYMBOL,
        side=rng.choice(list(Side)),
        quantity=quantity,
        type=kind,
        limit_price=limit_price if limited else None,
        stop_price=(middle + rng.randrange(-2, 3)) * tick if stopped else None,
        time_in_force=rng.choice((TimeInForce.GTC, TimeInForce.GTC, *TimeInForce)),
        post_only=rng.random() < 0.15,
        display_quantity=_sometimes(rng, 0.02, quantity / 2),
        client_order_id=rng.choice(("", f"id-{rng.randrange(10**6)}", 'odd "id" \u00e9')),
    )


def _bar(rng: Random, middle: int, tick: Decimal) -> BarData:
    low, first, last, high = sorted(middle + rng.randrange(-30, 31) for _ in range(4))
    if rng.random() < 0.5:
        first, last = last, first
    return BarData(
        open=first * tick,
        high=high * tick,
        low=low * tick,
        close=last * tick,
        volume=Decimal(rng.choice((0, 1, 1_000, 10**6)) * rng.randrange(1, 100)) / 10,
        duration_ms=rng.choice((1, 1_000, 60_000)),
    )
