"""Evidence that a queue position is followed exactly: shadow orders beside every real order.

Each real resting order gets two orders of no size (`lob.shadow_orders`): one that joins the back of
the queue just before it comes, and one that is placed right before it once it is there. Neither
looks at the real order's fate: both follow what stands before them, message by message. They are
right if they fill with the very message that first fills the real order, and not at all where it is
never filled. Their positions are held against those of the order book, which counts on its own.

Of a market of very many orders as many as can be followed are drawn by the seed, and it is said.

An *overtaken* order is one behind which another rested that the venue executed first: there the
venue itself left price-time priority, and an order before the overtaken one would have traded. Each
is checked to be just that.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lob import OrderBook
from lob.messages import Array
from lob.shadow_orders import ShadowFill, ShadowOrders
from lob.types import Side
from touchstone.fidelity.evidence import Check, Evidence, Table, Unmeasured
from touchstone.fidelity.market import Market
from touchstone.fidelity.order_lives import CHUNK_ROWS

__all__ = ["ShadowOutcome", "hidden_by_index", "measure", "messages_of", "shadow_outcome"]

_CHECK_EVERY: Final = 997
"""Messages between two comparisons of all positions with the book: a prime, off every rhythm."""

ORDERS_MAX: Final = 100_000
"""Orders of a market that are followed at most: of more, so many are drawn by the seed."""

_COMPARED_MAX: Final = 500
"""Orders whose positions are compared with the book at one time, at most; drawn by the seed."""

_PROGRESS_EVERY: Final = 500_000
_MAX_LISTED: Final = 20
_SECOND_NS: Final = 1_000_000_000
_SIDES: Final = {side.sign: side for side in Side}
_QUEUE: Final = ("side", "price_ticks")


@dataclass(slots=True)
class ShadowOutcome:
    """What became of the shadow orders of one market, by the real orders they stood beside.

    `orders` were followed, of the `arrived` that there were. `filled` orders were filled at least
    once; of them the shadow order of `exact` was filled by the same message, `overtaken` were
    overtaken, and `wrong` (rows of the market's orders) neither. Of the `unfilled`, `filled_alone`
    have a shadow order that was filled: `overtaken_unfilled` of them because they were overtaken.
    `joined_alike` counts the orders for which joining the back and being placed before came to the
    same. `positions` were compared with the book, `positions_equal` were equal.
    """

    orders: int = 0
    arrived: int = 0
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
    seed: int = 0,
) -> Evidence:
    """Place shadow orders beside every order of these markets, and say what became of them."""
    checks: list[Check] = []
    unmeasured: list[Unmeasured] = []
    rows: list[tuple[str | float | int, ...]] = []
    listed: list[tuple[str | float | int, ...]] = []
    for market in markets:
        progress(f"{market.name}: shadow orders")
        found = shadow_outcome(market, progress=progress, seed=seed)
        made, not_made = _checks(market.name, found)
        checks += made
        unmeasured += not_made
        rows.append(
            (
                market.name,
                found.arrived,
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
        "followed",
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
        " ".join(" ".join((__doc__ or "").split("\n\n")[1:3]).split()),
        tuple(checks),
        tuple(tables),
        unmeasured=tuple(unmeasured),
    )


def _checks(name: str, found: ShadowOutcome) -> tuple[list[Check], list[Unmeasured]]:
    """Return the checks that the market allows, and the others with what they lack."""
    asked = zip(
        _every_check(name, found),
        (
            (found.filled, "no order was filled"),
            (found.filled, "no order was filled"),
            (found.unfilled, "no order went unfilled"),
            (found.orders, "no order came to rest"),
            (found.positions, "no order rested when positions were compared"),
        ),
        strict=True,
    )
    made: list[Check] = []
    not_made: list[Unmeasured] = []
    for check, (cases, why) in asked:
        if cases:
            made.append(check)
        else:
            not_made.append(Unmeasured(check.name, why))
    return made, not_made


def _every_check(name: str, found: ShadowOutcome) -> tuple[Check, ...]:
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


def shadow_outcome(
    market: Market, *, progress: Callable[[str], None] = lambda _: None, seed: int = 0
) -> ShadowOutcome:
    """Follow two shadow orders for each stay of an order in a queue. O(messages x queue).

    Orders that were gone before the session began are not followed.
    """
    rng = np.random.default_rng(seed)
    lives = market.orders
    rows = np.flatnonzero((lives["end_index"] < 0) | (lives["end_index"] >= market.first_index))
    count = len(rows)
    if count > ORDERS_MAX:
        rows = np.sort(rng.choice(rows, ORDERS_MAX, replace=False))
    walk = _Walk(market, rows, rng, progress)
    walk.run()
    found = walk.outcome
    found.arrived, found.orders = count, len(rows)
    first_fills = lives["first_fill_index"]
    is_overtaken = _Overtaking(market).is_overtaken
    for row, first in zip(rows.tolist(), first_fills[rows].tolist(), strict=True):
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


class _Overtaking:
    """Know whether what filled a shadow order was an order behind the one it stood beside."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._by_id: NDArray[np.int64] | None = None

    def is_overtaken(self, row: int, fill: ShadowFill) -> bool:
        """Say whether what filled the shadow order rested behind the order, and was not it."""
        lives = self._market.orders
        executed = int(self._market.messages["order_id"][fill.message_index])
        stays = self._stays(executed)
        stays = stays[lives["arrival_index"][stays] <= fill.message_index]
        behind = int(stays.max()) if len(stays) else row
        same_queue = all(lives[name][behind] == lives[name][row] for name in _QUEUE)
        return same_queue and bool(lives["arrival_index"][behind] > lives["arrival_index"][row])

    def _stays(self, order_id: int) -> NDArray[np.int64]:
        """Return the rows of an order. O(log orders) after the first."""
        ids = self._market.orders["order_id"]
        if self._by_id is None:
            self._by_id = np.argsort(ids, kind="stable")
        first, last = (
            np.searchsorted(ids, order_id, side=side, sorter=self._by_id)
            for side in ("left", "right")
        )
        return self._by_id[first:last]


class _Walk:
    """One walk through a market with two shadow orders beside each real one of some rows.

    Their ids are the order's row among the market's orders, and that plus the number of orders.
    """

    def __init__(
        self,
        market: Market,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
        progress: Callable[[str], None],
    ) -> None:
        self.outcome = ShadowOutcome()
        self._rows = rows
        self._rng = rng
        self._progress = progress
        self.fills: dict[int, ShadowFill] = {}
        self._market = market
        self._shadows = ShadowOrders()
        self._lives = len(market.orders)
        self._resting: dict[int, int] = {}

    def run(self) -> None:
        """Carry out every message, and place and take out shadow orders around it."""
        market, shadows = self._market, self._shadows
        first = market.first_index
        coming, going = self._stays()
        hidden = hidden_by_index(market.hidden)
        book, applied = OrderBook(market.instrument), 0
        for index, message in enumerate(messages_of(market.messages)):
            for ts, side, price in hidden.get(index, ()):
                self._note(shadows.hidden_trade(ts, side, price))
            if index == first:
                self._begin()
            came = coming.get(index)
            if came is not None:
                shadows.join(came[0] + self._lives, *came[1:])
            self._note(shadows.step(*message))
            for gone in going.get(index, ()):
                self._leave(gone)
            if came is not None:
                order_id = message[2]
                shadows.place_ahead(came[0], order_id)
                self._resting[order_id] = came[0]
            if index % _PROGRESS_EVERY == _PROGRESS_EVERY - 1:
                self._progress(f"{market.name}: shadow orders, {index + 1:,} messages done")
            if index % _CHECK_EVERY == 0:
                book.apply(market.messages[applied : index + 1])
                applied = index + 1
                self._compare(book)
        book.apply(market.messages[applied:])
        self._compare(book)

    def _stays(self) -> tuple[dict[int, tuple[int, Side, int]], dict[int, list[int]]]:
        """Return by message who comes with it, with side and price, and who goes."""
        lives = self._market.orders[self._rows]
        names = ("arrival_index", "end_index", "side", "price_ticks")
        stays = zip(self._rows.tolist(), *(lives[name].tolist() for name in names), strict=True)
        first = self._market.first_index
        coming: dict[int, tuple[int, Side, int]] = {}
        going: dict[int, list[int]] = defaultdict(list)
        for row, arrives, ends, sign, price in stays:
            if arrives >= first:
                coming[arrives] = row, _SIDES[sign], price
            if ends >= 0:
                going[ends].append(row)
        return coming, going

    def _begin(self) -> None:
        """Place shadow orders beside the orders that rest where the session begins."""
        lives, first = self._market.orders, self._market.first_index
        rows = self._rows[lives["arrival_index"][self._rows] < first]
        for row, order_id in zip(rows.tolist(), lives["order_id"][rows].tolist(), strict=True):
            for shadow_id in (row + self._lives, row):
                self._shadows.place_ahead(shadow_id, order_id)
            self._resting[order_id] = row

    def _leave(self, row: int) -> None:
        order_id = int(self._market.orders["order_id"][row])
        self._shadows.cancel(row)
        self._shadows.cancel(row + self._lives)
        self._resting.pop(order_id, None)

    def _note(self, fills: tuple[ShadowFill, ...]) -> None:
        for fill in fills:
            self.fills[fill.shadow_id] = fill

    def _compare(self, book: Any) -> None:
        resting = list(self._resting.items())
        if len(resting) > _COMPARED_MAX:
            drawn = self._rng.choice(len(resting), _COMPARED_MAX, replace=False)
            resting = [resting[place] for place in drawn.tolist()]
        for order_id, row in resting:
            expected = book.queue_position(order_id)
            for shadow_id in (row, row + self._lives):
                if shadow_id in self._shadows:
                    self.outcome.positions += 1
                    equal = self._shadows.position(shadow_id) == expected
                    self.outcome.positions_equal += equal


def messages_of(messages: Array) -> Iterator[tuple[Any, ...]]:
    """Yield what `ShadowOrders.step` takes of each message."""
    names = ("ts_event_ns", "action", "order_id", "side", "price_ticks", "quantity_lots")
    for first in range(0, len(messages), CHUNK_ROWS):
        part = messages[first : first + CHUNK_ROWS]
        yield from zip(*(part[name].tolist() for name in names), strict=True)


def hidden_by_index(hidden: Array) -> dict[int, list[tuple[int, Side, float]]]:
    """Return the trades of hidden orders by the message that they come before."""
    found: dict[int, list[tuple[int, Side, float]]] = defaultdict(list)
    names = ("before_index", "ts_event_ns", "side", "price_ticks")
    for index, ts, sign, price in zip(*(hidden[name].tolist() for name in names), strict=True):
        found[index].append((ts, _SIDES[sign], price))
    return found
