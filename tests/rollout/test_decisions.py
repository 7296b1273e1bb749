"""Decision records: strict reading, digests, and replay that names what differs."""

import json
import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution_providers import Fill, OrderType
from lob.config import create_l3_config
from lob.errors import InvalidInput, NotSupported, Unavailable
from tests.rollout.recorded import (
    BUILD,
    L3_RECORD,
    JsonCodec,
    candidate_of,
    decide,
    edited,
    execute,
    replayer,
    request,
    routing,
)
from touchstone.kit import codec
from touchstone.kit.rpc import fill_from_proto, fill_to_proto
from touchstone.rollout import decisions_replay
from touchstone.rollout.assignment import RoutingConfig
from touchstone.rollout.decisions import (
    CandidateRecord,
    ConfigRecord,
    DecisionRecord,
    config_record,
    decode_line,
    encode_candidate,
    encode_config,
    encode_decision,
    inputs_digest,
    one_line,
    to_json,
)
from touchstone.rollout.decisions_replay import Replayed, Replayer
from touchstone.rollout.state import Phase, RolloutDocument
from touchstone.v1 import execution_pb2 as pb


def replayed(line: bytes, *configs: ConfigRecord) -> Replayed:
    """Replay one decision's line."""
    record = decode_line(line)
    assert isinstance(record, DecisionRecord)
    return replayer(*configs).decision(line, record)


def live(**changes: Any) -> RoutingConfig:
    """Return a canary phase without canaries."""
    document: dict[str, Any] = {"phase": Phase.CANARY, "basis_points": 2_000} | changes
    return routing(document=RolloutDocument(**document))


def fields_of(result: Replayed | None) -> list[str]:
    """Return the names of what differs."""
    assert result is not None
    return [difference.field for difference in result.differences]


def test_a_line_read_and_written_again_is_the_same_line() -> None:
    """For each kind of record, to the byte."""
    line, shared = decide(request(), routing())
    decision = decode_line(line)
    assert isinstance(decision, DecisionRecord)
    assert line == encode_decision(decision)
    candidate = candidate_of(request())
    read = decode_line(candidate)
    assert isinstance(read, CandidateRecord)
    assert candidate == encode_candidate(read)
    assert shared == decode_line(encode_config(shared))


def test_the_request_keeps_the_bytes_that_came() -> None:
    """Blanks and the order of keys are the caller's; only line ends go."""
    came = b'{ "asset_class" :"EQUITY",\r\n "market": {"timestamp_ms": 1},\n"order":{}}'
    line, _ = decide(request(), routing())
    record = decode_line(line)
    assert isinstance(record, DecisionRecord)
    again = decode_line(encode_decision(replace(record, request=one_line(came))))
    assert isinstance(again, DecisionRecord)
    assert came.replace(b"\r\n", b"").replace(b"\n", b"") == again.request


def test_what_a_caller_writes_cannot_be_taken_for_the_frame() -> None:
    """An account that looks like the log's own keys is still an account."""
    account = '","request_bytes":1,"request":{"x":"'
    line, shared = decide(request(), routing(), account=account)
    record = decode_line(line)
    assert isinstance(record, DecisionRecord)
    assert account == record.account
    assert () == replayed(line, shared).differences


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"generation": "3"}, "generation: '3'; allowed: a whole number"),
        ({"generation": -1}, "generation: -1"),
        ({"generation": True}, "generation: True"),
        ({"arm": "L4"}, "arm: 'L4'; allowed: L2, L3"),
        ({"assigned_rule": "whim"}, "assigned_rule: 'whim'; allowed: rolled_back"),
        ({"rule": "whim"}, "rule: 'whim'"),
        ({"latched": 0}, "latched: 0; allowed: true, false"),
        ({"now": "late"}, "now: 'late'; allowed: seconds, inf or -inf"),
        ({"id": "ABC"}, "id: 'ABC'; allowed: hexadecimal digits"),
        ({"fill": []}, "fill: []; allowed: an object"),
        ({"more": 1}, "more: no such key"),
        ({"kind": "other"}, "kind: 'other'; allowed: decision, candidate, config"),
    ],
)
def test_a_wrong_value_is_named(changes: dict[str, Any], named: str) -> None:
    """Field, value, and what is allowed."""
    line, _ = decide(request(), routing())
    with pytest.raises(InvalidInput) as caught:
        decode_line(edited(line, **changes))
    assert str(caught.value).startswith(named)


