"""The lines of the decision log: a decision as the engine made it, encoded once."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from execution_providers import ExecutionRequest, Fill
from execution_providers.provider import execution_seed
from lob.errors import Fault
from touchstone.kit import codec
from touchstone.rollout.assignment import Arm, Assignment, RoutingConfig
from touchstone.rollout.decisions import (
    FALLBACK,
    CandidateRecord,
    ConfigRecord,
    SharedFields,
    config_record,
    decision_line,
    decision_template,
    encode_candidate,
    encode_config,
    one_line,
    routing_document,
    time_text,
)
from touchstone.rollout.shadow import ShadowPair

L3_KNOWN_MAX: Final = 100
TEMPLATES_MAX: Final = 256
_L3: Final = Arm.L3


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


class DecisionLines:
    """Encode decisions and candidates, each configuration once in a segment, ahead of them."""

    def __init__(self, build: str) -> None:
        self._build = build
        self._routing: tuple[RoutingConfig | None, ConfigRecord | None] = (None, None)
        self._templates: dict[SharedFields, str] = {}
        self._template_before: tuple[tuple[object, ...], str] = ((), "")
        self._times_before: tuple[tuple[float, ...], tuple[str, ...]] = ((), ())
        self._written: set[str] = set()
        self._l3_known: dict[str, ConfigRecord] = {}
        self.l3: L3Identity | None = None

    def begin(self) -> None:
        """Begin a segment, or one that lacks what was encoded last: no configuration is in it."""
        self._written.clear()

    def learn_l3(self, document: Mapping[str, Any], build: str) -> None:
        """Note which configuration and build the simulator says it runs."""
        found = config_record("l3", document)
        if len(self._l3_known) >= L3_KNOWN_MAX:
            self._l3_known.clear()
        self._l3_known[found.hash] = found
        self.l3 = L3Identity(found, build)

    def of(self, made: Made | ShadowPair) -> tuple[list[bytes], bytes]:
        """Return the lines of configurations that go ahead, and the line itself.

        Raises:
            InvalidInput: the request cannot be read.
        """
        return self._candidate(made) if isinstance(made, ShadowPair) else self._decision(made)

    def _decision(self, made: Made) -> tuple[list[bytes], bytes]:
        request, routing, fill = made.request, made.config, made.fill
        config = self._routing_record(routing)
        seed, named = (None, None) if fill is None else codec.named_by(fill)
        l3_config, l3_build = self._l3_of(named if made.arm is _L3 else None)
        if seed is None:  # then it is as providers derive it
            seed = execution_seed(made.seed, request.order, request.market)
        at, expires_at, now = self._times(made.at, routing.expires_at, made.now)
        line = decision_line(
            self._template(made, config, l3_config, l3_build),
            *(made.identity, at, request.order.symbol, made.assignment.bucket),
            *(expires_at, now, seed),
            _line_of(fill),
            one_line(codec.request_bytes(request)),
        )
        return self.configs(config, l3_config), line

    def _template(
        self, made: Made, config: ConfigRecord, l3_config: str | None, l3_build: str | None
    ) -> str:
        """Return the template of what decisions share; accounts are many, so few are kept."""
        assignment, fault, refusal = made.assignment, made.fault, made.refusal
        shared = (
            *(made.account, made.arm, fault, refusal, made.seed, made.config.latched),
            *(assignment.generation, assignment.arm, assignment.rule),
            *(config, l3_config, l3_build),
        )
        before, template = self._template_before
        if shared == before:  # mostly the same objects, which is seen at once
            return template
        rule = assignment.rule.value
        fields = SharedFields(
            made.account,
            assignment.generation,
            assignment.arm.value,
            rule,
            made.arm.value,
            rule if fault is None else f"{FALLBACK}{fault.code}",
            None if refusal is None else refusal.code,
            made.config.latched,
            config.hash,
            made.seed,
            self._build,
            l3_config,
            l3_build,
        )
        found = self._templates.get(fields)
        if found is None:
            if len(self._templates) >= TEMPLATES_MAX:
                self._templates.clear()
            found = self._templates[fields] = decision_template(fields)
        self._template_before = shared, found
        return found

    def _times(self, *seconds: float) -> tuple[str, ...]:
        """Return times as JSON; orders that came together have the same."""
        before, texts = self._times_before
        if before != seconds:
            texts = tuple(map(time_text, seconds))
            self._times_before = seconds, texts
        return texts

    def _candidate(self, pair: ShadowPair) -> tuple[list[bytes], bytes]:
        fill = pair.candidate
        named = None if fill is None else codec.named_by(fill)[1]
        l3_config, l3_build = self._l3_of(named)
        if fill is not None and named is None:
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
        line = encode_candidate(record, _line_of(fill))
        return self.configs(None, l3_config), line

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

    def _l3_of(self, named: str | None) -> tuple[str | None, str | None]:
        """Return the configuration that a fill names and its build, or those L3 had lately."""
        identity = self.l3
        build = None if identity is None else identity.build
        if named is not None:
            return named, build
        return (None if identity is None else identity.config.hash), build

    def configs(self, routing: ConfigRecord | None, l3_config: str | None) -> list[bytes]:
        """Return the lines of configurations that this segment does not have yet."""
        lines = []
        known, identity = self._l3_known.get(l3_config or ""), self.l3
        for record in (routing, known, None if identity is None else identity.config):
            if record is not None and record.hash not in self._written:
                self._written.add(record.hash)
                lines.append(encode_config(record))
        return lines


def _line_of(fill: Fill | None) -> bytes | None:
    """Return a fill's JSON on one line: one that came over a wire is as its sender wrote it."""
    return None if fill is None else one_line(codec.encode_fill(fill))
