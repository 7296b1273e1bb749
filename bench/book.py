"""Measure the order books side by side: `touchstone bench book`, or `python -m bench.book`.

Every contestant of a size is prepared first; then each runs one round, and again, so that whatever
else the machine does falls on all of them. Figures are medians over the rounds. The touch that each
comes to is compared with that of the stream's own book, or of ours on the same prefix.
"""

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from bench import footprint
from bench.bar_chart import short
from bench.bars import bars_of, ratios_of
from bench.book_cases import (
    Kind,
    Ready,
    Run,
    Sample,
    called,
    kinds,
    messages_of,
    replayed,
    stepped,
    taped,
    touch_of,
)
from bench.book_threads import threaded
from bench.pace import Pace
from bench.peer_process import PEERS, PeerCase, PeerProcess, environment
from bench.stream import BODY_COMMANDS, SEED, SIZES, Stream, Touch, cached
from lob.errors import ConfigError, Fault
from lob.messages import Array

SCHEMA: Final = 1
ROUNDS: Final = 7
PATIENCE_SECONDS: Final = 300.0
EVERYTHING: Final = 1 << 40
PYTHON_FEED, PYTHON_COMMANDS, PYTHON_TAPE = 300_000, 200_000, 100_000
CALLS: Final = 200_000
STEPS: Final = 500_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure. `messages` is the length of a stream's body, in commands."""

    sizes: tuple[str, ...] = tuple(SIZES)
    rounds: int = ROUNDS
    messages: int = BODY_COMMANDS
    peers: bool = False
    seed: int = SEED
    footprint: bool = True
    patience_seconds: float = PATIENCE_SECONDS


@dataclass(slots=True)
class Contestant:
    """One thing measured over one stream, with what its rounds gave."""

    name: str
    book: str
    kind: str
    messages: int
    run: Run
    expected: Touch | None
    version: str = ""
    peer: PeerProcess | None = None
    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

    def round(self, ready: Ready) -> None:
        """Run one round, unless an earlier one failed."""
        if self.failure:
            return
        try:
            self.samples.append(self.run(ready))
        except Fault as fault:
            self.failure = str(fault)

    def document(self) -> dict[str, Any]:
        """Return medians with their extremes, and whether every touch was right."""
        found: dict[str, Any] = {
            "book": self.book,
            "kind": self.kind,
            "messages": self.messages,
            "rounds": len(self.samples),
        }
        if self.version:
            found["version"] = self.version
        if self.failure:
            found["failure"] = self.failure
        names = self.samples[0].figures if self.samples else {}
        found["figures"] = {
            name: _spread([sample.figures[name] for sample in self.samples]) for name in names
        }
        touches = [sample.touch for sample in self.samples if sample.touch is not None]
        if touches and self.expected is not None:
            wrong = next((touch for touch in touches if touch != self.expected), None)
            found["touch"] = list(wrong or touches[0])
            found["touch_expected"] = list(self.expected)
            found["touch_ok"] = wrong is None
        return found


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": _figures(statistics.median(values)),
        "min": _figures(min(values)),
        "max": _figures(max(values)),
    }


def _figures(value: float) -> float:
    """Return a number with six figures: more of them would be noise."""
    return float(f"{value:.6g}")


def measure(options: Options, home: Path, say: Say) -> dict[str, Any]:
    """Measure everything asked for and return one document (see `docs/benchmarks.md`)."""
    folder = home / ".touchstone" / "bench"
    books = kinds()
    python = environment(home, folder) if options.peers else None
    started = time.perf_counter()
    pace = Pace(options.patience_seconds)
    sizes = {}
    for name in options.sizes:
        stream = cached(folder, SIZES[name], options.messages, options.seed)
        say(f"{name}: {stream.body_commands:,} commands, {stream.body_feed:,} feed messages")
        sizes[name] = _measure_size(options, stream, books, home, python, pace, say)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "machine": _machine(),
        "versions": _versions(),
        "backends": [kind.name for kind in books],
        "seed": options.seed,
        "rounds": options.rounds,
        "pace": pace.document(),
        "body_commands": options.messages,
        "sizes": sizes,
        "footprint": _footprint(books, say) if options.footprint else {},
    }
    document["ratios"] = ratios_of(document)
    document["bars"] = bars_of(document)
    document["wrong_touches"] = [
        f"{size} {name}"
        for size, found in sizes.items()
        for name, contestant in found["contestants"].items()
        if contestant.get("touch_ok") is False
    ]
    document["seconds"] = round(time.perf_counter() - started, 1)
    return document


