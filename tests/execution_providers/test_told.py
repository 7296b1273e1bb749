"""Why a fill is what it is: written down when somebody looks, and the same whenever that is."""

import copy
import gc
import json
import pickle
import weakref
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from execution_providers import (
    ExecutionProvider,
    Fill,
    FillStatus,
    MarketState,
    Order,
    create_execution_provider,
)
from lob.config import create_l3_config
from lob.errors import Fault
from tests.execution_providers.drawn import requests
from tests.execution_providers.scenes import ladder
from touchstone.kit.codec import fill_to_json

KINDS = ("L2", "minimal", "equity", "full")


def provider(kind: str) -> ExecutionProvider:
    """Return a provider of a kind, for shares."""
    if kind == "L2":
        return create_execution_provider("EQUITY", "L2", seed=5)
    config = create_l3_config(kind, market_impact={"adv_quantity": 1e6})
    return create_execution_provider("EQUITY", "L3", config=config, seed=5)


def fill_of(kind: str) -> Fill:
    """Return a fill that nobody has looked into."""
    order = Order("ABC", "BUY", 150)  # type: ignore[arg-type]
    fill = provider(kind).execute(order, replace(ladder(), volatility=0.02))  # type: ignore[arg-type]
    assert fill is not None
    return fill


@pytest.mark.parametrize("kind", KINDS)
def test_looking_later_shows_the_same(kind: str) -> None:
    """What was executed since, and what was changed in the configuration, has no part in it."""
    at_once, later = provider(kind), provider(kind)
    expected: list[object] = []
    fills: list[Fill] = []
    for request, seed in requests(seed=5, count=60):
        try:
            fill = at_once.execute(request.order, request.market, request.bar, seed=seed)
            assert fill is not None
            expected.append(fill_to_json(fill))
            waiting = later.execute(request.order, request.market, request.bar, seed=seed)
            assert waiting is not None
            fills.append(waiting)
        except Fault:
            continue
    config = getattr(later, "config", None)
    if kind != "L2":
        config.latency.profile = "retail"  # type: ignore[union-attr]
    assert len(expected) > 30
    assert json.dumps(expected) == json.dumps([fill_to_json(fill) for fill in fills])


@pytest.mark.parametrize("kind", KINDS)
def test_a_fill_is_a_value_before_anybody_looks(kind: str) -> None:
    """Copies, pickles, comparisons and changed copies have the attribution as it would be."""
    whole = fill_to_json(fill_of(kind))
    assert fill_of(kind) == fill_of(kind)
    assert whole == fill_to_json(copy.copy(fill_of(kind)))
    assert whole == fill_to_json(copy.deepcopy(fill_of(kind)))
    stored = pickle.dumps(fill_of(kind))
    assert whole == fill_to_json(pickle.loads(stored))  # noqa: S301 - our own
    assert whole["attribution"] == asdict(fill_of(kind))["attribution"]
    changed = replace(fill_of(kind), status=FillStatus.REJECTED)
    assert whole["attribution"] == changed.attribution
    assert "'seed': " in repr(fill_of(kind))


def test_an_attribution_is_made_once() -> None:
    """Two looks see one mapping, and it cannot be put in another's place."""
    fill = fill_of("minimal")
    assert fill.attribution is fill.attribution
    with pytest.raises(FrozenInstanceError):
        fill.attribution = {}  # type: ignore[misc]


def test_other_names_are_still_missing() -> None:
    """A fill has nothing but its fields."""
    with pytest.raises(AttributeError, match="price_paid"):
        fill_of("L2").price_paid  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError):
        object.__new__(Fill).attribution  # noqa: B018
    assert not hasattr(fill_of("L2"), "__array__")


def test_a_market_is_not_kept_by_what_was_told() -> None:
    """Executions of another market in between leave a fill's reference as it was."""
    two = provider("L2")
    order = Order("ABC", "BUY", 5)  # type: ignore[arg-type]
    fill = two.execute(order, ladder())
    other = MarketState(1, ((50, 5),), ((52, 5),))  # type: ignore[arg-type]
    two.execute(order, other)
    assert fill is not None
    assert "100" == fill.attribution["reference_price"]


class Watched(MarketState):
    """A market that can be watched while it is let go of."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_fill_that_was_looked_at_lets_the_market_go(kind: str) -> None:
    """A thousand levels live no longer than the look; copies made later still have the reasons."""
    market = Watched(1, ((99, 500),), ((101, 500),))  # type: ignore[arg-type]
    seen = weakref.ref(market)
    fill = provider(kind).execute(Order("ABC", "BUY", 150), market)  # type: ignore[arg-type]
    assert fill is not None
    del market
    told = dict(fill.attribution)
    gc.collect()
    assert seen() is None
    assert told == copy.copy(fill).attribution
