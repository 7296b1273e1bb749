"""One deterministic stream of orders in three sizes, for every book that is measured.

A stream is what traders send (`commands`) and what the venue's market-by-order feed then says
(`feed`). It begins with a prelude that fills the book, so that any length of the body has the same
mix: about 44.5 % adds, 40.5 % deletes, 4.7 % reductions and modifications, 10.3 % executions.
A small book of its own, in this module, decides what trades: no book that is measured has a part in
making the stream. Random numbers are splitmix64 of a counter, the same with every numpy.
"""

import hashlib
import math
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

SEED: Final = 20_240_508
BODY_COMMANDS: Final = 5_000_000
START_NS: Final = 1_700_000_000 * 1_000_000_000
STEP_NS: Final = 1_000
START_TICKS: Final = 50_000

SUBMIT, CANCEL, REDUCE, REPLACE, ADD, DELETE, FEED_REDUCE, MODIFY, EXECUTE = range(9)
"""The numbers of `lob.Action`; written here because a peer's environment has no `lob`."""
GTC, IOC = 0, 1

COLUMNS: Final = ("action", "order_id", "price_ticks", "quantity_lots", "leaves", "side", "tif")
"""Columns of both arrays. `leaves` is what is left of the order after a feed message; `side` (+1
BUY, -1 SELL) and `price_ticks` are the order's own on every row."""
_WIDTH: Final = len(COLUMNS)
_STORED: Final = ("u1", "<i8", "<i4", "<i4", "<i4", "i1", "u1")
_FORMAT: Final = 1
_CHUNK: Final = 1 << 16

Table = dict[str, NDArray[Any]]


class Size(NamedTuple):
    """How large a book is, and how its traders send their orders.

    Orders come `spread_ticks` behind the reference price in the mean, exponentially, and join the
    touch while it has fewer than `touch_orders`. The reference price goes up with probability
    `trend` where it moves, every `move_every` commands, and else down.
    """

    name: str
    live_orders: int
    spread_ticks: int
    touch_orders: int
    move_every: int = 500
    trend: float = 0.68


SIZES: Final = {
    size.name: size
    for size in (
        Size("2k", 2_400, 85, 20),
        Size("12k", 12_000, 82, 22),
        Size("220k", 221_000, 49, 120, move_every=10_000),
    )
}


class Touch(NamedTuple):
    """Best prices with the lots there; 0 where a side is empty."""

    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream with what its own small book says of the end."""

    size: Size
    seed: int
    commands: Table
    feed: Table
    prelude: int
    touch: Touch
    live_orders: int
    levels: int
    path: Path

    @property
    def body_commands(self) -> int:
        """Return how many commands follow the prelude."""
        return len(self.commands["action"]) - self.prelude

    @property
    def body_feed(self) -> int:
        """Return how many feed messages follow the prelude."""
        return len(self.feed["action"]) - self.prelude

    def mix(self) -> dict[str, float]:
        """Return the share of each kind of message in the body of the feed."""
        counts = np.bincount(self.feed["action"][self.prelude :].astype(np.int64), minlength=9)
        total = max(1, int(counts.sum()))
        return {
            "add": float(counts[ADD] / total),
            "delete": float(counts[DELETE] / total),
            "reduce_modify": float((counts[FEED_REDUCE] + counts[MODIFY]) / total),
            "execute": float(counts[EXECUTE] / total),
        }

    def checksum(self) -> str:
        """Return BLAKE2b-128 of every column of both tables."""
        digest = hashlib.blake2b(digest_size=16)
        for table in (self.commands, self.feed):
            for name in COLUMNS:
                digest.update(np.ascontiguousarray(table[name]).tobytes())
        return digest.hexdigest()


def uniforms(seed: int, lane: int, start: int, count: int) -> NDArray[np.float64]:
    """Return numbers `start`.. of one lane of a seed, in [0, 1): splitmix64 of their place."""
    with np.errstate(over="ignore"):
        golden = np.uint64(0x9E3779B97F4A7C15)
        base = np.uint64((seed * 0x2545F4914F6CDD1D + (lane << 44)) & 0xFFFFFFFFFFFFFFFF)
        z = base + np.arange(start + 1, start + count + 1, dtype=np.uint64) * golden
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


class _Side:
    """One side of the generator's own book: price -> {order: lots} in order of arrival."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.levels: dict[int, OrderedDict[int, int]] = {}
        self.best = 0

    def add(self, order: int, price: int, lots: int) -> None:
        level = self.levels.get(price)
        if level is None:
            if not self.levels or (price - self.best) * self.sign > 0:
                self.best = price
            self.levels[price] = OrderedDict(((order, lots),))
        else:
            level[order] = lots

    def drop(self, order: int, price: int) -> None:
        level = self.levels[price]
        del level[order]
        if not level:
            del self.levels[price]
            if price == self.best and self.levels:
                while price not in self.levels:
                    price -= self.sign
                self.best = price

    def lots(self) -> int:
        return sum(self.levels[self.best].values()) if self.levels else 0


