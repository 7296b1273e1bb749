"""The engine as the Monte Carlo of Cont, Stoikov and Talreja: the order book against its theory.

Every order of every path goes through `lob.OrderBook`; the share of paths is held against the
model's exact probability by its standard error.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from lob.queueing import (
    SKY_PERFECT,
    Estimate,
    simulate_bid_fill,
    simulate_making_the_spread,
    simulate_mid_up,
)
from touchstone.fidelity.evidence import Check, Evidence, Figure, Series, Table

PATHS: Final = 10_000
"""Paths of each cell of a table, at a spread of one tick; a quarter of them at two ticks."""

Z_MAX: Final = 4.0
"""No cell may be further from the exact value, in standard errors: 1 run in 160 has such a one."""

_SIZES: Final = range(1, 6)


class _Question(NamedTuple):
    title: str
    simulate: Callable[..., Estimate]
    exact: Callable[..., object]
    spread: int


def _questions() -> tuple[_Question, ...]:
    model = SKY_PERFECT
    return (
        _Question("the mid's next move is up", simulate_mid_up, model.mid_up_probability, 1),
        _Question(
            "our bid trades before the mid moves", simulate_bid_fill, model.bid_fill_probability, 1
        ),
        _Question(
            "our bid and our ask both trade first",
            simulate_making_the_spread,
            model.making_the_spread_probability,
            1,
        ),
        _Question("the mid's next move is up", simulate_mid_up, model.mid_up_probability, 2),
        _Question(
            "our bid trades before the mid moves", simulate_bid_fill, model.bid_fill_probability, 2
        ),
    )


class Cell(NamedTuple):
    """One cell of a simulated table: the queues, the exact probability, and what was found."""

    b: int
    a: int
    exact: float
    found: Estimate

    @property
    def z(self) -> float:
        """Return how far it is off, in standard errors of the exact probability."""
        error = math.sqrt(self.exact * (1 - self.exact) / self.found.paths)
        return (self.found.probability - self.exact) / error


def measure(*, progress: Callable[[str], None], seed: int = 0, paths: int = PATHS) -> Evidence:
    """Simulate the paper's tables through the book; `paths` a cell. O(paths x events)."""
    checks, tables, series = [], [], []
    for number, question in enumerate(_questions()):
        each = paths if question.spread == 1 else max(1, paths // 4)
        name = f"{question.title} (spread {question.spread})"
        progress(f"the book as Monte Carlo: P({name}), 25 cells of {each:,} paths")
        cells = _cells(question, each, seed + 1_000 * number)
        worst = max(cells, key=lambda cell: abs(cell.z))
        square = sum(cell.z**2 for cell in cells)
        bar = chi_square_high(len(cells))
        checks += [
            Check(
                f"book against theory: {name}, furthest cell, standard errors",
                round(abs(worst.z), 2),
                f"at most {Z_MAX:g}",
                abs(worst.z) <= Z_MAX,
            ),
            Check(
                f"book against theory: {name}, sum of z^2 over {len(cells)} cells",
                round(square, 1),
                f"at most {bar:.1f} (99.9 % of its law)",
                square <= bar,
            ),
        ]
        tables.append(_table(name, each, cells))
        series.append(
            Series(
                name,
                tuple(cell.exact for cell in cells),
                tuple(cell.found.probability for cell in cells),
                tuple(cell.found.probability - 2 * cell.found.standard_error for cell in cells),
                tuple(cell.found.probability + 2 * cell.found.standard_error for cell in cells),
            )
        )
    figure = Figure(
        "Simulated through the book, with two standard errors, against the exact probability",
        "exact probability",
        "share of paths",
        tuple(series),
        kind="points",
    )
    return Evidence(
        "engine",
        "The order book as the Monte Carlo of a published model",
        _TEXT.format(paths=f"{paths:,}", wide=f"{max(1, paths // 4):,}"),
        tuple(checks),
        tuple(tables),
        (figure,),
    )


def chi_square_high(degrees: int, z: float = 3.0902) -> float:
    """Return the 99.9 % point of chi-square by Wilson and Hilferty (PNAS 17, 1931), within 1 %.

    >>> round(chi_square_high(25), 1)
    52.7
    """
    share = 2 / (9 * degrees)
    return float(degrees * (1 - share + z * math.sqrt(share)) ** 3)


def _cells(question: _Question, paths: int, seed: int) -> list[Cell]:
    found = []
    for b in _SIZES:
        for a in _SIZES:
            at = {"b": b, "a": a, "spread": question.spread}
            # A seed of its own for each cell: the cells' errors are independent.
            own = int(np.random.SeedSequence((seed, b, a)).generate_state(1)[0])
            estimate = question.simulate(SKY_PERFECT, **at, paths=paths, seed=own)
            found.append(Cell(b, a, float(np.asarray(question.exact(**at))), estimate))
    return found


def _table(name: str, paths: int, cells: list[Cell]) -> Table:
    shown = {
        (cell.b, cell.a): f"{cell.exact:.4f} / {cell.found.probability:.4f} ({cell.z:+.1f})"
        for cell in cells
    }
    return Table(
        f"{name}: exact / through the book (z), {paths:,} paths a cell",
        ("bids", *(f"asks {a}" for a in _SIZES)),
        tuple((b, *(shown[b, a] for a in _SIZES)) for b in _SIZES),
    )


_TEXT: Final = (
    "Cont, Stoikov and Talreja (2010) model a book of unit orders: limit orders, market orders and "
    "cancels arrive at constant rates. Their rates for Sky Perfect Communications are simulated "
    "here, and every order of every path is sent to the real order book, which matches it; whether "
    "the mid has moved or our order has traded is what the book says. {paths} paths for each of "
    "the 25 pairs of queues at a spread of one tick, {wide} at two. The exact probabilities are "
    "those of the chain, solved as linear equations: the two have only the model in common. "
    "Limits: orders of one size, nothing beyond the touch."
)
