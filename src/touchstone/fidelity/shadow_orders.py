"""Evidence that a queue position is followed exactly: shadow orders beside every real order.

Each real resting order gets two orders of no size (`lob.shadow_orders`): one that joins the back of
the queue just before it comes, and one that is placed right before it once it is there. Neither
looks at the real order's fate: both follow what stands before them, message by message. They are
right if they fill with the very message that first fills the real order, and not at all where it is
never filled. Their positions are held against those of the order book, which counts on its own.

An *overtaken* order is one behind which another rested that the venue executed first: there the
venue itself left price-time priority, and an order before the overtaken one would have traded. Each
is checked to be just that.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lob import OrderBook
from lob.messages import Array
from lob.shadow_orders import ShadowFill, ShadowOrders
from lob.types import Side
from touchstone.fidelity.evidence import Check, Evidence, Table
from touchstone.fidelity.market import Market

__all__ = ["ShadowOutcome", "hidden_by_index", "measure", "messages_of", "shadow_outcome"]

_CHECK_EVERY: Final = 997
"""Messages between two comparisons of all positions with the book: a prime, off every rhythm."""

_MAX_LISTED: Final = 20
_SECOND_NS: Final = 1_000_000_000
_SIDES: Final = {side.sign: side for side in Side}


@dataclass(slots=True)
class ShadowOutcome:
    """What became of the shadow orders of one market, by the real orders they stood beside.

    `filled` orders were filled at least once; of them the shadow order of `exact` was filled by the
    same message, `overtaken` were overtaken, and `wrong` (rows of the market's orders) neither. Of
    the `unfilled`, `filled_alone` have a shadow order that was filled: `overtaken_unfilled` of them
    because they were overtaken. `joined_alike` counts the orders for which joining the back and
    being placed before came to the same. `positions` were compared with the book, `positions_equal`
    were equal.
    """

    orders: int = 0
    filled: int = 0
    exact: int = 0
    overtaken: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    unfilled: int = 0
    filled_alone: int = 0
    overtaken_unfilled: int = 0
    joined_alike: int = 0
    positions: int = 0
    positions_equal: int = 0


def measure(
    markets: Sequence[Market],
    *,
    progress: Callable[[str], None],
    seed: int = 0,  # noqa: ARG001 - every part has one; nothing here is drawn
) -> Evidence:
    """Place shadow orders beside every order of these markets, and say what became of them."""
    checks: list[Check] = []
    rows: list[tuple[str | float | int, ...]] = []
    listed: list[tuple[str | float | int, ...]] = []
    for market in markets:
        progress(f"{market.name}: shadow orders")
        found = shadow_outcome(market)
        checks += _checks(market.name, found)
        rows.append(
            (
                market.name,
                found.orders,
                found.filled,
                found.exact,
                len(found.overtaken),
                len(found.wrong),
                found.unfilled,
                found.filled_alone,
                found.overtaken_unfilled,
            )
        )
        listed += _overtaken_rows(market, found)
    columns = (
        "market",
        "orders",
        "filled",
        "filled by the same message",
        "overtaken",
        "neither",
        "never filled",
        "their shadow was",
        "of these overtaken",
    )
    about = ("market", "order", "price", "arrived, s", "first filled, s")
    tables = [Table("A shadow order right before each real one", columns, tuple(rows))]
    if listed:
        tables.append(Table("Orders that the venue overtook", about, tuple(listed[:_MAX_LISTED])))
    return Evidence(
        "shadow-orders",
        "Exact queue positions",
        " ".join((__doc__ or "").split("\n\n")[1].split()),
        tuple(checks),
        tuple(tables),
    )


def _checks(name: str, found: ShadowOutcome) -> tuple[Check, ...]:
    in_order = found.filled - len(found.overtaken)
    return (
        Check(
            f"{name}: shadow orders filled by the very message that first fills their order",
            f"{found.exact:,} of {in_order:,}",
            "all whose queue kept time priority (reference: 2,441 of 2,441)",
            found.exact == in_order and found.exact > 0,
        ),
        Check(
            f"{name}: orders that the venue itself overtook",
            f"{len(found.overtaken):,} of {found.filled:,}",
            "at most 1 %",
            len(found.overtaken) <= 0.01 * found.filled,
        ),
        Check(
            f"{name}: shadow orders filled where their order, not overtaken, never was",
            found.filled_alone - found.overtaken_unfilled,
            "0",
            found.filled_alone == found.overtaken_unfilled,
        ),
        Check(
            f"{name}: joining the back before an order is standing right before it",
            f"{found.joined_alike:,} of {found.orders:,}",
            "all",
            found.joined_alike == found.orders,
        ),
        Check(
            f"{name}: positions (orders and lots ahead) equal to the book's own",
            f"{found.positions_equal:,} of {found.positions:,}",
            "all",
            found.positions_equal == found.positions,
        ),
    )


def _overtaken_rows(market: Market, found: ShadowOutcome) -> list[tuple[str | float | int, ...]]:
    lives = market.orders[found.overtaken]
    columns = ("order_id", "price_ticks", "arrival_ns", "first_fill_ns")
    return [
        (
            market.name,
            order_id,
            price,
            (arrival - market.start_ns) / _SECOND_NS,
            (first - market.start_ns) / _SECOND_NS,
        )
        for order_id, price, arrival, first in zip(
            *(lives[name].tolist() for name in columns), strict=True
        )
    ]


def shadow_outcome(market: Market) -> ShadowOutcome:
    """Follow two shadow orders for each stay of an order in a queue. O(messages x queue)."""
    walk = _Walk(market)
    walk.run()
    found, lives = walk.outcome, market.orders
    found.orders = len(lives)
    first_fills, sides = lives["first_fill_index"].tolist(), lives["side"].tolist()
    prices, arrivals = lives["price_ticks"].tolist(), lives["arrival_index"].tolist()
    arrived = defaultdict(list)
    for row, order_id in enumerate(lives["order_id"].tolist()):
        arrived[order_id].append(row)

    def is_overtaken(row: int, fill: ShadowFill) -> bool:
        """Say whether what filled the shadow order rested behind the order, and was not it."""
        executed = int(market.messages["order_id"][fill.message_index])
        rows = (at for at in arrived[executed] if arrivals[at] <= fill.message_index)
        behind = max(rows, default=row)
        same_queue = (sides[behind], prices[behind]) == (sides[row], prices[row])
        return same_queue and arrivals[behind] > arrivals[row]

    for row, first in enumerate(first_fills):
        placed, joined = walk.fills.get(row), walk.fills.get(row + len(lives))
        found.joined_alike += (placed and placed[1:]) == (joined and joined[1:])
        if first >= 0:
            found.filled += 1
            if placed is not None and placed.message_index == first:
                found.exact += 1
            elif placed is not None and placed.message_index < first and is_overtaken(row, placed):
                found.overtaken.append(row)
            else:
                found.wrong.append(row)
        else:
            found.unfilled += 1
            if placed is not None:
                found.filled_alone += 1
                found.overtaken_unfilled += is_overtaken(row, placed)
    return found


class _Walk:
    """One walk through a market with two shadow orders beside every real one.

    Their ids are the order's row among the market's orders, and that plus the number of orders.
    """

    def __init__(self, market: Market) -> None:
        self.outcome = ShadowOutcome()
        self.fills: dict[int, ShadowFill] = {}
        self._market = market
        self._shadows = ShadowOrders()
        self._lives = len(market.orders)
        self._resting: dict[int, int] = {}

    def run(self) -> None:
        """Carry out every message, and place and take out shadow orders around it."""
        market, shadows = self._market, self._shadows
        lives = market.orders
        coming = dict(zip(lives["arrival_index"].tolist(), range(self._lives), strict=True))
        going: dict[int, list[int]] = defaultdict(list)
        for row, index in enumerate(lives["end_index"].tolist()):
            going[index].append(row)
        prices, sides = lives["price_ticks"].tolist(), lives["side"].tolist()
        hidden = hidden_by_index(market.hidden)
        book, applied = OrderBook(market.instrument), 0
        for index, message in enumerate(messages_of(market.messages)):
            for ts, side, price in hidden.get(index, ()):
                self._note(shadows.hidden_trade(ts, side, price))
            row = coming.get(index, -1)
            if row >= 0:
                shadows.join(row + self._lives, _SIDES[sides[row]], prices[row])
            self._note(shadows.step(*message))
            for gone in going.get(index, ()):
                self._leave(gone)
            if row >= 0:
                order_id = message[2]
                shadows.place_ahead(row, order_id)
                self._resting[order_id] = row
            if index % _CHECK_EVERY == 0:
                book.apply(market.messages[applied : index + 1])
                applied = index + 1
                self._compare(book)

    def _leave(self, row: int) -> None:
        order_id = int(self._market.orders["order_id"][row])
        self._shadows.cancel(row)
        self._shadows.cancel(row + self._lives)
        self._resting.pop(order_id, None)

    def _note(self, fills: tuple[ShadowFill, ...]) -> None:
        for fill in fills:
            self.fills[fill.shadow_id] = fill

    def _compare(self, book: Any) -> None:
        for order_id, row in self._resting.items():
            expected = book.queue_position(order_id)
            for shadow_id in (row, row + self._lives):
                if shadow_id in self._shadows:
                    self.outcome.positions += 1
                    equal = self._shadows.position(shadow_id) == expected
                    self.outcome.positions_equal += equal


def messages_of(messages: Array) -> "zip[tuple[Any, ...]]":
    """Return what `ShadowOrders.step` takes of each message."""
    names = ("ts_event_ns", "action", "order_id", "side", "price_ticks", "quantity_lots")
    return zip(*(messages[name].tolist() for name in names), strict=True)


def hidden_by_index(hidden: Array) -> dict[int, list[tuple[int, Side, float]]]:
    """Return the trades of hidden orders by the message that they come before."""
    found: dict[int, list[tuple[int, Side, float]]] = defaultdict(list)
    names = ("before_index", "ts_event_ns", "side", "price_ticks")
    for index, ts, sign, price in zip(*(hidden[name].tolist() for name in names), strict=True):
        found[index].append((ts, _SIDES[sign], price))
    return found