def _measure_size(
    options: Options,
    stream: Stream,
    books: Sequence[Kind],
    home: Path,
    python: Path | None,
    pace: Pace,
    say: Say,
) -> dict[str, Any]:
    """Prepare every contestant of one size, run the rounds, and return what they gave."""
    commands, feed = messages_of(stream.commands), messages_of(stream.feed)
    expected = _Expected(books[0], stream, commands, feed)
    contestants: list[Contestant] = []
    try:
        for kind in books:
            contestants += _ours(kind, stream, commands, feed, expected)
        if python is not None:
            contestants += _peers(stream, home, python, expected, say)
        for number in range(options.rounds):
            say(f"{stream.size.name}: round {number + 1} of {options.rounds}")
            for contestant in contestants:
                contestant.round(pace.wait)
    finally:
        for contestant in contestants:
            if contestant.peer is not None:
                contestant.peer.close()
    return {
        "live_orders": stream.live_orders,
        "levels": stream.levels,
        "commands": stream.body_commands,
        "feed_messages": stream.body_feed,
        "mix": {name: round(share, 4) for name, share in stream.mix().items()},
        "touch": list(stream.touch),
        "checksum": stream.checksum(),
        "contestants": {contestant.name: contestant.document() for contestant in contestants},
    }


class _Expected:
    """The right touch after a prefix: the stream's own at its end, else that of our book."""

    def __init__(self, kind: Kind, stream: Stream, commands: Array, feed: Array) -> None:
        self._kind, self._stream = kind, stream
        self._arrays = {"commands": commands, "feed": feed}
        self._found: dict[tuple[str, int], Touch] = {}

    def after(self, kind: str, body: int) -> Touch:
        """Return the touch after the prelude and `body` messages of one table."""
        messages = self._arrays[kind]
        end = self._stream.prelude + body
        if end >= len(messages):
            return self._stream.touch
        if (kind, end) not in self._found:
            book = self._kind.book()
            book.apply(messages[:end])
            self._found[kind, end] = touch_of(book)
        return self._found[kind, end]


def _ours(
    kind: Kind, stream: Stream, commands: Array, feed: Array, expected: _Expected
) -> list[Contestant]:
    """Prepare what is measured of one of our books; the Python one gets prefixes."""
    native, prelude = kind.name == "native", stream.prelude
    every = EVERYTHING

    def contestant(what: str, table: str, limit: int, run: Run) -> Contestant:
        body = min(limit, len(commands if table == "commands" else feed) - prelude)
        return Contestant(
            f"{kind.name} {what}", kind.name, table, body, run, expected.after(table, body)
        )

    def bulk(what: str, table: str, limit: int, prepare: Callable[..., Run]) -> Contestant:
        messages = commands if table == "commands" else feed
        return contestant(what, table, limit, prepare(kind, messages, prelude, limit))

    found = [
        bulk("feed", "feed", every if native else PYTHON_FEED, replayed),
        bulk("matching", "commands", every if native else PYTHON_COMMANDS, replayed),
    ]
    if native:
        found += [
            bulk("tape", "feed", every, taped),
            bulk("two threads", "feed", every, threaded),
            bulk("stepping", "feed", STEPS, stepped),
        ]
    else:
        found.append(bulk("tape", "feed", PYTHON_TAPE, taped))
    limit = CALLS if native else CALLS // 10
    calls = called(kind, commands, prelude, limit, stream.seed)
    return [*found, contestant("calls", "commands", limit, calls)]


def _peers(
    stream: Stream, home: Path, python: Path, expected: _Expected, say: Say
) -> list[Contestant]:
    """Start the peers that are measured at this size, and wait until each is ready."""
    cases = [case for case in PEERS if stream.size.name in case.sizes]
    found = []
    for case in cases:
        say(f"{stream.size.name}: preparing {case.name}")
        peer = PeerProcess(python, home, python.parents[2], stream.path, case)
        contestant = _peer_contestant(case, peer, stream, expected)
        try:
            peer.wait_ready()
            contestant.version = peer.version
        except Fault as fault:
            contestant.failure = str(fault)
            say(f"failed: {fault}")
        found.append(contestant)
    return found


def _peer_contestant(
    case: PeerCase, peer: PeerProcess, stream: Stream, expected: _Expected
) -> Contestant:
    whole = stream.body_feed if case.kind == "feed" else stream.body_commands
    body = min(case.limit, whole)
    touch = expected.after(case.kind, body)
    return Contestant(case.name, case.peer, case.kind, body, peer.round, touch, peer=peer)


