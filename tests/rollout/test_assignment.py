"""The truth table, exhaustively, and the properties of the buckets."""

import hashlib
import itertools
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from touchstone.rollout.assignment import (
    TRUTH_TABLE,
    Arm,
    RoutingConfig,
    Rule,
    assign,
    assign_by_table,
    bucket,
    hash32,
    should_use_l3,
    truth_table_markdown,
)
from touchstone.rollout.phases import EXPANSION_STEPS
from touchstone.rollout.state import Phase, RolloutDocument

SYMBOL, ACCOUNT = "AAPL", "ALICE"
KEYS = 200_000


def oracle(  # noqa: C901, PLR0911 - the rules, one by one
    *,
    latched: bool,
    known: bool,
    fresh: bool,
    environment: bool,
    master: bool,
    phase: Phase,
    denied: bool,
    allowed: bool,
    inside: bool,
) -> tuple[Arm, Rule]:
    """Return the answer as the specification's prose gives it, written without the table."""
    if latched or (known and phase is Phase.ROLLED_BACK):
        return Arm.L2, Rule.ROLLED_BACK
    if not known:
        return Arm.L2, Rule.UNKNOWN
    if not fresh:
        return Arm.L2, Rule.STALE
    if not environment:
        return Arm.L2, Rule.ENVIRONMENT
    if not master:
        return Arm.L2, Rule.MASTER_FLAG
    if phase is Phase.OFF:
        return Arm.L2, Rule.PHASE_OFF
    if phase is Phase.SHADOW:
        return Arm.L2, Rule.SHADOW
    if denied:
        return Arm.L2, Rule.DENY_LIST
    if allowed:
        return Arm.L3, Rule.ALLOW_LIST
    if phase is Phase.FULL or inside:
        return Arm.L3, Rule.PERCENTAGE
    return Arm.L2, Rule.DEFAULT


def test_the_truth_table_holds_in_every_combination() -> None:
    """Every phase, flag, list and side of the threshold: 6,144 cases, and every rule is met."""
    place = bucket(SYMBOL, "touchstone")
    met = set()
    flags = (True, False)
    combinations = itertools.product(
        flags, flags, flags, flags, flags, Phase, range(4), range(4), flags
    )
    for latched, known, fresh, environment, master, phase, deny, allow, inside in combinations:
        points = 10_000 if phase is Phase.FULL else place + 1 if inside else place
        points = min(points, 2_499) if phase is Phase.CANARY else points
        in_share = place < points
        document = RolloutDocument(
            phase=phase,
            basis_points=points,
            deny_symbols=(SYMBOL,) if deny & 1 else (),
            deny_accounts=(ACCOUNT,) if deny & 2 else (),
            canary_symbols=(SYMBOL,) if allow & 1 else (),
            canary_accounts=(ACCOUNT,) if allow & 2 else (),
        )
        config = RoutingConfig(
            document=document if known else None,
            generation=7,
            expires_at=60.0,
            latched=latched,
            environment_allows=environment,
            master_flag=master,
        )
        now = 59.9 if fresh else 60.0
        found = assign(SYMBOL, ACCOUNT, config, now)
        assert assign_by_table(SYMBOL, ACCOUNT, config, now) == found
        expected = oracle(
            latched=latched,
            known=known,
            fresh=fresh,
            environment=environment,
            master=master,
            phase=phase,
            denied=bool(deny),
            allowed=bool(allow),
            inside=in_share,
        )
        assert (found.arm, found.rule) == expected
        assert (found.bucket, found.generation) == (place, 7) or not known
        met.add(found.rule)
    assert met == set(Rule)


def test_the_table_is_ordered_and_total() -> None:
    """Precedence never falls, each rule appears once, and the last row always matches."""
    precedences = [row.precedence for row in TRUTH_TABLE]
    assert precedences == sorted(precedences)
    assert [row.rule for row in TRUTH_TABLE] == list(Rule)
    assert len(truth_table_markdown().splitlines()) == len(TRUTH_TABLE) + 2


