"""Numbers read all at once are the numbers read one by one."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution_providers import BarData, MarketState, types
from execution_providers.decimals import all_positive, exact, positive
from lob.errors import InvalidInput

PLAIN = st.decimals(min_value="0.00001", max_value=10**9, places=5).map(str)
ODD = st.sampled_from(
    [
        *("0", "0.0", "-1", "1.", ".5", "1.2.3", "", " 1", "1_0", "1|2", "\u0661", "NaN", "1e2"),
        *("Infinity", "007", "1" * 21, "1" * 22, "0." + "1" * 20, "1." + "1" * 20, "9" * 90),
        *(0, 3, True, None, 0.1, 1e-7, 10**21, 10**5000, Decimal("1E+2"), Decimal("NaN"), [1]),
        *(Decimal("5.5"), Decimal(0), Decimal(-1), b"1"),
    ]
)
EXACTLY = settings(max_examples=150, deadline=None)


def one_by_one(values: list[Any]) -> tuple[Decimal, ...] | None:
    """Return what `positive` makes of each; None where it refuses one."""
    try:
        return tuple(positive("x", value) for value in values)
    except InvalidInput:
        return None


@given(values=st.lists(PLAIN | ODD, min_size=1, max_size=6))
@EXACTLY
def test_nothing_is_taken_that_would_be_refused_alone(values: list[Any]) -> None:
    """What is taken at once is what is taken one by one, digit by digit."""
    at_once = all_positive(values)
    if at_once is not None:
        assert list(map(str, one_by_one(values) or ())) == list(map(str, at_once))


@pytest.mark.parametrize(
    "odd", ["1.", ".5", "1.2.3", "", "1|2", "|", ".", " 1", "1_0", "+1", "-1", "0", "1e2", "\u0661"]
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_not_plain_gets_a_closer_look_wherever_it_stands(odd: str, place: int) -> None:
    """First, in the middle or last among plain ones."""
    values = ["1", "2.5"]
    values.insert(place, odd)
    assert all_positive(values) is None


@given(values=st.lists(PLAIN, min_size=1, max_size=40))
@EXACTLY
def test_plain_numbers_are_taken_at_once(values: list[str]) -> None:
    """The quick way is the usual one: for text, and for decimals made of it."""
    numbers = tuple(map(Decimal, values))
    assert numbers == all_positive(values) == all_positive(numbers)


@given(
    bids=st.lists(st.tuples(PLAIN | ODD, PLAIN | ODD) | st.just("12"), max_size=4),
    asks=st.lists(st.tuples(PLAIN, PLAIN), max_size=4),
)
@EXACTLY
def test_a_market_is_refused_in_the_same_words(bids: list[Any], asks: list[Any]) -> None:
    """With the quick way shut, every market is taken or refused as with it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(types, "_plain_levels", lambda *_: None)
        slowly = taken_or_refused(bids, asks)
    assert slowly == taken_or_refused(bids, asks)


@given(asks=st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=5))
@EXACTLY
def test_levels_in_order_are_taken_at_once(asks: list[tuple[str, str]]) -> None:
    """Ascending asks need no second look, and asks that stand still or fall get one."""
    prices = [Decimal(price) for price, _ in asks]
    rising = all(low < high for low, high in pairwise(prices))
    assert rising == (types._plain_levels(asks, 1) is not None)


def taken_or_refused(bids: list[Any], asks: list[Any]) -> str:
    """Return the market, or why there is none, as text."""
    try:
        return repr(MarketState(1, bids=bids, asks=asks))  # type: ignore[arg-type]
    except InvalidInput as refused:
        return str(refused)


@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", ["0", "-1", "NaN", None, "x"])
def test_a_wrong_figure_of_a_bar_is_named(field: str, value: Any) -> None:
    """Though the four are read together, the refusal says which it was."""
    figures = {"open": "2", "high": "3", "low": "1", "close": "2"} | {field: value}
    with pytest.raises(InvalidInput, match=f"^bar.{field}: "):
        BarData(**figures, volume=1, duration_ms=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["1" * 21, "0." + "0" * 19 + "1", "-" + "9" * 21, "1e20"])
def test_the_longest_numbers_are_taken(text: str) -> None:
    """21 whole digits and 20 decimals are allowed, in any spelling."""
    assert Decimal(text) == exact("x", text)


@pytest.mark.parametrize("text", ["1" * 22, "0." + "0" * 20 + "1", "1e21", "1e-21"])
def test_longer_numbers_are_refused(text: str) -> None:
    """One digit more is too many."""
    with pytest.raises(InvalidInput, match="at most 20 decimals and 21 whole digits"):
        exact("x", text)
