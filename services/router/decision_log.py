"""Every decision in a log, written beside the path: an answer never waits for it.

`record` appends to a bounded queue; a thread encodes and writes in batches. What does not fit in
the queue, or on the disk, is counted and let go. The thread looks twenty times a second and
takes a few orders at a time, because one that only computes would hold up the event loop for as
long as the interpreter lets it.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from execution_providers import ExecutionRequest, Fill
from lob.errors import InvalidInput
from services.router.decision_lines import DecisionLines, L3Identity, Made
from services.router.decision_segments import Segments
from touchstone.kit import codec
from touchstone.kit.received import ReceivedRequest
from touchstone.rollout.shadow import ShadowPair
from touchstone.rollout.state import normalise

BATCH_MIN: Final = 8
BATCH_MAX: Final = 256
BACKLOG_SHARE: Final = 16
"""One decision in so many that wait is taken at a time, within the two bounds."""
BATCH_SLEEP_SECONDS: Final = 0.004
"""Between two pieces of a backlog; a change of threads costs both, so they are few and larger."""
IDLE_SECONDS: Final = 0.05
DROP_INTERVAL_SECONDS: Final = 60.0
COMPLAIN_SECONDS: Final = 60.0
CLOSE_SECONDS_MAX: Final = 10.0
QUEUE_BYTES_MAX: Final = 256 * 1024 * 1024
RECENT_MAX: Final = 1_000
RECENT_BYTES_MAX: Final = 16 * 1024 * 1024
# What objects take in memory, about: a decision's own, one level's, and per byte that came.
OBJECT_BYTES: Final = 2_000
LEVEL_BYTES: Final = 300
READ_FACTOR: Final = 10
OUTCOMES: Final = ("written", "queue_full", "write_failed", "invalid")

_log = structlog.get_logger("touchstone.router")

__all__ = ["DecisionLog", "DecisionMetrics", "JsonCodec", "L3Identity", "Made"]


class Recent(NamedTuple):
    """A decision's line as it was written, and its candidate's, empty until that came.

    The symbol is the order's, as it came.
    """

    symbol: str
    decision: bytes
    candidate: bytes


class JsonCodec:
    """The execution contract's JSON."""

    def decode_request(self, encoded: bytes) -> ExecutionRequest:
        """Return the request that JSON says; `InvalidInput` where it is none."""
        return codec.decode_execution_request(encoded)

    def decode_fill(self, encoded: bytes) -> Fill:
        """Return the fill that JSON says; `InvalidInput` where it is none."""
        return codec.decode_fill(encoded)

    def encode_fill(self, fill: Fill) -> bytes:
        """Return the canonical JSON of a fill."""
        return codec.encode_fill(fill)


class DecisionMetrics:
    """Count what becomes of decisions; every child exists from the start, at zero."""

    def __init__(self, registry: CollectorRegistry) -> None:
        lines = Counter(
            "decision_log_lines",
            "Lines of the decision log, by what became of them",
            ["outcome"],
            registry=registry,
        )
        self.lines = {name: lines.labels(name) for name in OUTCOMES}
        self.segments_dropped = Counter(
            "decision_log_segments_dropped",
            "Oldest segments let go, by size or age",
            registry=registry,
        )
        self.bytes_dropped = Counter(
            "decision_log_bytes_dropped", "Bytes of the segments let go", registry=registry
        )
        self.torn = Counter(
            "decision_log_torn_lines",
            "Unfinished last lines cut, left by a killed process",
            registry=registry,
        )
        self.depth = Gauge(
            "decision_log_queue_depth", "Decisions that wait to be written", registry=registry
        )

    def on_segment_dropped(self, size: int) -> None:
        """Count a segment that went."""
        self.segments_dropped.inc()
        self.bytes_dropped.inc(size)