@given(
    symbols=st.lists(st.text("ABCDEFGHIJ0123456789.-", min_size=1), min_size=1, max_size=50),
    low=st.integers(0, 10_000),
    high=st.integers(0, 10_000),
    salt=st.text("abc", min_size=1, max_size=8),
)
def test_nobody_flips_back_while_the_ramp_rises(
    symbols: list[str], low: int, high: int, salt: str
) -> None:
    """The symbols on L3 at a smaller share are a subset of those at a larger one."""

    def on_l3(points: int) -> set[str]:
        config = RoutingConfig(
            document=RolloutDocument(phase=Phase.EXPANSION, basis_points=points, salt=salt),
            expires_at=math.inf,
        )
        return {name for name in symbols if assign(name, "", config, 0.0).arm is Arm.L3}

    assert on_l3(min(low, high)) <= on_l3(max(low, high))


@given(st.text("AaZz09.-", min_size=1), st.sampled_from(["", " ", "\t", "  "]))
def test_case_and_outer_blanks_do_not_matter(symbol: str, blank: str) -> None:
    """However a client spells a symbol, it is in one bucket."""
    assert bucket(f"{blank}{symbol.lower()}{blank}", "s") == bucket(symbol.upper(), "s")


@pytest.mark.parametrize(("expires_at", "now"), [(math.nan, 0.0), (60.0, math.nan)])
def test_what_is_no_time_permits_nothing(expires_at: float, now: float) -> None:
    """A clock that gives no number is a lease that has lapsed."""
    config = RoutingConfig(
        document=RolloutDocument(phase=Phase.FULL, basis_points=10_000), expires_at=expires_at
    )
    for decide in (assign, assign_by_table):
        found = decide("AAPL", "", config, now)
        assert (Arm.L2, Rule.STALE) == (found.arm, found.rule)


def test_one_percent_of_many_keys_is_one_percent() -> None:
    """The share of 200,000 keys below bucket 100 is within three standard deviations."""
    inside = sum(bucket(f"K{i}", "touchstone") < 100 for i in range(KEYS))
    assert abs(inside - KEYS * 0.01) < 3 * math.sqrt(KEYS * 0.01 * 0.99)


def test_layers_with_different_salts_are_independent() -> None:
    """Half and half by two salts gives four quarters, and so do two layers."""
    pairs = [(bucket(f"K{i}", "one") < 5_000, bucket(f"K{i}", "two") < 5_000) for i in range(KEYS)]
    layers = [
        (bucket(f"K{i}", "one") < 5_000, bucket(f"K{i}", "one", "other") < 5_000)
        for i in range(KEYS)
    ]
    sigma = math.sqrt(KEYS * 0.25 * 0.75)
    for found in (pairs, layers):
        both = sum(a and b for a, b in found)
        assert abs(both - KEYS / 4) < 3 * sigma


def test_nobody_flips_back_on_the_way_from_canary_to_full() -> None:
    """Through every phase and step of the ramp, with its lists, the symbols on L3 only grow."""
    names = [f"K{i}" for i in range(2_000)]
    ramp = [(Phase.CANARY, 100), (Phase.CANARY, 500), (Phase.FULL, 10_000)]
    ramp[2:2] = [(Phase.EXPANSION, points) for points in EXPANSION_STEPS]
    before: set[str] = set()
    shares = []
    for phase, points in ramp:
        document = RolloutDocument(
            phase=phase, basis_points=points, canary_symbols=("K7",), deny_symbols=("K8",)
        )
        config = RoutingConfig(document=document, expires_at=math.inf)
        after = {name for name in names if assign(name, "", config, 0.0).arm is Arm.L3}
        assert before <= after
        assert "K7" in after
        assert "K8" not in after
        before = after
        shares.append(len(after))
    assert shares == sorted(shares)
    assert before == set(names) - {"K8"}


