"""A proposal run over recorded decisions: who moves, by which rule, and what changes."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from execution_providers import Fill, OrderType
from lob.config import create_l3_config
from lob.errors import InvalidInput, Unavailable
from tests.rollout.recorded import JsonCodec, decide, execute, replayer, request, routing
from touchstone.rollout.assignment import RoutingConfig, bucket
from touchstone.rollout.decisions import DecisionRecord, config_record, decode_line
from touchstone.rollout.state import DEFAULT_SALT, Phase, RolloutDocument
from touchstone.rollout.what_if import Proposal, WhatIf, changed

SYMBOLS = tuple(f"S{number}" for number in range(40))
LOW = tuple(s for s in SYMBOLS if bucket(s, DEFAULT_SALT) < 2_500)
CANARY = RolloutDocument(phase=Phase.CANARY, basis_points=2_000, canary_symbols=("AAPL",))


def run(
    proposal: Proposal,
    symbols: tuple[str, ...] = SYMBOLS,
    config: RoutingConfig | None = None,
    **order: Any,
) -> dict[str, Any]:
    """Record an order per symbol, and return what the proposal does to them."""
    recorded_under = config or routing(Phase.SHADOW)
    providers = replayer().providers
    runner = WhatIf(JsonCodec(), providers, proposal)
    for number, symbol in enumerate(symbols):
        line, shared = decide(request(symbol, **order), recorded_under, number=number)
        if number == 0:
            providers.learn(shared)
        record = decode_line(line)
        assert isinstance(record, DecisionRecord)
        runner.see(record)
    return runner.finish()


def test_nothing_moves_under_the_document_that_was_in_force() -> None:
    """The same document: the same arms, and nothing is executed again."""
    found = run(Proposal(document=CANARY), config=routing(Phase.CANARY))
    assert (40, 0) == (found["decisions"]["orders"], found["moves"]["orders"])
    assert [] == found["ways"]
    assert 0 == found["changes"]["executed_again"]


def test_those_move_that_the_truth_table_moves() -> None:
    """From shadow to a quarter: the symbols of the low buckets, and the canary by its rule."""
    document = RolloutDocument(
        phase=Phase.EXPANSION, basis_points=2_500, canary_symbols=("AAPL", "s39")
    )
    found = run(Proposal(document=document), (*SYMBOLS, "AAPL"))
    expected = {*LOW, "AAPL", "S39"}
    assert expected == {each["symbol"] for each in found["symbols"]}
    assert {"L2 -> L3"} == {each["moves"] for each in found["symbols"]}
    ways = {(way["from"], way["to"]): way["orders"] for way in found["ways"]}
    named = {"AAPL", "S39"}
    assert len(set(LOW) - named) == ways["L2 by shadow", "L3 by percentage"]
    assert 2 == ways["L2 by shadow", "L3 by allow_list"]
    assert 41 - len(expected) == ways["L2 by shadow", "L2 by default"]
    assert len(expected) == found["moves"]["orders"]
    # 150 at a mid of 100 each.
    assert str(15_000 * len(expected)) == found["moves"]["notional"]


def test_accounts_that_move_are_counted() -> None:
    """By the name under which they asked."""
    providers = replayer().providers
    proposal = Proposal(document=changed(CANARY, {"canary_accounts": ["fund"]}))
    runner = WhatIf(JsonCodec(), providers, proposal)
    high = next(s for s in SYMBOLS if s not in LOW)
    for account in ("fund", "other", "FUND "):
        line, _ = decide(request(high), routing(Phase.SHADOW), account=account)
        record = decode_line(line)
        assert isinstance(record, DecisionRecord)
        runner.see(record)
    accounts = {each["account"]: each["orders"] for each in runner.finish()["accounts"]}
    assert {"fund": 1, "FUND ": 1} == accounts


def test_the_other_fill_is_the_other_providers_own() -> None:
    """Totals are those of both providers' fills, computed here apart."""
    everyone = RolloutDocument(phase=Phase.FULL, basis_points=10_000)
    order: dict[str, Any] = {"type": OrderType.MARKET, "limit_price": None}
    found = run(Proposal(document=everyone), LOW, **order)["changes"]
    for side, level in (("recorded", "L2"), ("proposed", "L3")):
        fills = [execute(request(symbol, **order), level, 5) for symbol in LOW]
        assert float(sum(fill.fees for fill in fills)) == float(found[side]["fees"])
        rate = sum(fill.filled_quantity for fill in fills) / (150 * len(LOW))
        assert pytest.approx(float(rate)) == found[side]["fill_rate"]
        cost = sum(
            fill.slippage_bps / 10_000 * fill.average_price * fill.filled_quantity
            for fill in fills
            if fill.slippage_bps is not None and fill.average_price is not None
        )
        assert pytest.approx(float(cost), abs=1e-6) == float(found[side]["slippage_cost"])
    differing = [
        (a, b)
        for symbol in LOW
        for a, b in [[execute(request(symbol, **order), lv, 5) for lv in ("L2", "L3")]]
        if (a.average_price, a.filled_quantity) != (b.average_price, b.filled_quantity)
    ]
    assert len(differing) == found["fills_that_differ"]
    worst = [abs(Decimal(case["cost_difference"])) for case in found["worst"]]
    assert sorted(worst, reverse=True) == worst


