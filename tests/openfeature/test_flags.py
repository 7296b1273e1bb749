"""The flags against the router's own assignment, over every state; switches against its files."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import ConfigError, InvalidInput
from touchstone.kit.flags import load_flags
from touchstone.openfeature.flags import FLAGS, WHY, Evaluation, Question, Why, evaluate
from touchstone.openfeature.switches import Switches, read_switches
from touchstone.rollout.assignment import TRUTH_TABLE, RoutingConfig, Rule, assign
from touchstone.rollout.state import BASIS_POINTS, Phase, RolloutDocument

SYMBOLS = ("AAPL", " aapl ", "TSLA", "BTC-USD", "S1", "S2", "S3")
ACCOUNTS = ("", "alice", "ALICE ", "bob")
lists = st.lists(st.sampled_from(SYMBOLS), max_size=3)
account_lists = st.lists(st.sampled_from(ACCOUNTS[1:]), max_size=2)


@st.composite
def documents(draw: st.DrawFn) -> RolloutDocument:
    """Draw a right document."""
    phase = draw(st.sampled_from(Phase))
    low, high = BASIS_POINTS[phase]
    return RolloutDocument(
        phase=phase,
        basis_points=draw(st.integers(low, high)),
        salt=draw(st.sampled_from(["touchstone", "other"])),
        canary_symbols=tuple(draw(lists)),
        deny_symbols=tuple(draw(lists)),
        canary_accounts=tuple(draw(account_lists)),
        deny_accounts=tuple(draw(account_lists)),
    )


configs = st.builds(
    RoutingConfig,
    document=st.none() | documents(),
    generation=st.integers(0, 2**53),
    expires_at=st.sampled_from([-1.0, 0.0, 5.0]),
    latched=st.booleans(),
    environment_allows=st.booleans(),
    master_flag=st.booleans(),
)


@given(config=configs, symbol=st.sampled_from(SYMBOLS), account=st.sampled_from(ACCOUNTS))
def test_the_level_is_what_the_router_would_decide(
    config: RoutingConfig, symbol: str, account: str
) -> None:
    """Arm, rule, bucket and generation, in every state."""
    expected = assign(symbol, account, config, 0.0)
    question = Question(config, 0.0, symbol, account)
    level, switch = evaluate("execution.level", question), evaluate("use_l3_simulator", question)
    assert level.value == expected.arm.value
    assert switch.value is (expected.arm.value == "L3")
    assert level.why is WHY[expected.rule]
    assert level.metadata == {
        "generation": expected.generation,
        "rule": expected.rule.value,
        "bucket": expected.bucket,
        "layer": "execution",
    }


@given(config=configs)
def test_what_is_told_of_the_rollout_never_promises_more_than_it_permits(
    config: RoutingConfig,
) -> None:
    """A share above 0, a live phase or a document only while the state is known and fresh."""
    question = Question(config, 0.0)
    share = evaluate("rollout.percentage", question)
    phase = evaluate("rollout.phase", question)
    document = evaluate("rollout.document", question)
    rule = assign("S1", "", config, 0.0).rule
    if rule in {Rule.ROLLED_BACK, Rule.UNKNOWN, Rule.STALE, Rule.ENVIRONMENT, Rule.MASTER_FLAG}:
        assert share.value == 0.0
    if rule in {Rule.UNKNOWN, Rule.STALE}:
        assert (phase.value, document.value) == ("OFF", {})
    elif rule is Rule.ROLLED_BACK:
        assert phase.value == "ROLLED_BACK"
    else:
        assert config.document is not None
        assert phase.value == config.document.phase
        assert document.value == config.document.to_json()
    if share.value:
        assert config.document is not None
        assert round(share.value * 10_000) == config.document.basis_points
        assert share.why is Why.STATIC


def test_every_rule_has_a_reason() -> None:
    """None that is added to the table is forgotten here."""
    assert {row.rule for row in TRUTH_TABLE} == set(WHY)


@pytest.mark.parametrize(
    ("symbol", "account", "named"),
    [
        (None, "", "targeting key: missing"),
        ("", "", "a symbol is not blank"),
        ("  ", "", "a symbol is not blank"),
        ("x" * 129, "", "at most 128"),
        ("AAPL", "x" * 129, "at most 128"),
        ("AAPL", 7, "account: int; allowed: text"),
        (7, "", "targeting key: int; allowed: text"),
        (["AAPL"], "", "targeting key: list; allowed: text"),
        ("\ud800", "", "surrogates not allowed"),
        ("AAPL", None, "account: NoneType"),
    ],
)
@pytest.mark.parametrize("flag", ["execution.level", "use_l3_simulator"])
def test_a_wrong_question_is_answered_with_l2(
    flag: str, symbol: str | None, account: object, named: str
) -> None:
    """Also where everybody else is on L3."""
    full = RolloutDocument(phase=Phase.FULL, basis_points=10_000)
    config = RoutingConfig(document=full, generation=4, expires_at=1.0)
    found: Evaluation = evaluate(flag, Question(config, 0.0, symbol, account))
    assert found.value in {"L2", False}
    assert found.why is Why.ERROR
    assert named in found.problem
    assert named in str(found.metadata["problem"])
    assert evaluate(flag, Question(config, 0.0, "AAPL")).value in {"L3", True}


def test_every_flag_has_a_value_of_its_kind() -> None:
    """Known and not known."""
    full = RolloutDocument(phase=Phase.FULL, basis_points=10_000)
    for config in (RoutingConfig(document=None), RoutingConfig(document=full, expires_at=1.0)):
        for name, flag in FLAGS.items():
            assert type(evaluate(name, Question(config, 0.0, "AAPL")).value) is flag.kind


def files(folder: Path, **said: str) -> tuple[Path, Path]:
    """Return the two files with what is said, and a third that they name."""
    level, use, enabled, l3 = (said[name] for name in ("level", "use", "enabled", "l3"))
    third = folder / "l3.yaml"
    third.write_text(f"enabled: {l3}\n")
    config, rollout = folder / "config.yaml", folder / "rollout.yaml"
    config.write_text(
        f"execution:\n  level: {level}\n  use_l3_simulator: {use}\n  l3_config_path: {third}\n"
    )
    rollout.write_text(f"rollout:\n  enabled: {enabled}\n  phase: shadow\n")
    return config, rollout


@pytest.mark.parametrize(
    ("level", "use", "enabled", "l3"),
    list(itertools.product(("L2", "L3"), *(("true", "false"),) * 3)),
)
def test_the_switches_are_the_routers(
    tmp_path: Path, level: str, use: str, enabled: str, l3: str
) -> None:
    """In every combination of what the files say."""
    config, rollout = files(tmp_path, level=level, use=use, enabled=enabled, l3=l3)
    for said, given_to_router in ((None, None), ("true", True), ("false", False), ("0", False)):
        expected = load_flags(config, rollout, given_to_router)
        environment = {} if said is None else {"USE_L3_SIMULATOR": said}
        assert read_switches(config, rollout, environment) == Switches(
            expected.master_flag, expected.environment_allows
        )


def test_what_is_not_surely_on_is_off(tmp_path: Path) -> None:
    """A word that the router would refuse to start with forbids; a text for a flag is refused."""
    config, rollout = files(tmp_path, level="L3", use="true", enabled="true", l3="true")
    assert Switches(master_flag=True, environment_allows=False) == read_switches(
        config, rollout, {"USE_L3_SIMULATOR": "perhaps"}
    )
    config, rollout = files(tmp_path, level="L3", use="'true'", enabled="true", l3="true")
    with pytest.raises(ConfigError, match=r"use_l3_simulator: 'true'; allowed: true, false"):
        read_switches(config, rollout, {})


@pytest.mark.parametrize("text", ["", "[]", "other: {}", "rollout: 5", "a: [", "\x00"])
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str) -> None:
    """Named, with what is allowed."""
    config, rollout = files(tmp_path, level="L3", use="true", enabled="true", l3="true")
    rollout.write_text(text)
    with pytest.raises(ConfigError, match=r"rollout\.yaml: ") as refused:
        read_switches(config, rollout, {})
    assert isinstance(refused.value, InvalidInput)
    with pytest.raises(ConfigError, match=r"absent\.yaml: No such file"):
        read_switches(tmp_path / "absent.yaml", rollout, {})
