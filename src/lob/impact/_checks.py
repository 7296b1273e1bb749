"""Take the numbers of a formula in, or say in one line which one is wrong."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lob.errors import InvalidInput

Floats = NDArray[np.float64]

STEPS_MAX: Final = 1_000_000

_P = ParamSpec("_P")
_R = TypeVar("_R")


def in_floats(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Refuse arguments whose formula leaves the floats: neither overflow nor NaN is an answer."""

    @functools.wraps(function)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            with np.errstate(over="raise", divide="raise", invalid="raise"):
                answer = function(*args, **kwargs)
            if not _has_nan(answer):
                return answer
            reason: object = "a figure beyond a float's range"
        except (ArithmeticError, ValueError) as error:
            # A ValueError is numpy's (shapes that do not broadcast) or math's (an underflow's log).
            reason = error
        raise InvalidInput(
            f"{function.__name__}: {reason}; allowed: arguments that go together, less far apart"
        )

    return guarded


def real(name: str, value: Any) -> float:
    """Return a finite number as a float.

    Raises:
        InvalidInput: it is none.
    """
    # Plain floats and whole numbers, numpy's and ours; a bool or a text is a mistake.
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.integer | np.floating
    ):
        raise InvalidInput(f"{name}: {value!r}; allowed: a finite number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidInput(f"{name}: {number}; allowed: a finite number")
    return number


def positive(name: str, value: Any) -> float:
    """Return a finite number above 0."""
    number = real(name, value)
    if number <= 0:
        raise InvalidInput(f"{name}: {number}; allowed: a finite number above 0")
    return number


def non_negative(name: str, value: Any) -> float:
    """Return a finite number of 0 or more."""
    number = real(name, value)
    if number < 0:
        raise InvalidInput(f"{name}: {number}; allowed: a finite number of 0 or more")
    return number


def inside(name: str, value: Any, low: float, high: float) -> float:
    """Return a number above `low` and below `high`."""
    number = real(name, value)
    if not low < number < high:
        raise InvalidInput(f"{name}: {number}; allowed: above {low} and below {high}")
    return number


def between(name: str, value: Any, low: float, high: float) -> float:
    """Return a number from `low` to `high`, both allowed."""
    number = real(name, value)
    if not low <= number <= high:
        raise InvalidInput(f"{name}: {number}; allowed: {low}..{high}")
    return number


def count(name: str, value: Any, *, at_least: int = 1, at_most: int = STEPS_MAX) -> int:
    """Return a whole number within bounds, which also bound the memory of what it counts."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise InvalidInput(f"{name}: {value!r}; allowed: a whole number, {at_least}..{at_most}")
    if not at_least <= value <= at_most:
        raise InvalidInput(f"{name}: {value}; allowed: {at_least}..{at_most}")
    return int(value)


def numbers(name: str, values: ArrayLike, *, at_least: int = 1) -> Floats:
    """Return a one-dimensional array of finite float64, `at_least` so many."""
    array = _floats(name, values)
    if array.ndim != 1 or array.size < at_least:
        raise InvalidInput(
            f"{name}: of shape {array.shape}; allowed: one dimension, {at_least} or more numbers"
        )
    return array


def any_shape(name: str, values: ArrayLike) -> Floats:
    """Return finite numbers of any shape as float64."""
    return _floats(name, values)


def non_negative_numbers(name: str, values: ArrayLike) -> Floats:
    """Return finite numbers of 0 or more, of any shape."""
    array = _floats(name, values)
    if (array < 0).any():
        raise InvalidInput(f"{name}: {array.min()}; allowed: finite numbers of 0 or more")
    return array


def positive_numbers(name: str, values: ArrayLike) -> Floats:
    """Return finite numbers above 0, of any shape."""
    array = _floats(name, values)
    if (array <= 0).any():
        raise InvalidInput(f"{name}: {array.min()}; allowed: finite numbers above 0")
    return array


def same_length(**arrays: Floats) -> None:
    """Raise InvalidInput unless all the arrays are of one length."""
    lengths = {name: array.size for name, array in arrays.items()}
    first = next(iter(lengths))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise InvalidInput(
                f"{name}: {length} numbers; allowed: as many as {first} ({lengths[first]})"
            )


def increasing(name: str, values: ArrayLike, *, at_least: int = 2) -> Floats:
    """Return finite numbers each above the one before."""
    array = numbers(name, values, at_least=at_least)
    steps = np.diff(array)
    if (steps <= 0).any():
        place = int(np.argmax(steps <= 0)) + 1
        raise InvalidInput(
            f"{name}: {array[place]} at {place}; allowed: above the one before ({array[place - 1]})"
        )
    return array


def _has_nan(answer: object) -> bool:
    if isinstance(answer, float | np.ndarray):
        return bool(np.isnan(answer).any())
    if isinstance(answer, tuple):
        return any(_has_nan(part) for part in answer)
    if dataclasses.is_dataclass(answer):
        return any(_has_nan(getattr(answer, part.name)) for part in dataclasses.fields(answer))
    return False


def _floats(name: str, values: ArrayLike) -> Floats:
    try:
        raw = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        raw = np.asarray(None)
    if raw.dtype.kind not in "iuf":
        raise InvalidInput(f"{name}: {values!r:.80}; allowed: finite numbers")
    array = raw.astype(np.float64)
    if not np.isfinite(array).all():
        wrong = array[~np.isfinite(array)].flat[0]
        raise InvalidInput(f"{name}: {wrong}; allowed: finite numbers")
    return array
