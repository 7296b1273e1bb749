"""A file of orders as a product's market: one queues in it, and it ends where the file does."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from lob.errors import ConfigError, Conflict
from lob.feeds import open_feed
from lob.feeds.writers import convert
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.types import Side, TimeInForce
from touchstone.exchange import Exchange, ExchangeConfig, Order, OrderRequest, OrderStatus
from touchstone.exchange.background import FlowKind
from touchstone.exchange.products import PRODUCTS
from touchstone.exchange.state import dump, load, state_hash

SECOND_NS = 1_000_000_000
BEGIN_NS = 1_700_000_000 * SECOND_NS
BTC, ETH, BIP, ETP = PRODUCTS

Row = tuple[float, Action, int, int, int, int]
"""Second, what, order id, sign of the side, price in ticks, lots."""

ADD, EXECUTE, DELETE = Action.FEED_ADD, Action.FEED_EXECUTE, Action.FEED_DELETE
START: tuple[Row, ...] = ((0, ADD, 1, 1, 599_990, 50), (0, ADD, 2, -1, 600_010, 40))
LATER: tuple[Row, ...] = (
    (1.0, ADD, 9, -1, 601_000, 1),
    (2.5, EXECUTE, 1, 1, 599_990, 20),
    (3.5, ADD, 3, 1, 600_000, 10),
    (4.5, EXECUTE, 1, 1, 599_990, 30),
    (5.5, DELETE, 3, 1, 600_000, 10),
    (6.5, ADD, 4, 1, 599_900, 70),
)
"""The market begins with the first of these: a second before their own times."""


def written(path: Path, rows: tuple[Row, ...] = START + LATER) -> Path:
    """Write a file of messages; what happens at second 0 rested before."""
    messages = np.zeros(len(rows), MESSAGE_DTYPE)
    for at, (second, action, order_id, sign, price, lots) in enumerate(rows):
        messages[at]["ts_event_ns"] = BEGIN_NS + round(second * SECOND_NS)
        messages[at]["action"] = action
        messages[at]["order_id"] = order_id
        messages[at]["side"] = sign
        messages[at]["price_ticks"] = price
        messages[at]["quantity_lots"] = lots
        messages[at]["flags"] = Flag.SNAPSHOT if second == 0 else 0
    np.save(path, messages)
    return path


def venue(path: Path, **options: object) -> Exchange:
    """Return a venue with a customer, whose BTC-PERP-INTX is replayed."""
    exchange = Exchange(
        ExchangeConfig(
            flow_files={BTC.product_id: path},
            **{"flow": FlowKind.NONE, **options},  # type: ignore[arg-type]
        )
    )
    exchange.open_account("alice")
    return exchange


def enter(exchange: Exchange, side: Side, lots: int, price_ticks: int) -> str:
    """Enter an order; return its id."""
    order = exchange.create(
        "alice",
        OrderRequest(
            client_order_id=f"{side} {lots} {price_ticks}",
            product_id=BTC.product_id,
            side=side,
            size=BTC.instrument.quantity(lots),
            limit_price=BTC.instrument.price(price_ticks),
            time_in_force=TimeInForce.GTC,
        ),
    )
    assert isinstance(order, Order), order
    return order.order_id


def state_of(exchange: Exchange, order_id: str) -> tuple[OrderStatus, int]:
    """Return an order's status and filled lots."""
    order = exchange.order("alice", order_id)
    assert order is not None
    return order.status, order.filled_lots


def test_ones_order_waits_for_what_was_there_before(tmp_path: Path) -> None:
    """Behind 50 lots: an execution of 20 of them leaves it alone, the next 30 too."""
    exchange = venue(written(tmp_path / "orders.npy"))
    market = exchange.markets[BTC.product_id]
    assert "file (arrays)" == market.background
    mine = enter(exchange, Side.BUY, 15, 599_990)
    exchange.advance(2 * SECOND_NS)
    assert (OrderStatus.OPEN, 0) == state_of(exchange, mine)
    assert [20] == [trade.lots for trade in market.tape]
    exchange.advance(4 * SECOND_NS)
    assert (OrderStatus.OPEN, 0) == state_of(exchange, mine)
    assert [(20, 1_500_000_000), (30, 3_500_000_000)] == [
        (trade.lots, trade.time_ns) for trade in market.tape
    ]
    exchange.check()


def test_ones_order_before_another_takes_its_execution(tmp_path: Path) -> None:
    """At a better price one is filled by what the file's order would have had."""
    exchange = venue(written(tmp_path / "orders.npy"))
    mine = enter(exchange, Side.BUY, 15, 599_995)
    exchange.advance(2 * SECOND_NS)
    assert (OrderStatus.FILLED, 15) == state_of(exchange, mine)
    (fill,) = exchange.fills("alice")
    assert ("MAKER", Decimal("59999.5")) == (fill.liquidity, fill.price)
    exchange.check()


def test_ones_aggressive_order_takes_what_the_file_shows(tmp_path: Path) -> None:
    """And the levels that it touches are said."""
    exchange = venue(written(tmp_path / "orders.npy"))
    exchange.drain()
    mine = enter(exchange, Side.BUY, 25, 600_010)
    assert (OrderStatus.FILLED, 25) == state_of(exchange, mine)
    (level,) = exchange.drain().levels[BTC.product_id]
    assert (Side.SELL, 600_010, 15) == level
    exchange.advance(3 * SECOND_NS)
    levels = exchange.drain().levels[BTC.product_id]
    expected = {(Side.BUY, 599_990, 30), (Side.BUY, 600_000, 10), (Side.SELL, 601_000, 1)}
    assert expected == set(levels)


