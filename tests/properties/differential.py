"""Put one seeded, adversarial stream through two books and stop at the first difference.

`python -m tests.properties.differential --commands 10000000` runs it at length, with progress; the
suite runs a shorter one. A seed names its stream for good: a difference is found again with
`--mix NAME --seed N`.
"""

import argparse
import importlib.util
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import numpy as np

import lob
from lob.book import OrderBook
from lob.errors import Fault
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.types import (
    DAY_NS,
    INT64_MAX,
    Allocation,
    AssetClass,
    Instrument,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

AnyBook = Any  # the Python book or the native one: they share an interface, not a base
Call = tuple[str, tuple[Any, ...], dict[str, Any]]

SIDES: Final = tuple(Side)
TYPES: Final = tuple(OrderType)
LASTING: Final = tuple(TimeInForce)
MODES: Final = tuple(SelfTradePrevention)
REMEMBERED: Final = 256
"""How many of the latest ids are drawn from when an order is to be changed."""

SHOWN_MOST: Final = 40
"""In how many parts an iceberg shows itself at most: each part is a trade."""


def _instrument(allocation: Allocation, minimum_lots: int = 1, close_ns: int = 0) -> Instrument:
    return Instrument(
        symbol="DIFF",
        asset_class=AssetClass.FUTURES,
        tick_size=Decimal(1),
        lot_size=Decimal(1),
        allocation=allocation,
        minimum_allocation_lots=minimum_lots,
        day_close_ns=close_ns,
    )


FIFO: Final = _instrument(Allocation.PRICE_TIME, close_ns=DAY_NS // 3)
PRO_RATA: Final = _instrument(Allocation.PRO_RATA, minimum_lots=3)
SHARED_OUT: Final = _instrument(Allocation.PRO_RATA)


@dataclass(frozen=True, slots=True)
class Mix:
    """One kind of flow: which prices, quantities and ids, and how often there is what.

    Most BUY prices are lower, and SELL prices higher, by `apart`: the larger, the more rests.
    """

    name: str
    instrument: Instrument | None
    price: Callable[[random.Random], int]
    lots: Callable[[random.Random], int]
    ids: int = 600
    participants: int = 4
    apart: int = 0
    plain: float = 0.45
    stops: float = 0.10
    calls: dict[str, int] = field(default_factory=dict)


USUAL_CALLS: Final = {
    "submit": 46,
    "cancel": 14,
    "reduce": 7,
    "replace": 10,
    "feed_add": 6,
    "feed_delete": 2,
    "feed_reduce": 2,
    "feed_execute": 3,
    "feed_modify": 2,
    "advance": 2,
    "track": 3,
    "untrack": 1,
    "walk": 2,
}


def _near(middle: int, spread: int) -> Callable[[random.Random], int]:
    return lambda rng: middle + rng.randint(-spread, spread)


def _at_the_ends(rng: random.Random) -> int:
    return rng.choice((1, 2, 3, 2**62, INT64_MAX - 2, INT64_MAX - 1, INT64_MAX))


def _anywhere(rng: random.Random) -> int:
    return rng.randint(1, 1 << rng.randint(1, 63)) if rng.random() < 0.7 else rng.randint(1, 99)


def _few(most: int) -> Callable[[random.Random], int]:
    return lambda rng: rng.randint(1, most)


def _huge(rng: random.Random) -> int:
    return rng.choice((1, 2**61, 2**62, 2**63 - 2, INT64_MAX, rng.randint(1, INT64_MAX)))


MIXES: Final = (
    Mix("usual", FIFO, _near(5_000, 6), _few(30), apart=3),
    Mix("plain", None, _near(58_500, 40), _few(200), ids=4_000, apart=30, plain=0.97, stops=0.0),
    Mix("deep", FIFO, _near(100, 1), _few(9), ids=3_000, apart=2, calls={"track": 8}),
    Mix("stops", FIFO, _near(1_000, 8), _few(12), plain=0.25, stops=0.45),
    Mix("pro-rata", PRO_RATA, _near(700, 3), _few(40), ids=400, apart=3),
    Mix("pro-rata, huge", SHARED_OUT, _near(700, 2), _huge, ids=60),
    Mix("ends", FIFO, _at_the_ends, _few(20), ids=300),
    Mix("huge", FIFO, _near(50, 2), _huge, ids=80),
    Mix("sparse", FIFO, _anywhere, _few(50), ids=2_000, stops=0.02),
    Mix("own orders", PRO_RATA, _near(300, 2), _few(25), ids=200, participants=1, plain=0.05),
    Mix("few ids", FIFO, _near(40, 3), _few(8), ids=12),
)


class Flow:
    """Draw calls, one after another, from a seed."""

    def __init__(self, mix: Mix, seed: int) -> None:
        self.mix = mix
        self.rng = random.Random(f"{mix.name} {seed}")
        self.now_ns = 0
        calls = USUAL_CALLS | mix.calls
        self._names, self._weights = tuple(calls), tuple(calls.values())
        self._recent = [1]
        self._spread = 1 if self.rng.random() < 0.5 else self.rng.randint(2, 2**53)

    def calls(self, count: int) -> Iterator[Call]:
        """Yield `count` calls."""
        for name in self.rng.choices(self._names, self._weights, k=count):
            yield self._call(name)

    def _call(self, name: str) -> Call:
        rng, mix = self.rng, self.mix
        if name == "submit":
            return self._submit()
        if name == "feed_add":
            side = rng.choice(SIDES)
            order = (self._new_id(), side, self._price(side), mix.lots(rng))
            return name, (*order, rng.choice((0, 0, self._participant()))), {}
        if name in ("cancel", "feed_delete", "track", "untrack"):
            return name, (self._known_id(),), {}
        if name in ("reduce", "feed_reduce", "feed_execute"):
            return name, (self._known_id(), self._some_lots()), {}
        if name in ("replace", "feed_modify"):
            return name, (self._known_id(), mix.price(rng), self._some_lots()), {}
        return self._walk() if name == "walk" else self._advance()

    def _walk(self) -> Call:
        rng, mix = self.rng, self.mix
        limit = rng.choice((None, mix.price(rng)))
        wanted = {"participant_id": self._participant(), "stp": rng.choice(MODES)}
        return "walk", (rng.choice(SIDES), mix.lots(rng), limit), wanted

    def _advance(self) -> Call:
        rng = self.rng
        self.now_ns = min(INT64_MAX, self.now_ns + rng.choice((0, 1, 5, 50, DAY_NS // 5)))
        back = 1 if rng.random() < 0.02 else 0
        return "advance", (self.now_ns - back,), {}

    def _submit(self) -> Call:
        rng, mix = self.rng, self.mix
        side, lots = rng.choice(SIDES), mix.lots(rng)
        price = self._price(side)
        if rng.random() < mix.plain:
            order = (self._new_id(), side, lots, price)
            lasting = LASTING[1] if rng.random() < 0.15 else LASTING[0]
            return "submit", order, {"time_in_force": lasting} if lasting is LASTING[1] else {}
        order_type = TYPES[rng.choice((2, 3)) if rng.random() < mix.stops else rng.random() < 0.1]
        lasting = rng.choice((*LASTING, LASTING[0], LASTING[0]))
        fields: dict[str, Any] = {
            "order_type": order_type,
            "time_in_force": lasting,
            "participant_id": self._participant(),
            "stp": rng.choice(MODES),
            "post_only": rng.random() < 0.12,
            "hidden": rng.random() < 0.15,
        }
        if order_type in (OrderType.STOP, OrderType.STOP_LIMIT):
            fields["stop_ticks"] = mix.price(rng)
        if lasting is TimeInForce.GTD:
            fields["expire_ns"] = min(INT64_MAX, self.now_ns + rng.randint(0, 200))
        if rng.random() < 0.3 and not fields["hidden"]:
            fields["display_lots"] = rng.randint(max(1, lots // SHOWN_MOST), lots)
        limited = order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        positional = [self._new_id(), side, lots, price if limited else None]
        if rng.random() < 0.03:
            self._spoil(positional, fields)
        return "submit", tuple(positional), fields

    def _spoil(self, positional: list[Any], fields: dict[str, Any]) -> None:
        """Give one field a value that no field can have, or that does not go with the others."""
        rng = self.rng
        wrong = rng.choice((0, -1, 2**63, -(2**70), True, 1.0, "7", None))
        place = rng.choice(
            (0, 2, 3, "stop_ticks", "display_lots", "expire_ns", "participant_id", "stp", 1)
        )
        if isinstance(place, int):
            positional[place] = wrong
        else:
            fields[place] = wrong

    def _price(self, side: Side) -> int:
        price = self.mix.price(self.rng)
        if self.mix.apart and self.rng.random() < 0.85:
            return price - side.sign * self.mix.apart
        return price

    def _new_id(self) -> int:
        number = self.rng.randint(1, self.mix.ids) * self._spread
        order_id = min(number, INT64_MAX)
        self._recent.append(order_id)
        if len(self._recent) > 2 * REMEMBERED:
            del self._recent[:REMEMBERED]
        return order_id

    def _known_id(self) -> Any:
        if self.rng.random() < 0.01:
            return self.rng.choice((0, -5, -(2**63), 2**63, True, 1.0, None, "1"))
        return self.rng.choice(self._recent)

    def _some_lots(self) -> Any:
        if self.rng.random() < 0.01:
            return self.rng.choice((0, -1, -(2**63), 2**63, False, 2.0))
        lots = self.mix.lots(self.rng)
        return max(1, lots // 3) if self.rng.random() < 0.5 else lots

    def _participant(self) -> int:
        return self.rng.randint(0, self.mix.participants)

    # ---------------------------------------------------------------- in bulk

    def messages(self, rows: int) -> tuple[Any, Any]:
        """Return an array of messages, some of them spoilt, and the participants."""
        rng, mix = self.rng, self.mix
        table = np.zeros(rows, MESSAGE_DTYPE)
        participants = np.zeros(rows, np.int64)
        for row in range(rows):
            action = rng.choices(tuple(Action), (40, 14, 6, 8, 14, 6, 4, 3, 5, 0.1))[0]
            new = action in (Action.SUBMIT, Action.FEED_ADD)
            lots, side = mix.lots(rng), rng.choice(SIDES)
            flags = 0
            if action is Action.SUBMIT and rng.random() > mix.plain:
                flags = rng.choice((0, Flag.POST_ONLY, Flag.HIDDEN, Flag.MARKET))
                flags |= rng.randint(0, 4) << 3
                participants[row] = self._participant()
            lasting = rng.choice((0, 0, 0, 1, 2, 3)) if rng.random() > mix.plain else 0
            self.now_ns = min(INT64_MAX, self.now_ns + rng.choice((0, 0, 1, 9)))
            shown = rng.randint(max(1, lots // SHOWN_MOST), lots) if rng.random() < 0.1 else 0
            table[row] = (
                self.now_ns,
                self._new_id() if new else rng.choice(self._recent),
                0 if flags & Flag.MARKET else self._price(side),
                lots,
                0 if flags & Flag.HIDDEN else shown,
                action,
                side.sign,
                lasting,
                flags | rng.choice((0, 64, 128)),
            )
        self._spoil_rows(table, participants)
        return table, participants

    def _spoil_rows(self, table: Any, participants: Any) -> None:
        for _ in range(self.rng.choice((0, 0, 1, 3))):
            row = self.rng.randrange(len(table))
            name = self.rng.choice(
                ("order_id", "price_ticks", "quantity_lots", "display_lots", "side", "action")
            )
            ends = np.iinfo(table.dtype[name])
            wrong = self.rng.choice((0, -1, 99, int(ends.min), int(ends.max)))
            table[name][row] = max(0, wrong) if name == "action" else wrong
            if self.rng.random() < 0.3:
                participants[row] = -1


class DifferenceFoundError(AssertionError):
    """Say where two books went apart, and how to get there again."""


@dataclass(slots=True)
class Differential:
    """Two books, the flow through both, and how far it has come."""

    mix: Mix
    seed: int
    first: type[AnyBook]
    second: type[AnyBook]
    look_every: int = 50
    flow: Flow = field(init=False)
    books: tuple[AnyBook, AnyBook] = field(init=False)
    done: int = 0
    events: int = 0
    last: Any = None

    def __post_init__(self) -> None:
        self.flow = Flow(self.mix, self.seed)
        tracked = 7 if self.seed % 2 else 100
        self.books = (
            self.first(self.mix.instrument, max_tracked_orders=tracked),
            self.second(self.mix.instrument, max_tracked_orders=tracked),
        )

    def run(self, commands: int) -> None:
        """Put that many more commands through both books."""
        end = self.done + commands
        while self.done < end:
            if self.flow.rng.random() < 0.06:
                self._in_bulk(min(120, end - self.done))
            else:
                self._one_by_one(min(1_000, end - self.done))
            if self.flow.rng.random() < 0.2:
                self._restore()
            if self.flow.rng.random() < 0.1:
                self._begin_with_a_tape(min(400, end - self.done))

    def _one_by_one(self, count: int) -> None:
        first, second = self.books
        for number, (name, args, fields) in enumerate(self.flow.calls(count)):
            self.last = (name, args, fields)
            one = _outcome(first, name, args, fields)
            other = _outcome(second, name, args, fields)
            if one != other:
                self._fail("outcomes", one, other)
            self.done += 1
            if type(one) is tuple:
                self.events += len(one)
            if number % self.look_every == 0:
                self._look()

    def _in_bulk(self, rows: int) -> None:
        table, participants = self.flow.messages(rows)
        strict = self.flow.rng.random() < 0.4
        self.last = ("apply", table, participants)
        found = []
        for book in self.books:
            outcome = _outcome(
                book, "apply", (table,), {"participants": participants, "strict": strict}
            )
            found.append((outcome, *(rows.tolist() for rows in book.last_apply)))
        if found[0] != found[1]:
            self._fail("bulk outcomes", *found)
        self.events += len(found[0][1])
        self.done += rows
        self._look()

    def _begin_with_a_tape(self, rows: int) -> None:
        """Go on with new books that a compiled tape was replayed into."""
        if rows < 1:
            return
        table, participants = self.flow.messages(rows)
        strict = self.flow.rng.random() < 0.2
        self.last = ("tape", table, participants)
        books, found = [], []
        for book_class in (self.first, self.second):
            tape = sys.modules[book_class.__module__].CompiledTape(
                table, participants=participants, strict=strict
            )
            _outcome(book_class(), "apply", (tape,), {})  # a tape serves more than once
            book = book_class(self.mix.instrument)
            outcome = _outcome(book, "apply", (tape,), {})
            found.append((outcome, *(rows.tolist() for rows in book.last_apply)))
            books.append(book)
        if found[0] != found[1]:
            self._fail("tapes' outcomes", *found)
        self.books = (books[0], books[1])
        self.done += rows
        self._look()

    def _look(self) -> None:
        """Compare the whole state, and what can be asked."""
        found = []
        for book in self.books:
            book.check(crossed_allowed=True)
            tracked = [
                (order.order_id, book.queue_position(order.order_id))
                for order in list(book.orders())[:12]
            ]
            found.append(
                (
                    book.state_hash(),
                    len(book),
                    book.best_bid(),
                    book.best_ask(),
                    book.mid_ticks(),
                    book.crossed,
                    book.depth(4),
                    book.tracked_count,
                    book.last_trade_ticks,
                    book.now_ns,
                    tracked,
                    [book.levels_before(order_id) for order_id, _ in tracked],
                )
            )
        if found[0] != found[1]:
            self._fail("states", *found)

    def _restore(self) -> None:
        """Go on with books restored from the other's snapshot."""
        first, second = self.books
        snapshots = (first.snapshot(), second.snapshot())
        if snapshots[0] != snapshots[1]:
            self._fail("snapshots", *snapshots)
        self.books = (self.first.restore(snapshots[1]), self.second.restore(snapshots[0]))
        self._look()

    def _fail(self, what: str, one: object, other: object) -> None:
        raise DifferenceFoundError(
            f"{what} differ in mix {self.mix.name!r}, seed {self.seed}, after {self.done} "
            f"commands, at {self.last!r}:\n{self.first.__name__}: {one}\n"
            f"{self.second.__name__}: {other}"
        )


def _outcome(book: AnyBook, name: str, args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    """Return what a call came to: its events as a tuple, its answer, or the fault's name."""
    try:
        found = getattr(book, name)(*args, **fields)
    except Fault as fault:
        return type(fault).__name__
    if found is None or isinstance(found, tuple):
        return found
    return None if isinstance(found, np.ndarray) else tuple(found)


def run_mixes(
    first: type[AnyBook],
    second: type[AnyBook],
    commands: int,
    *,
    seeds: Sequence[int] = (1,),
    mixes: Sequence[Mix] = MIXES,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, int]:
    """Share `commands` out among mixes and seeds; return commands done and events compared."""
    each = -(-commands // (len(mixes) * len(seeds)))
    done = events = 0
    for seed in seeds:
        for mix in mixes:
            pair = Differential(mix, seed, first, second)
            while pair.done < each:
                pair.run(min(20_000, each - pair.done))
                if progress is not None:
                    progress(done + pair.done, events + pair.events)
            done, events = done + pair.done, events + pair.events
    return done, events


def _load_core(path: str) -> None:
    """Have `lob.native` use another build of the extension, such as one with sanitizers."""
    spec = importlib.util.spec_from_file_location("lob._core", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"--core: {path}: no extension module")
    core = importlib.util.module_from_spec(spec)
    sys.modules["lob._core"] = lob._core = core
    spec.loader.exec_module(core)


def main() -> int:
    """Run it at length; exit code 1 where a difference was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=10_000_000, help="in all")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds")
    parser.add_argument("--mix", choices=[mix.name for mix in MIXES], help="only this mix")
    parser.add_argument("--core", help="the extension to load in place of the installed one")
    chosen = parser.parse_args()
    if chosen.core:
        _load_core(chosen.core)
    from lob.native import NativeOrderBook  # noqa: PLC0415 - it may not be built

    mixes = [mix for mix in MIXES if chosen.mix in (None, mix.name)]
    seeds = range(chosen.seed, chosen.seed + chosen.seeds)
    started = time.monotonic()

    def progress(done: int, events: int) -> None:
        took = time.monotonic() - started
        line = f"\r{done:,} of {chosen.commands:,} commands, {events:,} events, {took:.0f} s"
        sys.stderr.write(line)

    try:
        done, events = run_mixes(
            OrderBook, NativeOrderBook, chosen.commands, seeds=seeds, mixes=mixes, progress=progress
        )
    except DifferenceFoundError as difference:
        sys.stderr.write(f"\n{difference}\n")
        return 1
    result = {
        "commands": done,
        "events": events,
        "mixes": [mix.name for mix in mixes],
        "seeds": list(seeds),
        "differences": 0,
        "seconds": round(time.monotonic() - started, 1),
    }
    sys.stderr.write("\n")
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
