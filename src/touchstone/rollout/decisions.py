"""What the decision log holds: enough of every decision to make it again, byte for byte.

One JSON object a line, of three kinds. A `config` is what many decisions share (the rollout's
document and switches, or an L3 configuration), stored once under its hash. A `decision` is one
order: who was to answer and why, what came of it, and everything both depend on. A `candidate` is
what L3 made of an order that L2 answered in the shadow phase; it comes later, and names the
decision. Reading is strict: a line that this module would not have written is refused.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final, NamedTuple, Protocol

from execution_providers import ExecutionRequest, Fill
from execution_providers.config_digest import document_digest
from lob.errors import InvalidInput
from touchstone.rollout.assignment import Arm, RoutingConfig, Rule
from touchstone.rollout.state import RolloutDocument

INPUTS_DIGEST_BYTES: Final = 16
FALLBACK: Final = "fallback:"
LINE_BYTES_MAX: Final = 16 * 1024 * 1024
# Nothing that a caller wrote comes before it but texts, in which quotation marks are escaped.
_REQUEST_BYTES: Final = re.compile(rb'"request_bytes":([0-9]{1,8}),')
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
# What many decisions share is filled in once; what has two signs is each decision's own.
_DECISION_HEAD: Final = (
    '{"kind":"decision","id":%%s,"at":%%s,"symbol":%%s,"account":%s,"generation":%d,"bucket":%%d,'
    '"assigned_arm":%s,"assigned_rule":%s,"arm":%s,"rule":%s,"refusal":%s,"latched":%s,'
    '"expires_at":%%s,"now":%%s,"config_hash":%s,"seed":%d,"execution_seed":%%d,'
    '"inputs_digest":%%s,"build":%s,"l3_config":%s,"l3_build":%s,"request_bytes":%%d'
)
_INFINITIES: Final = {"inf": math.inf, "-inf": -math.inf}
_SHOWN: Final = 60
_SECONDS_MAX: Final = 1e15
_DATE_END: Final = 253_402_300_800  # the year 10000
_WHOLE_END: Final = 2**64


class Codec(Protocol):
    """The execution contract as bytes; a fill that is the same has the same bytes, always."""

    def decode_request(self, encoded: bytes) -> ExecutionRequest:
        """Return the request that JSON says; `InvalidInput` where it is none."""
        ...

    def decode_fill(self, encoded: bytes) -> Fill:
        """Return the fill that JSON says; `InvalidInput` where it is none."""
        ...

    def encode_fill(self, fill: Fill) -> bytes:
        """Return the canonical JSON of a fill."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One order's route and outcome, and all that they depend on.

    `assigned_arm` and `assigned_rule` are the truth table's; `arm` is who answered, and `rule` is
    `fallback:<code>` where that is L2 because L3 failed with that code. `refusal` is the code of
    the fault that was the answer, and `fill` is None then. `now` and `expires_at` are seconds on
    the router's own clock, `at` seconds since 1970. `config_hash` names the routing configuration,
    `l3_config` the L3 one: that of the fill where L3 answered, else what the simulator last said.
    `request` is JSON as it came to the router, on one line; `inputs_digest` is over those bytes.
    """

    id: str
    at: float
    symbol: str
    account: str
    generation: int
    bucket: int
    assigned_arm: str
    assigned_rule: str
    arm: str
    rule: str
    refusal: str | None
    latched: bool
    expires_at: float
    now: float
    config_hash: str
    seed: int
    execution_seed: int
    inputs_digest: str
    build: str
    l3_config: str | None
    l3_build: str | None
    fill: dict[str, Any] | None
    request: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRecord:
    """What L3 made of an order that L2 answered; `error` is a fault's code where `fill` is None."""

    id: str
    at: float
    seed: int
    l3_config: str | None
    l3_build: str | None
    error: str | None
    fill: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRecord:
    """What many decisions share, under its hash; `what` is `routing` or `l3`."""

    what: str
    hash: str
    document: dict[str, Any]


Record = DecisionRecord | CandidateRecord | ConfigRecord


