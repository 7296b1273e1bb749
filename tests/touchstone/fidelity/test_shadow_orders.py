"""A shadow order beside each real one is filled by the very message that first fills it."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from lob import MESSAGE_DTYPE, Action
from lob.flow import ZeroIntelligence
from lob.queue_reactive import QueueReactive
from lob.recording import record
from lob.types import AssetClass, Instrument
from touchstone.fidelity.market import Market, find_markets, load_market, make_market
from touchstone.fidelity.shadow_orders import measure, shadow_outcome

SHARE = Instrument(
    symbol="A", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)


def quiet(_: str) -> None:
    """Take progress without a word."""


@pytest.mark.parametrize("flow", [ZeroIntelligence, QueueReactive])
def test_every_fill_of_a_synthetic_market_is_met(
    flow: type[ZeroIntelligence] | type[QueueReactive],
) -> None:
    """Our own engine keeps price-time priority: no order is overtaken, and none is missed."""
    feed = record(flow(SHARE, seed=4, mid_ticks=10_000), 6_000).feed
    found = shadow_outcome(make_market("synthetic", SHARE, feed))
    assert found.exact == found.filled > 200
    assert (found.overtaken, found.wrong, found.filled_alone) == ([], [], 0)
    assert found.joined_alike == found.orders > 2_000
    assert found.positions_equal == found.positions > 200


def overtaking() -> Market:
    """Return a market whose venue executes the second order of a queue before the first."""
    messages = np.zeros(5, MESSAGE_DTYPE)
    messages["ts_event_ns"] = np.arange(1, 6)
    messages["action"] = [Action.FEED_ADD] * 3 + [Action.FEED_EXECUTE] * 2
    messages["order_id"] = (1, 2, 3, 2, 1)
    messages["side"], messages["price_ticks"], messages["quantity_lots"] = 1, 100, 5
    return make_market("overtaking", SHARE, messages)


def test_an_order_that_the_venue_overtook_is_named_and_not_counted_as_met() -> None:
    """The aggressor was there before it, so the shadow order was filled then."""
    found = shadow_outcome(overtaking())
    assert (found.filled, found.exact, found.overtaken, found.wrong) == (2, 1, [0], [])
    assert (found.unfilled, found.filled_alone) == (1, 0)
    evidence = measure([overtaking()], progress=quiet)
    assert [check.holds for check in evidence.checks] == [True, False, True, True, True]
    assert evidence.tables[1].rows == (("overtaking", 1, 100, 0.0, 4e-9),)


def test_the_real_hour_is_met_fill_by_fill(market_data: Path) -> None:
    """All orders that are filled at least once, but four that the venue itself overtook."""
    (path,) = [path for path in find_markets(market_data / "lobster") if "37800000" in path.name]
    market = load_market(path, progress=quiet)
    found = shadow_outcome(market)
    assert (found.filled, found.exact, len(found.overtaken)) == (3_099, 3_095, 4)
    assert found.wrong == []
    assert found.filled_alone == found.overtaken_unfilled == 3
    assert found.joined_alike == found.orders == 44_292
    assert found.positions_equal == found.positions > 50_000
    assert measure([market], progress=quiet).holds
