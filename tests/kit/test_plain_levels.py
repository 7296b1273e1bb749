"""Depth is looked at in native code as in plain Python, and as the rules have it."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from execution_providers.types import MAX_LEVELS, MarketState
from lob.errors import InvalidInput
from touchstone.kit.plain_levels import Touches, plain_touches, touches

NUMBERS = st.one_of(
    st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(("0", "00", "0.0", "1.", ".5", "1e2", "-1", "9" * 21, "9" * 22, "٣")),
    st.sampled_from(("0." + "0" * 19 + "1", "0." + "0" * 20 + "1", "1.0", "1.00", "01", "100.01")),
)
RISING = st.lists(st.integers(1, 400), max_size=5, unique=True).map(
    lambda ticks: [[f"{tick / 4}", f"{tick}"] for tick in sorted(ticks)]
)
SIDES = st.one_of(
    RISING, RISING.map(lambda side: side[::-1]), st.lists(st.tuples(NUMBERS, NUMBERS))
)
ODD = (
    *(
        "",
        "[",
        "]",
        "[]]",
        "[[]]",
        "null",
        '[["1","1"],]',
        '[["1","1"]',
        '[["1","1"]] ',
        '["1","1"]',
    ),
    *('[["1","1","1"]]', "[[1,1]]", '[["1", "1"]]', '[["1","1"],["2","1"]', '[["1","1"]["2","1"]]'),
)


def by_rules(bids: bytes, asks: bytes, levels_max: int) -> Touches | None:
    """Return what the rules of a market make of both sides; None where they refuse one."""
    try:
        sides = json.loads(bids), json.loads(asks)
        if max(map(len, sides)) > levels_max:
            return None
        market = MarketState(0, *sides)
    except (ValueError, TypeError, InvalidInput):
        return None
    found = [(levels[0] if levels else (None, None)) for levels in sides]
    assert bool(market.bids) is bool(sides[0])
    return *found[0], *found[1]


def written(side: list[Any]) -> bytes:
    """Return a side as most callers write it."""
    return json.dumps(side, separators=(",", ":")).encode()


@given(bids=SIDES, asks=SIDES, levels_max=st.sampled_from((0, 2, MAX_LEVELS)))
@example(bids=[["1", "1"]], asks=[["1.00000000000000000001", "1"]], levels_max=1)
@example(bids=[["100.0", "1"], ["99", "2"]], asks=[["100.01", "1"]], levels_max=2)
@settings(max_examples=300)
def test_what_is_taken_is_right(bids: list[Any], asks: list[Any], levels_max: int) -> None:
    """A touch is given for a market that the rules take; native code takes what Python does."""
    texts = written(bids), written(asks)
    expected = by_rules(*texts, levels_max)
    native, plain = touches(*texts, levels_max), plain_touches(*texts, levels_max)
    assert native is None or expected == native
    assert plain is None or plain == native


@pytest.mark.skipif(touches is plain_touches, reason="nothing was compiled")
def test_prices_that_no_float_tells_apart() -> None:
    """Native code compares digits, in both directions."""
    near, far = ["1.00000000000000000001", "1"], ["1.00000000000000000002", "1"]
    asks = written([near, far])
    assert (None, None, *near) == touches(b"[]", asks, MAX_LEVELS)
    assert touches(asks, b"[]", MAX_LEVELS) is None
    assert plain_touches(b"[]", asks, MAX_LEVELS) is None


@pytest.mark.parametrize("side", ODD)
def test_what_is_not_plain_is_left_alone(side: str) -> None:
    """Blanks, numbers that are no text, JSON that is none, and more or fewer than pairs."""
    for look in (touches, plain_touches):
        assert look(side.encode(), b"[]", MAX_LEVELS) is None
        assert look(b"[]", side.encode(), MAX_LEVELS) is None
