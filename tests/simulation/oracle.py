"""What must hold after every seed, whatever happened in it; each violation is one line.

Three sources are compared that know nothing of one another: the venue's own history, the gateway's
journal as it stands in its files, and what the network saw leave.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tests.simulation.network import Network, Written
from tests.simulation.sql import Database, Tables
from tests.simulation.venue import ACCOUNT, FOREIGN, SimulatedVenue
from touchstone.exchange import Order as VenueOrder
from touchstone.exchange import OrderStatus
from touchstone.exchange.money import ATOM
from touchstone.kit.framing import Damaged
from touchstone.kit.journal import Reading, segments
from touchstone.kit.ledger_entries import Entry, Fill, decode_entry
from touchstone.perps.orders import Order, OrderState
from touchstone.perps.positions import Position

S = OrderState

AGREE: Final[Mapping[OrderStatus, frozenset[OrderState]]] = {
    OrderStatus.PENDING: frozenset({S.OPEN, S.PARTIALLY_FILLED}),
    OrderStatus.OPEN: frozenset({S.OPEN, S.PARTIALLY_FILLED}),
    OrderStatus.FILLED: frozenset({S.FILLED}),
    OrderStatus.CANCELLED: frozenset({S.CANCELLED}),
    OrderStatus.EXPIRED: frozenset({S.EXPIRED}),
    OrderStatus.FAILED: frozenset({S.REJECTED}),
}
"""Which states an order of the gateway may be in, given what the venue has."""

DEFECTS: Final = frozenset({"order_defect", "order_terms_differ"})
NEVER_THERE: Final = frozenset({S.REFUSED, S.REJECTED, S.MISSING, S.ARMED})
"""States of orders that the venue must not have."""
ANSWERED: Final = frozenset({S.REFUSED, S.REJECTED})
"""Ends that an answer told: of a request that came twice, the venue may take the second."""


@dataclass
class Books:
    """What a journal says: the last state of every order, every fill, every position."""

    orders: dict[str, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    causes: Counter[str] = field(default_factory=Counter)
    adopted: set[str] = field(default_factory=set)
    defects: list[str] = field(default_factory=list)
    revived: set[str] = field(default_factory=set)
    """Orders that lived although an answer said that they did not."""

    def take(self, entry: Entry) -> None:
        """Apply one entry."""
        if entry.order is not None:
            key = entry.order.intent.client_order_id
            before = self.orders.get(key, entry.order)
            if before.state in ANSWERED and entry.order.state not in ANSWERED:
                self.revived.add(key)
            self.orders[key] = entry.order
        if entry.fill is not None:
            self.fills.append(entry.fill)
        if entry.position is not None:
            self.positions[entry.position.symbol] = entry.position
            self.causes[entry.cause] += 1
        for record in entry.records:
            if record.type in DEFECTS:
                what = {name: text for name, text in record.payload.items() if text}
                self.defects.append(f"{record.type} {record.client_order_id}: {what}")
            if record.type == "order_adopted" and record.client_order_id is not None:
                self.adopted.add(record.client_order_id)


def read_books(folder: Path, tables: Tables) -> tuple[Books, list[str]]:
    """Return what SQL and the journal beyond it say, and what stands against reading them."""
    books = Books()
    for entry in tables.entries:
        books.take(entry)
    place = max(tables.places.values(), default=-1)
    first = max(place + 1, min((number for number, _ in segments(folder)), default=0))
    try:
        for kept in Reading(folder, first):
            books.take(decode_entry(kept.payload))
    except Damaged as fault:
        return books, [f"journal behind SQL: {fault}"]
    return books, []


def whole_journal_differs(folder: Path, books: Books) -> list[str]:
    """Return where the journal, read from its beginning, says otherwise than SQL and its end.

    A journal that failed, and then lost its power, has a hole that only SQL can fill.
    """
    whole = Books()
    try:
        for kept in Reading(folder, 0):
            whole.take(decode_entry(kept.payload))
    except Damaged:
        return []
    wrong = [
        f"{name} in SQL and in the journal differ"
        for name in ("orders", "positions")
        if getattr(whole, name) != getattr(books, name)
    ]
    if Counter(f.trade_id for f in whole.fills) != Counter(f.trade_id for f in books.fills):
        wrong.append("fills in SQL and in the journal differ")
    return wrong


@dataclass
class Oracle:
    """Compare venue, journal and network; `symbols` maps ours to product ids."""

    venue: SimulatedVenue
    symbols: Mapping[str, str]
    network: Network
    database: Database
    foreign: bool = False
    """Somebody else trades on the account: positions may have to be adopted."""

    def differences(self, folder: Path) -> list[str]:
        """Return what is wrong between journal, network and venue, once everything is quiet."""
        books, wrong = read_books(folder, self.database.tables)
        return [
            *wrong,
            *self._orders(books),
            *self._fills(books),
            *self._positions(books),
            *self._replacements(books),
            *self._adopted(books),
        ]

    def history(self, books: Books) -> Iterator[str]:
        """Yield what was wrong at some moment, though it may look right in the end."""
        yield from self._sent_once()
        yield from self._replaced_in_turn(books)
        yield from self._only_reduced(books)

    # ---------------------------------------------------------------- orders

    def _orders(self, books: Books) -> Iterator[str]:
        by_venue_id = {o.venue_order_id: o for o in books.orders.values() if o.venue_order_id}
        seen: Counter[str] = Counter()
        for theirs in self.venue.exchange.orders(ACCOUNT):
            key = theirs.request.client_order_id
            seen[key] += 1
            ours = by_venue_id.get(theirs.order_id) or books.orders.get(key)
            if ours is None:
                # What never lived, such as an exit whose entry did not fill, need not be known.
                excused = self._is_foreign(theirs) and not theirs.live
                if theirs.live or (theirs.filled_lots and not excused):
                    yield f"order {key}: {theirs.status} at the venue, not in the journal"
                continue
            if not self._is_foreign(theirs):
                yield from self._agree(ours, theirs)
        for key, count in seen.items():
            if count > 1:
                yield f"order {key}: {count} orders at the venue"
        there = set(seen) | {order.order_id for order in self.venue.exchange.orders(ACCOUNT)}
        for key, ours in books.orders.items():
            if key in there or ours.venue_order_id in there:
                continue
            if ours.state not in NEVER_THERE and not _never_left(ours):
                yield f"order {key}: {ours.state} in the journal, the venue has none"

    def _agree(self, ours: Order, theirs: VenueOrder) -> Iterator[str]:
        key = ours.intent.client_order_id
        idle = not theirs.live and not theirs.filled_lots
        if idle and ours.state in ANSWERED and key in self.doubled():
            return
        if ours.state not in AGREE[theirs.status]:
            yield f"order {key}: {ours.state} in the journal, {theirs.status} at the venue"
        filled = self._coins(theirs.product.product_id, theirs.filled_size)
        if ours.filled_quantity != filled:
            yield f"order {key}: filled {ours.filled_quantity} in the journal, {filled} there"
        if ours.fees != theirs.fees:
            yield f"order {key}: fees {ours.fees} in the journal, {theirs.fees} at the venue"
        if ours.filled_value != theirs.filled_value:
            yield f"order {key}: value {ours.filled_value}, {theirs.filled_value} at the venue"

    def _is_foreign(self, order: VenueOrder) -> bool:
        return order.request.client_order_id.startswith(FOREIGN)

    def _coins(self, product_id: str, size: Decimal) -> Decimal:
        return size * self.venue.exchange.products[product_id].instrument.contract_size

    # ---------------------------------------------------------------- fills and positions

    def _fills(self, books: Books) -> Iterator[str]:
        ours = Counter(fill.trade_id for fill in books.fills)
        theirs = {fill.trade_id: fill for fill in self.venue.exchange.fills(ACCOUNT)}
        for trade_id, count in ours.items():
            if count > 1:
                yield f"fill {trade_id}: booked {count} times"
            if trade_id not in theirs:
                yield f"fill {trade_id}: booked, and the venue has none"
        for trade_id, fill in theirs.items():
            if trade_id not in ours and not self.foreign:
                yield f"fill {trade_id}: {fill.side} {fill.size} @{fill.price} is not booked"

    def _positions(self, books: Books) -> Iterator[str]:
        account = self.venue.exchange.accounts[ACCOUNT]
        for symbol, product_id in self.symbols.items():
            product = self.venue.exchange.products[product_id]
            theirs = account.position(product_id)
            ours = books.positions.get(symbol) or Position(symbol=symbol)
            quantity = product.lot_value_per_price * theirs.lots
            if ours.quantity != quantity:
                yield f"{symbol}: position {ours.quantity} in the journal, {quantity} at the venue"
            if self.foreign:
                continue
            fees = sum(
                (f.fee for f in self.venue.exchange.fills(ACCOUNT) if f.product is product),
                Decimal(0),
            )
            if ours.fees != fees:
                yield f"{symbol}: fees {ours.fees} in the journal, {fees} at the venue"
            # Profit and cost together do not depend on the order in which fills were booked.
            total, there = ours.realized_pnl - ours.cost, theirs.realised - theirs.cost
            if total != there:
                yield f"{symbol}: profit {total} in the journal, {there} at the venue"
            in_order = [f.trade_id for f in books.fills if f.symbol == symbol]
            made = [
                f.trade_id
                for f in reversed(self.venue.exchange.fills(ACCOUNT))
                if f.product is product
            ]
            # Both round the cost that a partial closing takes out, the venue to eight places.
            room = ATOM * (1 + len(made))
            if in_order == made and abs(ours.realized_pnl - theirs.realised) > room:
                yield (
                    f"{symbol}: realised {ours.realized_pnl} in the journal, "
                    f"{theirs.realised} at the venue"
                )
        if books.causes["adopted"] and not self.foreign:
            yield f"positions were adopted {books.causes['adopted']} times: nothing explains it"

    def _adopted(self, books: Books) -> Iterator[str]:
        """Yield own orders that came back from the venue: their intents were not kept."""
        for key, order in books.orders.items():
            theirs = self.venue.exchange.order(ACCOUNT, order.venue_order_id)
            # An exit that the venue made may be met before its entry.
            made_there = theirs is not None and bool(theirs.originating_order_id)
            if key in books.adopted and not made_there and not key.startswith(FOREIGN):
                yield f"order {key}: adopted from the venue, and it was ours"

    def _replacements(self, books: Books) -> Iterator[str]:
        # The rest of a replacing stop has a parent: it is that stop going on.
        children = Counter(
            o.intent.replaces
            for o in books.orders.values()
            if o.intent.replaces and not o.intent.parent
        )
        for key, count in children.items():
            if count > 1:
                yield f"order {key}: {count} orders replace it"
        for child in books.orders.values():
            original = None if child.intent.parent else books.orders.get(child.intent.replaces)
            wish = None if original is None else original.replacement
            if original is None or wish is None or child.state is S.REFUSED:
                continue
            # Nobody can take off what the venue tells only after it confirmed the end.
            filled = original.filled_quantity - self._told_late(original)
            if filled + child.intent.quantity > wish.quantity:
                yield (
                    f"order {child.intent.client_order_id}: {child.intent.quantity} beside "
                    f"{filled} that had filled, {wish.quantity} wanted"
                )

    def _told_late(self, order: Order) -> Decimal:
        return sum(
            (
                self._coins(fill.product.product_id, fill.size)
                for fill in self.venue.exchange.fills(ACCOUNT)
                if fill.order_id == order.venue_order_id and fill.trade_id in self.venue.told_late
            ),
            Decimal(0),
        )

    # ---------------------------------------------------------------- history

    def _sent_once(self) -> Iterator[str]:
        for key, count in Counter(_created(self._looked_at())).items():
            if count > 1:
                yield f"order {key}: left {count} times"

    def _replaced_in_turn(self, books: Books) -> Iterator[str]:
        """Yield orders that were at the venue before the one that they replace was over there."""
        exchange = self.venue.exchange
        for key, child in books.orders.items():
            original = books.orders.get(child.intent.replaces)
            if original is None or child.intent.parent:
                continue
            theirs = exchange.order(ACCOUNT, child.venue_order_id)
            before = exchange.order(ACCOUNT, original.venue_order_id)
            if theirs is None or before is None:
                continue
            if before.live or before.updated_ns > theirs.created_ns:
                yield f"order {key}: at the venue before {child.intent.replaces} was over"

    def _only_reduced(self, books: Books) -> Iterator[str]:
        """Yield each fill of a reduce-only order that did not reduce, or went beyond flat."""
        if books.revived & self.doubled():
            # What an order trades that was refused nobody can know in time.
            return
        held: Counter[str] = Counter()
        exchange = self.venue.exchange
        by_venue_id = {o.venue_order_id: o for o in books.orders.values() if o.venue_order_id}
        for fill in reversed(exchange.fills(ACCOUNT)):
            product_id = fill.product.product_id
            signed = fill.side.sign * fill.lots
            before = held[product_id]
            held[product_id] = before + signed
            theirs = exchange.order(ACCOUNT, fill.order_id)
            key = theirs.request.client_order_id if theirs is not None else ""
            ours = by_venue_id.get(fill.order_id) or books.orders.get(key)
            if ours is None or not ours.intent.reduce_only:
                continue
            if before * signed >= 0 or abs(signed) > abs(before):
                yield (
                    f"order {key}: reduce-only, filled {signed} lots of {product_id} "
                    f"with a position of {before}"
                )

    def doubled(self) -> set[str]:
        """Return the client ids of orders that were asked for twice by the network itself."""
        return set(_created(self.network.doubled))

    def _looked_at(self) -> list[Written]:
        """Return what left, without what the venue itself told the gateway it did not look at."""
        return [w for w in self.network.written if w not in self.network.turned_away]

    def refused_never_left(self, books: Books) -> Iterator[str]:
        """Yield orders that the journal calls refused and the network saw leave."""
        left = set(_created(self._looked_at()))
        for key, order in books.orders.items():
            if order.state is S.REFUSED and key in left:
                yield f"order {key}: refused ({order.reason}), and it had left"


def _created(written: Iterable[Written]) -> Iterator[str]:
    """Yield the client ids of the orders that left."""
    for request in written:
        if request.method == "POST" and request.target.endswith(("/orders", "/close_position")):
            body: dict[str, Any] = json.loads(request.body)
            yield str(body["client_order_id"])


def _never_left(order: Order) -> bool:
    """Return whether an order that is over was over before it was ever sent, such as a stop."""
    return order.state.is_terminal and order.sent_ns == 0 and not order.venue_order_id