@settings(max_examples=300, deadline=None)
@given(
    place=st.integers(0, 2_000),
    what=st.binary(min_size=0, max_size=3),
    removed=st.integers(0, 50),
)
def test_a_damaged_line_is_refused_or_replayed_never_a_defect(
    place: int, what: bytes, removed: int
) -> None:
    """Whatever bytes are changed: an `InvalidInput`, or a replay that says what differs."""
    line, shared = decide(request(), routing())
    place %= len(line)
    damaged = line[:place] + what + line[place + removed :]
    try:
        record = decode_line(damaged)
    except InvalidInput:
        return
    if isinstance(record, DecisionRecord) and damaged != line:
        result = replayer(shared).decision(damaged, record)
        # Times and names that nothing depends on may have changed unseen; figures may not.
        kept = decode_line(line)
        assert isinstance(kept, DecisionRecord)
        harmless = replace(record, at=kept.at, id=kept.id, now=kept.now, expires_at=kept.expires_at)
        harmless = replace(harmless, account=kept.account, build=kept.build, l3_build=kept.l3_build)
        assert result.differences or harmless.fill == kept.fill


def test_infinities_are_kept() -> None:
    """A state that was never read expired infinitely long ago."""
    config = routing(document=None, expires_at=-math.inf)
    line, shared = decide(request(), config)
    record = decode_line(line)
    assert isinstance(record, DecisionRecord)
    assert -math.inf == record.expires_at
    assert "unknown" == record.rule
    assert () == replayed(line, shared).differences
    assert "-inf" == to_json(record)["expires_at"]


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        (routing(), "allow_list"),
        (routing(Phase.SHADOW), "shadow"),
        (routing(Phase.OFF), "phase_off"),
        (routing(latched=True), "rolled_back"),
        (routing(expires_at=9.0), "stale"),
        (routing(environment_allows=False), "environment"),
        (routing(master_flag=False), "master_flag"),
        (routing(document=None), "unknown"),
        (live(deny_symbols=("AAPL",)), "deny_list"),
        (live(phase=Phase.EXPANSION, basis_points=8_490), "percentage"),
        (live(salt="other"), "default"),
    ],
)
def test_every_rule_is_replayed(config: Any, rule: str) -> None:
    """Route and fill come out the same, the kill and stale rules among them."""
    line, shared = decide(request(), config)
    record = decode_line(line)
    assert isinstance(record, DecisionRecord)
    assert rule == record.rule
    assert () == replayed(line, shared).differences


def test_a_fallback_is_replayed_as_recorded() -> None:
    """That the simulator was away is no input: L2's fill in its place is made again."""
    line, shared = decide(request(), routing(), fault=Unavailable("away"))
    record = decode_line(line)
    assert isinstance(record, DecisionRecord)
    assert ("L2", "fallback:UNAVAILABLE") == (record.arm, record.rule)
    assert () == replayed(line, shared).differences