class _Maker:
    """Makes one stream: draws what traders do, matches it, and writes both tables down."""

    # Thresholds of the draw that says what a command does; the rest adds or cancels, whichever
    # brings the number of live orders back to the target.
    AGGRESSIVE = 0.0745
    REDUCING = AGGRESSIVE + 0.0325
    REPLACING = REDUCING + 0.0160
    NEAR = 0.25

    def __init__(self, size: Size, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.bids, self.asks = _Side(1), _Side(-1)
        self.side_of: list[int] = []
        self.price_of: list[int] = []
        self.place_of: list[int] = []
        self.live: list[int] = []
        self.commands: list[int] = []
        self.feed: list[int] = []
        self.done: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
        self.reference = START_TICKS

    def run(self, body: int) -> None:
        """Make the prelude and `body` commands."""
        target = self.size.live_orders
        for start in range(0, target, _CHUNK):
            count = min(_CHUNK, target - start)
            lanes = self._lanes(0, start, count)
            for side, distance, lots in zip(lanes[1], lanes[2], lanes[3], strict=True):
                self._add(side < 0.5, 1.0, distance, 1 + int(lots * 15))  # noqa: PLR2004 - a half
            self._flush()
        for start in range(0, body, _CHUNK):
            self._body(start, min(_CHUNK, body - start))
            self._flush()

    def _lanes(self, part: int, start: int, count: int) -> list[list[float]]:
        lanes = range(part * 8, part * 8 + 6)
        return [uniforms(self.seed, lane, start, count).tolist() for lane in lanes]

    def _body(self, start: int, count: int) -> None:
        target, live = self.size.live_orders, self.live
        rows = zip(*self._lanes(1, start, count), strict=True)
        for index, (kind, side, distance, lots, pick, near) in enumerate(rows, start):
            if not index % self.size.move_every:
                self.reference += 1 if near < self.size.trend else -1
            if kind < self.AGGRESSIVE:
                self._aggress(side, 1 + int(lots * 8), int(distance * 3))
            elif kind < self.REPLACING and live:
                order = live[int(pick * len(live))]
                if kind >= self.REDUCING or not self._reduce(order, lots):
                    self._replace(order, distance, 1 + int(lots * 15))
            else:
                # Half and half, leaning to where the target is.
                lean = 0.524 + 4.0 * (target - len(live)) / target
                if (kind - self.REPLACING) / (1 - self.REPLACING) < lean or not live:
                    self._add(side < 0.5, near, distance, 1 + int(lots * 15))  # noqa: PLR2004
                else:
                    self._cancel(live[int(pick * len(live))])

    def _price(self, buys: bool, near: float, distance: float) -> int:
        """Return a price that does not cross: at the touch while it is thin, else behind it."""
        size, reference = self.size, self.reference
        behind = 0 if near < self.NEAR else int(-size.spread_ticks * math.log1p(-distance))
        if buys:
            price = reference - behind
            if self.asks.levels and price >= self.asks.best:
                price = self.asks.best - 1
            levels, step = self.bids.levels, -1
        else:
            price = reference + 1 + behind
            if self.bids.levels and price <= self.bids.best:
                price = self.bids.best + 1
            levels, step = self.asks.levels, 1
        if not behind and len(levels.get(price, ())) >= size.touch_orders:
            price += step * (1 + int(-size.spread_ticks * math.log1p(-distance)))
        return max(1, price)

    def _add(self, buys: bool, near: float, distance: float, lots: int) -> None:
        order, sign = len(self.side_of), 1 if buys else -1
        price = self._price(buys, near, distance)
        self.side_of.append(sign)
        self.price_of.append(price)
        self.place_of.append(len(self.live))
        self.live.append(order)
        (self.bids if buys else self.asks).add(order, price, lots)
        self.commands += (SUBMIT, order, price, lots, lots, sign, GTC)
        self.feed += (ADD, order, price, lots, lots, sign, GTC)

    def _forget(self, order: int) -> None:
        place, last = self.place_of[order], self.live.pop()
        if last != order:
            self.live[place] = last
            self.place_of[last] = place

    def _cancel(self, order: int) -> None:
        sign, price = self.side_of[order], self.price_of[order]
        side = self.bids if sign > 0 else self.asks
        lots = side.levels[price][order]
        side.drop(order, price)
        self._forget(order)
        self.commands += (CANCEL, order, price, lots, 0, sign, GTC)
        self.feed += (DELETE, order, price, lots, 0, sign, GTC)

    def _reduce(self, order: int, share: float) -> bool:
        """Take lots off an order that has two or more."""
        sign, price = self.side_of[order], self.price_of[order]
        level = (self.bids if sign > 0 else self.asks).levels[price]
        had = level[order]
        if had == 1:
            return False
        lots = 1 + int(share * (had - 1))
        level[order] = had - lots
        self.commands += (REDUCE, order, price, lots, had - lots, sign, GTC)
        self.feed += (FEED_REDUCE, order, price, lots, had - lots, sign, GTC)
        return True

    def _replace(self, order: int, distance: float, lots: int) -> None:
        """Send an order to another price, or to as many lots as it may be at the same."""
        sign, price = self.side_of[order], self.price_of[order]
        side = self.bids if sign > 0 else self.asks
        new = self._price(sign > 0, 1.0, distance)
        if new == price and lots <= side.levels[price][order]:
            side.levels[price][order] = lots
        else:
            side.drop(order, price)
            # The level that was left may have been the touch: what did not cross still does not.
            side.add(order, new, lots)
            self.price_of[order] = new
        self.commands += (REPLACE, order, new, lots, lots, sign, GTC)
        self.feed += (MODIFY, order, new, lots, lots, sign, GTC)

    def _aggress(self, side: float, lots: int, slack: int) -> None:
        """Send an IOC order through the touch; the reference price pulls its side."""
        buys = side < 0.5  # noqa: PLR2004
        if self.asks.levels and self.asks.best <= self.reference:
            buys = side < 0.9  # noqa: PLR2004
        elif self.bids.levels and self.bids.best > self.reference:
            buys = side < 0.1  # noqa: PLR2004
        book, sign = (self.asks, 1) if buys else (self.bids, -1)
        if not book.levels:
            return
        order, limit = len(self.side_of), max(1, book.best + sign * slack)
        self.side_of.append(sign)
        self.price_of.append(limit)
        self.place_of.append(-1)
        self.commands += (SUBMIT, order, limit, lots, 0, sign, IOC)
        while lots and book.levels and (limit - book.best) * sign >= 0:
            price = book.best
            level = book.levels[price]
            maker = next(iter(level))
            traded = min(lots, level[maker])
            left = level[maker] - traded
            lots -= traded
            self.feed += (EXECUTE, maker, price, traded, left, -sign, GTC)
            if left:
                level[maker] = left
            else:
                book.drop(maker, price)
                self._forget(maker)

    def _flush(self) -> None:
        for rows, tables in zip((self.commands, self.feed), self.done, strict=True):
            tables.append(np.array(rows, dtype=np.int64).reshape(-1, _WIDTH))
            rows.clear()

    def touch(self) -> Touch:
        """Return the touch of the book as it is now."""
        bids, asks = self.bids, self.asks
        return Touch(
            bids.best if bids.levels else 0,
            bids.lots(),
            asks.best if asks.levels else 0,
            asks.lots(),
        )

    def tables(self) -> tuple[Table, Table]:
        """Return both tables, with order ids that grow by uneven steps as a venue's do."""
        gaps = 1 + (uniforms(self.seed, 99, 0, len(self.side_of)) * 16).astype(np.int64)
        ids = 10_000_000 + np.cumsum(gaps)
        found = []
        for chunks in self.done:
            rows = np.concatenate(chunks)
            rows[:, 1] = ids[rows[:, 1]]
            found.append(
                {
                    name: np.ascontiguousarray(rows[:, column]).astype(kind)
                    for column, (name, kind) in enumerate(zip(COLUMNS, _STORED, strict=True))
                }
            )
        return found[0], found[1]


def generate(
    size: Size, body: int = BODY_COMMANDS, seed: int = SEED, path: Path | None = None
) -> Stream:
    """Make a stream, in about 3 s a million commands; the same for the same size, body and seed."""
    maker = _Maker(size, seed)
    maker.run(body)
    commands, feed = maker.tables()
    levels = len(maker.bids.levels) + len(maker.asks.levels)
    return Stream(
        size,
        seed,
        commands,
        feed,
        size.live_orders,
        maker.touch(),
        len(maker.live),
        levels,
        path or Path(),
    )


def cached(folder: Path, size: Size, body: int = BODY_COMMANDS, seed: int = SEED) -> Stream:
    """Return a stream from its file in `folder`, which is made where it is missing or damaged."""
    path = folder / f"stream-{_FORMAT}-{size.name}-{body}-{seed}.npz"
    if path.exists():
        try:
            return load(path)
        except (OSError, ValueError, KeyError, BadZipFile):
            sys.stderr.write(f"bench: {path.name} is damaged; making it anew\n")
    started = time.perf_counter()
    stream = generate(size, body, seed, path)
    save(stream)
    sys.stderr.write(f"bench: made {path.name} in {time.perf_counter() - started:.0f} s\n")
    return stream


def save(stream: Stream) -> None:
    """Write a stream to its path; a file is either whole or not there."""
    arrays: Table = {f"commands_{name}": column for name, column in stream.commands.items()}
    arrays |= {f"feed_{name}": column for name, column in stream.feed.items()}
    facts = [stream.seed, stream.prelude, stream.live_orders, stream.levels, *stream.touch]
    arrays["facts"] = np.array(facts, dtype=np.int64)
    arrays["size"] = np.array(stream.size.name)
    arrays["checksum"] = np.array(stream.checksum())
    stream.path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = stream.path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type, unused-ignore]
    unfinished.replace(stream.path)


def load(path: Path) -> Stream:
    """Read a stream; ValueError where its bytes are not those that were written."""
    with np.load(path, allow_pickle=False) as file:
        commands = {name: file[f"commands_{name}"] for name in COLUMNS}
        feed = {name: file[f"feed_{name}"] for name in COLUMNS}
        seed, prelude, live_orders, levels, *touch = (int(fact) for fact in file["facts"])
        size = SIZES[str(file["size"])]
        checksum = str(file["checksum"])
    stream = Stream(size, seed, commands, feed, prelude, Touch(*touch), live_orders, levels, path)
    if stream.checksum() != checksum:
        raise ValueError(f"{path}: checksum {stream.checksum()}, expected {checksum}")
    return stream
