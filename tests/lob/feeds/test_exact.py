"""Numbers and times of venues are read exactly: checked against Decimal and datetime."""

import doctest
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.feeds import exact
from lob.feeds.exact import OFF_GRID, Units, iso_nanoseconds, whole_number
from lob.types import INT64_MAX

UNITS = (Decimal("0.01"), Decimal("0.00000001"), Decimal(1), Decimal("0.25"), Decimal(10))


def counted(text: str, unit: Decimal) -> int | None:
    """What `Units` should say, by fractions alone: None where it should refuse."""
    units = Fraction(Decimal(text)) / Fraction(unit)
    if not 0 <= units <= INT64_MAX:
        return None
    return int(units) if units.denominator == 1 else OFF_GRID


@example(digits=INT64_MAX * 10 + 1, exponent=0, scientific=False, unit=Decimal(10))
@given(
    digits=st.integers(0, 10**24),
    exponent=st.integers(-12, 6),
    scientific=st.booleans(),
    unit=st.sampled_from(UNITS),
)
def test_units_are_those_of_exact_fractions(
    digits: int, exponent: int, scientific: bool, unit: Decimal
) -> None:
    """Whole multiples are counted, others are off the grid, too many are refused."""
    value = Decimal(digits).scaleb(exponent)
    text = f"{value:e}" if scientific else f"{value:f}"
    expected = counted(text, unit)

    if expected is None:
        with pytest.raises(InvalidInput, match="size: "):
            Units("size", unit)(text)
    else:
        assert expected == Units("size", unit)(text)


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    """No text is taken for a number that Decimal does not read, and none raises anything else."""
    try:
        units = Units("price", Decimal("0.01"))(text)
    except InvalidInput:
        assert not text.isascii() or not text.isdigit() or int(text) * 100 > INT64_MAX
    else:
        assert counted(text, Decimal("0.01")) == units


@pytest.mark.parametrize(
    "value",
    [
        "",
        " 1",
        "1 ",
        "1_0",
        "-1",
        "nan",
        "Infinity",
        "0x10",
        "\u0661",
        "1e99999",
        "1e9999",
        "9" * 70,
        "9223372036854775808",
        None,
        True,
        1.5,
        [],
        {},
    ],
)
def test_what_is_no_number_is_refused(value: object) -> None:
    """Each is one line that names the field."""
    with pytest.raises(InvalidInput, match=r"^size: "):
        Units("size", Decimal(1))(value)


def test_numbers_of_json_are_taken_too() -> None:
    """Integers and Decimals of a JSON text count as their texts do; 0 is refused where it must."""
    lots = Units("size", Decimal("0.00000001"))

    assert 718 == lots(Decimal("7.18e-06"))
    assert 300_000_000 == lots(3)
    assert 0 == lots("0.0")
    assert OFF_GRID == lots("0.000000001")
    assert INT64_MAX == lots("92233720368.54775807")
    with pytest.raises(InvalidInput, match="above 0"):
        lots.positive("0.000")


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2262, 4, 10)),  # noqa: DTZ001 - made UTC below
    st.integers(0, 999),
    st.integers(-14 * 60, 14 * 60),
)
def test_times_are_those_of_datetime(moment: datetime, nanoseconds: int, offset: int) -> None:
    """Every nanosecond of a moment arrives, in any zone."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    micros = (moment.replace(tzinfo=UTC) - epoch) // timedelta(microseconds=1)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06}{nanoseconds:03}"
    text = f"{moment.year:04}{text[text.index('-') :]}"
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    expected = micros * 1000 + nanoseconds

    assert expected == iso_nanoseconds(f"{text}Z") == iso_nanoseconds(text)
    shifted = expected - offset * 60 * 1_000_000_000
    if 0 <= shifted:
        assert shifted == iso_nanoseconds(f"{text}{zone}")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2014-11-07",
        "2014-13-07T08:19:27Z",
        "2014-11-07T08:19:60Z",
        "2014-11-07T08:19:27.Z",
        "2014-11-07T08:19:27.1234567891Z",
        "2014-11-07T08:19:27,5Z",
        "2014-11-07T08:19:27.5ZZ",
        "2014-11-07T08:19:27.\u0661Z",
        "1969-12-31T23:59:59Z",
        "2262-04-12T00:00:00Z",
        "9999-12-31T23:59:59Z",
        1415348367,
        None,
    ],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    """Each is one line that names the field."""
    with pytest.raises(InvalidInput, match=r"^time: "):
        iso_nanoseconds(value)


def test_the_examples_of_the_docstrings_hold() -> None:
    """What the documentation of these functions shows is what they do."""
    tried = doctest.testmod(exact)

    assert (0, True) == (tried.failed, tried.attempted >= 3)


@pytest.mark.parametrize("value", [-1, 2**63, "x", "", "-1", "1.0", None, True, 1.0, 10**1000])
def test_whole_numbers_are_bounded(value: object) -> None:
    """Anything but 0..2^63-1, as a number or as digits, is refused."""
    assert (5, 7) == (whole_number("sequence", 5), whole_number("sequence", "7"))
    with pytest.raises(InvalidInput, match=r"^sequence: "):
        whole_number("sequence", value)
