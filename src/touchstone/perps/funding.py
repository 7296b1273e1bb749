"""Funding: what a position pays at each funding time, and how much of it the venue's books prove.

payment = size x mark x rate; longs pay when the rate is positive (Coinbase Derivatives, help
centre). Funding times are the venue's: whole multiples of its interval, told by `funding_time`, the
next one. What it publishes is the rate settled last, so a rate belongs to the funding time before.

The mark of a funding time is not published afterwards, so size x published mark x rate is off by
what the mark moved since. The account is not: its book value (see `pnl`) drops by exactly what was
paid. Where that agrees with the formula, it is what is booked; where it does not (a deposit, a
venue that pays out later), the formula is. Hours whose rate nobody saw have only the account.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from itertools import islice, product
from typing import Final

from lob.errors import InvalidInput

ATOM: Final = Decimal("0.00000001")
HOUR_NS: Final = 3_600_000_000_000
TOLERANCE: Final = Decimal("0.05")
"""How far, beyond the marks seen, the account may be from the formula, as a share of it."""
SMALL: Final = Decimal("0.01")
"""What it may be off by whatever the formula says, in dollars."""
UNSEEN_RATE_MAX: Final = Decimal("0.005")
"""The highest rate of a funding time that an unseen rate is believed to have had."""

CHOICES_MAX: Final = 64
"""How many ways are tried of what was held where something traded at the funding time itself."""

_ZERO: Final = Decimal(0)
_CONTEXT: Final = Context(prec=60)


class Source(StrEnum):
    """Where the amount of a booking comes from."""

    ACCOUNT = "account"
    """The account's book value: exact."""
    FORMULA = "formula"
    """Size x mark x rate at the nearest mark that was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingFigures:
    """What the venue publishes of one product: the rate settled last, and the next funding time."""

    rate: Decimal | None
    next_time_ns: int | None
    interval_ns: int | None = None
    mark: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One funding time of one symbol that is to be booked: signed coins held then.

    `rate` is None where nobody saw it; `marks` are the nearest that were seen, before and after.
    `otherwise` is what else was held at that very moment, where something traded at it: which of
    them the venue charged, only the account can say.
    """

    symbol: str
    time_ns: int
    quantity: Decimal
    rate: Decimal | None
    marks: tuple[Decimal, ...]
    otherwise: tuple[Decimal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """What one symbol paid (below 0: received) at one funding time."""

    symbol: str
    time_ns: int
    quantity: Decimal
    amount: Decimal
    rate: Decimal | None
    mark: Decimal
    source: Source


@dataclass(frozen=True, slots=True)
class Settled:
    """What can be booked of what was due, and what nobody can know.

    `proven` says that the bookings together are what the account paid, to the atom.
    """

    bookings: tuple[Booking, ...]
    unknown: tuple[Due, ...] = ()
    proven: bool = False


def payment(quantity: Decimal, mark: Decimal, rate: Decimal) -> Decimal:
    """Return what a signed position pays, rounded half to even to eight places.

    >>> payment(Decimal("-0.5"), Decimal(60_000), Decimal("0.0001"))
    Decimal('-3.00000000')
    """
    exact = _CONTEXT.multiply(_CONTEXT.multiply(quantity, mark), rate)
    return exact.quantize(ATOM, rounding=ROUND_HALF_EVEN, context=_CONTEXT)


def funding_times(after_ns: int, next_time_ns: int, interval_ns: int) -> list[int]:
    """Return the funding times in `(after_ns, next_time_ns)`, oldest first.

    `next_time_ns` itself has not come yet.

    >>> funding_times(100, 700, 200)
    [300, 500]

    Raises:
        InvalidInput: the interval is not above 0.
    """
    if interval_ns <= 0:
        raise InvalidInput(f"interval_ns: {interval_ns}; allowed: above 0")
    count = max(0, (next_time_ns - after_ns - 1) // interval_ns)
    return [next_time_ns - interval_ns * back for back in range(count, 0, -1)]


def positions_at(
    time_ns: int, now: Decimal, fills: Iterable[tuple[int, Decimal]]
) -> tuple[Decimal, ...]:
    """Return the signed positions of a past moment: the present one less all fills after it.

    They are several where something traded at the very moment, the last of them first. `fills` are
    (venue time, signed quantity) of at least everything that traded since, in their order.

    >>> one, two = Decimal(1), Decimal(2)
    >>> positions_at(20, Decimal(4), [(10, one), (20, two), (30, one)])
    (Decimal('3'), Decimal('1'))
    """
    after, tied = _ZERO, []
    for at, quantity in fills:
        if at > time_ns:
            after += quantity
        elif at == time_ns:
            tied.append(quantity)
    held = [now - after]
    for quantity in reversed(tied):
        held.append(held[-1] - quantity)
    return tuple(dict.fromkeys(held))


def settle(due: Sequence[Due], paid: Decimal | None) -> Settled:
    """Return the bookings of all that is due, each once.

    Args:
        due: everything that is due and not booked yet, of all symbols of the account.
        paid: by how much the account's book value fell by it; None where that cannot be known.
    """
    first = _settle(due, paid)
    if paid is None or _explains(first, paid):
        return first
    held = product(*((one.quantity, *one.otherwise) for one in due))
    for quantities in islice(held, 1, CHOICES_MAX):
        chosen = [replace(one, quantity=q) for one, q in zip(due, quantities, strict=True)]
        settled = _settle(chosen, paid)
        if _explains(settled, paid):
            return settled
    return first


def _explains(settled: Settled, paid: Decimal) -> bool:
    """Return whether bookings are proven; where nothing was held, nothing explains a payment."""
    return settled.proven and bool(settled.bookings or not paid)


def _settle(due: Sequence[Due], paid: Decimal | None) -> Settled:
    held = [one for one in due if one.quantity and one.marks]
    lost = tuple(one for one in due if one.quantity and not one.marks)
    known = [one for one in held if one.rate is not None]
    unseen = [one for one in held if one.rate is None]
    booked = [_by_formula(one) for one in known]
    if not held and not lost:
        return Settled((), proven=paid is not None)
    if paid is None or lost or not _plausible(paid, booked, known, unseen):
        return Settled(tuple(booked), (*lost, *unseen))
    rest = paid - sum((one.amount for one in booked), _ZERO)
    if unseen:
        booked += _raised([_by_formula(one) for one in unseen], rest)
    else:
        booked = _raised(booked, rest)
    in_order = sorted(booked, key=lambda one: (one.time_ns, one.symbol))
    return Settled(tuple(in_order), proven=True)


def _plausible(
    paid: Decimal, formulas: Sequence[Booking], known: Sequence[Due], unseen: Sequence[Due]
) -> bool:
    """Return whether the account paid what the marks and rates that were seen allow."""
    low = high = _ZERO
    for one in known:
        amounts = [payment(one.quantity, mark, one.rate or _ZERO) for mark in one.marks]
        low, high = low + min(amounts), high + max(amounts)
    slack = SMALL + TOLERANCE * sum((abs(one.amount) for one in formulas), _ZERO)
    slack += UNSEEN_RATE_MAX * sum((abs(_worth(one)) for one in unseen), _ZERO)
    return low - slack <= paid <= high + slack


def _by_formula(due: Due) -> Booking:
    mark = due.marks[-1]
    return Booking(
        symbol=due.symbol,
        time_ns=due.time_ns,
        quantity=due.quantity,
        amount=payment(due.quantity, mark, due.rate or _ZERO),
        rate=due.rate,
        mark=mark,
        source=Source.FORMULA,
    )


def _worth(due: Due) -> Decimal:
    return _CONTEXT.multiply(due.quantity, due.marks[-1])


def _raised(bookings: Sequence[Booking], by: Decimal) -> list[Booking]:
    """Add an amount to bookings, split by what their positions were worth; the last takes the rest.

    By signed worth, as a rate would; by its size where long and short cancel out.
    """
    worths = [_CONTEXT.multiply(one.quantity, one.mark) for one in bookings]
    whole = sum(worths, _ZERO)
    size = sum((abs(worth) for worth in worths), _ZERO)
    if abs(whole) * 2 < size:
        worths, whole = [abs(worth) for worth in worths], size
    shares = [
        _CONTEXT.divide(_CONTEXT.multiply(by, worth), whole).quantize(ATOM, context=_CONTEXT)
        for worth in worths[:-1]
    ]
    shares += [by - sum(shares, _ZERO)] if bookings else []
    return [
        replace(one, amount=one.amount + more, source=Source.ACCOUNT)
        for one, more in zip(bookings, shares, strict=True)
    ]
