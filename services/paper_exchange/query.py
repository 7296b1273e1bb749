"""Query parameters, read as Coinbase's clients send them.

List parameters are repeated keys (commas separate, too); the deprecated singular names count as
well; booleans are Python's, JavaScript's or numbers. A filter that nobody knows is refused, because
ignoring it would return wrong rows.
"""

from collections.abc import Collection
from typing import Final

from starlette.datastructures import QueryParams

from lob.errors import InvalidInput
from services.paper_exchange.wire import parse_rfc3339, parse_time

_TRUE: Final = frozenset({"true", "1", "t"})
_FALSE: Final = frozenset({"", "false", "0", "f"})
_DIGITS_MAX: Final = 9
FOREVER_NS: Final = 1 << 63


def whole_number(params: QueryParams, name: str, default: int, maximum: int) -> int:
    """Return a whole number of 1..maximum; larger ones count as the maximum."""
    number = _digits(params, name, default)
    if number < 1:
        raise InvalidInput(f"{name}: {number}; allowed: 1..{maximum}")
    return min(number, maximum)


def offset(params: QueryParams) -> int:
    """Return how many rows to leave out."""
    return _digits(params, "offset", 0)


def flag(params: QueryParams, name: str) -> bool:
    """Return a boolean; absent is false."""
    value = (params.get(name) or "").lower()
    if value not in _TRUE | _FALSE:
        raise InvalidInput(f"{name}: {value!r}; allowed: true, false")
    return value in _TRUE


def values(params: QueryParams, *names: str) -> set[str]:
    """Return all values of the parameters of these names."""
    given = (value for name in names for value in params.getlist(name))
    return {part for value in given for part in value.split(",") if part}


def enums(params: QueryParams, name: str, allowed: Collection[str]) -> set[str]:
    """Return all values of a parameter; the `UNKNOWN_...` one means no filter.

    Raises:
        InvalidInput: a value is none of `allowed`.
    """
    given = values(params, name)
    wrong = sorted(given - set(allowed))
    if wrong:
        raise InvalidInput(f"{name}: {wrong[0]!r}; allowed: {', '.join(sorted(allowed))}")
    return {value for value in given if not value.startswith("UNKNOWN_")}


def enum(params: QueryParams, name: str, allowed: Collection[str]) -> str:
    """Return the one value of a parameter; "" for none and for the `UNKNOWN_...` one."""
    given = enums(params, name, allowed)
    if len(given) > 1:
        raise InvalidInput(f"{name}: {', '.join(sorted(given))}; allowed: one value")
    return next(iter(given), "")


def period(params: QueryParams, start: str, end: str) -> tuple[int, int]:
    """Return the half-open period `[start, end)` in nanoseconds; absent ends are open."""
    first, last = params.get(start), params.get(end)
    return (
        parse_rfc3339(start, first) if first else 0,
        parse_rfc3339(end, last) if last else FOREVER_NS,
    )


def moment(params: QueryParams, name: str) -> int | None:
    """Return a time given as Unix seconds or RFC 3339, in nanoseconds; None without one."""
    value = params.get(name)
    return parse_time(name, value) if value else None


def refuse_unknown(params: QueryParams, known: Collection[str]) -> None:
    """Raise `InvalidInput` for a parameter that is none of `known`."""
    for name in params:
        if name not in known:
            raise InvalidInput(f"{name}: unknown filter; allowed: {', '.join(sorted(known))}")


def _digits(params: QueryParams, name: str, default: int) -> int:
    value = params.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX):
        raise InvalidInput(f"{name}: {value!r}; allowed: a whole number of at most 9 digits")
    return int(value)