class DecisionLog:
    """Take decisions without waiting; write them from a thread of its own."""

    def __init__(
        self,
        segments: Segments,
        metrics: DecisionMetrics,
        build: str,
        *,
        queue_size: int,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
        recent_max: int = RECENT_MAX,
        enabled: bool = True,
    ) -> None:
        self._segments = segments
        self._metrics = metrics
        self._lines = DecisionLines(build)
        self._queue: deque[tuple[Made | ShadowPair, int]] = deque()
        self._queue_size = queue_size
        self._queue_bytes_max = queue_bytes_max
        # Each is written by one thread only: what came in, and what went out again.
        self._bytes_in = 0
        self._bytes_out = 0
        self.enabled = enabled
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._recent: OrderedDict[str, Recent] = OrderedDict()
        self._recent_max = recent_max
        self._recent_bytes = 0
        self._recent_lock = threading.Lock()
        self._complained = -COMPLAIN_SECONDS
        self._dropped_at = 0.0
        metrics.depth.set_function(lambda: len(self._queue))

    @property
    def folder(self) -> Path:
        """Return where the segments are."""
        return self._segments.folder

    @property
    def l3_identity(self) -> L3Identity | None:
        """Return what the simulator last said of itself."""
        return self._lines.l3

    @property
    def depth(self) -> int:
        """Return how many decisions wait to be written."""
        return len(self._queue)

    def start(self) -> None:
        """Start writing; what a killed process left unfinished is cut first, in the thread."""
        if not self.enabled:
            return
        self._thread = threading.Thread(target=self._work, name="decision-log", daemon=True)
        self._thread.start()

    def record(self, made: Made | ShadowPair) -> None:
        """Take a decision, or what a candidate made of one; never waits, never raises."""
        if not self.enabled:
            return
        waiting = self._bytes_in - self._bytes_out
        if len(self._queue) >= self._queue_size or waiting >= self._queue_bytes_max:
            self._metrics.lines["queue_full"].inc()
            return
        size = _size_of(made)
        self._bytes_in += size
        self._queue.append((made, size))

    def learn_l3(self, document: Mapping[str, Any], build: str) -> None:
        """Note which configuration and build the simulator says it runs."""
        self._lines.learn_l3(document, build)

    def close(self) -> None:
        """Write what is queued, within ten seconds, and stop."""
        self._closing.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(CLOSE_SECONDS_MAX)

    def recent(self, symbol: str = "") -> list[bytes]:
        """Return the newest decisions' lines, newest first, as far as they are written.

        `symbol` is normalised; "" is every symbol.
        """
        with self._recent_lock:
            found = list(reversed(self._recent.values()))
        return [r.decision for r in found if not symbol or normalise(r.symbol) == symbol]

    def recent_lines(self, identity: str) -> list[bytes] | None:
        """Return a recent decision's line, and its candidate's; None where it is not recent."""
        with self._recent_lock:
            found = self._recent.get(identity)
            if found is None:
                return None
            return [found.decision, found.candidate] if found.candidate else [found.decision]

    # ------------------------------------------------------------------------ the thread

    def _work(self) -> None:
        for _ in range(self._segments.cut_torn()):
            self._metrics.torn.inc()
        while True:
            closing = self._closing.is_set()
            try:
                wrote = self._write_some()
                self._keep_up()
            except Exception:  # noqa: BLE001 - logged with its trace, and counted
                # One odd decision must not end the log, nor may a defect keep it busy.
                self._metrics.lines["write_failed"].inc()
                self._complain("decision_log_failed", exc_info=True)
                wrote = 0
            if wrote and self._queue:
                # Others get the interpreter; a backlog is written in larger pieces, not sooner.
                time.sleep(0 if closing else BATCH_SLEEP_SECONDS)
            elif closing and not self._queue:
                break
            else:
                self._closing.wait(IDLE_SECONDS)
        self._segments.close()

    def _write_some(self) -> int:
        """Encode and write some lines, more where many wait; return how many were taken."""
        lines: list[bytes] = []
        written: list[tuple[Made | ShadowPair, bytes]] = []
        fresh = self._segments.is_fresh
        if fresh:
            self._lines.begin()
        most = max(BATCH_MIN, min(BATCH_MAX, len(self._queue) // BACKLOG_SHARE))
        taken = 0
        while taken < most and self._queue:
            made, size = self._queue.popleft()
            self._bytes_out += size
            taken += 1
            try:
                ahead, line = self._lines.of(made)
            except InvalidInput:
                # What cannot be read was refused, and is no decision.
                self._metrics.lines["invalid"].inc()
            except Exception:  # noqa: BLE001 - logged with its trace, and counted
                # One odd fill must not take the others along.
                self._metrics.lines["invalid"].inc()
                self._complain("decision_not_encoded", exc_info=True)
            else:
                lines += (*ahead, line)
                written.append((made, line))
        if not taken and not fresh:
            # What the simulator said of itself since, for the decisions before it.
            lines = self._lines.configs(None, None)
        if lines:
            self._append(lines, written)
        return taken

    def _append(self, lines: list[bytes], written: list[tuple[Made | ShadowPair, bytes]]) -> None:
        try:
            self._segments.append(b"".join(lines))
        except OSError as error:
            self._lines.begin()
            self._metrics.lines["write_failed"].inc(len(lines))
            self._complain("decisions_not_written", error=str(error))
        else:
            self._metrics.lines["written"].inc(len(lines))
            self._remember(written)

    def _remember(self, written: list[tuple[Made | ShadowPair, bytes]]) -> None:
        """Keep the newest lines that were written, each decision's with its candidate's."""
        recent = self._recent
        with self._recent_lock:
            for made, line in written:
                if isinstance(made, Made):
                    identity = made.identity
                    if identity in recent:
                        self._recent_bytes -= _bytes_of(recent.pop(identity))
                    recent[identity] = Recent(made.request.order.symbol, line, b"")
                elif (found := recent.get(made.decision_id)) is not None:
                    self._recent_bytes -= len(found.candidate)
                    recent[made.decision_id] = found._replace(candidate=line)
                else:
                    continue
                self._recent_bytes += len(line)
            while len(recent) > self._recent_max or self._recent_bytes > RECENT_BYTES_MAX:
                self._recent_bytes -= _bytes_of(recent.popitem(last=False)[1])

    def _keep_up(self) -> None:
        try:
            self._segments.keep_up()
        except OSError as error:
            self._complain("decisions_not_synced", error=str(error))
        if (now := time.monotonic()) - self._dropped_at >= DROP_INTERVAL_SECONDS:
            self._dropped_at = now
            self._segments.drop_old()

    def _complain(self, event: str, **why: Any) -> None:
        """Say what is wrong, once a minute."""
        if (now := time.monotonic()) - self._complained >= COMPLAIN_SECONDS:
            self._complained = now
            _log.warning(event, **why)


def _bytes_of(recent: Recent) -> int:
    return len(recent.decision) + len(recent.candidate)


def _size_of(made: Made | ShadowPair) -> int:
    """Return about how many bytes of memory a decision takes while it waits, at least."""
    if type(made) is not Made:
        return OBJECT_BYTES
    request = made.request
    if type(request) is ReceivedRequest:
        # As it came, and about as much for each number that was read of it.
        return OBJECT_BYTES + READ_FACTOR * len(request.received)
    return OBJECT_BYTES + LEVEL_BYTES * (len(request.market.bids) + len(request.market.asks))
