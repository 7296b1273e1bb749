"""nautilus_trader's OrderBook (L3_MBO) and BacktestEngine.

Every message is one OrderBookDelta; an execution is an UPDATE to what is left of the order, or a
DELETE. `apply_deltas` gets batches of 1,000, prebuilt before the time is taken, or built within it
(`with_objects`). The engine runs the same deltas with no strategy; its prelude is in its time.
"""

from collections.abc import Callable
from typing import Any

from nautilus_trader.backtest.config import BacktestEngineConfig  # type: ignore[import-not-found]
from nautilus_trader.backtest.engine import BacktestEngine  # type: ignore[import-not-found]
from nautilus_trader.common.actor import Actor  # type: ignore[import-not-found]
from nautilus_trader.config import LoggingConfig  # type: ignore[import-not-found]
from nautilus_trader.model.book import OrderBook  # type: ignore[import-not-found]
from nautilus_trader.model.currencies import USD  # type: ignore[import-not-found]
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas  # type: ignore[import-not-found]
from nautilus_trader.model.enums import AccountType, BookAction, BookType, OmsType, OrderSide  # type: ignore[import-not-found]
from nautilus_trader.model.objects import Money, Price, Quantity  # type: ignore[import-not-found]
from nautilus_trader.test_kit.providers import TestInstrumentProvider  # type: ignore[import-not-found]

from bench.peers.protocol import Case, Round, clock, serve
from bench.stream import ADD, DELETE, START_NS, STEP_NS, Stream, Touch

BATCH = 1_000


def _rows(stream: Stream, first: int, end: int) -> list[tuple[int, int, int, int, int]]:
    feed = stream.feed
    names = ("action", "side", "price_ticks", "leaves", "order_id")
    return list(zip(*(feed[name][first:end].tolist() for name in names), strict=True))


def _builder() -> tuple[Any, Callable[[int, tuple[int, int, int, int, int]], Any]]:
    """Return a share's id, and what makes a delta of one row."""
    share = TestInstrumentProvider.equity(symbol="SYNTH", venue="BENCH")
    identity = share.id
    buy, sell = OrderSide.BUY, OrderSide.SELL
    add, update, delete = BookAction.ADD, BookAction.UPDATE, BookAction.DELETE

    def build(index: int, row: tuple[int, int, int, int, int]) -> Any:
        action, side, price, leaves, order_id = row
        if action == ADD:
            what = add
        elif action == DELETE or not leaves:
            what = delete
        else:
            what = update
        order = BookOrder(
            buy if side > 0 else sell, Price(price / 100, 2), Quantity(leaves, 0), order_id
        )
        when = START_NS + index * STEP_NS
        return OrderBookDelta(identity, what, order, 0, index, when, when)

    return share, build


def _touch(book: Any) -> Touch:
    """Return the touch; `best_bid_size` would be that of the level's first order."""
    bid, ask = book.bids()[0], book.asks()[0]
    return Touch(
        round(float(bid.price) * 100),
        round(bid.size()),
        round(float(ask.price) * 100),
        round(ask.size()),
    )


def apply_deltas(*, prebuilt: bool) -> Case:
    """Return the case of a book that takes deltas that are there, or are built as it goes."""

    def prepare(stream: Stream, limit: int) -> Callable[[], Round]:
        share, build = _builder()
        messages = min(limit, stream.body_feed)
        body = _rows(stream, stream.prelude, stream.prelude + messages)
        chunks = [body[start : start + BATCH] for start in range(0, messages, BATCH)]

        def deltas(rows: list[tuple[int, int, int, int, int]], first: int) -> Any:
            return OrderBookDeltas(
                share.id, [build(index, row) for index, row in enumerate(rows, first)]
            )

        prelude = deltas(_rows(stream, 0, stream.prelude), 0)
        batches = [deltas(chunk, stream.prelude) for chunk in chunks] if prebuilt else []

        def run() -> Round:
            book = OrderBook(share.id, BookType.L3_MBO)
            book.apply_deltas(prelude)
            started = clock()
            if prebuilt:
                for batch in batches:
                    book.apply_deltas(batch)
            else:
                for chunk in chunks:
                    book.apply_deltas(deltas(chunk, stream.prelude))
            return Round(clock() - started, messages, _touch(book))

        return run

    return prepare


def _engine(share: Any, deltas: list[Any]) -> Any:
    """Return an engine with a market-by-order venue and its data, and no strategy."""
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        venue=share.id.venue,
        oms_type=OmsType.NETTING,
        account_type=AccountType.CASH,
        base_currency=USD,
        starting_balances=[Money(1_000_000, USD)],
        book_type=BookType.L3_MBO,
    )
    engine.add_instrument(share)
    engine.add_data(deltas, sort=False)
    return engine


def _engine_touch(share: Any, deltas: list[Any]) -> Touch:
    """Return the touch that an actor sees who follows the book: nobody sees the venue's own."""

    class Reader(Actor):  # type: ignore[misc]
        def on_start(self) -> None:
            self.subscribe_order_book_deltas(share.id, book_type=BookType.L3_MBO)

    engine = _engine(share, deltas)
    engine.add_actor(Reader())
    engine.run()
    touch = _touch(engine.cache.order_book(share.id))
    engine.dispose()
    return touch


def backtest_engine(stream: Stream, limit: int) -> Callable[[], Round]:
    """Prepare a run of the whole engine, which keeps its venue's book, with no strategy.

    The touch is that of one more run, before, in which an actor follows the book.
    """
    share, build = _builder()
    messages = min(stream.prelude + limit, len(stream.feed["action"]))
    deltas = [build(index, row) for index, row in enumerate(_rows(stream, 0, messages))]
    touch = _engine_touch(share, deltas)
    engine = _engine(share, deltas)

    def run() -> Round:
        engine.reset()
        started = clock()
        engine.run()
        return Round(clock() - started, messages, touch)

    return run


CASES = {
    "apply_deltas_prebuilt": apply_deltas(prebuilt=True),
    "apply_deltas_with_objects": apply_deltas(prebuilt=False),
    "backtest_engine": backtest_engine,
}

if __name__ == "__main__":
    serve("nautilus_trader", CASES)
