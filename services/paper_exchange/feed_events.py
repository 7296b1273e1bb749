"""What the feed's channels say, as JSON bytes: made once, however many clients listen.

A message is everything but its number: what stands before `sequence_num`'s value and what stands
behind it. The parts are shared by all connections and never copied.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from lob.types import Side
from services.paper_exchange.shapes_markets import candles_shape, ticker_shape, trade_shape
from services.paper_exchange.shapes_orders import user_order_shape
from services.paper_exchange.wire import rfc3339, text
from touchstone.exchange import Exchange, MarketTrade, Order, Product
from touchstone.exchange.candles import Granularity
from touchstone.exchange.market import Market

TEXTS_MAX: Final = 50_000
SNAPSHOT_LEVELS: Final = 10_000
SNAPSHOT_TRADES: Final = 50
SNAPSHOT_CANDLES: Final = 100
CANDLE_SECONDS: Final = 300
_NO_QUOTE: Final = ("best_bid", "best_ask", "best_bid_quantity", "best_ask_quantity")


class Message(NamedTuple):
    """One message to many: `head`, the connection's own sequence number, `tail`."""

    channel: str
    head: bytes
    tail: bytes


def message(channel: str, events: bytes, now_ns: int) -> Message:
    """Return the message with these events (a JSON array).

    >>> message("heartbeats", b"[]", 0).tail
    b',"events":[]}'
    """
    head = f'{{"channel":"{channel}","client_id":"","timestamp":"{rfc3339(now_ns)}","sequence_num":'
    return Message(channel, head.encode(), b',"events":%b}' % events)


def compact(value: object) -> bytes:
    """Return JSON without spaces, in which everything beyond ASCII is escaped."""
    shown = msgspec.json.encode(value)
    # The quick encoder leaves letters as they are; nearly always there is none to escape.
    return shown if shown.isascii() else json.dumps(value, separators=(",", ":")).encode()


class _Texts(dict[int, str]):
    """Numbers of a grid as plain decimals; the texts are kept, up to a bound."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self._step = step

    def __missing__(self, number: int) -> str:
        if len(self) >= TEXTS_MAX:
            self.clear()
        shown = self[number] = text(self._step * number)
        return shown


class LevelWriter:
    """Write one product's level2 events; about a microsecond a level."""

    def __init__(self, product: Product) -> None:
        self._product_id = product.product_id
        self._prices = _Texts(product.instrument.tick_size)
        self._sizes = _Texts(product.instrument.lot_size)

    def update(self, changes: Iterable[tuple[Side, int, int]], now_ns: int) -> bytes:
        """Return levels as they now stand: absolute quantities in lots, 0 removes."""
        return self._events("update", changes, now_ns)

    def snapshot(self, market: Market, now_ns: int) -> bytes:
        """Return the whole book, best first, bids before offers."""
        bids, asks = market.book.depth(SNAPSHOT_LEVELS)
        levels = [(Side.BUY, ticks, lots) for ticks, lots, _ in bids]
        levels += [(Side.SELL, ticks, lots) for ticks, lots, _ in asks]
        return self._events("snapshot", levels, now_ns)

    def _events(self, kind: str, changes: Iterable[tuple[Side, int, int]], now_ns: int) -> bytes:
        time = rfc3339(now_ns)
        bid = f'{{"side":"bid","event_time":"{time}","price_level":"'
        offer = f'{{"side":"offer","event_time":"{time}","price_level":"'
        prices, sizes = self._prices, self._sizes
        updates = ",".join(
            [
                f'{bid if side is Side.BUY else offer}{prices[ticks]}","new_quantity":"'
                f'{sizes[lots]}"}}'
                for side, ticks, lots in changes
            ]
        )
        return (
            f'[{{"type":"{kind}","product_id":"{self._product_id}","updates":[{updates}]}}]'
        ).encode()


def trade_events(kind: str, trades: Iterable[MarketTrade]) -> bytes:
    """Return trades, given newest first."""
    return compact([{"type": kind, "trades": [trade_shape(trade) for trade in trades]}])


def latest_trades(market: Market) -> list[MarketTrade]:
    """Return the trades of a snapshot, newest first."""
    return list(reversed(market.tape))[:SNAPSHOT_TRADES]


def ticker_events(kind: str, markets: Iterable[Market], now_ns: int, *, quotes: bool) -> bytes:
    """Return one ticker a market; without `quotes`, as in `ticker_batch`, no bid and ask."""
    tickers = []
    for market in markets:
        ticker = ticker_shape(market, now_ns)
        if not quotes:
            for name in _NO_QUOTE:
                del ticker[name]
        tickers.append(ticker)
    return compact([{"type": kind, "tickers": tickers}])


def candle_events(kind: str, markets: Iterable[Market], now_ns: int) -> bytes:
    """Return the five-minute candles, newest first: in an update the present one alone."""
    length = Granularity.FIVE_MINUTE
    present_s = now_ns // 1_000_000_000 // length.seconds * length.seconds
    first_s = 0 if kind == "snapshot" else present_s
    candles = []
    for market in markets:
        found = market.candles.between(length, first_s, present_s, SNAPSHOT_CANDLES)
        shown = candles_shape(market.product, found)["candles"]
        candles += [{**candle, "product_id": market.product.product_id} for candle in shown]
    return compact([{"type": kind, "candles": candles}])


def status_events(kind: str, products: Iterable[Product]) -> bytes:
    """Return what the `status` channel says of products: all of them are online."""
    rows = [
        {
            "product_type": "FUTURE",
            "id": product.product_id,
            "base_currency": "",
            "quote_currency": product.currency,
            "base_increment": text(product.instrument.lot_size),
            "quote_increment": text(product.instrument.tick_size),
            "display_name": product.display_name,
            "status": "online",
            "status_message": "",
            "min_market_funds": text(product.min_notional),
        }
        for product in products
    ]
    return compact([{"type": kind, "products": rows}])


def heartbeat_events(counter: int, now_ns: int) -> bytes:
    """Return the connection's heartbeat of this number."""
    return compact([{"current_time": rfc3339(now_ns), "heartbeat_counter": str(counter)}])


def user_events(kind: str, orders: Sequence[Order], positions: dict[str, list[Any]]) -> bytes:
    """Return orders and positions of one account."""
    shown = [user_order_shape(order) for order in orders]
    return compact([{"type": kind, "orders": shown, "positions": positions}])


def no_positions() -> dict[str, list[Any]]:
    """Return the positions part as it is where positions are not switched on."""
    return {"perpetual_futures_positions": [], "expiring_futures_positions": []}


def product_writers(exchange: Exchange) -> dict[str, LevelWriter]:
    """Return a level writer for every product."""
    return {name: LevelWriter(product) for name, product in exchange.products.items()}