def to_json(record: DecisionRecord | CandidateRecord) -> dict[str, Any]:
    """Return a record as JSON values, for people: the request as an object, if it is one."""
    kind = "decision" if isinstance(record, DecisionRecord) else "candidate"
    document: dict[str, Any] = {"kind": kind} | asdict(record)
    if isinstance(record, DecisionRecord):
        document["now"] = _number(record.now)
        document["expires_at"] = _number(record.expires_at)
        try:
            document["request"] = json.loads(record.request)
        except (ValueError, RecursionError):
            document["request"] = None
    return document


def shown_json(line: bytes) -> bytes:
    """Return a decision's line as `to_json` has it, without reading what is in it."""
    said = _REQUEST_BYTES.search(line)
    if said is None:
        return line.rstrip()
    return line[: said.start() - 1] + b"," + line[said.end() :].rstrip()


# ---------------------------------------------------------------------------- hashes


def one_line(encoded: bytes) -> bytes:
    """Return JSON on one line. A line's end is a blank there: no text has one unescaped."""
    if b"\n" in encoded or b"\r" in encoded:
        return encoded.translate(None, b"\r\n")
    return encoded


def inputs_digest(encoded: bytes) -> str:
    """Return the digest of a request's JSON on one line, 32 hexadecimal digits."""
    return blake2b(encoded, digest_size=INPUTS_DIGEST_BYTES).hexdigest()


def routing_document(config: RoutingConfig) -> dict[str, Any]:
    """Return what of a routing configuration lasts longer than one decision, as JSON values."""
    return {
        "document": None if config.document is None else config.document.to_json(),
        "environment_allows": config.environment_allows,
        "master_flag": config.master_flag,
    }


def config_record(what: str, document: Mapping[str, Any]) -> ConfigRecord:
    """Return the record of a configuration, under its hash."""
    return ConfigRecord(what=what, hash=document_digest(document), document=dict(document))


def routing_config(config: ConfigRecord, decision: DecisionRecord) -> RoutingConfig:
    """Return the configuration that `assign` saw.

    Raises:
        InvalidInput: the stored document is not a right one.
    """
    body = config.document
    _require_keys("config.document", body, ("document", "environment_allows", "master_flag"))
    document = body["document"]
    if document is not None and not isinstance(document, dict):
        raise InvalidInput(f"config.document.document: {_shown(document)}; allowed: an object")
    try:
        parsed = None if document is None else RolloutDocument.from_json(document)
    except TypeError as error:
        raise InvalidInput(f"config.document.document: {error}") from None
    return RoutingConfig(
        document=parsed,
        generation=decision.generation,
        expires_at=decision.expires_at,
        latched=decision.latched,
        environment_allows=_flag("config.document.environment_allows", body["environment_allows"]),
        master_flag=_flag("config.document.master_flag", body["master_flag"]),
    )


# ---------------------------------------------------------------------------- lines


def encode_decision(record: DecisionRecord, fill: bytes | None = None) -> bytes:
    """Return the record's line; `fill` spares encoding what is encoded already."""
    shared = SharedFields(**{name: getattr(record, name) for name in SharedFields._fields})
    return decision_line(
        decision_template(shared),
        *(record.id, time_text(record.at), record.symbol, record.bucket),
        *(time_text(record.expires_at), time_text(record.now), record.execution_seed),
        fill or (None if record.fill is None else json_bytes(record.fill)),
        record.request,
        record.inputs_digest,
    )


class SharedFields(NamedTuple):
    """The fields of a `DecisionRecord` that are the same for many decisions."""

    account: str
    generation: int
    assigned_arm: str
    assigned_rule: str
    arm: str
    rule: str
    refusal: str | None
    latched: bool
    config_hash: str
    seed: int
    build: str
    l3_config: str | None
    l3_build: str | None


def decision_template(shared: SharedFields) -> str:
    """Return what `decision_line` fills in for each decision that has these fields."""
    return _DECISION_HEAD % (
        *(_quoted_for(shared.account), shared.generation, _quoted_for(shared.assigned_arm)),
        *(_quoted_for(shared.assigned_rule), _quoted_for(shared.arm), _quoted_for(shared.rule)),
        *(_quoted_for(shared.refusal), "true" if shared.latched else "false"),
        *(_quoted_for(shared.config_hash), shared.seed, _quoted_for(shared.build)),
        *(_quoted_for(shared.l3_config), _quoted_for(shared.l3_build)),
    )