def test_a_fallback_that_inputs_cause_has_to_come_again() -> None:
    """L3 takes this order, so that a recorded refusal of it is a difference."""
    line, shared = decide(request(), routing(), fault=NotSupported("no icebergs"))
    assert {"arm", "rule", "fill.attribution.provider"} <= set(fields_of(replayed(line, shared)))
    iceberg = request(display_quantity=Decimal(10))
    line, shared = decide(iceberg, routing(), fault=NotSupported("no icebergs"))
    record = decode_line(line)
    assert isinstance(record, DecisionRecord)
    assert "UNIMPLEMENTED" == record.refusal
    assert () == replayed(line, shared).differences


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fill__filled_quantity": "149"}, ["fill.filled_quantity"]),
        ({"fill__fills__0__quantity": "99"}, ["fill.fills[0].quantity"]),
        ({"fill__attribution__latency_ns": 1}, ["fill.attribution.latency_ns"]),
        ({"fill__fees": "0.000000000000000001"}, ["fill.fees"]),
        ({"bucket": 1}, ["bucket"]),
        ({"execution_seed": 1}, ["execution_seed"]),
        ({"symbol": "AAPM"}, ["symbol"]),
        ({"inputs_digest": "00"}, ["inputs_digest"]),
        ({"refusal": "CONFLICT"}, ["refusal"]),
        ({"latched": True}, ["assigned_arm", "assigned_rule", "arm", "rule"]),
        ({"expires_at": 1.0}, ["assigned_arm", "assigned_rule", "arm", "rule"]),
        ({"fill": None}, ["fill"]),
    ],
)
def test_a_changed_record_is_noticed_and_the_field_named(
    changes: dict[str, Any], named: list[str]
) -> None:
    """One lot, one bucket, one nanosecond."""
    line, shared = decide(request(), routing())
    found = fields_of(replayed(edited(line, **changes), shared))
    assert named == [name for name in found if not name.startswith("fill.") or name in named]


def test_a_changed_request_is_noticed_by_its_digest() -> None:
    """One lot more in the market, of the same length."""
    line, shared = decide(request(), routing())
    changed = line.replace(b'["100.02","300"]', b'["100.02","301"]')
    assert changed != line
    assert "inputs_digest" in fields_of(replayed(changed, shared))


def test_a_changed_seed_changes_the_fill() -> None:
    """The base seed is an input of the execution's own."""
    line, shared = decide(request(), routing())
    found = fields_of(replayed(edited(line, seed=6), shared))
    assert "execution_seed" in found
    assert "fill.attribution.seed" in found


def test_a_configuration_that_is_not_in_the_log_is_named() -> None:
    """Without it neither route nor fill can be made again."""
    line, shared = decide(request(), routing())
    (difference,) = replayed(line).differences
    assert "configuration" == difference.field
    assert f"no routing configuration {shared.hash} in the log" == difference.recorded
    (difference,) = replayed(edited(line, l3_config="0011223344556677"), shared).differences
    assert "no l3 configuration 0011223344556677 in the log" == difference.recorded


def test_a_configuration_under_another_hash_is_refused() -> None:
    """A changed salt does not go unseen."""
    _, shared = decide(request(), routing())
    with pytest.raises(InvalidInput, match="hash"):
        replayer().providers.learn(replace(shared, document={**shared.document, "salt": "x"}))


def test_another_build_is_named_and_is_no_difference() -> None:
    """The bytes are the same; who looks sees by whom they were made."""
    line, shared = decide(request(), routing())
    result = replayed(edited(line, l3_build="another"), shared)
    assert ((), ("another",)) == (result.differences, result.builds)
    assert () == replayed(line, shared).builds


def test_a_candidate_is_replayed_with_its_decision() -> None:
    """The same fill; a changed lot is named; a candidate alone says nothing."""
    line, shared = decide(request(), routing(Phase.SHADOW))
    record = decode_line(line)
    assert isinstance(record, DecisionRecord)
    good = candidate_of(request())
    lot_less = edited(good, fill__filled_quantity="149")
    for candidate, expected in ((good, []), (lot_less, ["fill.filled_quantity"])):
        again = decode_line(candidate)
        assert isinstance(again, CandidateRecord)
        made = replayer(shared)
        assert None is made.candidate(candidate, again)
        made.decision(line, record)
        assert expected == fields_of(made.candidate(candidate, again))


def test_a_fill_names_the_configuration_that_made_it() -> None:
    """So that a simulator started anew with another is not mistaken for the one before."""
    fill = execute(request(), "L3", 5)
    assert L3_RECORD.hash == fill.attribution["models"]["config"]
    other = create_l3_config("equity_retail")
    assert (
        fill.attribution["models"]["config"]
        != (execute(request(), "L3", 5, other).attribution["models"]["config"])
    )
    assert (
        config_record("l3", other.model_dump(mode="json")).hash
        == (execute(request(), "L3", 5, other).attribution["models"]["config"])
    )


