"""Make recorded decisions again and name, field by field, what comes out differently.

The record's line is built anew from what the replay finds, by the encoder that wrote it: where the
bytes are the same, everything in them is. A route needs the routing configuration and the two times
that `assign` saw; a fill needs the request, the seed and, for L3, its configuration. Whether a
simulator was there and answered in time is nothing that inputs decide: such a failure is taken as
recorded, while one that the inputs cause (`INPUT_FAULTS`) has to come again.
"""

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from execution_providers import (
    AssetClass,
    ExecutionProvider,
    ExecutionRequest,
    create_execution_provider,
)
from execution_providers.config_digest import document_digest
from execution_providers.provider import execution_seed
from lob.config import L3ExecutionConfig
from lob.errors import Fault, InvalidInput, NotFound
from touchstone.rollout.assignment import Arm, RoutingConfig, assign
from touchstone.rollout.decisions import (
    FALLBACK,
    CandidateRecord,
    Codec,
    ConfigRecord,
    DecisionRecord,
    encode_candidate,
    encode_decision,
    inputs_digest,
    routing_config,
)

INPUT_FAULTS: Final = frozenset({"INVALID_ARGUMENT", "UNIMPLEMENTED", "CONFLICT"})
"""Codes of the failures that the same inputs bring about again."""
CONFIGS_MAX: Final = 10_000
WAITING_MAX: Final = 50_000
"""Decisions kept for a candidate that may still come; it comes seconds later, or never."""
WAITING_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of their requests."""
DIFFERENCES_MAX: Final = 20
DEPTH_MAX: Final = 20
_ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that came out differently; values as JSON text."""

    field: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return f"{self.field}: recorded {self.recorded}, replayed {self.replayed}"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one record: nothing different, or what is.

    `builds` are those the record names besides the one that replays: no difference by itself, and
    the first thing to look at where there is one.
    """

    id: str
    kind: str
    differences: tuple[Difference, ...]
    builds: tuple[str, ...] = ()


class Providers:
    """The providers that decisions name, made once each."""

    def __init__(self) -> None:
        self._configs: dict[str, ConfigRecord] = {}
        self._routing: dict[str, ConfigRecord] = {}
        self._l2 = {kind: create_execution_provider(kind, level="L2") for kind in AssetClass}
        self._l3: dict[tuple[str, AssetClass], ExecutionProvider] = {}
        self.newest_l3: str | None = None

    def learn(self, record: ConfigRecord) -> None:
        """Keep a configuration.

        Raises:
            InvalidInput: its hash is another, or there are more than `CONFIGS_MAX`.
        """
        found = document_digest(record.document)
        if found != record.hash:
            raise InvalidInput(f"hash: {record.hash}; allowed: that of the document, {found}")
        if len(self._configs) >= CONFIGS_MAX:
            raise InvalidInput(f"configurations: more than {CONFIGS_MAX}; allowed: at most that")
        self._configs[record.hash] = record
        if record.what == "l3":
            self.newest_l3 = record.hash

    def routing(self, decision: DecisionRecord) -> RoutingConfig:
        """Return what `assign` saw; `NotFound` where the log does not have it."""
        return routing_config(self.config(decision.config_hash, "routing"), decision)

    def config(self, name: str | None, what: str) -> ConfigRecord:
        """Return the configuration of a hash; `NotFound` where the log does not have it."""
        record = self._configs.get(name or "")
        if record is None or record.what != what:
            raise NotFound(f"no {what} configuration {name or 'was told'} in the log")
        return record

    def knows_l3(self, name: str | None) -> bool:
        """Say whether the log has an L3 configuration under a hash."""
        record = self._configs.get(name or "")
        return record is not None and record.what == "l3"

    def l2(self, kind: AssetClass) -> ExecutionProvider:
        """Return L2 for an asset class."""
        return self._l2[kind]

    def l3(self, name: str | None, kind: AssetClass) -> ExecutionProvider:
        """Return L3 under the configuration of a hash.

        Raises:
            NotFound: the log does not have it.
            InvalidInput: it is not a right one.
        """
        found = self._l3.get((name or "", kind))
        if found is None:
            config = L3ExecutionConfig.from_mapping(self.config(name, "l3").document)
            found = create_execution_provider(kind, level="L3", config=config)
            self._l3[name or "", kind] = found
        return found


class Replayer:
    """Replay lines in the order of the log: configurations first, decisions, candidates."""

    def __init__(self, codec: Codec, build: str, providers: Providers | None = None) -> None:
        self._codec = codec
        self._build = build
        self.providers = providers or Providers()
        self._waiting: OrderedDict[str, bytes] = OrderedDict()
        self._waiting_bytes = 0

    def decision(self, line: bytes, record: DecisionRecord) -> Replayed:
        """Make a decision again: route, seeds, digest, and the answering provider's fill."""
        builds = self._other_builds(record.build, record.l3_build)
        try:
            request = self._codec.decode_request(record.request)
        except InvalidInput as fault:
            return _failed(record.id, "decision", f"request.{fault}", builds)
        if record.assigned_rule == "shadow":
            self._await_candidate(record.id, record.request)
        again = replace(
            record,
            symbol=request.order.symbol,
            execution_seed=execution_seed(record.seed, request.order, request.market),
            inputs_digest=inputs_digest(record.request),
        )
        try:
            again = self._route(again)
            again, fill = self._answer(again, request)
        except Fault as fault:
            return _failed(record.id, "decision", f"configuration: {fault}", builds)
        if encode_decision(again, fill) == line:
            return Replayed(record.id, "decision", (), builds)
        again = replace(again, fill=None if fill is None else json.loads(fill))
        return Replayed(record.id, "decision", _differences(record, again, line), builds)

    def candidate(self, line: bytes, record: CandidateRecord) -> Replayed | None:
        """Make a candidate's fill again; None where its decision is not in the log."""
        encoded = self._waiting.pop(record.id, None)
        if encoded is None:
            return None
        self._waiting_bytes -= len(encoded)
        request = self._codec.decode_request(encoded)
        builds = self._other_builds(record.l3_build)
        error, fill = record.error, None
        if error is None or _has_to_come_again(error, record.l3_config):
            try:
                provider = self.providers.l3(record.l3_config, request.asset_class)
            except Fault as fault:
                return _failed(record.id, "candidate", f"configuration: {fault}", builds)
            error, fill = self._execute(provider, request, record.seed)
        again = replace(record, error=error)
        if encode_candidate(again, fill) == line:
            return Replayed(record.id, "candidate", (), builds)
        again = replace(again, fill=None if fill is None else json.loads(fill))
        return Replayed(record.id, "candidate", _differences(record, again, line), builds)

    def _other_builds(self, *names: str | None) -> tuple[str, ...]:
        return tuple(sorted({name for name in names if name and name != self._build}))

    def _await_candidate(self, identity: str, request: bytes) -> None:
        self._waiting_bytes += len(request) - len(self._waiting.get(identity, b""))
        self._waiting[identity] = request
        while len(self._waiting) > WAITING_MAX or self._waiting_bytes > WAITING_BYTES_MAX:
            _, gone = self._waiting.popitem(last=False)
            self._waiting_bytes -= len(gone)

    def awaits(self, identity: str) -> bool:
        """Say whether a decision was replayed whose candidate has not come yet."""
        return identity in self._waiting

    def _route(self, record: DecisionRecord) -> DecisionRecord:
        """Return the record with the route that the truth table gives now."""
        config = self.providers.routing(record)
        found = assign(record.symbol, record.account, config, record.now)
        failed = record.rule.startswith(FALLBACK)
        # A fallback is L2 in place of an L3 that was to answer, and of nothing else.
        fell_back = failed and found.arm is Arm.L3
        return replace(
            record,
            generation=found.generation,
            bucket=found.bucket,
            assigned_arm=found.arm.value,
            assigned_rule=found.rule.value,
            arm=Arm.L2.value if fell_back else found.arm.value,
            rule=record.rule if fell_back else found.rule.value,
        )

    def _answer(
        self, record: DecisionRecord, request: ExecutionRequest
    ) -> tuple[DecisionRecord, bytes | None]:
        """Return the record with its refusal, if any, and the fill encoded."""
        kind = request.asset_class
        if record.rule.startswith(FALLBACK):
            code = record.rule.removeprefix(FALLBACK)
            if _has_to_come_again(code, record.l3_config):
                provider = self.providers.l3(record.l3_config, kind)
                error, fill = self._execute(provider, request, record.seed)
                if error != code:
                    found = f"{FALLBACK}{error}" if error else record.assigned_rule
                    arm = Arm.L2 if error else Arm.L3
                    return replace(record, rule=found, arm=arm.value, refusal=None), fill
        provider = (
            self.providers.l3(record.l3_config, kind)
            if record.arm == Arm.L3
            else self.providers.l2(kind)
        )
        error, fill = self._execute(provider, request, record.seed)
        return replace(record, refusal=error), fill

    def _execute(
        self, provider: ExecutionProvider, request: ExecutionRequest, seed: int
    ) -> tuple[str | None, bytes | None]:
        """Return a fault's code, or the fill encoded."""
        try:
            fill = provider.execute(request.order, request.market, request.bar, seed=seed)
        except Fault as fault:
            return fault.code, None
        return None, None if fill is None else self._codec.encode_fill(fill)