def test_another_l3_configuration_moves_nobody_and_changes_fills() -> None:
    """A slow latency profile against the recorded one, for those that L3 answered."""
    slow = create_l3_config("equity", latency={"profile": "retail", "cv": 3.0})
    record = config_record("l3", slow.model_dump(mode="json"))
    order: dict[str, Any] = {"quantity": Decimal(90)}
    config = RoutingConfig(
        document=RolloutDocument(phase=Phase.FULL, basis_points=10_000), expires_at=10.0
    )
    assert config.document is not None
    providers = replayer().providers
    providers.learn(record)
    proposal = Proposal(document=config.document, l3_config=record.hash)
    runner = WhatIf(JsonCodec(), providers, proposal)
    for number, symbol in enumerate(SYMBOLS):
        line, _ = decide(request(symbol, **order), config, number=number)
        made = decode_line(line)
        assert isinstance(made, DecisionRecord)
        runner.see(made)
    found = runner.finish()
    assert (0, 40) == (found["moves"]["orders"], found["changes"]["executed_again"])
    fills = [execute(request(symbol, **order), "L3", 5, slow) for symbol in SYMBOLS]
    fees = float(sum(fill.fees for fill in fills))
    assert fees == float(found["changes"]["proposed"]["fees"])


def test_what_was_recorded_without_control_state_is_looked_at_as_healthy() -> None:
    """And counted; `keep_failures` leaves it where it was."""
    everyone = RolloutDocument(phase=Phase.FULL, basis_points=10_000)
    for config in (routing(expires_at=1.0), routing(latched=True), routing(document=None)):
        found = run(Proposal(document=everyone), LOW, config)
        assert len(LOW) == found["recorded_without_control_state"]
        assert len(LOW) == found["moves"]["orders"]
        kept = run(Proposal(document=everyone, keep_failures=True), LOW, config)
        assert 0 == kept["moves"]["orders"]


def test_what_l3_refuses_falls_back() -> None:
    """As it does in the router; the refusal is counted by its code."""
    off = create_l3_config("equity", enabled=False)
    record = config_record("l3", off.model_dump(mode="json"))
    providers = replayer().providers
    providers.learn(record)
    everyone = RolloutDocument(phase=Phase.FULL, basis_points=10_000)
    runner = WhatIf(JsonCodec(), providers, Proposal(document=everyone, l3_config=record.hash))
    line, _ = decide(request("S1"), routing(Phase.SHADOW))
    made = decode_line(line)
    assert isinstance(made, DecisionRecord)
    runner.see(made)
    found = runner.finish()
    assert {"CONFLICT": 1} == found["changes"]["l3_refusals"]
    assert 0 == found["changes"]["fills_that_differ"]


def test_a_fallback_stays_where_it_was_assigned() -> None:
    """An order that was L3's and that L2 answered for once does not move when L3 keeps it."""
    line, _ = decide(request("AAPL"), routing(), fault=Unavailable("away"))
    made = decode_line(line)
    assert isinstance(made, DecisionRecord)
    runner = WhatIf(JsonCodec(), replayer().providers, Proposal(document=CANARY))
    runner.see(made)
    assert 0 == runner.finish()["moves"]["orders"]


def test_a_proposal_switched_off_moves_everybody_to_l2() -> None:
    """`enabled: false` in the file is the master flag."""
    found = run(Proposal(document=CANARY, enabled=False), ("AAPL",), routing())
    assert [{"symbol": "AAPL", "moves": "L3 -> L2", "orders": 1, "notional": "15000"}] == (
        found["symbols"]
    )
    assert "L2 by master_flag" == found["ways"][0]["to"]


