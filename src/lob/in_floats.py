"""Refuse what a formula cannot answer in floats, in one line."""

import dataclasses
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np

from lob.errors import InvalidInput

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


def _has_nan(answer: object) -> bool:
    if isinstance(answer, float | np.ndarray):
        return bool(np.isnan(answer).any())
    if isinstance(answer, tuple):
        return any(_has_nan(part) for part in answer)
    if dataclasses.is_dataclass(answer):
        return any(_has_nan(getattr(answer, part.name)) for part in dataclasses.fields(answer))
    return False
