"""Turn the decimal and time texts of venues into whole units, without a float between."""

import re
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from typing import Final

from lob.errors import InvalidInput
from lob.types import INT64_MAX

OFF_GRID: Final = -1
"""What `Units` answers for a number that is no whole multiple of its unit."""

MAX_NUMBER_TEXT: Final = 64
_CACHED_TEXTS: Final = 65_536
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_EXACT: Final = Context(prec=120, traps=[Inexact, InvalidOperation])

_DATE_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}")
_ZONE: Final = re.compile(r"(.*?)([+-])([0-9]{2}):([0-9]{2})")
_DATE_TIME_LENGTH: Final = 19
_NANOSECOND_DIGITS: Final = 9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Units:
    """Count how many whole units a decimal text is: ticks of a price, lots of a size.

    A number that is no whole multiple is `OFF_GRID`: the caller counts it. What is no number, below
    0, or more than 2^63-1 units is `InvalidInput` that names the field. Texts come again and again,
    so the latest 65,536 answers are kept.

    >>> ticks = Units("price", Decimal("0.01"))
    >>> ticks("64934.31"), ticks("7e2"), ticks("0.005")
    (6493431, 70000, -1)
    """

    def __init__(self, name: str, unit: Decimal) -> None:
        self.name = name
        self.unit = unit
        sign, digits, exponent = unit.normalize().as_tuple()
        decimal = not sign and digits == (1,) and isinstance(exponent, int) and exponent <= 0
        self._places = -int(exponent) if decimal else -1
        self._most = _EXACT.multiply(unit, Decimal(INT64_MAX))
        self._of_text = lru_cache(maxsize=_CACHED_TEXTS)(self._parse)

    def __call__(self, value: object) -> int:
        """Return `value`, a text or a JSON number, in units; `OFF_GRID` where it is not whole."""
        if type(value) is str:
            return self._of_text(value)
        if type(value) is int or type(value) is Decimal:
            return self._parse(str(value))
        raise InvalidInput(f"{self.name}: {_short(value)}; allowed: a decimal number of 0 or more")

    def positive(self, value: object) -> int:
        """Return `value` in units as a call does, and refuse 0."""
        units = self(value)
        if units == 0:
            raise InvalidInput(f"{self.name}: {_short(value)}; allowed: a number above 0")
        return units

    def _parse(self, text: str) -> int:
        whole, _, fraction = text.partition(".")
        plain = text.isascii() and whole.isdigit() and (not fraction or fraction.isdigit())
        if plain and len(fraction) <= self._places and len(text) <= MAX_NUMBER_TEXT:
            units = int(whole + fraction.ljust(self._places, "0"))
        else:
            units = self._parse_any(text)
        if units > INT64_MAX:
            raise InvalidInput(
                f"{self.name}: {text} is more than {INT64_MAX} multiples of {self.unit}"
            )
        return units

    def _parse_any(self, text: str) -> int:
        if len(text) > MAX_NUMBER_TEXT or not _NUMBER.fullmatch(text):
            raise InvalidInput(
                f"{self.name}: {_short(text)}; allowed: a decimal number of 0 or more"
            )
        value = Decimal(text)
        if value < 0:
            raise InvalidInput(f"{self.name}: {text}; allowed: 0 or more")
        if value > self._most:
            return INT64_MAX + 1
        try:
            units = _EXACT.divide(value, self.unit)
        except (Inexact, InvalidOperation):
            return OFF_GRID
        return int(units) if units == units.to_integral_value() else OFF_GRID


def iso_nanoseconds(value: object) -> int:
    """Return an ISO-8601 date and time as nanoseconds since 1970 UTC; up to nine decimals.

    No zone is UTC. `InvalidInput` for another form, and for what 64 bits cannot hold (1970..2262).

    >>> iso_nanoseconds("2014-11-07T08:19:27.028459Z")
    1415348367028459000
    """
    if type(value) is not str:
        raise _no_time(value)
    seconds = _seconds(value[:_DATE_TIME_LENGTH])
    rest = value[_DATE_TIME_LENGTH:]
    if rest.endswith("Z"):
        rest = rest[:-1]
    elif zone := _ZONE.fullmatch(rest):
        rest, sign, hours, minutes = zone.groups()
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds += offset if sign == "-" else -offset
    nanoseconds = seconds * 1_000_000_000
    if rest:
        digits = rest[1:]
        if rest[0] != "." or not (digits.isascii() and digits.isdigit()):
            raise _no_time(value)
        if len(digits) > _NANOSECOND_DIGITS:
            raise _no_time(value)
        nanoseconds += int(digits.ljust(_NANOSECOND_DIGITS, "0"))
    if not 0 <= nanoseconds <= INT64_MAX:
        raise _no_time(value)
    return nanoseconds


@lru_cache(maxsize=256)
def _seconds(text: str) -> int:
    if not _DATE_TIME.fullmatch(text):
        raise _no_time(text)
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise _no_time(text) from error
    elapsed = moment - _EPOCH
    return elapsed.days * 86_400 + elapsed.seconds


def _no_time(value: object) -> InvalidInput:
    return InvalidInput(
        f"time: {_short(value)}; allowed: 1970-01-01T00:00:00Z to 2262, up to nine decimals"
    )


def whole_number(name: str, value: object, *, low: int = 0, high: int = INT64_MAX) -> int:
    """Return an integer, or a text of digits, that lies in `low`..`high`."""
    number = -1
    if type(value) is int:
        number = value
    elif type(value) is str and value.isascii() and value.isdigit():
        number = int(value) if len(value) <= MAX_NUMBER_TEXT else -1
    if not low <= number <= high:
        raise InvalidInput(f"{name}: {_short(value)}; allowed: {low}..{high}")
    return number


def _short(value: object) -> str:
    if value is None:
        return "missing"
    if type(value) is int and value.bit_length() > 8 * MAX_NUMBER_TEXT:
        return "a number of too many digits"
    text = repr(value) if not isinstance(value, list | dict) else type(value).__name__
    return text if len(text) <= MAX_NUMBER_TEXT else f"{text[:MAX_NUMBER_TEXT]}..."
