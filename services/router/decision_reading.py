"""Read a decision log from its folder, and replay it: in the order it was written."""

import contextlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lob.errors import InvalidInput, NotFound
from services.router.decision_segments import DECISION_START, Line, read_lines, segments
from touchstone.rollout.decisions import (
    LINE_BYTES_MAX,
    CandidateRecord,
    ConfigRecord,
    DecisionRecord,
    Record,
    decode_line,
)
from touchstone.rollout.decisions_replay import Providers, Replayed, Replayer

SHOWN_MAX: Final = 20
_CONFIG_START: Final = b'{"kind":"config"'


@dataclass(slots=True)
class Reading:
    """A folder's records. `torn` counts last lines that end early, `damaged` names other bad ones.

    Raises `NotFound` where the folder has no segment.
    """

    folder: Path
    torn: int = 0
    damaged: int = 0
    first_damaged: list[str] = field(default_factory=list)
    on_bytes: Callable[[int], None] = lambda _count: None

    def __post_init__(self) -> None:
        if not segments(self.folder):
            raise NotFound(f"{self.folder}: no decisions are recorded there")

    @property
    def size_bytes(self) -> int:
        """Return the size of all segments."""
        total = 0
        for path in segments(self.folder):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        return total

    def learn(self, providers: Providers) -> None:
        """Tell the configurations: a simulator's may stand after the first decisions under it."""
        for line in self._lines():
            if line.raw.startswith(_CONFIG_START) and line.whole:
                try:
                    record = decode_line(line.raw)
                    if isinstance(record, ConfigRecord):
                        providers.learn(record)
                except InvalidInput as fault:
                    self._damage(line, fault)

    def records(self) -> Iterator[tuple[Line, DecisionRecord | CandidateRecord]]:
        """Yield decisions and candidates, oldest first."""
        for line in self._lines():
            self.on_bytes(len(line.raw))
            if not line.whole:
                if len(line.raw) > LINE_BYTES_MAX:
                    self._damage(line, InvalidInput(f"line: more than {LINE_BYTES_MAX} bytes"))
                else:
                    # The end of a segment whose process was killed, or that is written just now.
                    self.torn += 1
                continue
            if line.raw.startswith(_CONFIG_START):
                continue
            record = self._decode(line)
            if record is not None and not isinstance(record, ConfigRecord):
                yield line, record

    def newest(self, limit: int, wanted: Callable[[DecisionRecord], bool]) -> list[DecisionRecord]:
        """Return the newest decisions that are wanted, newest first; `limit` of them at most.

        Only the segments are read that may have one: O(their bytes).
        """
        kept: list[tuple[float, int, int, DecisionRecord]] = []
        for age, (modified, path) in enumerate(self._by_last_line()):
            if len(kept) == limit and modified < kept[0][0]:
                break
            for line in self._lines_of(path):
                if not line.whole or not line.raw.startswith(DECISION_START):
                    continue
                record = self._decode(line)
                if isinstance(record, DecisionRecord) and wanted(record):
                    entry = (record.at, -age, line.number, record)
                    if len(kept) < limit:
                        heapq.heappush(kept, entry)
                    else:
                        heapq.heappushpop(kept, entry)
        return [record for *_, record in sorted(kept, key=lambda e: e[:3], reverse=True)]

    def _by_last_line(self) -> list[tuple[float, Path]]:
        """Return the segments with the time of their last line, the latest first."""
        found = []
        for path in segments(self.folder):
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime, path))
        return sorted(found, reverse=True)

    def find(self, identity: str) -> list[tuple[Line, DecisionRecord | CandidateRecord]]:
        """Return a decision's records, found by its id's text; O(bytes of the log)."""
        needle = f'"id":"{identity}"'.encode()
        found = []
        for line in self._lines():
            if needle in line.raw and line.whole and not line.raw.startswith(_CONFIG_START):
                record = self._decode(line)
                if record is not None and not isinstance(record, ConfigRecord):
                    found.append((line, record))
        return [pair for pair in found if pair[1].id == identity]

    def _lines(self) -> Iterator[Line]:
        for path in segments(self.folder):
            yield from self._lines_of(path)

    def _lines_of(self, path: Path) -> Iterator[Line]:
        try:
            yield from read_lines(path)
        except NotFound:
            # A router that runs lets its oldest segments go, also under a reader.
            if path.exists():
                raise

    def _decode(self, line: Line) -> Record | None:
        try:
            return decode_line(line.raw)
        except InvalidInput as fault:
            self._damage(line, fault)
            return None

    def _damage(self, line: Line, fault: InvalidInput) -> None:
        self.damaged += 1
        if len(self.first_damaged) < SHOWN_MAX:
            self.first_damaged.append(f"{line}: {fault}")


@dataclass(slots=True)
class ReplayReport:
    """What a replay found; `same` holds where every record came out as it is in the log."""

    decisions: int = 0
    candidates: int = 0
    identical: int = 0
    different: int = 0
    without_decision: int = 0
    other_models: int = 0
    answered_by: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    builds: Counter[str] = field(default_factory=Counter)
    first_different: list[Replayed] = field(default_factory=list)

    def count(self, result: Replayed) -> None:
        """Count one replayed record."""
        self.builds.update(result.builds)
        if not result.differences:
            self.identical += 1
            return
        self.different += 1
        if len(self.first_different) < SHOWN_MAX:
            self.first_different.append(result)

    def to_json(self, reading: Reading, build: str) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "same": self.same(reading),
            "decisions": self.decisions,
            "candidates": self.candidates,
            "identical": self.identical,
            "different": self.different,
            "answered_by": dict(self.answered_by),
            "rules": dict(sorted(self.rules.items())),
            "candidates_without_decision": self.without_decision,
            "candidates_of_other_models": self.other_models,
            "torn_lines": reading.torn,
            "damaged_lines": reading.damaged,
            "first_damaged": reading.first_damaged,
            "build": build,
            "recorded_by_other_builds": dict(self.builds),
            "first_different": [
                {
                    "id": result.id,
                    "kind": result.kind,
                    "differences": [
                        {"field": d.field, "recorded": d.recorded, "replayed": d.replayed}
                        for d in result.differences
                    ],
                }
                for result in self.first_different
            ],
        }

    def same(self, reading: Reading) -> bool:
        """Say whether nothing differs and nothing is damaged."""
        return not self.different and not reading.damaged


def replay_record(
    replayer: Replayer,
    report: ReplayReport,
    line: Line,
    record: DecisionRecord | CandidateRecord,
) -> None:
    """Replay one record and count what comes of it."""
    if isinstance(record, DecisionRecord):
        report.decisions += 1
        report.answered_by[record.arm] += 1
        report.rules[record.rule] += 1
        report.count(replayer.decision(line.raw, record))
        return
    report.candidates += 1
    # What a fill names is the candidate's word; one that no simulator said is not L3's.
    if record.fill is not None and not replayer.providers.knows_l3(record.l3_config):
        report.other_models += 1
        return
    result = replayer.candidate(line.raw, record)
    if result is None:
        report.without_decision += 1
    else:
        report.count(result)