def _has_to_come_again(code: str, l3_config: str | None) -> bool:
    """Say whether inputs cause a failure; without L3's configuration they are not all known.

    That is so where L3 failed before the simulator had said for the first time what it runs.
    """
    return code in INPUT_FAULTS and l3_config is not None


def _failed(identity: str, kind: str, text: str, builds: tuple[str, ...]) -> Replayed:
    field, _, why = text.partition(": ")
    return Replayed(identity, kind, (Difference(field, why, "not possible"),), builds)


def _differences(
    recorded: DecisionRecord | CandidateRecord,
    replayed: DecisionRecord | CandidateRecord,
    line: bytes,
) -> tuple[Difference, ...]:
    """Return the fields that differ, the first `DIFFERENCES_MAX` of them."""
    found: list[Difference] = []
    for name in recorded.__slots__:
        for difference in compare(name, getattr(recorded, name), getattr(replayed, name)):
            found.append(difference)
            if len(found) >= DIFFERENCES_MAX:
                return tuple(found)
    if not found:
        found.append(Difference("line", f"{len(line)} bytes", "the same values in other bytes"))
    return tuple(found)


def compare(name: str, recorded: object, replayed: object, depth: int = 0) -> Iterator[Difference]:
    """Yield where two JSON values differ, each by its path.

    >>> [str(d) for d in compare("fill", {"fills": [{"lots": "3"}]}, {"fills": [{"lots": "2"}]})]
    ['fill.fills[0].lots: recorded "3", replayed "2"']
    """
    if type(recorded) is type(replayed) and recorded == replayed:
        return
    if depth < DEPTH_MAX and isinstance(recorded, Mapping) and isinstance(replayed, Mapping):
        for key in (*recorded, *(key for key in replayed if key not in recorded)):
            yield from compare(
                f"{name}.{key}",
                recorded.get(key, _ABSENT),
                replayed.get(key, _ABSENT),
                depth + 1,
            )
        return
    lists = isinstance(recorded, list) and isinstance(replayed, list)
    if depth < DEPTH_MAX and lists and len(recorded) == len(replayed):  # type: ignore[arg-type]
        for index, (one, other) in enumerate(zip(recorded, replayed, strict=True)):  # type: ignore[call-overload]
            yield from compare(f"{name}[{index}]", one, other, depth + 1)
        return
    yield Difference(name, _shown(recorded), _shown(replayed))


def _shown(value: object) -> str:
    if value == _ABSENT:
        return _ABSENT
    text = json.dumps(value, default=str, separators=(",", ":"))
    return text if len(text) <= 200 else f"{text[:197]}..."  # noqa: PLR2004 - one line of text


def summary_of(body: Mapping[str, Any]) -> str:
    """Return a fill in a few words, from its JSON."""
    price = body.get("average_price")
    at = "" if price is None else f" at {price}"
    return f"{body.get('status')} {body.get('filled_quantity')}{at}, fees {body.get('fees')}"
