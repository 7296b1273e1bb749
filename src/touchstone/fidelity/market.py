"""Markets to measure against: find them, load them, and know every resting order's life.

Any file of orders that `lob.feeds` reads is a market. What a measurement needs of it comes out of
one pass (`order_lives`): of each order its arrival, what stood before it, when it first traded and
how it ended.

A LOBSTER file of n levels says nothing of orders further out, so an order that was deleted there
seems to rest for ever: it blocks a queue, or makes up a touch. Where a later message cannot be true
with it (an order behind it trades, or one that would have traded with it comes to rest), and the
file never names it again, it is *stale*: `load_market` puts its delete in there, and says so.

A file may begin before its venue opens, with orders that cross one another until an auction. That
part is taken for a snapshot: the orders that are left of it rest at the start, and the session
begins after it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from lob import OrderBook
from lob.errors import InvalidInput
from lob.feeds import Feed, open_feed
from lob.feeds.lobster import MessageType
from lob.feeds.lobster_feed import price_units
from lob.messages import MESSAGE_DTYPE, Action, Array, Flag
from lob.recording import HIDDEN_DTYPE
from lob.replay import LobsterReplay
from lob.types import Instrument
from touchstone.fidelity.order_lives import LIFE_DTYPE, EndReason, find_stale, order_lives

__all__ = [
    "HIDDEN_DTYPE",
    "LIFE_DTYPE",
    "EndReason",
    "Market",
    "Survey",
    "find_markets",
    "load_market",
    "make_market",
    "order_lives",
    "survey_markets",
]

Progress = Callable[[str], None]

MIN_EXECUTIONS: Final = 200
MIN_SECONDS: Final = 300.0
MAX_CROSSED_SHARE: Final = 0.01
"""What a market must have to be measured: so many executions in so long a time, and a book that is
crossed after at most this share of its messages, those of an opening left out. Each part says what
it needs besides."""

MAX_OPENING_SHARE: Final = 0.5
"""An opening is at most this share of a market's messages."""

MIN_AGREEMENT: Final = 0.99
"""The share of an orderbook file's rows that must agree with the messages for it to be theirs."""

_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """One instrument's feed in memory, ready to be measured.

    `messages` are the reader's (`MESSAGE_DTYPE`, in file order), without those that a book refuses
    and with the deletes of stale orders; `notes` say what was left out and put in. `hidden` has the
    executions of hidden orders (`lob.recording.HIDDEN_DTYPE`), none where the feed names none.
    `orders` is what `order_lives` gives. `start_ns` and `end_ns` are the times of the first and the
    last message that is not of a snapshot.
    """

    name: str
    instrument: Instrument
    messages: Array
    hidden: Array
    orders: Array
    start_ns: int
    end_ns: int
    notes: tuple[str, ...] = ()
    stale_orders: tuple[int, ...] = field(default=())

    @property
    def first_index(self) -> int:
        """Return the place of the first message that is not of a snapshot; 0 where all are."""
        return int(np.argmin((self.messages["flags"] & Flag.SNAPSHOT) != 0))

    @property
    def seconds(self) -> float:
        """Return how long the market was watched."""
        return (self.end_ns - self.start_ns) / _SECOND_NS


class Survey(NamedTuple):
    """The files that can be measured, and every other file with the reason why not."""

    found: tuple[Path, ...]
    passed_over: tuple[tuple[Path, str], ...]


def find_markets(data_dir: Path) -> tuple[Path, ...]:
    """Return the files in a folder and below that can be measured; `survey_markets` says why not.

    Raises:
        InvalidInput: there is no such folder.
    """
    return survey_markets(data_dir).found


def survey_markets(
    data_dir: Path,
    *,
    min_executions: int = MIN_EXECUTIONS,
    min_seconds: float = MIN_SECONDS,
    progress: Progress | None = None,
) -> Survey:
    """Look at every file of a folder and below, in order of name; each is read once.

    Raises:
        InvalidInput: there is no such folder.
    """
    if not data_dir.is_dir():
        raise InvalidInput(f"data_dir: {data_dir}; allowed: a folder of market data")
    found: list[Path] = []
    passed_over: list[tuple[Path, str]] = []
    for path in sorted(p for p in data_dir.rglob("*") if p.is_file()):
        if progress is not None:
            progress(f"looking at {path.name}")
        reason = _why_not(path, min_executions, min_seconds)
        if reason is None:
            found.append(path)
        else:
            passed_over.append((path, reason))
    return Survey(tuple(found), tuple(passed_over))


