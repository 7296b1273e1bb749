"""Every decision in a log, written beside the path: an answer never waits for it.

`record` appends to a bounded queue; a thread encodes and writes in batches. What does not fit in
the queue, or on the disk, is counted and let go. The thread sleeps between small batches, because
a thread that only computes would hold up the event loop for as long as the interpreter lets it.
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
from execution_providers.provider import execution_seed
from lob.errors import Fault, InvalidInput
from services.router.decision_segments import Segments
from touchstone.kit import codec
from touchstone.rollout.assignment import Arm, Assignment, RoutingConfig
from touchstone.rollout.decisions import (
    FALLBACK,
    CandidateRecord,
    ConfigRecord,
    DecisionRecord,
    config_record,
    encode_candidate,
    encode_config,
    encode_decision,
    inputs_digest,
    one_line,
    routing_document,
)
from touchstone.rollout.shadow import ShadowPair

BATCH_MAX: Final = 8
BATCH_SLEEP_SECONDS: Final = 0.0005
IDLE_SECONDS: Final = 0.1
FULL_BATCH_BYTES: Final = 64 * 1024
DROP_INTERVAL_SECONDS: Final = 60.0
COMPLAIN_SECONDS: Final = 60.0
CLOSE_SECONDS_MAX: Final = 10.0
L3_KNOWN_MAX: Final = 100
OUTCOMES: Final = ("written", "queue_full", "write_failed", "invalid")

_log = structlog.get_logger("touchstone.router")


class Made(NamedTuple):
    """A decision as the engine made it; everything in it is immutable.

    `config` and `now` are what `assign` saw. `fault` is L3's where L2 answered in its place,
    `refusal` the fault that was the answer where `fill` is None.
    """

    identity: str
    at: float
    account: str
    request: ExecutionRequest
    seed: int
    config: RoutingConfig
    now: float
    assignment: Assignment
    arm: Arm
    fill: Fill | None
    fault: Fault | None = None
    refusal: Fault | None = None


class L3Identity(NamedTuple):
    """What the simulator last said of itself."""

    config: ConfigRecord
    build: str


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
        recent_max: int = 1_000,
        enabled: bool = True,
    ) -> None:
        self._segments = segments
        self._metrics = metrics
        self._build = build
        self._queue: deque[Made | ShadowPair] = deque()
        self._queue_size = queue_size
        self.enabled = enabled
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._recent: OrderedDict[str, list[bytes]] = OrderedDict()
        self._recent_max = recent_max
        self._recent_lock = threading.Lock()
        self._encoded: list[tuple[str, bytes, bool]] = []
        self._routing: tuple[RoutingConfig | None, ConfigRecord | None] = (None, None)
        self._configs_written: set[str] = set()
        self._l3: L3Identity | None = None
        self._l3_known: dict[str, ConfigRecord] = {}
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
        return self._l3

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
        if len(self._queue) >= self._queue_size:
            self._metrics.lines["queue_full"].inc()
            return
        self._queue.append(made)

    def learn_l3(self, document: Mapping[str, Any], build: str) -> None:
        """Note which configuration and build the simulator says it runs."""
        found = config_record("l3", document)
        if len(self._l3_known) >= L3_KNOWN_MAX:
            self._l3_known.clear()
        self._l3_known[found.hash] = found
        self._l3 = L3Identity(found, build)

    def close(self) -> None:
        """Write what is queued, within ten seconds, and stop."""
        self._closing.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(CLOSE_SECONDS_MAX)

    def recent(self) -> list[bytes]:
        """Return the newest decisions' lines, newest first, as far as they are written."""
        with self._recent_lock:
            return [lines[0] for lines in reversed(self._recent.values())]

    def recent_lines(self, identity: str) -> list[bytes] | None:
        """Return a recent decision's line, and its candidate's; None where it is not recent."""
        with self._recent_lock:
            found = self._recent.get(identity)
            return None if found is None else list(found)

    # ------------------------------------------------------------------------ the thread

    def _work(self) -> None:
        for _ in range(self._segments.cut_torn()):
            self._metrics.torn.inc()
        while True:
            closing = self._closing.is_set()
            try:
                wrote = self._write_some()
                self._drop_old()
            except Exception:  # noqa: BLE001 - logged with its trace, and counted
                # One odd decision must not end the log.
                _log.exception("decision_log_failed")
                self._metrics.lines["write_failed"].inc()
                continue
            if wrote and not closing:
                time.sleep(BATCH_SLEEP_SECONDS)
            elif not wrote and closing:
                break
            elif not wrote:
                self._closing.wait(IDLE_SECONDS)
        self._segments.close()

    def _write_some(self) -> int:
        """Encode and write up to `BATCH_MAX` lines; return how many were taken."""
        taken = 0
        lines: list[bytes] = []
        fresh = self._segments.is_fresh
        if fresh:
            self._configs_written.clear()
        while taken < BATCH_MAX and self._queue:
            made = self._queue.popleft()
            taken += 1
            try:
                lines += self._encode(made)
            except InvalidInput:
                # What cannot be read was refused, and is no decision.
                self._metrics.lines["invalid"].inc()
            except Exception:  # noqa: BLE001 - logged with its trace, and counted
                # One odd fill must not take the others along.
                _log.exception("decision_not_encoded")
                self._metrics.lines["invalid"].inc()
        if not taken and not fresh:
            # What the simulator said of itself since, for the decisions before it.
            lines = self._configs(None, None)
        if lines:
            self._append(lines)
        return taken

    def _append(self, lines: list[bytes]) -> None:
        try:
            self._segments.append(b"".join(lines))
        except OSError as error:
            self._configs_written.clear()
            self._metrics.lines["write_failed"].inc(len(lines))
            if (now := time.monotonic()) - self._complained >= COMPLAIN_SECONDS:
                self._complained = now
                _log.warning("decisions_not_written", error=str(error))
        else:
            self._metrics.lines["written"].inc(len(lines))
            self._remember()
        self._encoded.clear()

    def _remember(self) -> None:
        """Keep the newest lines that were written, each decision's with its candidate's."""
        with self._recent_lock:
            for identity, line, is_decision in self._encoded:
                found = self._recent.get(identity)
                if is_decision:
                    self._recent[identity] = [line]
                elif found is not None:
                    found[1:] = [line]
            while len(self._recent) > self._recent_max:
                self._recent.popitem(last=False)

    def _drop_old(self) -> None:
        if (now := time.monotonic()) - self._dropped_at >= DROP_INTERVAL_SECONDS:
            self._dropped_at = now
            self._segments.drop_old()

    def _encode(self, made: Made | ShadowPair) -> list[bytes]:
        if isinstance(made, ShadowPair):
            return self._encode_candidate(made)
        fill, request = made.fill, made.request
        config = self._routing_record(made.config)
        rule = made.assignment.rule.value
        l3_config, l3_build = self._l3_of(fill if made.arm is Arm.L3 else None)
        raw = one_line(codec.request_bytes(request))
        record = DecisionRecord(
            id=made.identity,
            at=made.at,
            symbol=request.order.symbol,
            account=made.account,
            generation=made.assignment.generation,
            bucket=made.assignment.bucket,
            assigned_arm=made.assignment.arm.value,
            assigned_rule=rule,
            arm=made.arm.value,
            rule=rule if made.fault is None else f"{FALLBACK}{made.fault.code}",
            refusal=None if made.refusal is None else made.refusal.code,
            latched=made.config.latched,
            expires_at=made.config.expires_at,
            now=made.now,
            config_hash=config.hash,
            seed=made.seed,
            execution_seed=_execution_seed(made),
            inputs_digest=inputs_digest(raw),
            build=self._build,
            l3_config=l3_config,
            l3_build=l3_build,
            fill=None,
            request=raw,
        )
        line = encode_decision(record, None if fill is None else codec.encode_fill(fill))
        self._encoded.append((made.identity, line, True))
        return [*self._configs(config, l3_config), line]

    def _encode_candidate(self, pair: ShadowPair) -> list[bytes]:
        fill = pair.candidate
        l3_config, l3_build = self._l3_of(fill)
        if fill is not None and _config_of(fill) is None:
            l3_config = None  # a candidate of another model
        record = CandidateRecord(
            id=pair.decision_id,
            at=pair.at,
            seed=pair.seed,
            l3_config=l3_config,
            l3_build=l3_build,
            error=pair.error,
            fill=None,
        )
        line = encode_candidate(record, None if fill is None else codec.encode_fill(fill))
        self._encoded.append((pair.decision_id, line, False))
        return [*self._configs(None, l3_config), line]

    def _routing_record(self, config: RoutingConfig) -> ConfigRecord:
        """Return the lasting part of a routing configuration; hashed once while it lasts."""
        before, record = self._routing
        if (
            record is None
            or before is None
            or before.document is not config.document
            or before.environment_allows != config.environment_allows
            or before.master_flag != config.master_flag
        ):
            record = config_record("routing", routing_document(config))
            self._routing = (config, record)
        return record

    def _l3_of(self, fill: Fill | None) -> tuple[str | None, str | None]:
        """Return configuration and build behind a fill of L3, or those L3 had lately."""
        identity = self._l3
        build = None if identity is None else identity.build
        named = None if fill is None else _config_of(fill)
        if named is not None:
            return named, build
        return (None if identity is None else identity.config.hash), build

    def _configs(self, routing: ConfigRecord | None, l3_config: str | None) -> list[bytes]:
        """Return the lines of configurations that this segment does not have yet."""
        lines = []
        known, identity = self._l3_known.get(l3_config or ""), self._l3
        for record in (routing, known, None if identity is None else identity.config):
            if record is not None and record.hash not in self._configs_written:
                self._configs_written.add(record.hash)
                lines.append(encode_config(record))
        return lines


def _execution_seed(made: Made) -> int:
    """Return the seed of this execution: the fill's own, else as providers derive it."""
    told = None if made.fill is None else made.fill.attribution.get("seed")
    if type(told) is int:
        return told
    return execution_seed(made.seed, made.request.order, made.request.market)


def _config_of(fill: Fill) -> str | None:
    """Return the hash of the L3 configuration that a fill names; None where it names none."""
    models = fill.attribution.get("models")
    named = models.get("config") if isinstance(models, Mapping) else None
    return named if isinstance(named, str) else None
