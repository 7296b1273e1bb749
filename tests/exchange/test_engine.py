"""The venue's rules, one by one, on books that hold only the test's own orders."""

from decimal import Decimal

import pytest

from lob.errors import InvalidInput, NotFound
from tests.exchange.conftest import BIP, BTC, Trade
from touchstone.exchange import (
    CancelFailure,
    Exchange,
    FailureReason,
    Liquidity,
    Order,
    OrderStatus,
    Refusal,
)
from touchstone.exchange.orders import TRANSITIONS
from touchstone.exchange.reasons import EndReason


def accepted(result: Order | Refusal) -> Order:
    """Return the order, or fail with the refusal."""
    assert isinstance(result, Order), result
    return result


def refused(result: Order | Refusal) -> FailureReason:
    """Return why the order was refused."""
    assert isinstance(result, Refusal), result
    return result.reason


def test_a_limit_order_rests_and_fills(quiet: Exchange, enter: Trade) -> None:
    """A resting order is OPEN, fills as MAKER at its own price, and the taker pays the fee."""
    bid = accepted(enter("alice", "BUY", "1", "100000"))
    assert OrderStatus.OPEN is bid.status
    sold = accepted(enter("bob", "SELL", "1", "99000"))
    assert OrderStatus.FILLED is sold.status
    assert Decimal(100_000) == sold.average_price
    now = quiet.order("alice", bid.order_id)
    assert now is not None
    assert OrderStatus.FILLED is now.status
    (maker,), (taker,) = quiet.fills("alice"), quiet.fills("bob")
    assert (Liquidity.MAKER, Liquidity.TAKER) == (maker.liquidity, taker.liquidity)
    assert maker.trade_id == taker.trade_id
    assert maker.entry_id != taker.entry_id
    assert (Decimal(0), Decimal(30)) == (maker.fee, taker.fee)
    quiet.check()


def test_a_partial_fill_stays_open(quiet: Exchange, enter: Trade) -> None:
    """There is no PARTIALLY_FILLED: an order with something left is OPEN."""
    bid = accepted(enter("alice", "BUY", "1", "100000"))
    enter("bob", "SELL", "0.4", "100000")
    now = quiet.order("alice", bid.order_id)
    assert now is not None
    assert (OrderStatus.OPEN, Decimal("0.4"), Decimal("0.6")) == (
        now.status,
        now.filled_size,
        now.leaves,
    )


def test_the_same_client_order_id_returns_the_original(quiet: Exchange, enter: Trade) -> None:
    """A repeat does nothing and returns the original order, even one that has ended."""
    first = accepted(enter("alice", "BUY", "1", "100000", client_order_id="x"))
    again = accepted(enter("alice", "SELL", "9", "1", client_order_id="x"))
    assert first == again
    quiet.cancel("alice", [first.order_id])
    after = accepted(enter("alice", "BUY", "1", "100000", client_order_id="x"))
    assert (first.order_id, OrderStatus.CANCELLED) == (after.order_id, after.status)
    other = accepted(enter("bob", "BUY", "1", "100000", client_order_id="x"))
    assert first.order_id != other.order_id


def test_a_refused_client_order_id_may_be_used_again(enter: Trade) -> None:
    """A refusal leaves no trace behind."""
    assert refused(enter("alice", "BUY", "1", "100000.05", client_order_id="x")) is (
        FailureReason.INVALID_PRICE_PRECISION
    )
    assert accepted(enter("alice", "BUY", "1", "100000", client_order_id="x"))


@pytest.mark.parametrize("price", ["100000", "100001"])
def test_post_only_that_would_trade_is_refused_whole(enter: Trade, price: str) -> None:
    """Post-only at or beyond the opposite touch is refused, never repriced."""
    enter("alice", "SELL", "1", "100000")
    result = enter("bob", "BUY", "5", price, post_only=True)
    assert FailureReason.INVALID_LIMIT_PRICE_POST_ONLY is refused(result)
    assert accepted(enter("bob", "BUY", "1", "99999.9", post_only=True)).status == "OPEN"


def test_ioc_trades_what_it_can_and_ends(enter: Trade) -> None:
    """An IOC order keeps its fills and never rests."""
    enter("alice", "SELL", "1", "100000")
    order = accepted(enter("bob", "BUY", "3", "100000", tif="IOC"))
    assert (OrderStatus.CANCELLED, Decimal(1), EndReason.IOC_REMAINDER) == (
        order.status,
        order.filled_size,
        order.end_reason,
    )


def test_fok_trades_all_or_nothing(quiet: Exchange, enter: Trade) -> None:
    """A FOK order that cannot fill in full ends without a fill; one that can, fills."""
    enter("alice", "SELL", "1", "100000")
    short = accepted(enter("bob", "BUY", "3", "100000", tif="FOK"))
    assert (OrderStatus.CANCELLED, 0, EndReason.FOK_NOT_FILLABLE) == (
        short.status,
        short.fill_count,
        short.end_reason,
    )
    assert OrderStatus.FILLED is accepted(enter("bob", "BUY", "1", "100000", tif="FOK")).status
    quiet.check()


