"""What the models' arguments may be: each refusal names the argument, its value and what may be.

Functions return what they were given as floats, so that a model reads its arguments and checks
them in one line. NaN is never allowed; infinity only where a function says so.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lob.errors import InvalidInput

Floats: TypeAlias = NDArray[np.float64]


def finite(name: str, value: float) -> float:
    """Return a finite number; `InvalidInput` otherwise."""
    return between(name, value, -math.inf, math.inf, allowed="a finite number", open_ends=True)


def positive(name: str, value: float) -> float:
    """Return a finite number above 0; `InvalidInput` otherwise."""
    allowed = "a finite number above 0"
    return between(name, value, 0.0, math.inf, allowed=allowed, open_ends=True)


def not_negative(name: str, value: float) -> float:
    """Return a finite number of 0 or more; `InvalidInput` otherwise."""
    number = _number(name, value, "a finite number of 0 or more")
    if not 0 <= number < math.inf:
        raise InvalidInput(f"{name}: {value!r}; allowed: a finite number of 0 or more")
    return number


def share(name: str, value: float) -> float:
    """Return a number from 0 to 1; `InvalidInput` otherwise."""
    return between(name, value, 0.0, 1.0, allowed="0..1", open_ends=False)


def between(
    name: str, value: float, low: float, high: float, *, allowed: str, open_ends: bool
) -> float:
    """Return a number between two bounds, which are themselves allowed unless `open_ends`."""
    number = _number(name, value, allowed)
    inside = low < number < high if open_ends else low <= number <= high
    if not inside:
        raise InvalidInput(f"{name}: {value!r}; allowed: {allowed}")
    return number


def whole(name: str, value: int, low: int, high: int | None = None) -> int:
    """Return an integer from `low` to `high` (None: no bound); `InvalidInput` otherwise."""
    allowed = (
        f"a whole number of {low} or more" if high is None else f"a whole number {low}..{high}"
    )
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        raise InvalidInput(f"{name}: {value!r}; allowed: {allowed}")
    return int(value)


def finite_array(name: str, values: ArrayLike, *, low: float = -math.inf) -> Floats:
    """Return an array of finite numbers of `low` or more; the refusal names the first that is not.

    Numbers, lists and arrays of any shape are taken; the shape stays.
    """
    allowed = "finite numbers" if low == -math.inf else f"finite numbers of {low:g} or more"
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name}: {values!r:.60}; allowed: {allowed}") from error
    wrong = ~(np.isfinite(array) & (array >= low))
    if wrong.any():
        raise InvalidInput(f"{name}: {float(array[wrong].flat[0])!r}; allowed: {allowed}")
    return array


def vector(name: str, values: ArrayLike, *, low: float = -math.inf, at_least: int = 1) -> Floats:
    """Return a one-dimensional array of `at_least` finite numbers of `low` or more."""
    array = finite_array(name, values, low=low)
    if array.ndim != 1 or len(array) < at_least:
        shape = "x".join(str(length) for length in array.shape) or "one number"
        raise InvalidInput(f"{name}: {shape}; allowed: a list of {at_least} or more numbers")
    return array


def same_length(names: Sequence[str], arrays: Sequence[Sequence[float] | Floats]) -> None:
    """Refuse lists that do not go together, item by item."""
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise InvalidInput(f"{', '.join(names)}: lengths {lengths}; allowed: the same length")


def scalar_or_array(values: Floats) -> float | Floats:
    """Return a plain float for an array of no dimensions, else the array."""
    return float(values) if values.ndim == 0 else values


def _number(name: str, value: float, allowed: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{name}: {value!r:.60}; allowed: {allowed}") from error
    if math.isnan(number):
        raise InvalidInput(f"{name}: nan; allowed: {allowed}")
    return number