@pytest.mark.parametrize("level", ["L2", "L3"])
@given(zeros=st.integers(0, 6), quantity=st.decimals("0.0001", 400, places=4))
@settings(max_examples=40, deadline=None)
def test_trailing_zeros_change_no_fill(level: str, zeros: int, quantity: Decimal) -> None:
    """What was executed and what is read back from JSON may differ in them, and in nothing else."""
    padded = Decimal(f"{quantity}{'0' * zeros}" if "." in str(quantity) else str(quantity))
    wanted = request(quantity=padded)
    plain = codec.decode_execution_request(codec.encode_execution_request(wanted))
    assert codec.encode_fill(execute(wanted, level, 5)) == codec.encode_fill(
        execute(plain, level, 5)
    )


def test_a_fill_does_not_depend_on_what_was_executed_before() -> None:
    """One provider asked a hundred times in any order, or a fresh one each time: the same bytes."""
    wanted = [request(f"S{n}", quantity=Decimal(n + 1)) for n in range(30)]
    limits = [request(f"S{n}", type=OrderType.MARKET, limit_price=None) for n in range(30)]
    made = Replayer(JsonCodec(), BUILD)
    made.providers.learn(L3_RECORD)
    for kept in (made.providers.l2, lambda kind: made.providers.l3(L3_RECORD.hash, kind)):

        def run(one: Any, kept: Any = kept) -> bytes:
            provider = kept(one.asset_class)
            fill = provider.execute(one.order, one.market, one.bar, seed=9)
            assert isinstance(fill, Fill)
            return codec.encode_fill(fill)

        forwards = [run(one) for one in wanted + limits]
        backwards = [run(one) for one in reversed(wanted + limits)]
        assert forwards == backwards[::-1]


def test_the_digest_is_over_the_bytes_that_came() -> None:
    """The same on every machine."""
    assert "cae66941d9efbd404e4d88758ea67670" == inputs_digest(b"")
    line, _ = decide(request(), routing())
    record = decode_line(line)
    assert isinstance(record, DecisionRecord)
    assert inputs_digest(record.request) == record.inputs_digest
    assert json.loads(record.request) == to_json(record)["request"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"limit_price": Decimal("99.99")},
        {"limit_price": Decimal(90)},
        {"post_only": True},
        {"type": OrderType.MARKET, "limit_price": None, "time_in_force": "FOK"},
        {"type": OrderType.MARKET, "limit_price": None, "quantity": Decimal(100_000)},
    ],
)
def test_a_fill_is_the_same_json_on_either_wire(changes: dict[str, Any]) -> None:
    """Through protobuf and back: the bytes that the provider's own fill has."""
    fill = execute(request(**changes), "L3", 5)
    message = pb.Fill.FromString(fill_to_proto(fill).SerializeToString())
    assert codec.encode_fill(fill) == codec.encode_fill(fill_from_proto(message))


def test_a_fallback_before_the_simulator_said_what_it_runs_is_taken_as_recorded() -> None:
    """Not all that L3's refusal depends on is known then; L2's fill is made again all the same."""
    line, shared = decide(request(), routing(), fault=InvalidInput("order: refused"))
    assert not fields_of(replayed(edited(line, l3_config=None, l3_build=None), shared))
    changed = edited(line, l3_config=None, l3_build=None, fill__filled_quantity="149")
    assert ["fill.filled_quantity"] == fields_of(replayed(changed, shared))


def test_requests_that_wait_for_a_candidate_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their bytes too: a book may be large, and most candidates never come."""
    monkeypatch.setattr(decisions_replay, "WAITING_BYTES_MAX", 2_000)
    lines = [decide(request(), routing(Phase.SHADOW), number=number) for number in range(9)]
    made = replayer(lines[0][1])
    for line, _ in lines:
        record = decode_line(line)
        assert isinstance(record, DecisionRecord)
        made.decision(line, record)
    waiting = [number for number in range(9) if made.awaits(f"{number:032x}")]
    assert [6, 7, 8] == waiting[-3:]
    assert len(waiting) < 5
