"""How values look on Coinbase's wire: decimals as plain texts, times as RFC 3339."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from lob.errors import InvalidInput

_NANOSECONDS: Final = 1_000_000_000
_PLACES: Final = Decimal("0.00000001")


def text(value: Decimal | int) -> str:
    """Return a number without exponent and without trailing zeros.

    >>> text(Decimal("100000.0")), text(Decimal("1E+2")), text(Decimal("-0.00"))
    ('100000', '100', '0')
    """
    shown = format(Decimal(value).normalize(), "f")
    return "0" if shown == "-0" else shown


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
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def parse_rfc3339(name: str, value: str) -> int:
    """Return a time in nanoseconds since the epoch; `InvalidInput` names what is wrong."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput(f"{name}: {value!r}; allowed: an RFC 3339 time with its zone")
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * _NANOSECONDS + moment.microsecond * 1_000
