"""The same orders through the L2 and the L3 provider: what each says, how far apart they are."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import numpy as np

from execution_providers import (
    AssetClass,
    ExecutionProvider,
    Fill,
    Order,
    OrderType,
    Side,
    create_execution_provider,
)
from lob.errors import InvalidInput
from touchstone.fidelity.scenes import Scene, Scenes

SIZES: Final = (0.5, 2.0, 10.0)
"""Sizes of orders, in multiples of the median size at the touch."""

KINDS: Final = (OrderType.MARKET, OrderType.LIMIT)
"""Market orders, and limit orders that join the best price of their own side."""

EXAMPLES: Final = 3
PERCENTS: Final = (5, 50, 95)
CALL_PERCENTS: Final = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Tried:
    """One order through both providers. Slippage is None where nothing filled."""

    scene: int
    kind: str
    size: float
    side: str
    quantity: Decimal
    filled: tuple[float, float]
    slippage_bps: tuple[float | None, float | None]
    call_us: tuple[float, float]
    attribution: tuple[Mapping[str, Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles, the mean, and how many figures they are of."""

    count: int
    mean: float | None
    percentiles: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Group:
    """One kind and size of order: fill rates and slippages of L2 and L3, and their agreement.

    `correlation`, `rmse_bps` and `mean_difference_bps` (L3 less L2) are of orders both filled some
    of; None where there are too few for them.
    """

    kind: str
    size: float
    orders: int
    fill_rate: tuple[float, float]
    slippage_bps: tuple[Spread, Spread]
    both_filled: int
    correlation: float | None
    rmse_bps: float | None
    mean_difference_bps: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that was tried on one market, by kind and size."""

    source: str
    asset_class: str
    seed: int
    scenes: int
    touch_quantity: str
    groups: tuple[Group, ...]
    call_us: tuple[Spread, Spread]
    tried: tuple[Tried, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as one object, with a few orders' attribution as examples."""
        return {
            "source": self.source,
            "asset_class": self.asset_class,
            "seed": self.seed,
            "scenes": self.scenes,
            "touch_quantity": self.touch_quantity,
            "orders": len(self.tried),
            "groups": [_group_json(group) for group in self.groups],
            "call_us": {"L2": asdict(self.call_us[0]), "L3": asdict(self.call_us[1])},
            "examples": [_example_json(one) for one in self.examples()],
        }

    def examples(self) -> tuple[Tried, ...]:
        """Return orders worth a look: of those both filled, where the two are furthest apart."""
        both = [one for one in self.tried if None not in one.slippage_bps]
        both.sort(key=lambda one: -abs(_difference(one)))
        return tuple(both[:EXAMPLES])


