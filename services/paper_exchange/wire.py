"""How values look on Coinbase's wire: decimals as plain texts, times as RFC 3339."""

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Final

from lob.errors import InvalidInput
from touchstone.exchange.money import plain

_NANOSECONDS: Final = 1_000_000_000
_PLACES: Final = Decimal("0.00000001")
_SECONDS_DIGITS: Final = 11
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,18}))?(Z|[+-]\d\d:\d\d)", re.ASCII
)


def text(value: Decimal | int) -> str:
    """Return a number without exponent and without trailing zeros.

    >>> text(Decimal("100000.0")), text(Decimal("1E+2")), text(Decimal("-0.00"))
    ('100000', '100', '0')
    """
    return plain(value if isinstance(value, Decimal) else Decimal(value))


def rounded_text(value: Decimal) -> str:
    """Return a computed number rounded to eight places."""
    return text(value.quantize(_PLACES, rounding=ROUND_HALF_EVEN))


def amount(value: Decimal, currency: str) -> dict[str, str]:
    """Return an amount of money as Coinbase's object."""
    return {"value": rounded_text(value), "currency": currency}


def rfc3339(time_ns: int) -> str:
    """Return a time with nanoseconds, in UTC.

    >>> rfc3339(1_700_000_000_000_000_001)
    '2023-11-14T22:13:20.000000001Z'
    """
    seconds, nanoseconds = divmod(time_ns, _NANOSECONDS)
    return f"{_second(seconds)}.{nanoseconds:09d}Z"


@lru_cache(maxsize=4_096)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_rfc3339(name: str, value: str) -> int:
    """Return a time in nanoseconds since the epoch; `InvalidInput` names what is wrong.

    >>> parse_rfc3339("end", "2023-11-14T22:13:20.000000001Z")
    1700000000000000001
    """
    # A "+" of a zone that came unescaped in a query is read as a blank.
    found = _RFC3339.fullmatch(value.replace(" ", "+") if value[10:11] == "T" else value)
    if found is None:
        raise InvalidInput(f"{name}: {value!r}; allowed: an RFC 3339 time with its zone")
    try:
        whole = int(datetime.fromisoformat(f"{found[1]}{found[3]}").timestamp())
    except (ValueError, OverflowError):
        raise InvalidInput(f"{name}: {value!r}; allowed: a time that exists") from None
    return whole * _NANOSECONDS + int((found[2] or "0")[:9].ljust(9, "0"))


def parse_time(name: str, value: str) -> int:
    """Return a time given as whole Unix seconds or as RFC 3339, in nanoseconds."""
    if value.isascii() and value.isdigit() and len(value) <= _SECONDS_DIGITS:
        return int(value) * _NANOSECONDS
    if value.isascii() and value.isdigit():
        raise InvalidInput(f"{name}: {value!r}; allowed: Unix seconds of at most 11 digits")
    return parse_rfc3339(name, value)
