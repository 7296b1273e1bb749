"""Scenarios: rules of the exchange as text that a person reads and a test runs.

    scenario An aggressor takes the oldest order first
    given  asks 101:[5,3] 102:[10]   bids 99:[4]
    when   o1 BUY 6 @101 IOC
    then   traded 5@101 1@101 ; o1 filled
    book   | | 102 | 10 |   | | 101 | 2 |   | 4 | 99 | |

`given` rests orders, named a1, a2, ... and b1, b2, ... as they stand: `5/p7` belongs to
participant 7, `9/d3` displays 3 of its 9 lots, `4/h` is hidden. `given pro-rata [minimum N]` and
`given day closes at NS` say what is traded, before any order.

`when` is one command: `NAME BUY|SELL LOTS @PRICE|MARKET`, then any of `STOP PRICE` (wait for a
trade there: STOP_LIMIT where a price is named, STOP where it is MARKET), `IOC`, `FOK`, `DAY`,
`GTC`, `GTD@NS`, `POST_ONLY`, `HIDDEN`, `display LOTS`, `pN`, a self-trade mode; or `cancel NAME`,
`reduce NAME by LOTS`, `replace NAME LOTS @PRICE`, `advance to NS`, `track NAME`, `untrack NAME`; or
what a feed says: `feed add NAME BUY|SELL LOTS @PRICE`, `feed reduce NAME by LOTS`,
`feed execute NAME by LOTS`, `feed modify NAME LOTS @PRICE`, `feed delete NAME`, `feed clear`.

`then` is everything that came of the commands since the last `then`. `book` is what is displayed
from the highest price down, each level as `| bid lots | price | ask lots |`; `5+3` also says who is
first in the queue, and `book empty` is an empty one. `all` is everything: `3(7)` shows 3 and has 7
in reserve, `[4]` is hidden. `stops` is what waits: `o1 BUY 5 @104 at 103 ; o2 SELL 1 at 97`, or
`none`. `queue NAME behind 5 lots of 2` says what stands before an order, `walk BUY 8 [@PRICE] [pN]
[MODE]: 5@101 3@102` what an IOC order would trade (`nothing`, if so). A `#` starts a comment.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import lob
from lob.errors import Conflict, InvalidInput, NotFound
from lob.scenario_text import (
    Row,
    all_rows,
    displayed_rows,
    drawn,
    phrases,
    picture,
    read_rows,
    same_rows,
    waiting,
)
from lob.types import (
    Accepted,
    Allocation,
    AssetClass,
    Event,
    Instrument,
    OrderType,
    Replaced,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Triggered,
)

__all__ = ["Failure", "Scenario", "Step", "picture", "read_scenarios", "run_scenario"]

_WORDS: Final[dict[str, dict[str, Any]]] = {
    **{lasts.value: {"time_in_force": lasts} for lasts in TimeInForce if lasts != TimeInForce.GTD},
    **{mode.value: {"stp": mode} for mode in SelfTradePrevention},
    "POST_ONLY": {"post_only": True},
    "HIDDEN": {"hidden": True},
}
_LEVEL: Final = re.compile(r"(\d+):\[([^\]]*)\]")
_RESTING: Final = re.compile(r"(\d+)((?:/(?:p\d+|d\d+|h))*)")
_RULES_GIVEN: Final = re.compile(r"pro-rata(?: minimum (\d+))?|day closes at (\d+)")
_SUBMIT: Final = re.compile(r"(\w+) (BUY|SELL) (-?\d+) (?:@(-?\d+)|(MARKET))((?: [\w@-]+)*)")
_WORD: Final = re.compile(r"(STOP|display) (-?\d+)|(GTD)@(-?\d+)|(p)(-?\d+)|(\w+)")
_NAMED: Final = re.compile(r"(cancel|track|untrack|feed delete) (\w+)")
_LESS: Final = re.compile(r"(reduce|feed reduce|feed execute) (\w+) by (-?\d+)")
_MOVED: Final = re.compile(r"(replace|feed modify) (\w+) (-?\d+) @(-?\d+)")
_FEED_ADD: Final = re.compile(r"feed add (\w+) (BUY|SELL) (-?\d+) @(-?\d+)")
_ADVANCE: Final = re.compile(r"advance to (-?\d+)")
_BEHIND: Final = re.compile(r"(\w+) behind (\d+) lots of (\d+)")
_WALK: Final = re.compile(r"(BUY|SELL) (\d+)(?: @(\d+))?(?: p(\d+))?(?: ([A-Z_]+))? ?: (.+)")

Difference = tuple[str, str]
"""What was expected, and what is."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a scenario: its number, its keyword, and the rest."""

    line: int
    keyword: str
    text: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """One rule: a title and its steps."""

    path: str
    title: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return self.title


