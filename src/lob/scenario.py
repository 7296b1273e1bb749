"""Scenarios: rules of the exchange as text that a person reads and a test runs.

    scenario An aggressor takes the oldest order first
    given  asks 101:[5,3] 102:[10]   bids 99:[4]
    when   o1 BUY 6 @101 IOC
    then   traded 5@101 1@101 ; o1 filled
    book   | | 102 | 10 |   | | 101 | 2 |   | 4 | 99 | |

`given` rests orders, named a1, a2, ... and b1, b2, ... as they stand in the line; `5/p7` belongs to
participant 7. `when` is one command: `NAME BUY|SELL LOTS @PRICE|MARKET [IOC|FOK|POST_ONLY] [pN]
[CANCEL_NEWEST|...]`, `cancel NAME`, `reduce NAME by LOTS`, `replace NAME LOTS @PRICE`. `then` is
everything that came of the commands since the last `then`. `book` is the whole book from the
highest price down, each level as `| bid lots | price | ask lots |`; `5+3` also says who is first in
the queue, and `book empty` is an empty one. A `#` starts a comment.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lob.book import OrderBook
from lob.errors import InvalidInput
from lob.types import (
    Accepted,
    Cancelled,
    Event,
    OrderType,
    Reduced,
    Rejected,
    Replaced,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Traded,
)

_TIMES_IN_FORCE: Final = frozenset(time.value for time in TimeInForce)
_STP_MODES: Final = frozenset(mode.value for mode in SelfTradePrevention)
_LEVEL: Final = re.compile(r"(\d+):\[([^\]]*)\]")
_RESTING: Final = re.compile(r"(\d+)(?:/p(\d+))?")
_CELLS: Final = re.compile(r"\|\s*([\d+]*)\s*\|\s*(\d+)\s*\|\s*([\d+]*)\s*\|")
_SUBMIT: Final = re.compile(r"(\w+) (BUY|SELL) (-?\d+) (?:@(-?\d+)|(MARKET))((?: \w+)*)")
_CANCEL: Final = re.compile(r"cancel (\w+)")
_REDUCE: Final = re.compile(r"reduce (\w+) by (-?\d+)")
_REPLACE: Final = re.compile(r"replace (\w+) (-?\d+) @(-?\d+)")


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
        if not any(step.keyword in ("then", "book") for step in steps):
            raise InvalidInput(f"{path}: scenario {title!r} expects nothing")
    if not found:
        raise InvalidInput(f"{path}: no scenario in it")
    return tuple(Scenario(str(path), title, tuple(steps)) for title, steps in found)


def run_scenario(scenario: Scenario) -> Failure | None:
    """Run a scenario on a fresh book; return its first failure, or None.

    A line that makes no sense is `InvalidInput` with file and line.
    """
    stage = _Stage()
    for step in scenario.steps:
        try:
            difference = _RULES[step.keyword](stage, step.text)
        except InvalidInput as fault:
            raise InvalidInput(f"{scenario.path}:{step.line}: {fault}") from fault
        if difference is not None:
            return Failure(scenario, step, *difference)
        stage.book.check()
    if stage.unseen:
        last = scenario.steps[-1]
        return Failure(scenario, last, "(no more events)", " ; ".join(stage.told()))
    return None


def picture(book: OrderBook) -> str:
    """Return the book as rows of `| bid lots | price | ask lots |`, highest price first."""
    rows = [f"| {bid:>12} | {price:>8} | {ask:<12} |" for bid, price, ask in _queues(book)]
    return "\n".join(rows) or "empty"


class _Stage:
    """A book, the names of its orders, and what happened that nobody has looked at yet."""

    def __init__(self) -> None:
        self.book = OrderBook()
        self.ids: dict[str, int] = {}
        self.unseen: list[str] = []

    def given(self, text: str) -> None:
        """Rest orders on both sides."""
        side_word = ""
        for word in text.split():
            if word in ("asks", "bids"):
                side_word = word
                continue
            level = _LEVEL.fullmatch(word)
            if level is None or not side_word:
                raise InvalidInput(f"given: {word!r}; allowed: asks or bids, then 101:[5,3]")
            for resting in level[2].split(","):
                order = _RESTING.fullmatch(resting)
                if order is None:
                    raise InvalidInput(f"given: {resting!r}; allowed: LOTS or LOTS/pN")
                count = sum(name.startswith(side_word[0]) for name in self.ids)
                order_id = self.name_id(f"{side_word[0]}{count + 1}")
                side = Side.SELL if side_word == "asks" else Side.BUY
                owner = int(order[2] or 0)
                events = self.book.submit(
                    order_id, side, int(order[1]), int(level[1]), participant_id=owner
                )
                if len(events) != 1 or not isinstance(events[0], Accepted):
                    raise InvalidInput(f"given: {resting!r} at {level[1]} does not come to rest")

    def when(self, text: str) -> None:
        """Carry out one command."""
        events = self._command(text)
        names = {order_id: name for name, order_id in self.ids.items()}
        self.unseen.extend(_phrases(events, names))
        match events[0]:
            case Accepted(order_id=order_id):
                arrived = self.book.order(order_id)
            case Replaced(order_id=order_id, kept_priority=False) if len(events) > 1:
                arrived = self.book.order(order_id)
            case _:
                return
        if arrived is not None:
            self.unseen.append(f"{names[order_id]} rests {arrived.leaves}")

    def _command(self, text: str) -> tuple[Event, ...]:
        if found := _CANCEL.fullmatch(text):
            return self.book.cancel(self.name_id(found[1]))
        if found := _REDUCE.fullmatch(text):
            return self.book.reduce(self.name_id(found[1]), int(found[2]))
        if found := _REPLACE.fullmatch(text):
            return self.book.replace(self.name_id(found[1]), int(found[3]), int(found[2]))
        found = _SUBMIT.fullmatch(text)
        if found is None:
            raise InvalidInput(f"when: {text!r} is no command")
        lasts, participant, mode = TimeInForce.GTC, 0, SelfTradePrevention.NONE
        post_only = False
        for word in found[6].split():
            if word in _TIMES_IN_FORCE:
                lasts = TimeInForce(word)
            elif word in _STP_MODES:
                mode = SelfTradePrevention(word)
            elif word == "POST_ONLY":
                post_only = True
            elif re.fullmatch(r"p\d+", word):
                participant = int(word[1:])
            else:
                raise InvalidInput(f"when: {word!r} is no time in force, participant or mode")
        return self.book.submit(
            self.name_id(found[1]),
            Side(found[2]),
            int(found[3]),
            None if found[5] else int(found[4]),
            order_type=OrderType.MARKET if found[5] else OrderType.LIMIT,
            time_in_force=lasts,
            post_only=post_only,
            participant_id=participant,
            stp=mode,
        )

    def then(self, text: str) -> tuple[str, str] | None:
        """Compare what came of the commands since the last look."""
        expected = [" ".join(part.split()) for part in text.split(";")]
        actual = self.told()
        self.unseen = []
        return None if expected == actual else (" ; ".join(expected), " ; ".join(actual))

    def compare_book(self, text: str) -> tuple[str, str] | None:
        """Compare the whole book, queues where the picture shows them."""
        rest = _CELLS.sub("", text).strip()
        if rest not in ("", "empty"):
            raise InvalidInput(f"book: {rest!r}; allowed: | bid | price | ask | cells, or empty")
        expected = [(bid, price, ask) for bid, price, ask in _CELLS.findall(text)]
        actual = _queues(self.book)
        same = len(expected) == len(actual) and all(
            price == our_price and _shows(bid, our_bid) and _shows(ask, our_ask)
            for (bid, price, ask), (our_bid, our_price, our_ask) in zip(
                expected, actual, strict=True
            )
        )
        rows = "\n".join(f"| {bid:>12} | {price:>8} | {ask:<12} |" for bid, price, ask in expected)
        return None if same else (rows or "empty", picture(self.book))

    def name_id(self, name: str) -> int:
        """Return the id that a name stands for, giving it one at its first mention."""
        return self.ids.setdefault(name, len(self.ids) + 1)

    def told(self) -> list[str]:
        """Return what nobody has looked at yet, in words."""
        return self.unseen or ["nothing"]


_RULES: Final = {
    "given": _Stage.given,
    "when": _Stage.when,
    "then": _Stage.then,
    "book": _Stage.compare_book,
}


def _phrases(events: tuple[Event, ...], names: dict[int, str]) -> Iterator[str]:
    """Say each event of one command; being accepted goes without saying."""
    trades: list[str] = []
    for event, following in zip(events, (*events[1:], None), strict=True):
        if isinstance(event, Traded):
            trades.append(f"{event.quantity_lots}@{event.price_ticks}")
            if not isinstance(following, Traded):
                yield f"traded {' '.join(trades)}"
                trades = []
            if event.taker_leaves == 0:
                yield f"{names[event.taker_order_id]} filled"
        elif not isinstance(event, Accepted):
            yield f"{names[event.order_id]} {_ending(event)}"


def _ending(event: Rejected | Cancelled | Reduced | Replaced) -> str:
    match event:
        case Rejected():
            return f"rejected {event.reason}"
        case Cancelled():
            return f"cancelled {event.quantity_lots} {event.reason}"
        case Reduced():
            return f"reduced to {event.leaves}"
        case Replaced():
            return "keeps its place" if event.kept_priority else "loses its place"


def _queues(book: OrderBook) -> list[tuple[str, str, str]]:
    """Return (bid queue, price, ask queue) from the highest price down."""
    rows: dict[int, dict[Side, list[str]]] = {}
    for order in book.orders():
        row = rows.setdefault(order.price_ticks, {Side.BUY: [], Side.SELL: []})
        row[order.side].append(str(order.leaves))
    return [
        ("+".join(row[Side.BUY]), str(price), "+".join(row[Side.SELL]))
        for price, row in sorted(rows.items(), reverse=True)
    ]


def _shows(expected: str, queue: str) -> bool:
    """Say whether a cell shows this queue: order by order, or as its total."""
    if expected == queue:
        return True
    orders = [int(lots) for lots in queue.split("+") if lots]
    return bool(orders) and expected == str(sum(orders))
