"""Check Bitstamp's trades against what its order events say: who traded with whom, and how much."""

from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

from lob.errors import InvalidInput
from lob.feeds.bitstamp import BitstampFeed
from lob.feeds.exact import Units, whole_number
from lob.feeds.lines import LineReader
from lob.messages import Action
from lob.types import Instrument

HEADER: Final = "trade_id,timestamp,exchange_timestamp,price,amount,buy_order_id,sell_order_id,side"


class Trade(NamedTuple):
    """One line of a trades file; `side` is the aggressor's: buy or sell."""

    buy_order_id: int
    sell_order_id: int
    quantity_lots: int
    side: str

    @property
    def maker_order_id(self) -> int:
        """The order that was there first."""
        return self.sell_order_id if self.side == "buy" else self.buy_order_id


class TradeCheck(NamedTuple):
    """How far a file of trades agrees with one of events.

    Of `trades`, the events know both orders of `both_orders`, and `executed` are executions of the
    same resting order for the same lots that the reader found in the events alone. It found
    `executions` in all.
    """

    trades: int
    both_orders: int
    executed: int
    executions: int


def check_trades(feed: BitstampFeed, path: str | Path) -> TradeCheck:
    """Compare a trades file with the events of a feed; memory is bounded by the trades.

    Raises:
        InvalidInput: a file cannot be read; file and line are named.
    """
    trades = read_trades(path, feed.instrument)
    named = {trade.buy_order_id for trade in trades} | {trade.sell_order_id for trade in trades}
    known = {event.order_id for event in feed.events() if event.order_id in named}
    expected = Counter((trade.maker_order_id, trade.quantity_lots) for trade in trades)
    executions = executed = 0
    for block in feed.blocks():
        rows = block.messages[block.messages["action"] == Action.FEED_EXECUTE]
        executions += len(rows)
        for order_id, lots in zip(
            rows["order_id"].tolist(), rows["quantity_lots"].tolist(), strict=True
        ):
            if expected[order_id, lots] > 0:
                expected[order_id, lots] -= 1
                executed += 1
    both = sum(trade.buy_order_id in known and trade.sell_order_id in known for trade in trades)
    return TradeCheck(len(trades), both, executed, executions)


def read_trades(path: str | Path, instrument: Instrument) -> list[Trade]:
    """Return the lines of a trades file; one that is none is `InvalidInput` with file and line."""
    path = Path(path)
    lots = Units("amount", instrument.lot_size)
    trades = []
    for number, raw in LineReader(path):
        line = raw.decode("ascii", "replace")
        if number == 1:
            if line != HEADER:
                raise InvalidInput(f"{path}:1: header; allowed: {HEADER}")
            continue
        try:
            trades.append(_trade(line.split(","), lots))
        except InvalidInput as fault:
            raise InvalidInput(f"{path}:{number}: {fault}") from fault
    return trades


def _trade(fields: list[str], lots: Units) -> Trade:
    if len(fields) != HEADER.count(",") + 1:
        raise InvalidInput(f"{len(fields)} fields; allowed: {HEADER}")
    amount, buy, sell, side = fields[4:]
    if side not in ("buy", "sell"):
        raise InvalidInput(f"side: {side[:40]!r}; allowed: buy, sell")
    return Trade(
        whole_number("buy_order_id", buy, low=1),
        whole_number("sell_order_id", sell, low=1),
        lots.positive(amount),
        side,
    )