@dataclass(frozen=True, slots=True)
class Failure:
    """Where a scenario and the book part ways; `str` shows both pictures."""

    scenario: Scenario
    step: Step
    expected: str
    actual: str

    def __str__(self) -> str:
        return (
            f"{self.scenario.path}:{self.step.line}: {self.scenario.title}\n"
            f"{self.step.keyword} expected:\n{self.expected}\n"
            f"{self.step.keyword} actual:\n{self.actual}"
        )


def read_scenarios(path: str | Path) -> tuple[Scenario, ...]:
    """Return the scenarios of a file; `InvalidInput` names the file and the line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from error
    found: list[tuple[str, list[Step]]] = []
    for number, raw in enumerate(lines, start=1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        keyword, _, text = line.partition(" ")
        if keyword == "scenario":
            found.append((text.strip(), []))
        elif not found:
            raise InvalidInput(f"{path}:{number}: {keyword!r} before the first `scenario TITLE`")
        elif keyword in _RULES:
            found[-1][1].append(Step(number, keyword, " ".join(text.split())))
        else:
            allowed = ", ".join(_RULES)
            raise InvalidInput(f"{path}:{number}: {keyword!r}; allowed: {allowed}")
    for title, steps in found:
        if not any(step.keyword not in ("given", "when") for step in steps):
            raise InvalidInput(f"{path}: scenario {title!r} expects nothing")
    if not found:
        raise InvalidInput(f"{path}: no scenario in it")
    return tuple(Scenario(str(path), title, tuple(steps)) for title, steps in found)


def run_scenario(
    scenario: Scenario, book_class: type[lob.OrderBook] = lob.OrderBook
) -> Failure | None:
    """Run a scenario on a fresh book of a class; return its first failure, or None.

    A line that makes no sense is `InvalidInput` with file and line.
    """
    stage = _Stage(book_class)
    for step in scenario.steps:
        try:
            difference = _RULES[step.keyword](stage, step.text)
        except (InvalidInput, NotFound, Conflict) as fault:
            raise InvalidInput(f"{scenario.path}:{step.line}: {fault}") from fault
        if difference is not None:
            return Failure(scenario, step, *difference)
        stage.book.check(crossed_allowed=stage.fed)
    if stage.unseen:
        last = scenario.steps[-1]
        return Failure(scenario, last, "(no more events)", " ; ".join(stage.told()))
    return None


class _Stage:
    """A book, the names of its orders, and what happened that nobody has looked at yet."""

    def __init__(self, book_class: type[lob.OrderBook]) -> None:
        self.book_class = book_class
        self.book = book_class()
        self.ids: dict[str, int] = {}
        self.unseen: list[str] = []
        self.fed = False
        self.traded: dict[str, Any] = {}

    # ---------------------------------------------------------------- given

    def given(self, text: str) -> None:
        """Say what is traded, or rest orders on both sides."""
        if rules := _RULES_GIVEN.fullmatch(text):
            self._trade_by(rules)
            return
        side_word = ""
        for word in text.split():
            if word in ("asks", "bids"):
                side_word = word
                continue
            level = _LEVEL.fullmatch(word)
            if level is None or not side_word:
                raise InvalidInput(f"given: {word!r}; allowed: asks or bids, then 101:[5,3]")
            for resting in level[2].split(","):
                self._rest(side_word, int(level[1]), resting)

    def _trade_by(self, rules: re.Match[str]) -> None:
        if self.ids:
            raise InvalidInput(f"given: {rules[0]!r} after the first order")
        if rules[2] is not None:
            self.traded |= {"day_close_ns": int(rules[2])}
        else:
            minimum = int(rules[1] or 1)
            pro_rata = Allocation.PRO_RATA
            self.traded |= {"allocation": pro_rata, "minimum_allocation_lots": minimum}
        unit = Decimal(1)
        instrument = Instrument(
            symbol="S",
            asset_class=AssetClass.FUTURES,
            tick_size=unit,
            lot_size=unit,
            **self.traded,
        )
        self.book = self.book_class(instrument)

    def _rest(self, side_word: str, price_ticks: int, resting: str) -> None:
        order = _RESTING.fullmatch(resting)
        if order is None:
            raise InvalidInput(f"given: {resting!r}; allowed: LOTS, then any of /pN, /dN, /h")
        count = sum(name.startswith(side_word[0]) for name in self.ids)
        marks = {mark[0]: mark[1:] for mark in order[2].split("/")[1:]}
        events = self.book.submit(
            self.name_id(f"{side_word[0]}{count + 1}"),
            Side.SELL if side_word == "asks" else Side.BUY,
            int(order[1]),
            price_ticks,
            participant_id=int(marks.get("p", 0)),
            display_lots=int(marks.get("d", 0)),
            hidden="h" in marks,
        )
        if len(events) != 1 or not isinstance(events[0], Accepted):
            raise InvalidInput(f"given: {resting!r} at {price_ticks} does not come to rest")

    # ---------------------------------------------------------------- when

    def when(self, text: str) -> None:
        """Carry out one command."""
        events = tuple(self._command(text))
        names = self.names()
        self.unseen.extend(phrases(events, names))
        for order_id in _arrived(events):
            order = self.book.order(order_id)
            if order is not None:
                self.unseen.append(f"{names[order_id]} rests {order.leaves}")
        self.unseen.extend(
            f"{names[stop.order_id]} waits {stop.quantity_lots}"
            for stop in self.book.stops()
            if any(isinstance(e, Accepted) and e.order_id == stop.order_id for e in events)
        )

    def _command(self, text: str) -> Sequence[Event]:
        if text.startswith("feed "):
            return self._feed(text)
        if found := _ADVANCE.fullmatch(text):
            return self.book.advance(int(found[1]))
        if found := _NAMED.fullmatch(text):
            return self._name_only(found[1], self.name_id(found[2]))
        if found := _LESS.fullmatch(text):
            return self.book.reduce(self.name_id(found[2]), int(found[3]))
        if found := _MOVED.fullmatch(text):
            return self.book.replace(self.name_id(found[2]), int(found[4]), int(found[3]))
        return self._submit(text)

    def _name_only(self, word: str, order_id: int) -> Sequence[Event]:
        if word == "cancel":
            return self.book.cancel(order_id)
        follow = self.book.track if word == "track" else self.book.untrack
        follow(order_id)
        return ()

    def _submit(self, text: str) -> Sequence[Event]:
        found = _SUBMIT.fullmatch(text)
        if found is None:
            raise InvalidInput(f"when: {text!r} is no command")
        words = list(_WORD.finditer(found[6]))
        if " ".join(word[0] for word in words) != found[6].strip():
            raise InvalidInput(f"when: {found[6].strip()!r}: not words with spaces between them")
        named: dict[str, Any] = {}
        for word in words:
            named |= _named_by(word)
        market, waits = bool(found[5]), "stop_ticks" in named
        plain_type = OrderType.MARKET if market else OrderType.LIMIT
        stop_type = OrderType.STOP if market else OrderType.STOP_LIMIT
        return self.book.submit(
            self.name_id(found[1]),
            Side(found[2]),
            int(found[3]),
            None if market else int(found[4]),
            order_type=stop_type if waits else plain_type,
            **named,
        )

    def _feed(self, text: str) -> tuple[Event, ...]:
        """Record what a feed says; what cannot be true is told by its kind of fault."""
        self.fed = True
        try:
            if text == "feed clear":
                self.book.feed_clear()
            elif found := _FEED_ADD.fullmatch(text):
                order_id = self.name_id(found[1])
                self.book.feed_add(order_id, Side(found[2]), int(found[4]), int(found[3]))
            elif found := _LESS.fullmatch(text):
                executes = found[1] == "feed execute"
                take = self.book.feed_execute if executes else self.book.feed_reduce
                take(self.name_id(found[2]), int(found[3]))
            elif found := _MOVED.fullmatch(text):
                self.book.feed_modify(self.name_id(found[2]), int(found[4]), int(found[3]))
            elif found := _NAMED.fullmatch(text):
                self.book.feed_delete(self.name_id(found[2]))
            else:
                raise InvalidInput(f"when: {text!r} is nothing that a feed says")
        except (Conflict, NotFound) as fault:
            self.unseen.append(f"fault {fault.code}")
        return ()

    # ---------------------------------------------------------------- what is expected

    def then(self, text: str) -> Difference | None:
        """Compare what came of the commands since the last look."""
        actual = self.told()
        self.unseen = []
        return _compared(_parts(text), actual)

    def compare_book(self, text: str) -> Difference | None:
        """Compare what is displayed, queues where the picture shows them."""
        return _compared_rows("book", text, displayed_rows(self.book))

    def compare_all(self, text: str) -> Difference | None:
        """Compare everything, hidden orders and reserves too."""
        return _compared_rows("all", text, all_rows(self.book))

    def compare_stops(self, text: str) -> Difference | None:
        """Compare the stops that wait, in the order in which they would be released."""
        names = self.names()
        actual = [waiting(stop, names) for stop in self.book.stops()]
        return _compared(_parts(text), actual or ["none"])

    def compare_queue(self, text: str) -> Difference | None:
        """Compare what stands before orders."""
        expected, actual = _parts(text), []
        for part in expected:
            found = _BEHIND.fullmatch(part)
            if found is None:
                raise InvalidInput(f"queue: {part!r}; allowed: NAME behind LOTS lots of ORDERS")
            place = self.book.queue_position(self.name_id(found[1]))
            actual.append(f"{found[1]} behind {place.lots_ahead} lots of {place.orders_ahead}")
        return _compared(expected, actual)

    def compare_walk(self, text: str) -> Difference | None:
        """Compare what an IOC order would trade."""
        found = _WALK.fullmatch(text)
        if found is None:
            raise InvalidInput(f"walk: {text!r}; allowed: BUY LOTS [@PRICE] [pN] [MODE]: 5@101")
        walk = self.book.walk(
            Side(found[1]),
            int(found[2]),
            int(found[3]) if found[3] else None,
            participant_id=int(found[4] or 0),
            stp=SelfTradePrevention(found[5]) if found[5] else SelfTradePrevention.NONE,
        )
        levels = " ".join(f"{level.quantity_lots}@{level.price_ticks}" for level in walk.levels)
        return _compared([found[6]], [levels or "nothing"])

    def name_id(self, name: str) -> int:
        """Return the id that a name stands for, giving it one at its first mention."""
        return self.ids.setdefault(name, len(self.ids) + 1)

    def names(self) -> dict[int, str]:
        """Return the name of each id."""
        return {order_id: name for name, order_id in self.ids.items()}

    def told(self) -> list[str]:
        """Return what nobody has looked at yet, in words."""
        return self.unseen or ["nothing"]


_RULES: Final[dict[str, Callable[[_Stage, str], Difference | None]]] = {
    "given": _Stage.given,
    "when": _Stage.when,
    "then": _Stage.then,
    "book": _Stage.compare_book,
    "all": _Stage.compare_all,
    "stops": _Stage.compare_stops,
    "queue": _Stage.compare_queue,
    "walk": _Stage.compare_walk,
}


def _named_by(word: re.Match[str]) -> dict[str, Any]:
    """Return the field of a submit that a word gives."""
    if word[1]:
        return {"stop_ticks" if word[1] == "STOP" else "display_lots": int(word[2])}
    if word[3]:
        return {"time_in_force": TimeInForce.GTD, "expire_ns": int(word[4])}
    if word[5]:
        return {"participant_id": int(word[6])}
    named = _WORDS.get(word[7])
    if named is None:
        raise InvalidInput(f"when: {word[0]!r} is no time in force, participant, mode or display")
    return named


def _arrived(events: Sequence[Event]) -> list[int]:
    """Return the orders that may have come to rest with a command, as they did."""
    arrived = [event.order_id for event in events[:1] if isinstance(event, Accepted)]
    for event in events:
        moved = isinstance(event, Replaced) and not event.kept_priority and len(events) > 1
        triggered = isinstance(event, Triggered) and event.order_id not in arrived
        if (moved or triggered) and isinstance(event, Replaced | Triggered):
            arrived.append(event.order_id)
    return arrived


def _parts(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split(";")]


def _compared(expected: list[str], actual: list[str]) -> Difference | None:
    return None if expected == actual else (" ; ".join(expected), " ; ".join(actual))


def _compared_rows(keyword: str, text: str, actual: list[Row]) -> Difference | None:
    expected, rest = read_rows(text)
    if rest not in ("", "empty"):
        raise InvalidInput(f"{keyword}: {rest!r}; allowed: | bid | price | ask | cells, or empty")
    return None if same_rows(expected, actual) else (drawn(expected), drawn(actual))