def test_the_buckets_are_even() -> None:
    """Chi-square of 200,000 keys in 100 groups of 100 buckets: 99 degrees of freedom."""
    counts = [0] * 100
    for i in range(KEYS):
        counts[bucket(f"K{i}", "touchstone") // 100] += 1
    expected = KEYS / 100
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    assert 99 - 4 * math.sqrt(2 * 99) < chi_square < 99 + 4 * math.sqrt(2 * 99)


@given(st.text(min_size=1, max_size=128).filter(str.strip), st.text(max_size=64))
def test_every_text_has_a_bucket(symbol: str, salt: str) -> None:
    """Whatever a symbol is written in, it lands in 0..9,999, and always in the same one."""
    assert 0 <= bucket(symbol, salt) < 10_000
    assert bucket(symbol, salt) == bucket(symbol, salt)


@given(
    account=st.text("aZ9 ", min_size=1, max_size=8).filter(str.strip),
    listed=st.sampled_from(["canary_accounts", "deny_accounts"]),
)
def test_accounts_are_compared_as_symbols_are(account: str, listed: str) -> None:
    """Case and outer blanks do not get anybody on or off a list."""
    lists: dict[str, Any] = {listed: (account,)}
    document = RolloutDocument(phase=Phase.CANARY, **lists)
    config = RoutingConfig(document=document, expires_at=math.inf)
    for spelled in (account, account.upper(), f" {account.lower()} "):
        rule = assign("AAPL", spelled, config, 0.0).rule
        assert rule is (Rule.ALLOW_LIST if listed == "canary_accounts" else Rule.DENY_LIST)


def test_the_hash_is_pinned() -> None:
    """A bucket is the same on every machine and in every version."""
    assert hash32("execution:touchstone:AAPL") == int.from_bytes(
        hashlib.blake2b(b"execution:touchstone:AAPL", digest_size=4).digest(), "big"
    )
    assert [bucket(s, "touchstone") for s in ("AAPL", "MSFT", "GOOGL")] == [8489, 4556, 6625]


@pytest.mark.parametrize("percent", range(101))
def test_the_guides_function_admits_exactly_that_many_buckets(percent: int) -> None:
    """Of 100 buckets, `percent` are in; the guide's float arithmetic admits one more at five."""
    share = percent / 100
    admitted = {
        int(hashlib.md5(s.encode(), usedforsecurity=False).hexdigest(), 16) % 100
        for s in (f"S{i}" for i in range(2_000))
        if should_use_l3(s, share)
    }
    assert admitted == set(range(percent))


def test_the_guides_canaries_are_not_in_its_five_percent() -> None:
    """Which is why the canary list stands before the percentage."""
    assert [should_use_l3(s, 0.05) for s in ("AAPL", "MSFT", "GOOGL")] == [False, False, False]
    assert [should_use_l3(s, 0.92) for s in ("AAPL", "MSFT", "GOOGL")] == [True, True, True]
    for symbol, place in (("AAPL", 10), ("MSFT", 50), ("GOOGL", 91)):
        assert should_use_l3(symbol, Decimal(place) / 100) is False
        assert should_use_l3(symbol, Decimal(place + 1) / 100) is True
    assert should_use_l3("AAPL") is False
    assert should_use_l3("AAPL", Decimal("0.1")) is False
    assert should_use_l3("AAPL", Decimal("0.11")) is True


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_the_guides_function_refuses_what_is_no_share(wrong: float) -> None:
    """A fraction is from 0 to 1."""
    with pytest.raises(InvalidInput, match="rollout_pct"):
        should_use_l3("AAPL", wrong)


@pytest.mark.parametrize("symbol", ["", "  ", "X" * 129])
def test_a_symbol_that_is_none_is_refused(symbol: str) -> None:
    """Blank and endless symbols get no bucket."""
    with pytest.raises(InvalidInput, match="symbol"):
        assign(symbol, "", RoutingConfig(document=None), 0.0)
