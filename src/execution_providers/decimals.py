"""Decimals at the edge: taken exactly, refused where they are not a plain finite number.

Floats are taken by their `repr` (0.1 means 0.1), because the caller wrote that number.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lob.errors import InvalidInput

DecimalLike = Decimal | int | str | float

# 20 digits either side of the point: any venue's prices and sizes fit, and arithmetic stays cheap.
MAX_ADJUSTED: Final = 20
MIN_EXPONENT: Final = -20
# Text that is within those bounds as it stands; most numbers are.
_SHORT: Final[Callable[[str], object]] = re.compile(r"-?[0-9]{1,21}(?:\.[0-9]{1,20})?").fullmatch
_PLAIN: Final[Callable[[str], object]] = re.compile(
    r"-?[0-9]{1,80}(?:\.[0-9]{1,80})?(?:[eE][+-]?[0-9]{1,2})?"
).fullmatch
_ZERO: Final = Decimal(0)
_KINDS: Final = frozenset({str, int, float, Decimal})
_DECIMALS: Final = frozenset({Decimal})
_TEXTS: Final = frozenset({str})
_SHORT_TEXT: Final = 21
_SHOWN_BITS: Final = 1024


def exact(name: str, value: object, *, bounded: bool = True) -> Decimal:
    """Return `value` as the same number; `InvalidInput` naming `name` when it is not one.

    `bounded` keeps to the digits that a request may have; an answer's products may have more.

    >>> exact("price", 0.1), exact("price", "64934.310"), exact("price", 3)
    (Decimal('0.1'), Decimal('64934.310'), Decimal('3'))
    """
    kind = type(value)
    if kind is str:
        if _SHORT(value):  # type: ignore[arg-type]
            return Decimal(value)  # type: ignore[arg-type]
    elif kind is Decimal and _SHORT(str(value)):
        return value  # type: ignore[return-value]
    return _looked_at(name, value, bounded)


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


def all_positive(values: Sequence[Any]) -> tuple[Decimal, ...] | None:
    """Return plain numbers above 0, all at once; None where one needs a closer look.

    None says nothing of the numbers: `positive` takes some that this leaves, and names what is
    wrong. It is here because a market has forty numbers, and this costs a fifth of that.

    >>> all_positive(["99.98", 3]), all_positive(["1e3"]), all_positive(["-1"])
    ((Decimal('99.98'), Decimal('3')), None, None)
    """
    kinds = set(map(type, values))
    if not kinds <= _KINDS:
        return None
    try:
        texts = values if kinds == _TEXTS else list(map(str, values))
    except ValueError:  # an int of thousands of digits
        return None
    # Digits and points only, and no point at either end of a number; a text of at most
    # `MAX_ADJUSTED` + 1 characters has no more digits than a request may have.
    joined = "|".join(texts)
    digits = joined.replace("|", "").replace(".", "")
    if not (digits.isascii() and digits.isdecimal()) or max(map(len, texts)) > _SHORT_TEXT:
        return None
    if joined[0] == "." or joined[-1] == "." or "|." in joined or ".|" in joined:
        return None
    if kinds == _DECIMALS:
        numbers: tuple[Decimal, ...] = tuple(values)
    else:
        try:
            numbers = tuple(map(Decimal, texts))
        except InvalidOperation:  # no number, or more than one point
            return None
    return numbers if all(numbers) else None  # without a sign they are 0 or more


def _looked_at(name: str, value: object, bounded: bool) -> Decimal:
    """Return what is not short text: other kinds of numbers, exponents, many digits."""
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


def _refusal(name: str, value: object, allowed: str) -> InvalidInput:
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        value = (
            f"a whole number of {value.bit_length()} bits"  # Python refuses to write the longest
        )
    shown = repr(str(value) if isinstance(value, Decimal) else value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."  # noqa: PLR2004 - one line of text
    return InvalidInput(f"{name}: {shown}; allowed: {allowed}")