def _footprint(books: Sequence[Kind], say: Say) -> dict[str, Any]:
    """Return bytes a resting order of each book, and the import's time."""
    say("memory and import")
    found: dict[str, Any] = {"import_over_numpy_ms": _figures(footprint.import_ms())}
    for kind in books:
        measured = footprint.measured_bytes(kind.name)
        found[kind.name] = {name: _figures(value) for name, value in measured.items()}
    return found


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")


def _versions() -> dict[str, str]:
    found = {}
    for package in ("touchstone", "numpy", "sortedcontainers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "checkout"
    return found


def held(document: dict[str, Any]) -> bool:
    """Return whether every bar that could be measured holds, and every touch is right."""
    bars = all(bar["ok"] is not False for bar in document["bars"])
    ours_wrong = [
        name for name in document["wrong_touches"] if name.split()[1] in document["backends"]
    ]
    return bars and not ours_wrong


def lines_of(document: dict[str, Any]) -> list[str]:
    """Return the document as lines for a terminal."""
    lines = []
    for size, found in document["sizes"].items():
        lines.append(
            f"{size}: {found['live_orders']:,} live orders on {found['levels']:,} levels; "
            f"medians of {document['rounds']} rounds"
        )
        for name, contestant in found["contestants"].items():
            whole = found["feed_messages" if contestant["kind"] == "feed" else "commands"]
            lines.append("  " + _contestant_line(name, contestant, whole))
    cost = document["footprint"]
    if cost:
        lines.append(f"import over numpy  {cost['import_over_numpy_ms']:.2f} ms")
        for kind in document["backends"]:
            size = cost[kind].get("resident_bytes", math.nan)
            lines.append(f"bytes of a resting order, {kind} book  {size:.0f}")
    lines.append("bars")
    for bar in document["bars"]:
        mark = {True: "ok    ", False: "MISSED", None: "-     "}[bar["ok"]]
        measured = "not measured" if bar["measured"] is None else short(bar["measured"])
        sign = ">=" if bar["at_least"] else "<="
        lines.append(f"  {mark} {bar['name']:<58} {measured} ({sign} {short(bar['target'])})")
    return lines


def _contestant_line(name: str, contestant: dict[str, Any], whole: int) -> str:
    if contestant.get("failure"):
        return f"{name:<44} FAILED: {contestant['failure']}"
    parts = []
    if contestant["messages"] < whole:
        parts.append(f"of the first {contestant['messages']:,}")
    for figure, spread in contestant["figures"].items():
        value = spread["median"]
        if figure == "messages_per_second":
            parts.append(f"{short(value / 1e6)} M/s ({short(1e9 / value)} ns)")
        elif figure.endswith("_ns"):
            parts.append(f"{figure.removesuffix('_ns').replace('_', ' ')} {short(value)} ns")
        else:
            parts.append(f"{figure.replace('_', ' ')} {short(value)}")
    if contestant.get("touch_ok") is False:
        got, wanted = contestant["touch"], contestant["touch_expected"]
        parts.append(f"WRONG TOUCH {got}, not {wanted}")
    return f"{name:<44} {', '.join(parts)}"


def chosen_sizes(text: str) -> tuple[str, ...]:
    """Return the sizes that a comma-separated list names; `ConfigError` for one there is not."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in SIZES:
            raise ConfigError(f"--sizes: {name!r}; allowed: {', '.join(SIZES)}")
    if not names:
        raise ConfigError(f"--sizes: {text!r}; allowed: {', '.join(SIZES)}, with commas between")
    return names


def main() -> int:
    """Measure and print; 0 when every bar that could be measured holds, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--peers", action="store_true", help="measure other books too")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--messages", type=int, default=BODY_COMMANDS)
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS)
    arguments = parser.parse_args()
    options = Options(
        sizes=chosen_sizes(arguments.sizes),
        rounds=arguments.rounds,
        messages=arguments.messages,
        peers=arguments.peers,
        patience_seconds=arguments.patience,
    )
    home = Path(__file__).resolve().parents[1]
    document = measure(options, home, lambda text: print(f"bench: {text}", file=sys.stderr))
    print(json.dumps(document) if arguments.json else "\n".join(lines_of(document)))
    return 0 if held(document) else 1


if __name__ == "__main__":
    sys.exit(main())
