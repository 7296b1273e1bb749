"""A venue of Coinbase's kind in miniature: it matches orders and publishes the full channel."""

import json
import random
from typing import Any, Final

from lob.book import OrderBook
from lob.types import (
    Accepted,
    Cancelled,
    Event,
    Instrument,
    Rejected,
    Replaced,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Traded,
)

PRODUCT: Final = "BTC-USD"
SCHEMA: Final = {
    "open": ["type", "product_id", "sequence", "order_id", "side", "price", "size", "time"],
    "change": ["type", "product_id", "sequence", "order_id", "price", "size", "time"],
    "match": [
        "type",
        "product_id",
        "sequence",
        "maker_order_id",
        "taker_order_id",
        "price",
        "size",
        "time",
    ],
    "done": ["type", "product_id", "sequence", "order_id", "time"],
    "noop": ["type", "product_id", "sequence", "time"],
}
_ALIASES: Final = {"size": ("size", "remaining_size", "new_size"), "price": ("price", "new_price")}


class Venue:
    """Match random orders (with a seed) and keep the messages that the venue would publish."""

    def __init__(self, instrument: Instrument, seed: int) -> None:
        self.book = OrderBook(instrument)
        self.instrument = instrument
        self.sequence = 1000
        self.messages: list[dict[str, Any]] = []
        self._random = random.Random(seed)
        self._next_id = 1

    @staticmethod
    def uuid(order_id: int) -> str:
        """The venue's id of an order."""
        return f"{order_id * 2654435761 % 2**32:08x}-0000-4000-8000-{order_id:012x}"

    def run(self, orders: int) -> None:
        """Take this many random commands."""
        for _ in range(orders):
            kind = self._random.random()
            live = [order.order_id for order in self.book.orders()]
            if kind < 0.6 or not live:
                self._submit()
            elif kind < 0.85:
                self._cancel(self._random.choice(live))
            else:
                self._modify(self._random.choice(live))

    def snapshot(self) -> str:
        """The level-3 book at this moment, as the venue's REST service gives it."""
        sides = {
            name: [
                [
                    str(self.instrument.price(order.price_ticks)),
                    str(self.instrument.quantity(order.leaves)),
                    self.uuid(order.order_id),
                ]
                for order in self.book.orders(side)
            ]
            for name, side in (("bids", Side.BUY), ("asks", Side.SELL))
        }
        return json.dumps(
            sides
            | {"sequence": self.sequence, "auction_mode": False, "time": "2026-08-07T20:04:10.5Z"}
        )

    def lines(self, begin: int = 0) -> str:
        """The full channel's messages from one on."""
        return "".join(json.dumps(message) + "\n" for message in self.messages[begin:])

    def compact_lines(self, begin: int = 0) -> str:
        """The same as the level3 channel has them: arrays, and noop for what it leaves out."""
        lines = [json.dumps({"type": "level3", "schema": SCHEMA})]
        for message in self.messages[begin:]:
            kind = message["type"] if message["type"] in SCHEMA else "noop"
            values = [kind]
            for field in SCHEMA[kind][1:]:
                names = _ALIASES.get(field, (field,))
                values.append(next(message[name] for name in names if name in message))
            lines.append(json.dumps(values))
        return "\n".join(lines) + "\n"

    # ---------------------------------------------------------------- commands

    def _submit(self) -> None:
        order_id, self._next_id = self._next_id, self._next_id + 1
        side = self._random.choice([Side.BUY, Side.SELL])
        price = 100 + side.sign * self._random.randint(-20, 3)
        lots = self._random.randint(1, 10**9)
        self._say("received", order_id, order_type="limit", side=_word(side))
        tif = self._random.choice([TimeInForce.GTC] * 4 + [TimeInForce.IOC])
        events = self.book.submit(
            order_id, side, lots, price, time_in_force=tif, participant_id=0,
            stp=SelfTradePrevention.NONE,
        )  # fmt: skip
        self._matched(order_id, side, events)

    def _cancel(self, order_id: int) -> None:
        self.book.cancel(order_id)
        self._say("done", order_id, reason="canceled")

    def _modify(self, order_id: int) -> None:
        """Change an order so that it does not trade, as the venue's change message can say."""
        order = self.book.order(order_id)
        assert order is not None
        lots = max(1, order.leaves + self._random.randint(-order.leaves, 5))
        price = order.price_ticks
        if self._random.random() < 0.5:
            price = max(1, price - order.side.sign * self._random.randint(0, 3))
        events = self.book.replace(order_id, price, lots)
        assert isinstance(events[0], Replaced)
        moved = price != order.price_ticks
        self._say(
            "change",
            order_id,
            reason="modify_order" if moved else "STP",
            old_size=str(self.instrument.quantity(order.leaves)),
            new_size=str(self.instrument.quantity(lots)),
            **{"new_price" if moved else "price": str(self.instrument.price(price))},
        )

    def _matched(self, order_id: int, side: Side, events: tuple[Event, ...]) -> None:
        assert not isinstance(events[0], Rejected)
        done = False
        for event in events:
            if isinstance(event, Traded):
                self._say(
                    "match",
                    None,
                    maker_order_id=self.uuid(event.maker_order_id),
                    taker_order_id=self.uuid(event.taker_order_id),
                    size=str(self.instrument.quantity(event.quantity_lots)),
                    price=str(self.instrument.price(event.price_ticks)),
                    side=_word(side.opposite),
                )
                if not event.maker_leaves:
                    self._say("done", event.maker_order_id, reason="filled")
                done = not event.taker_leaves
            done = done or isinstance(event, Cancelled)
        resting = self.book.order(order_id)
        if resting is not None:
            self._say(
                "open",
                order_id,
                side=_word(side),
                price=str(self.instrument.price(resting.price_ticks)),
                remaining_size=str(self.instrument.quantity(resting.leaves)),
            )
        else:
            assert done
            assert isinstance(events[0], Accepted)
            self._say("done", order_id, reason="filled")

    def _say(self, kind: str, order_id: int | None, **fields: str) -> None:
        self.sequence += 1
        micros = self.sequence % 1_000_000
        message: dict[str, Any] = {
            "type": kind,
            "product_id": PRODUCT,
            "sequence": self.sequence,
            "time": f"2026-08-07T20:04:10.{micros:06}Z",
        }
        if order_id is not None:
            message["order_id"] = self.uuid(order_id)
        self.messages.append(message | fields)


def _word(side: Side) -> str:
    return "buy" if side is Side.BUY else "sell"