def decision_line(
    template: str,
    id: str,  # noqa: A002 - the field's name
    at: str,
    symbol: str,
    bucket: int,
    expires_at: str,
    now: str,
    execution_seed: int,
    fill: bytes | None,
    request: bytes,
    digest: str | None = None,
) -> bytes:
    """Return the line of a `DecisionRecord`: a `decision_template` and what is its own.

    It is made for every order, in a quarter of an encoder's time. Times are `time_text`s, the fill
    is encoded, the request on one line; `digest` spares computing `inputs_digest`.
    """
    head = template % (
        *(_quoted(id), at, _quoted(symbol), bucket, expires_at, now, execution_seed),
        *(_quoted(inputs_digest(request) if digest is None else digest), len(request)),
    )
    return b'%b,"fill":%b,"request":%b}\n' % (head.encode(), fill or b"null", request)


def encode_candidate(record: CandidateRecord, fill: bytes | None = None) -> bytes:
    """Return the record's line."""
    header = {
        "kind": "candidate",
        "id": record.id,
        "at": record.at,
        "seed": record.seed,
        "l3_config": record.l3_config,
        "l3_build": record.l3_build,
        "error": record.error,
    }
    answered = fill or (b"null" if record.fill is None else json_bytes(record.fill))
    return b'%b,"fill":%b}\n' % (json_bytes(header)[:-1], answered)


def encode_config(record: ConfigRecord) -> bytes:
    """Return the record's line."""
    header = {
        "kind": "config",
        "what": record.what,
        "hash": record.hash,
        "document": record.document,
    }
    return json_bytes(header) + b"\n"


def json_bytes(value: Any) -> bytes:
    """Return JSON without blanks, keys in the order they have."""
    return _ENCODER.encode(value).encode()


