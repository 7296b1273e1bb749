"""What the models' arguments may be: each refusal names the argument, its value and what may be.

Functions return what they were given as floats, so that a model reads its arguments and checks
them in one line: `number`, `whole` and their like for one, `numbers`, `row` and their like for
many. Booleans, texts and other objects are no numbers; NaN is never allowed, infinity only where
`numbers` is told so. All raise `InvalidInput`, in one line whatever the value.
"""

import math
import reprlib
import sys
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lob.errors import InvalidInput

Floats: TypeAlias = NDArray[np.float64]

COUNT_MAX: Final = 1_000_000
"""The most of what a formula counts, where nothing else bounds its time and memory."""

_PROBABILITY_TOLERANCE: Final = 1e-9
_FLOAT_MAX: Final = sys.float_info.max


def number(
    name: str,
    value: float,
    *,
    low: float = -math.inf,
    above: float = -math.inf,
    high: float = math.inf,
    below: float = math.inf,
) -> float:
    """Return a finite number from `low` to `high`, which are allowed, `above` and `below` not."""
    if (
        type(value) is float
        and low <= value <= high
        and above < value < below
        and -_FLOAT_MAX <= value <= _FLOAT_MAX
    ):
        return value  # what most are, at once
    # Plain floats and whole numbers, numpy's and ours: float() would take a text and a bool too.
    is_number = isinstance(value, int | float | np.integer | np.floating)
    try:
        found = float(value) if is_number and not isinstance(value, bool) else math.nan
    except OverflowError:
        found = math.inf
    if not (math.isfinite(found) and low <= found <= high and above < found < below):
        allowed = _range("a finite number", low, above, high, below)
        raise InvalidInput(f"{name}: {_shown(value)}; allowed: {allowed}")
    return found


def positive(name: str, value: float) -> float:
    """Return a finite number above 0."""
    return number(name, value, above=0)


def not_negative(name: str, value: float) -> float:
    """Return a finite number of 0 or more."""
    return number(name, value, low=0)


def share(name: str, value: float) -> float:
    """Return a number from 0 to 1."""
    return number(name, value, low=0, high=1)


def whole(name: str, value: int, low: int, high: int | None = None) -> int:
    """Return an integer from `low` to `high` (None: no bound); 2.0 is none."""
    if type(value) is int and value >= low and (high is None or value <= high):
        return value  # what most are, at once
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        allowed = f"of {low} or more" if high is None else f"{low}..{high}"
        raise InvalidInput(f"{name}: {_shown(value)}; allowed: a whole number {allowed}")
    return int(value)


def numbers(
    name: str,
    values: ArrayLike,
    *,
    low: float = -math.inf,
    above: float = -math.inf,
    high: float = math.inf,
    infinite: bool = False,
) -> Floats:
    """Return a copy, in its shape, of finite numbers within bounds; the refusal names the first.

    Numbers, lists and arrays of any shape are taken. With `infinite`, plus infinity is a number.
    """
    what = "numbers" if infinite else "finite numbers"
    allowed = _range(what, low, above, high, math.inf) + (", or inf" if infinite else "")
    found = _floats(name, values, "iuf", allowed)
    # a NaN is in no range, and minus infinity is not above the lowest `above`
    fits = (found >= low) & (found > above) & (found <= high)
    _refuse(name, found, fits if infinite else fits & np.isfinite(found), allowed)
    return found


def row(
    name: str,
    values: ArrayLike,
    *,
    low: float = -math.inf,
    above: float = -math.inf,
    high: float = math.inf,
    at_least: int = 1,
) -> Floats:
    """Return a one-dimensional array of `at_least` finite numbers within bounds."""
    found = numbers(name, values, low=low, above=above, high=high)
    return _one_dimension(name, found, at_least)


def flags(name: str, values: ArrayLike) -> Floats:
    """Return a list of 0s and 1s, for which booleans may stand, as floats; one or more."""
    found = _floats(name, values, "biuf", "0 or 1")
    _refuse(name, found, (found == 0) | (found == 1), "0 or 1")
    return _one_dimension(name, found, 1)


def increasing(name: str, values: ArrayLike, *, low: float = -math.inf, at_least: int) -> Floats:
    """Return a one-dimensional array of finite numbers, each above the one before."""
    found = row(name, values, low=low, at_least=at_least)
    falls = np.diff(found) <= 0
    if falls.any():
        place = int(np.argmax(falls)) + 1
        raise InvalidInput(
            f"{name}: {found[place]} at {place}; allowed: above the one before ({found[place - 1]})"
        )
    return found


def pmf(name: str, values: ArrayLike) -> Floats:
    """Return probabilities that sum to one, to within 1e-9, scaled to do so."""
    found = row(name, values, low=0, high=1)
    total = float(found.sum())
    if abs(total - 1) > _PROBABILITY_TOLERANCE:
        raise InvalidInput(f"{name}: sum {total!r}; allowed: probabilities of sum 1")
    return as_given(found / total)


def same_length(**arrays: Floats) -> None:
    """Refuse lists that do not go together, item by item; each is given by its name."""
    (first, length), *others = ((name, len(array)) for name, array in arrays.items())
    for name, other in others:
        if other != length:
            raise InvalidInput(f"{name}: {other} numbers; allowed: as many as {first} ({length})")


def as_given(values: Any) -> Floats:
    """Return float64 numbers in the shape asked for: a number (numpy's) where it was one number."""
    found: Floats = np.asarray(values, dtype=np.float64)[()]
    return found


def scalar_or_array(values: Floats) -> float | Floats:
    """Return a plain float for an array of no dimensions, else the array."""
    return values if np.ndim(values) else float(values)


def _floats(name: str, values: ArrayLike, kinds: str, allowed: str) -> Floats:
    """Return a copy in float64 of what numpy reads as one of these kinds of dtype."""
    try:
        given = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        given = np.asarray(None)
    if given.dtype.kind not in kinds:
        raise InvalidInput(f"{name}: {_shown(values)}; allowed: {allowed}")
    with np.errstate(over="ignore"):  # of numpy's long doubles, which are infinite then
        return given.astype(np.float64)


def _refuse(name: str, found: Floats, fits: NDArray[np.bool_], allowed: str) -> None:
    if not fits.all():
        raise InvalidInput(f"{name}: {float(found[~fits].flat[0])!r}; allowed: {allowed}")


def _one_dimension(name: str, found: Floats, at_least: int) -> Floats:
    if found.ndim != 1 or len(found) < at_least:
        shape = "x".join(str(length) for length in found.shape)
        given = f"{shape} numbers" if shape else "one number"
        raise InvalidInput(f"{name}: {given}; allowed: a list of {at_least} or more numbers")
    return found


def _range(what: str, low: float, above: float, high: float, below: float) -> str:
    """Say what is within the bounds, of which infinite ones are none."""
    has_start, has_end = max(low, above) > -math.inf, min(high, below) < math.inf
    end = f"below {below:g}" if below < math.inf else f"at most {high:g}"
    if has_start and has_end:
        if above == -math.inf and below == math.inf:
            return f"{low:g}..{high:g}"
        return f"{f'above {above:g}' if above > -math.inf else f'from {low:g}'} and {end}"
    if has_start:
        return f"{what} {f'above {above:g}' if above > -math.inf else f'of {low:g} or more'}"
    return f"{what} {end}" if has_end else what


def _shown(value: object) -> str:
    """Return a value in one short line, whatever it is."""
    try:
        text = reprlib.repr(value.item() if isinstance(value, np.generic) else value)
    except ValueError:  # an integer of more digits than Python writes out
        text = "a number of thousands of digits"
    return " ".join(text.split())
