"""What the closed forms take as numbers, and how they refuse the rest: in one line, by name."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lob.bounds import flags, increasing, number, numbers, pmf, row, same_length, whole
from lob.errors import InvalidInput

NO_NUMBERS = [True, np.True_, "1", None, 1j, math.nan, math.inf, -math.inf, 10**400, 10**5000]
NUMPYS: list[Any] = [np.float32(2), np.int8(-3)]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: f"{type(value).__name__}")
def test_what_is_no_number_is_refused(value: object) -> None:
    """Neither alone nor in a list is it taken, and the refusal is one short line."""
    takes: tuple[Callable[..., object], ...] = (number, numbers, row)
    for take in takes:
        given = [value] if take is row else value
        with pytest.raises(InvalidInput, match=r"^x: .*; allowed: ") as caught:
            take("x", given)
        assert 1 == len(str(caught.value).splitlines())
        assert len(str(caught.value)) < 100
    with pytest.raises(InvalidInput, match=r"^x: .*; allowed: a whole number 0\.\.9$"):
        whole("x", value, 0, 9)  # type: ignore[arg-type]


def test_numpys_numbers_are_taken_and_copied() -> None:
    """A number of any width becomes a float; an array is a copy in its shape."""
    assert [2.0, -3.0] == [number("x", value) for value in NUMPYS]
    given = np.ones((2, 3))
    found = numbers("x", given)
    found[0, 0] = 5.0
    assert (1.0, (2, 3)) == (given[0, 0], found.shape)
    assert [0.0, math.inf] == numbers("x", [0, math.inf], low=0, infinite=True).tolist()
    assert [1.0, 0.0] == flags("x", [True, False]).tolist()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: number("x", 0, above=0), "x: 0; allowed: a finite number above 0"),
        (lambda: number("x", -1, low=0), "x: -1; allowed: a finite number of 0 or more"),
        (lambda: number("x", 2, low=-1, high=1), "x: 2; allowed: -1..1"),
        (lambda: number("x", 1, above=0, below=1), "x: 1; allowed: above 0 and below 1"),
        (lambda: number("x", 1, above=0, high=0.5), "x: 1; allowed: above 0 and at most 0.5"),
        (lambda: number("x", 1, high=0.5), "x: 1; allowed: a finite number at most 0.5"),
        (lambda: whole("x", 2.0, 0), "x: 2.0; allowed: a whole number of 0 or more"),  # type: ignore[arg-type]
        (lambda: numbers("x", [1, -1], low=0), "x: -1.0; allowed: finite numbers of 0 or more"),
        (lambda: numbers("x", -math.inf, infinite=True), "x: -inf; allowed: numbers, or inf"),
        (lambda: numbers("x", math.nan, infinite=True), "x: nan; allowed: numbers, or inf"),
        (lambda: row("x", 3), "x: one number; allowed: a list of 1 or more numbers"),
        (lambda: row("x", [[1, 2]]), "x: 1x2 numbers; allowed: a list of 1 or more numbers"),
        (lambda: flags("x", [1, 0.5]), "x: 0.5; allowed: 0 or 1"),
        (lambda: pmf("x", [0.5, 0.4]), "x: sum 0.9; allowed: probabilities of sum 1"),
        (
            lambda: increasing("x", [1, 3, 2], at_least=2),
            "x: 2.0 at 2; allowed: above the one before (3.0)",
        ),
        (
            lambda: same_length(x=np.ones(2), y=np.ones(3)),
            "y: 3 numbers; allowed: as many as x (2)",
        ),
    ],
)
def test_refusals_say_what_is_allowed(call: Callable[[], object], said: str) -> None:
    """The refusal names the argument, its value and the range in words."""
    with pytest.raises(InvalidInput) as caught:
        call()
    assert said == str(caught.value)