def load_market(path: Path, *, progress: Progress, feed: Feed | None = None) -> Market:
    """Read a file and walk it once.

    `feed` is a reader of it where somebody has told its symbol or its scale; else the file says
    both. Where a LOBSTER orderbook file lies beside a message file, the orders that it shows to be
    stale are deleted there too.

    Raises:
        InvalidInput: no reader knows the file, its scale is nowhere said, or it has no messages.
    """
    progress(f"reading {path.name}")
    feed = open_feed(path) if feed is None else feed
    blocks = list(feed.blocks())
    messages = _concatenated(block.messages for block in blocks)
    name = f"{feed.instrument.symbol} ({path.name})"
    if feed.format != "lobster" or not len(messages):
        return make_market(name, feed.instrument, messages)
    positions = np.concatenate([block.positions for block in blocks])
    # What rested at the start comes before the first line.
    first = int(((messages["flags"] & Flag.SNAPSHOT) != 0).sum())
    progress(f"{path.name}: {len(messages):,} messages")
    return make_market(
        name,
        feed.instrument,
        messages,
        _lobster_hidden(path, feed.instrument, first),
        gone=[
            (first + int(np.searchsorted(positions[first:], line, side="right")), order_id)
            for line, order_id in _gone_by_orderbook(path, feed.instrument)
        ],
        find_gone=True,
    )


def make_market(
    name: str,
    instrument: Instrument,
    messages: Array,
    hidden: Array | None = None,
    *,
    gone: Sequence[tuple[int, int]] = (),
    find_gone: bool = False,
) -> Market:
    """Make a market of messages in memory, such as those of a generator.

    `hidden` counts `before_index` in these messages. `gone` are orders that are known to be stale:
    (place of the message before which they go, order id). `find_gone` looks for more of them, for
    feeds that do not say what happens far from the touch.

    Raises:
        InvalidInput: no messages, or ones that are not feed messages.
    """
    if not len(messages) or int(messages["action"].min()) < Action.FEED_ADD:
        raise InvalidInput(f"messages: {len(messages)} of {name}; allowed: 1 or more, of a feed")
    tape = _Tape(messages, np.zeros(0, HIDDEN_DTYPE) if hidden is None else hidden.copy())
    notes: list[str] = []
    turned_back = tape.put_times_in_order()
    if turned_back:
        notes.append(f"{turned_back} messages are dated back, and taken at an earlier one's time")
    tape.delete_gone(sorted(gone))
    refused, crossed = tape.drop_refused(instrument)
    if refused:
        notes.append(f"{refused} messages that the book refused are left out")
    opening = _opening(crossed, len(tape.messages))
    if opening:
        tape.begin_after(opening)
        notes.append(
            f"the first {opening} messages, until the book was crossed no more, are taken for a "
            "snapshot"
        )
    if find_gone:
        tape.delete_gone(find_stale(tape.messages))
    if tape.gone:
        notes.append(f"{len(tape.gone)} stale orders are deleted where the file shows them gone")
    messages = tape.messages
    in_session = messages["ts_event_ns"][(messages["flags"] & Flag.SNAPSHOT) == 0]
    times = in_session if len(in_session) else messages["ts_event_ns"]
    return Market(
        name,
        instrument,
        messages,
        tape.hidden,
        order_lives(messages, stale_orders=frozenset(tape.gone)),
        int(times[0]),
        int(times[-1]),
        tuple(notes),
        tuple(tape.gone),
    )


class _Tape:
    """Messages and the hidden executions between them, which keep their places as rows change."""

    def __init__(self, messages: Array, hidden: Array) -> None:
        self.messages = messages
        self.hidden = hidden
        self.gone: list[int] = []

    def delete_gone(self, gone: Sequence[tuple[int, int]]) -> None:
        """Put a delete before the message at each place, which must not go down."""
        if not gone:
            return
        places = np.array([place for place, _ in gone], np.int64)
        deletes = np.zeros(len(gone), MESSAGE_DTYPE)
        last = len(self.messages) - 1
        deletes["ts_event_ns"] = self.messages["ts_event_ns"][np.minimum(places, last)]
        deletes["order_id"] = [order_id for _, order_id in gone]
        deletes["action"] = Action.FEED_DELETE
        self.hidden["before_index"] += np.searchsorted(places, self.hidden["before_index"])
        self.messages = np.insert(self.messages, places, deletes)
        self.gone += [order_id for _, order_id in gone]

    def put_times_in_order(self) -> int:
        """Let no message be earlier than the one before it; return how many were."""
        times = self.messages["ts_event_ns"]
        risen = np.maximum.accumulate(times)
        earlier = int((risen > times).sum())
        if earlier:
            self.messages = self.messages.copy()
            self.messages["ts_event_ns"] = risen
        return earlier

    def drop_refused(self, instrument: Instrument) -> tuple[int, Array]:
        """Leave out what a book cannot take: how many messages, and the runs that left it crossed.

        The runs have `first` and `end` among the messages that are left.
        """
        book = OrderBook(instrument)
        book.apply(self.messages, strict=False)
        refused = book.last_apply.refusals["index"]
        crossed = book.last_apply.crossings.copy()
        if len(refused):
            self.hidden["before_index"] -= np.searchsorted(refused, self.hidden["before_index"])
            for name in ("first", "end"):
                crossed[name] -= np.searchsorted(refused, crossed[name]).astype(crossed[name].dtype)
            self.messages = np.delete(self.messages, refused)
        return len(refused), crossed

    def begin_after(self, count: int) -> None:
        """Take the first messages for a snapshot."""
        self.messages = self.messages.copy()
        self.messages["flags"][:count] |= np.uint8(Flag.SNAPSHOT)
        self.hidden = self.hidden[self.hidden["before_index"] >= count]