def test_a_market_order_needs_somebody(enter: Trade) -> None:
    """A market order into an empty side is refused; else it walks the book."""
    assert FailureReason.INVALID_NO_LIQUIDITY is refused(enter("bob", "BUY", "1", tif="IOC"))
    enter("alice", "SELL", "1", "100000")
    enter("alice", "SELL", "1", "100010")
    order = accepted(enter("bob", "BUY", "2", tif="IOC"))
    assert (OrderStatus.FILLED, Decimal(100_005)) == (order.status, order.average_price)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": "0.00001"}, FailureReason.INVALID_SIZE_PRECISION),
        ({"size": "0"}, FailureReason.INVALID_SIZE_PRECISION),
        ({"size": "1001"}, FailureReason.UNKNOWN_FAILURE_REASON),
        ({"size": "0.0001", "price": "1"}, FailureReason.UNKNOWN_FAILURE_REASON),
        ({"price": "100000.01"}, FailureReason.INVALID_PRICE_PRECISION),
        ({"price": "0"}, FailureReason.INVALID_PRICE_PRECISION),
        ({"price": "1E+40"}, FailureReason.INVALID_PRICE_PRECISION),
        ({"product": "BTC-USD"}, FailureReason.INVALID_PRODUCT_ID),
        ({"product": BIP, "size": "1.5"}, FailureReason.INVALID_SIZE_PRECISION),
        ({"product": BIP, "price": "100001"}, FailureReason.INVALID_PRICE_PRECISION),
        ({"leverage": Decimal(11)}, FailureReason.INVALID_LEVERAGE),
        ({"leverage": Decimal("0.5")}, FailureReason.INVALID_LEVERAGE),
        ({"size": "11"}, FailureReason.INSUFFICIENT_FUND),
        ({"size": "3", "leverage": Decimal(2)}, FailureReason.INSUFFICIENT_FUND),
    ],
)
def test_malformed_orders_are_refused(
    enter: Trade, options: dict[str, object], reason: FailureReason
) -> None:
    """Each product rule has its own reason."""
    order: dict[str, object] = {"size": "1", "price": "100000", **options}
    result = enter("alice", "BUY", order.pop("size"), order.pop("price"), **order)
    assert reason is refused(result)


def test_margin_counts_every_open_order(enter: Trade) -> None:
    """Open orders on one side add up; the other side does not."""
    assert accepted(enter("alice", "BUY", "6", "100000"))
    assert FailureReason.INSUFFICIENT_FUND is refused(enter("alice", "BUY", "6", "99000"))
    assert accepted(enter("alice", "SELL", "6", "101000"))


def test_margin_counts_what_is_held_and_lets_it_shrink(quiet: Exchange, enter: Trade) -> None:
    """An account without free margin may still reduce, and may not add."""
    enter("bob", "SELL", "9", "100000")
    assert accepted(enter("alice", "BUY", "9", "100000")).status == "FILLED"
    assert FailureReason.INSUFFICIENT_FUND is refused(enter("alice", "BUY", "1", "100000"))
    assert accepted(enter("alice", "SELL", "9", "100000")).status == "OPEN"
    quiet.check()


def test_buying_far_above_the_mark_needs_the_loss_in_cash(enter: Trade) -> None:
    """The loss of trading away from the mark counts against the funds at once."""
    assert FailureReason.INSUFFICIENT_FUND is refused(enter("alice", "BUY", "1", "200000"))
    assert accepted(enter("alice", "BUY", "1", "150000"))


def test_reduce_only_needs_something_to_reduce(enter: Trade) -> None:
    """Reduce-only is refused when flat, on the wrong side, and beyond the position."""
    reason = FailureReason.REDUCE_ONLY_INCREASED_POSITION_SIZE
    enter("bob", "SELL", "2", "100000")
    assert reason is refused(enter("alice", "SELL", "1", "100000", reduce_only=True))
    enter("alice", "BUY", "1", "100000")
    assert reason is refused(enter("alice", "BUY", "1", "100000", reduce_only=True))
    more = enter("alice", "SELL", "1.1", "100010", reduce_only=True)
    assert reason is refused(more)
    assert isinstance(more, Refusal)
    assert "reduce_only: 1.1; allowed: at most 1" == more.message
    assert accepted(enter("alice", "SELL", "1", "100010", reduce_only=True)).status == "OPEN"


def test_resting_reduce_only_orders_share_the_position(enter: Trade) -> None:
    """What rests on the reducing side already speaks for its part of the position."""
    enter("bob", "SELL", "1", "100000")
    enter("alice", "BUY", "1", "100000")
    assert accepted(enter("alice", "SELL", "0.6", "100010"))
    result = enter("alice", "SELL", "0.6", "100020", reduce_only=True)
    assert FailureReason.REDUCE_ONLY_INCREASED_POSITION_SIZE is refused(result)
    assert accepted(enter("alice", "SELL", "0.4", "100020", reduce_only=True))