def compare(
    scenes: Scenes,
    *,
    progress: Callable[[str], None],
    seed: int = 0,
    asset_class: AssetClass | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Send the same orders through both providers, scene after scene.

    Three sizes, market and limit, one side a scene in turn. The providers have their default
    configuration for the asset class (the instrument's own where none is given); each order has one
    seed for both. `clock` is only used to say how long calls take.

    Raises:
        InvalidInput: no scenes.
    """
    if not scenes.scenes:
        raise InvalidInput("scenes: none; allowed: one or more")
    kind = scenes.instrument.asset_class if asset_class is None else asset_class
    instruments = {scenes.instrument.symbol: scenes.instrument}
    providers = (
        create_execution_provider(kind, "L2", seed=seed),
        create_execution_provider(kind, "L3", seed=seed, instruments=instruments),
    )
    touch = _touch(scenes.scenes)
    tried = []
    for number, scene in enumerate(scenes.scenes):
        if number % 50 == 0:
            progress(f"scene {number} of {len(scenes.scenes)}")
        for place, (order_kind, size) in enumerate((k, s) for k in KINDS for s in SIZES):
            order = _order(
                scenes, scene, order_kind, touch, size, Side.BUY if number % 2 else Side.SELL
            )
            own = seed + number * len(KINDS) * len(SIZES) + place
            tried.append(_try(providers, order, scene, number, size, own, clock))
    groups = tuple(_group(tried, kind.value, size) for kind in KINDS for size in SIZES)
    calls = tuple(_spread([one.call_us[level] for one in tried], CALL_PERCENTS) for level in (0, 1))
    return Comparison(
        scenes.source,
        kind.value,
        seed,
        len(scenes.scenes),
        format(touch.normalize(), "f"),
        groups,
        (calls[0], calls[1]),
        tuple(tried),
    )


def _try(
    providers: tuple[ExecutionProvider, ExecutionProvider],
    order: Order,
    scene: Scene,
    number: int,
    size: float,
    seed: int,
    clock: Callable[[], float],
) -> Tried:
    fills: list[Fill] = []
    taken = []
    for provider in providers:
        started = clock()
        fill = provider.execute(order, scene.market, scene.bar, seed=seed)
        taken.append((clock() - started) * 1e6)
        if fill is None:
            raise InvalidInput(f"provider {provider.level}: no answer; allowed: a fill")
        fills.append(fill)
    shares = [float(fill.filled_quantity / order.quantity) for fill in fills]
    costs = [None if fill.slippage_bps is None else float(fill.slippage_bps) for fill in fills]
    return Tried(
        number,
        order.type.value,
        size,
        order.side.value,
        order.quantity,
        (shares[0], shares[1]),
        (costs[0], costs[1]),
        (taken[0], taken[1]),
        (fills[0].attribution, fills[1].attribution),
    )


def _order(
    scenes: Scenes, scene: Scene, kind: OrderType, touch: Decimal, size: float, side: Side
) -> Order:
    lot = scenes.instrument.lot_size
    lots = max(Decimal(1), (touch * Decimal(str(size)) / lot).quantize(Decimal(1), ROUND_HALF_UP))
    best = scene.market.best(side)
    limit = best[0] if kind is OrderType.LIMIT and best else None
    return Order(scenes.instrument.symbol, side, lots * lot, kind, limit)


def _touch(scenes: Sequence[Scene]) -> Decimal:
    sizes = sorted(
        levels[0][1] for scene in scenes for levels in (scene.market.bids, scene.market.asks)
    )
    return sizes[len(sizes) // 2]


def _group(tried: Sequence[Tried], kind: str, size: float) -> Group:
    own = [one for one in tried if one.kind == kind and one.size == size]
    both = [one for one in own if None not in one.slippage_bps]
    two, three = (np.array([one.slippage_bps[level] for one in both], float) for level in (0, 1))
    gap = three - two
    spreads = [
        _spread([one.slippage_bps[level] for one in own if one.slippage_bps[level] is not None])
        for level in (0, 1)
    ]
    moving = len(both) > 2 and float(two.std()) > 0 and float(three.std()) > 0  # noqa: PLR2004
    return Group(
        kind,
        size,
        len(own),
        (
            float(np.mean([one.filled[0] for one in own])),
            float(np.mean([one.filled[1] for one in own])),
        ),
        (spreads[0], spreads[1]),
        len(both),
        float(np.corrcoef(two, three)[0, 1]) if moving else None,
        math.sqrt(float((gap**2).mean())) if both else None,
        float(gap.mean()) if both else None,
    )


def _spread(values: Sequence[float | None], percents: Sequence[int] = PERCENTS) -> Spread:
    found = np.array([value for value in values if value is not None], float)
    if not found.size:
        return Spread(0, None, {f"p{percent}": None for percent in percents})
    return Spread(
        int(found.size),
        float(found.mean()),
        {f"p{percent}": float(np.percentile(found, percent)) for percent in percents},
    )


def _difference(one: Tried) -> float:
    two, three = one.slippage_bps
    return 0.0 if two is None or three is None else three - two


def _group_json(group: Group) -> dict[str, Any]:
    return {
        "type": group.kind,
        "size": group.size,
        "orders": group.orders,
        "fill_rate": dict(zip(("L2", "L3"), group.fill_rate, strict=True)),
        "slippage_bps": {
            name: asdict(spread)
            for name, spread in zip(("L2", "L3"), group.slippage_bps, strict=True)
        },
        "both_filled": group.both_filled,
        "correlation": group.correlation,
        "rmse_bps": group.rmse_bps,
        "mean_difference_bps": group.mean_difference_bps,
    }


def _example_json(one: Tried) -> dict[str, Any]:
    return {
        "scene": one.scene,
        "type": one.kind,
        "size": one.size,
        "side": one.side,
        "quantity": format(one.quantity.normalize(), "f"),
        "filled": dict(zip(("L2", "L3"), one.filled, strict=True)),
        "slippage_bps": dict(zip(("L2", "L3"), one.slippage_bps, strict=True)),
        "attribution": dict(zip(("L2", "L3"), one.attribution, strict=True)),
    }