def _why_not(path: Path, min_executions: int, min_seconds: float) -> str | None:
    """Return why a file cannot be measured, None where it can."""
    try:
        feed = open_feed(path)
        messages = _concatenated(block.messages for block in feed.blocks())
    except InvalidInput as error:
        return str(error).removeprefix(f"{path}: ")
    executions = int((messages["action"] == Action.FEED_EXECUTE).sum())
    if executions < min_executions:
        return f"{executions} executions; needed: {min_executions}"
    times = messages["ts_event_ns"][(messages["flags"] & Flag.SNAPSHOT) == 0]
    seconds = float(times[-1] - times[0]) / _SECOND_NS if len(times) else 0.0
    if seconds < min_seconds:
        return f"{seconds:.0f} s; needed: {min_seconds:.0f}"
    book = OrderBook(feed.instrument)
    book.apply(messages, strict=False)
    crossed = book.last_apply.crossings
    if _opening(crossed, len(messages)) is None:
        share = float((crossed["end"] - crossed["first"]).sum()) / len(messages)
        return f"crossed after {share:.0%} of its messages; allowed: {MAX_CROSSED_SHARE:.0%}"
    return None


def _opening(crossed: Array, count: int) -> int | None:
    """Return how many messages to take for an opening: 0 for none, None where none would do.

    The fewest after which the book is hardly ever crossed, `crossed` being the runs of messages
    that left it so.
    """
    ends = crossed["end"].astype(np.int64)
    runs = ends - crossed["first"].astype(np.int64)
    left = runs.sum() - np.concatenate([[0], np.cumsum(runs)])
    places = np.concatenate([[0], ends])
    well = np.flatnonzero(left <= MAX_CROSSED_SHARE * np.maximum(count - places, 1))
    first = int(places[well[0]]) if len(well) else count
    return first if first <= MAX_OPENING_SHARE * count else None


def _concatenated(parts: Iterator[Array]) -> Array:
    blocks = list(parts)
    return np.concatenate(blocks) if blocks else np.zeros(0, MESSAGE_DTYPE)


def _gone_by_orderbook(path: Path, instrument: Instrument) -> list[tuple[int, int]]:
    """Return what a LOBSTER orderbook file beside a message file shows to be stale: (line, id).

    The file is one of the same symbol (and day, where the names have one). One that does not agree
    with the messages is another's: it is not believed.
    """
    words = path.name.split("_")
    known = 2 if len(words) > 1 and words[1][:1].isdigit() else 1
    for other in sorted(path.parent.glob("*orderbook*")):
        if other.name.split("_")[:known] != words[:known]:
            continue
        try:
            summary = LobsterReplay(path, other, instrument=instrument).run()
        except InvalidInput:
            continue
        if summary.rows_agreeing >= MIN_AGREEMENT * summary.rows_compared:
            return [(stale.found_line, stale.order_id) for stale in summary.stale]
    return []


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _lobster_hidden(path: Path, instrument: Instrument, used: int) -> Array:
    """Return the hidden executions of a LOBSTER file, which has been read without a fault."""
    units = price_units(instrument)
    rows: list[tuple[int, float, int, int, int]] = []
    hidden, last_used = int(MessageType.EXECUTE_HIDDEN), int(MessageType.EXECUTE)
    for line in _lines(path):
        fields = line.split(b",")
        kind = int(fields[1])
        if kind <= last_used:
            used += 1
        elif kind == hidden:
            seconds, _, fraction = fields[0].partition(b".")
            ns = int(seconds) * _SECOND_NS + int(fraction[:9].ljust(9, b"0"))
            price = int(fields[4]) / units
            rows.append((ns, price, int(fields[3]), int(fields[5]), used))
    found = np.zeros(len(rows), HIDDEN_DTYPE)
    for name, column in zip(HIDDEN_DTYPE.names or (), zip(*rows, strict=True), strict=False):
        found[name] = column
    return found