def decode_line(line: bytes) -> Record:
    """Return the record that a line holds.

    Raises:
        InvalidInput: the line is damaged, or not of this format; the text names the field.
    """
    if len(line) > LINE_BYTES_MAX:
        raise InvalidInput(f"line: {len(line)} bytes; allowed: at most {LINE_BYTES_MAX}")
    head, request = _cut_request(line)
    try:
        body = json.loads(head, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"line: not JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidInput(f"line: {_shown(body)}; allowed: an object")
    kind = body.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidInput(f"kind: {_shown(kind)}; allowed: {', '.join(_KINDS)}")
    make, checks = _KINDS[kind]
    if make is DecisionRecord:
        body.pop("request_bytes", None)
        body["request"] = request
    _require_keys("", body, tuple(checks))
    return make(**{name: check(name, body[name]) for name, check in checks.items()})


def _cut_request(line: bytes) -> tuple[bytes, bytes | None]:
    """Return a line without its request, and the request's own bytes.

    The request comes last and the line says how long it is, so that its bytes are those that came,
    whatever is in them.
    """
    said = _REQUEST_BYTES.search(line)
    if said is None:
        return line, None
    start = len(line) - int(said[1]) - len(b"}\n")
    before = line[:start]
    if start < said.end() or not before.endswith(b',"request":'):
        raise InvalidInput(f"request_bytes: {int(said[1])}; allowed: what the request has")
    return before + b"null}\n", line[start : -len(b"}\n")]


# ---------------------------------------------------------------------------- checks


def _quoted_for(value: str | None) -> str:
    """Return a text as JSON that goes into a template; null for None."""
    return "null" if value is None else _quoted(value).replace("%", "%%")


def time_text(value: float) -> str:
    """Return a time as JSON: what was never read is infinitely late, and said as a text."""
    return repr(value) if math.isfinite(value) else f'"{value}"'


def _number(value: float) -> float | str:
    """Return a time as JSON can say it: what was never read is infinitely late."""
    return value if math.isfinite(value) else str(value)


def _seconds(name: str, value: object) -> float:
    if isinstance(value, str) and value in _INFINITIES:
        return _INFINITIES[value]
    if type(value) not in (int, float) or abs(value) > _SECONDS_MAX:  # type: ignore[arg-type]
        raise InvalidInput(f"{name}: {_shown(value)}; allowed: seconds, inf or -inf")
    return value  # type: ignore[return-value]


def _date(name: str, value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value < _DATE_END:  # type: ignore[operator]
        raise InvalidInput(f"{name}: {_shown(value)}; allowed: seconds since 1970")
    return value  # type: ignore[return-value]


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name}: {_shown(value)}; allowed: text")
    return value


def _hexadecimal(name: str, value: object) -> str:
    text = _text(name, value)
    if not text or len(text) % 2 or set(text) - set("0123456789abcdef"):
        raise InvalidInput(f"{name}: {_shown(value)}; allowed: hexadecimal digits")
    return text


def _whole(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value < _WHOLE_END:
        raise InvalidInput(f"{name}: {_shown(value)}; allowed: a whole number from 0 to 2^64 - 1")
    return value


def _flag(name: str, value: object) -> bool:
    if type(value) is not bool:
        raise InvalidInput(f"{name}: {_shown(value)}; allowed: true, false")
    return value


def _mapping(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{name}: {_shown(value)}; allowed: an object")
    return value


def _bytes(name: str, value: object) -> bytes:
    if not isinstance(value, bytes):
        raise InvalidInput(f"{name}: missing; allowed: a request, and request_bytes before it")
    return value


def _one_of(*allowed: str) -> Callable[[str, object], str]:
    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise InvalidInput(f"{name}: {_shown(value)}; allowed: {', '.join(allowed)}")
        return value

    return check


def _rule(name: str, value: object) -> str:
    text = _text(name, value)
    return text if text.startswith(FALLBACK) else _one_of(*Rule)(name, text)


def _or_none(check: Callable[[str, object], Any]) -> Callable[[str, object], Any]:
    return lambda name, value: None if value is None else check(name, value)


def _require_keys(where: str, body: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    prefix = f"{where}." if where else ""
    for key in body:
        if key not in keys:
            raise InvalidInput(f"{prefix}{key}: no such key; allowed: {', '.join(keys)}")
    for key in keys:
        if key not in body:
            raise InvalidInput(f"{prefix}{key}: missing; allowed: a value")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


_Check = Callable[[str, object], Any]
_ARM: Final = _one_of(*Arm)
_DECISION: Final[Mapping[str, _Check]] = {
    "id": _hexadecimal,
    "at": _date,
    "symbol": _text,
    "account": _text,
    "generation": _whole,
    "bucket": _whole,
    "assigned_arm": _ARM,
    "assigned_rule": _one_of(*Rule),
    "arm": _ARM,
    "rule": _rule,
    "refusal": _or_none(_text),
    "latched": _flag,
    "expires_at": _seconds,
    "now": _seconds,
    "config_hash": _hexadecimal,
    "seed": _whole,
    "execution_seed": _whole,
    "inputs_digest": _hexadecimal,
    "build": _text,
    "l3_config": _or_none(_hexadecimal),
    "l3_build": _or_none(_text),
    "fill": _or_none(_mapping),
    "request": _bytes,
}
_CANDIDATE: Final[Mapping[str, _Check]] = {
    "id": _hexadecimal,
    "at": _date,
    "seed": _whole,
    "l3_config": _or_none(_hexadecimal),
    "l3_build": _or_none(_text),
    "error": _or_none(_text),
    "fill": _or_none(_mapping),
}
_CONFIG: Final[Mapping[str, _Check]] = {
    "what": _one_of("routing", "l3"),
    "hash": _hexadecimal,
    "document": _mapping,
}
_KINDS: Final[Mapping[str, tuple[Callable[..., Record], Mapping[str, _Check]]]] = {
    "decision": (DecisionRecord, _DECISION),
    "candidate": (CandidateRecord, _CANDIDATE),
    "config": (ConfigRecord, _CONFIG),
}