def test_a_proposal_may_ask_for_any_phase_and_for_nothing_wrong() -> None:
    """It is put in force by nobody; but it has to be a right document."""
    assert 10_000 == changed(CANARY, {"phase": "FULL"}).basis_points
    with pytest.raises(InvalidInput, match="basis_points: 5000; allowed in phase CANARY"):
        changed(CANARY, {"basis_points": 5_000})
    with pytest.raises(InvalidInput, match="phase: 'HALF'"):
        changed(CANARY, {"phase": "HALF"})


def test_totals_of_ten_orders_are_what_a_hand_adds_up() -> None:
    """Each figure from the ten fills on both sides, computed here without the runner."""
    sizes = [Decimal(n) for n in (1, 7, 40, 99, 100, 101, 150, 250, 399, 900)]
    recorded_under = routing(Phase.SHADOW)
    providers = replayer().providers
    runner = WhatIf(JsonCodec(), providers, Proposal(document=changed(CANARY, {"phase": "FULL"})))
    pairs: list[tuple[Decimal, dict[str, Fill]]] = []
    for number, size in enumerate(sizes):
        wanted = request(f"S{number}", quantity=size)
        line, shared = decide(wanted, recorded_under, number=number)
        if number == 0:
            providers.learn(shared)
        record = decode_line(line)
        assert isinstance(record, DecisionRecord)
        runner.see(record)
        both = {"recorded": execute(wanted, "L2", 5), "proposed": execute(wanted, "L3", 5)}
        pairs.append((size, both))
    found = runner.finish()
    assert {"orders": 10, "notional": str(sum(sizes) * 100)} == found["decisions"]
    assert found["decisions"] == found["moves"]
    for name in ("recorded", "proposed"):
        fills = [(size, both[name]) for size, both in pairs]
        filled, cost = Decimal(0), Decimal(0)
        for _, fill in fills:
            part = fill.filled_quantity * (fill.average_price or Decimal(0))
            filled += part
            cost += part * (fill.slippage_bps or Decimal(0)) / 10_000
        side = found["changes"][name]
        assert abs(Decimal(side["filled_notional"]) - filled) < Decimal("1e-7")
        assert abs(Decimal(side["slippage_cost"]) - cost) < Decimal("1e-7")
        assert sum(fill.fees for _, fill in fills) == Decimal(side["fees"])
        assert side["slippage_bps"] == pytest.approx(float(cost / filled) * 10_000)
        share = sum(float(fill.filled_quantity / size) for size, fill in fills) / 10
        assert side["fill_rate"] == pytest.approx(share)
    differences = []
    different = 0
    for _, both in pairs:
        one, other = both["recorded"], both["proposed"]
        if one.slippage_bps is not None and other.slippage_bps is not None:
            differences.append(float(other.slippage_bps - one.slippage_bps))
        told = [(f.status, f.filled_quantity, f.average_price, f.fees) for f in both.values()]
        different += told[0] != told[1]
    assert len(differences) == found["changes"]["both_filled"]
    mean = found["changes"]["mean_slippage_difference_bps"]
    assert mean == pytest.approx(sum(differences) / len(differences))
    assert 0 < different == found["changes"]["fills_that_differ"]
    assert different == len(found["changes"]["worst"])


def test_orders_as_large_as_the_contract_allows_are_added_up() -> None:
    """A notional of more digits than Python's decimals have by default."""
    wanted = request("S1", quantity=Decimal("1e20"), type=OrderType.MARKET, limit_price=None)
    bid, ask, size = Decimal("9e19"), Decimal("9.1e19"), Decimal("1e20")
    market = replace(wanted.market, bids=((bid, size),), asks=((ask, size),))
    wanted = replace(wanted, market=market, bar=None)
    line, shared = decide(wanted, routing(Phase.SHADOW))
    providers = replayer(shared).providers
    runner = WhatIf(JsonCodec(), providers, Proposal(document=changed(CANARY, {"phase": "FULL"})))
    record = decode_line(line)
    assert isinstance(record, DecisionRecord)
    runner.see(record)
    found = runner.finish()
    assert {} == found["not_possible"]
    assert {"orders": 1, "notional": f"{905 * 10**37}"} == found["moves"]