def test_an_immediate_reduce_only_order_is_never_blocked_by_resting_ones(
    quiet: Exchange, enter: Trade
) -> None:
    """A close at market goes through, and takes resting reduce-only orders off the book."""
    enter("bob", "SELL", "1", "100000")
    enter("alice", "BUY", "1", "100000")
    resting = accepted(enter("alice", "SELL", "1", "100010", reduce_only=True))
    enter("bob", "BUY", "1", "99990")
    assert accepted(enter("alice", "SELL", "1", tif="IOC", reduce_only=True)).status == "FILLED"
    now = quiet.order("alice", resting.order_id)
    assert now is not None
    assert (OrderStatus.CANCELLED, EndReason.REDUCE_ONLY) == (now.status, now.end_reason)
    assert quiet.accounts["alice"].position(BTC).lots == 0
    quiet.check()


def test_self_trades_decrement_and_cancel(quiet: Exchange, enter: Trade) -> None:
    """An account's orders never trade with each other: the smaller one is cancelled."""
    bid = accepted(enter("alice", "BUY", "1", "100000"))
    ask = accepted(enter("alice", "SELL", "0.4", "100000"))
    assert (OrderStatus.CANCELLED, EndReason.SELF_TRADE) == (ask.status, ask.end_reason)
    now = quiet.order("alice", bid.order_id)
    assert now is not None
    assert (OrderStatus.OPEN, Decimal("0.6"), Decimal(0)) == (
        now.status,
        now.leaves,
        now.filled_size,
    )
    assert [] == quiet.fills("alice")
    enter("bob", "SELL", "0.6", "100000")
    now = quiet.order("alice", bid.order_id)
    assert now is not None
    assert (OrderStatus.CANCELLED, Decimal("0.6")) == (now.status, now.filled_size)
    quiet.check()


def test_cancel_results(quiet: Exchange, enter: Trade) -> None:
    """Every cancel has its own result: done, again, filled, unknown, somebody else's."""
    resting = accepted(enter("alice", "BUY", "1", "90000")).order_id
    enter("bob", "SELL", "1", "100000")
    filled = accepted(enter("alice", "BUY", "1", "100000")).order_id
    results = quiet.cancel("alice", [resting, resting, filled, "nope"])
    assert [
        (True, CancelFailure.UNKNOWN_CANCEL_FAILURE_REASON),
        (False, CancelFailure.DUPLICATE_CANCEL_REQUEST),
        (False, CancelFailure.ORDER_IS_FULLY_FILLED),
        (False, CancelFailure.UNKNOWN_CANCEL_ORDER),
    ] == [(result.success, result.failure) for result in results]
    theirs = accepted(enter("bob", "BUY", "1", "90000")).order_id
    (result,) = quiet.cancel("alice", [theirs])
    assert CancelFailure.UNKNOWN_CANCEL_ORDER is result.failure


def test_open_orders_are_bounded(enter: Trade, quiet: Exchange) -> None:
    """The order after the last allowed one is refused."""
    for _ in range(quiet.config.max_open_orders):
        accepted(enter("alice", "BUY", "0.001", "10000"))
    result = enter("alice", "BUY", "0.001", "10000")
    assert FailureReason.COMMANDER_REJECTED_NEW_ORDER is refused(result)


def test_updates_tell_every_step(quiet: Exchange, enter: Trade) -> None:
    """A drain returns each order state in turn, each trade, and each level as it stands."""
    enter("alice", "SELL", "1", "100000")
    quiet.drain()
    enter("bob", "BUY", "2", "100000")
    updates = quiet.drain()
    assert [("bob", "OPEN"), ("alice", "FILLED"), ("bob", "OPEN")] == [
        (order.account, order.status) for order in updates.orders
    ]
    assert [Decimal(1)] == [trade.size for trade in updates.trades]
    assert ["SELL"] == [trade.maker_side for trade in updates.trades]
    changes = {(c.side, c.price_ticks): c.quantity_lots for c in updates.levels[BTC]}
    assert {("BUY", 1_000_000): 10_000, ("SELL", 1_000_000): 0} == changes
    assert ((), (), {}) == (quiet.drain().orders, quiet.drain().trades, quiet.drain().levels)


def test_time_does_not_go_back(quiet: Exchange) -> None:
    """An earlier time is an error, not a silent no-op."""
    quiet.advance(5)
    with pytest.raises(InvalidInput, match="until_ns: 4 is in the past"):
        quiet.advance(4)


def test_accounts_have_to_be_opened(quiet: Exchange) -> None:
    """An unknown account is a fault; opening one twice returns the same."""
    with pytest.raises(NotFound):
        quiet.orders("carol")
    with pytest.raises(InvalidInput):
        quiet.open_account("background-flow")
    assert quiet.open_account("alice") is quiet.accounts["alice"]


def test_the_status_table_ends() -> None:
    """Every status has a row, and the ended ones lead nowhere."""
    assert set(OrderStatus) == set(TRANSITIONS)
    assert frozenset() == TRANSITIONS[OrderStatus.FILLED] | TRANSITIONS[OrderStatus.CANCELLED]
