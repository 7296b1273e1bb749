"""Decisions recorded by hand, for the tests of replay and what-if: without a router."""

import json
from decimal import Decimal
from typing import Any

from execution_providers import (
    AssetClass,
    BarData,
    ExecutionRequest,
    Fill,
    MarketState,
    Order,
    OrderType,
    Side,
    create_execution_provider,
)
from execution_providers.provider import execution_seed
from lob.config import L3ExecutionConfig, create_l3_config
from lob.errors import Fault
from touchstone.kit import codec
from touchstone.rollout.assignment import Arm, RoutingConfig, assign
from touchstone.rollout.decisions import (
    CandidateRecord,
    ConfigRecord,
    DecisionRecord,
    config_record,
    encode_candidate,
    encode_decision,
    inputs_digest,
    routing_document,
)
from touchstone.rollout.decisions_replay import Replayer
from touchstone.rollout.state import Phase, RolloutDocument

BUILD = "a build"
CONFIG = create_l3_config("equity")
L3_RECORD = config_record("l3", CONFIG.model_dump(mode="json"))


class JsonCodec:
    """The contract's JSON."""

    def decode_request(self, encoded: bytes) -> ExecutionRequest:
        """Return the request."""
        return codec.decode_execution_request(encoded)

    def decode_fill(self, encoded: bytes) -> Fill:
        """Return the fill."""
        return codec.decode_fill(encoded)

    def encode_fill(self, fill: Fill) -> bytes:
        """Return the fill's bytes."""
        return codec.encode_fill(fill)


def request(symbol: str = "AAPL", **changes: Any) -> ExecutionRequest:
    """Return an order of 150 that meets two levels, in a bar that trades."""
    fields: dict[str, Any] = {
        "symbol": symbol,
        "side": Side.BUY,
        "quantity": Decimal(150),
        "type": OrderType.LIMIT,
        "limit_price": Decimal("100.01"),
    }
    return ExecutionRequest(
        Order(**(fields | changes)),
        MarketState(
            timestamp_ms=1_700_000_000_000,
            bids=((Decimal("99.99"), Decimal(100)), (Decimal("99.98"), Decimal(300))),
            asks=((Decimal("100.01"), Decimal(100)), (Decimal("100.02"), Decimal(300))),
            last_price=Decimal(100),
        ),
        BarData(
            Decimal(100), Decimal("100.1"), Decimal("99.9"), Decimal(100), Decimal(5_000), 60_000
        ),
        AssetClass.EQUITY,
    )


def routing(phase: Phase = Phase.CANARY, **changes: Any) -> RoutingConfig:
    """Return a healthy control state: AAPL is a canary, and a fifth of the others."""
    document: dict[str, Any] = {"phase": phase, "basis_points": 0, "canary_symbols": ("AAPL",)}
    if phase is Phase.CANARY:
        document["basis_points"] = 2_000
    fields: dict[str, Any] = {
        "document": RolloutDocument(**document),
        "generation": 3,
        "expires_at": 10.0,
    }
    return RoutingConfig(**(fields | changes))


def execute(
    wanted: ExecutionRequest, level: str, seed: int, config: L3ExecutionConfig = CONFIG
) -> Fill:
    """Return a provider's fill."""
    provider = create_execution_provider(
        wanted.asset_class, level=level, config=config if level == "L3" else None
    )
    fill = provider.execute(wanted.order, wanted.market, wanted.bar, seed=seed)
    assert fill is not None
    return fill


def decide(
    wanted: ExecutionRequest,
    config: RoutingConfig,
    *,
    account: str = "",
    fault: Fault | None = None,
    number: int = 1,
    now: float = 9.0,
) -> tuple[bytes, ConfigRecord]:
    """Return the line of a decision as a router makes it, and its routing configuration."""
    seed = 5
    found = assign(wanted.order.symbol, account, config, now)
    arm = Arm.L2 if fault else found.arm
    raw = codec.encode_execution_request(wanted)
    shared = config_record("routing", routing_document(config))
    refusal, fill = None, None
    try:
        fill = codec.encode_fill(execute(wanted, arm.value, seed))
    except Fault as refused:
        refusal = refused.code
    record = DecisionRecord(
        id=f"{number:032x}",
        at=1_700_000_000.5,
        symbol=wanted.order.symbol,
        account=account,
        generation=found.generation,
        bucket=found.bucket,
        assigned_arm=found.arm.value,
        assigned_rule=found.rule.value,
        arm=arm.value,
        rule=f"fallback:{fault.code}" if fault else found.rule.value,
        refusal=refusal,
        latched=config.latched,
        expires_at=config.expires_at,
        now=now,
        config_hash=shared.hash,
        seed=seed,
        execution_seed=execution_seed(seed, wanted.order, wanted.market),
        inputs_digest=inputs_digest(raw),
        build=BUILD,
        l3_config=L3_RECORD.hash,
        l3_build=BUILD,
        fill=None,
        request=raw,
    )
    return encode_decision(record, fill), shared


def candidate_of(wanted: ExecutionRequest, number: int = 1) -> bytes:
    """Return the line of a shadow candidate."""
    record = CandidateRecord(
        id=f"{number:032x}",
        at=1_700_000_001.0,
        seed=5,
        l3_config=L3_RECORD.hash,
        l3_build=BUILD,
        error=None,
        fill=None,
    )
    return encode_candidate(record, codec.encode_fill(execute(wanted, "L3", 5)))


def replayer(*configs: ConfigRecord) -> Replayer:
    """Return a replayer that knows the configurations, and L3's."""
    made = Replayer(JsonCodec(), BUILD)
    for record in (L3_RECORD, *configs):
        made.providers.learn(record)
    return made


def edited(line: bytes, **changes: Any) -> bytes:
    """Return a line with other values of its own fields (not of the request)."""
    head, found, request_part = line.partition(b',"request":')
    body = json.loads(head + b"}" if found else line)
    for path, value in changes.items():
        place = body
        *parents, last = path.split("__")
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        place[last] = value
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return encoded[:-1] + (b',"request":' + request_part if request_part else b"}\n")