def test_the_index_is_the_mid_of_the_file(tmp_path: Path) -> None:
    """Each second, for both families; the other family's flow begins there and follows."""
    exchange = venue(written(tmp_path / "orders.npy"), flow=FlowKind.CLUSTERED)
    mids = []
    for second in range(1, 6):
        exchange.advance(second * SECOND_NS)
        mids.append(exchange.marketplace.index(BIP))
    expected = [Decimal(price) for price in ("60000", "60000", "60000.5", "60000.5")]
    assert expected == mids[:4]
    with pytest.raises(Conflict, match="coin: 'BTC' follows the file of BTC-PERP-INTX"):
        exchange.marketplace.move_index("BTC", Decimal(1))
    other = exchange.markets[BIP.product_id].mid()
    assert other is not None
    assert abs(other / 60_000 - 1) < Decimal("0.002")


def test_after_its_end_a_file_stands_still(tmp_path: Path) -> None:
    """Orders of one's own go on; why nothing else happens is said."""
    exchange = venue(written(tmp_path / "orders.npy"))
    market = exchange.markets[BTC.product_id]
    assert "" == market.standstill
    exchange.advance(60 * SECOND_NS)
    assert "the file has ended" == market.standstill
    assert (6, 5_500_000_000) == (market.flow_commands, market.flow_now_ns)
    mine = enter(exchange, Side.SELL, 70, 599_900)
    assert (OrderStatus.FILLED, 70) == state_of(exchange, mine)
    exchange.check()


def test_a_file_that_breaks_off_ends_there(tmp_path: Path) -> None:
    """What is no message is named; the rest of the venue goes on."""
    many = tuple((1 + at / 5_000, EXECUTE, 1, 1, 599_990, 1) for at in range(5_000))
    path = written(tmp_path / "broken.npy", START + many)
    messages = np.load(path)
    messages[-1]["action"] = 99
    np.save(path, messages)
    exchange = venue(path)
    exchange.advance(60 * SECOND_NS)
    assert "action" in exchange.markets[BTC.product_id].standstill
    assert 60 * SECOND_NS == exchange.now_ns


@pytest.mark.parametrize("seconds", [0, 3, 60])
def test_a_restored_venue_goes_on_in_the_file(tmp_path: Path, seconds: int) -> None:
    """From the message it was at, and with one's own orders in their places."""
    exchange = venue(written(tmp_path / "orders.npy"))
    enter(exchange, Side.BUY, 15, 599_990)
    exchange.advance(seconds * SECOND_NS)
    exchange.drain()
    restored = load(dump(exchange))
    assert state_hash(exchange) == state_hash(restored)
    for one in (exchange, restored):
        one.advance(140 * SECOND_NS)
        one.drain()
    assert state_hash(exchange) == state_hash(restored)
    assert exchange.markets[BTC.product_id].tape == restored.markets[BTC.product_id].tape


def test_another_file_in_its_place_is_noticed(tmp_path: Path) -> None:
    """A restored venue does not go on in it."""
    path = written(tmp_path / "orders.npy")
    kept = dump(venue(path))
    written(path, START + LATER[:2])
    restored = load(kept)
    restored.advance(60 * SECOND_NS)
    standstill = restored.markets[BTC.product_id].standstill
    assert "bytes; allowed: " in standstill


def test_steps_of_the_file_are_those_of_the_product(tmp_path: Path) -> None:
    """Coarser ones that are whole multiples are scaled; others are refused by name."""
    coarse = replace(BTC.instrument, tick_size=Decimal("0.5"), lot_size=Decimal("0.001"))
    rows = ((0, ADD, 1, 1, 120_000, 5), (0, ADD, 2, -1, 120_001, 4), (1, DELETE, 1, 1, 120_000, 5))
    plain = written(tmp_path / "orders.npy", rows)
    path = tmp_path / "orders.parquet"
    convert(open_feed(plain, instrument=coarse), path)
    market = venue(path).markets[BTC.product_id]
    assert (600_000, 50) == market.book.best_bid()[:2]  # type: ignore[index]
    assert (600_005, 40) == market.book.best_ask()[:2]  # type: ignore[index]

    finer = tmp_path / "finer.parquet"
    convert(open_feed(plain, instrument=replace(BTC.instrument, tick_size=Decimal("0.01"))), finer)
    said = r"flow file of BTC-PERP-INTX: .*: tick size: 0.01; allowed: a whole multiple of 0.1"
    with pytest.raises(ConfigError, match=said):
        venue(finer)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    """Not there, of no format, of no product, empty."""
    for path, said in (
        (tmp_path / "none.npy", "No such file"),
        (tmp_path / "text.txt", "of no known format"),
        (written(tmp_path / "empty.npy", ()), "no order in it"),
    ):
        (tmp_path / "text.txt").write_text("what?")
        with pytest.raises(ConfigError, match=f"flow file of BTC-PERP-INTX: .*{said}"):
            venue(path)
    with pytest.raises(ConfigError, match="flow_files: 'DOGE'; allowed: BTC-PERP-INTX, "):
        Exchange(ExchangeConfig(flow_files={"DOGE": tmp_path / "none.npy"}))
