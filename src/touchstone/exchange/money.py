"""Amounts of money: decimals with eight places, so that sums are exact whatever their order."""

from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final

ATOM: Final = Decimal("0.00000001")
"""The smallest amount; every balance, cost and fee is a whole multiple of it."""

ZERO: Final = Decimal(0)

_CONTEXT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])


def plain(number: Decimal) -> str:
    """Return a number as its owner would have written it: no exponent, no trailing zeros.

    >>> plain(Decimal("0.0300")), plain(Decimal("1E+2")), plain(Decimal("-0.00"))
    ('0.03', '100', '0')
    """
    return format(number.normalize(_CONTEXT), "f") if number else "0"


def rounded(amount: Decimal) -> Decimal:
    """Return `amount` rounded half to even to eight places.

    >>> rounded(Decimal(1) / Decimal(3))
    Decimal('0.33333333')
    """
    return amount.quantize(ATOM, context=_CONTEXT)


def share(amount: Decimal, part: int, whole: int) -> Decimal:
    """Return `amount` x `part` / `whole`, rounded; exactly `amount` when part equals whole."""
    if part == whole:
        return amount
    return rounded(_CONTEXT.divide(_CONTEXT.multiply(amount, Decimal(part)), Decimal(whole)))
