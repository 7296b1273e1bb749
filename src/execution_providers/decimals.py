"""Decimals at the edge: taken exactly, refused where they are not a plain finite number.

Floats are taken by their `repr` (0.1 means 0.1), because the caller wrote that number.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from lob.errors import InvalidInput

DecimalLike = Decimal | int | str | float

# 20 digits either side of the point: any venue's prices and sizes fit, and arithmetic stays cheap.
MAX_ADJUSTED: Final = 20
MIN_EXPONENT: Final = -20
_PLAIN: Final[Callable[[str], object]] = re.compile(
    r"-?[0-9]{1,80}(?:\.[0-9]{1,80})?(?:[eE][+-]?[0-9]{1,2})?"
).fullmatch
_ZERO: Final = Decimal(0)


def exact(name: str, value: object, *, bounded: bool = True) -> Decimal:
    """Return `value` as the same number; `InvalidInput` naming `name` when it is not one.

    `bounded` keeps to the digits that a request may have; an answer's products may have more.

    >>> exact("price", 0.1), exact("price", "64934.310"), exact("price", 3)
    (Decimal('0.1'), Decimal('64934.310'), Decimal('3'))
    """
    kind = type(value)
    if kind is str:
        if not _PLAIN(value):  # type: ignore[arg-type]
            raise _refusal(name, value, "a plain decimal number")
        number = Decimal(value)  # type: ignore[arg-type]
    elif kind is Decimal:
        number = value  # type: ignore[assignment]
    elif kind is int:
        number = Decimal(value)  # type: ignore[arg-type]
    elif isinstance(value, float):  # numpy's float64 is one too
        number = Decimal(repr(float(value)))
    else:
        raise _refusal(name, value, "a decimal number, as text or a number")
    if not number.is_finite():
        raise _refusal(name, value, "a finite number")
    exponent = number.as_tuple().exponent
    if bounded and number and (int(exponent) < MIN_EXPONENT or number.adjusted() > MAX_ADJUSTED):
        allowed = f"at most {-MIN_EXPONENT} decimals and {MAX_ADJUSTED + 1} whole digits"
        raise _refusal(name, value, allowed)
    return number


def positive(name: str, value: object) -> Decimal:
    """Return `value` exactly; `InvalidInput` unless it is above 0."""
    number = exact(name, value)
    if number <= _ZERO:
        raise _refusal(name, value, "a number above 0")
    return number


def not_negative(name: str, value: object) -> Decimal:
    """Return `value` exactly; `InvalidInput` when it is below 0."""
    number = exact(name, value)
    if number < _ZERO:
        raise _refusal(name, value, "0 or more")
    return number


def _refusal(name: str, value: object, allowed: str) -> InvalidInput:
    shown = repr(str(value) if isinstance(value, Decimal) else value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."  # noqa: PLR2004 - one line of text
    return InvalidInput(f"{name}: {shown}; allowed: {allowed}")
