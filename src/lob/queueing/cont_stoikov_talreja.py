"""Probabilities of the book of Cont, Stoikov and Talreja, given what stands at the touch.

Cont, Stoikov and Talreja, "A Stochastic Model for Order Book Dynamics" (Operations Research 58(3),
2010). All orders are of one unit. At a distance of i ticks from the opposite best quote limit
orders arrive at the rate lambda(i) and each resting one is cancelled at the rate theta(i); market
orders arrive at the rate mu on each side. Rates are a second. `b` and `a` are the orders at the
best bid and ask, `spread` is S in ticks; rows are bids and columns asks, as in the paper's tables.

The paper inverts Laplace transforms; here the chain itself is solved (see `race`), to about 1e-9.
`mid_up_probability_laplace` is the paper's way, for comparison.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import COUNT_MAX, Floats, as_given, not_negative, numbers, row, whole
from lob.errors import InvalidInput
from lob.in_floats import in_floats
from lob.queueing.birth_death import BirthDeath, linear_death
from lob.queueing.cont_de_larrard import cont_de_larrard_up_probability
from lob.queueing.laplace import ComplexArray, Transform, first_of_two
from lob.queueing.race import (
    first_depleted,
    mean_first_depletion,
    settle,
    solve_both,
    tridiagonal,
)
from lob.queueing.state_dependent import fill_before_depletion

Counts = ArrayLike

_QUEUE_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ContStoikovTalreja:
    """Hold the model's rates: `lambda_[i - 1]` and `theta[i - 1]` at a distance of i ticks.

    >>> model = ContStoikovTalreja(lambda_=(1.85,), theta=(0.71,), mu=0.94)
    >>> round(float(model.mid_up_probability(b=2, a=1)), 4)
    0.6648
    >>> round(float(model.bid_fill_probability(b=1, a=5)), 3)
    0.882
    """

    lambda_: tuple[float, ...]
    theta: tuple[float, ...]
    mu: float

    def __post_init__(self) -> None:
        for name in ("lambda_", "theta"):
            found = row(name, np.atleast_1d(numbers(name, getattr(self, name), low=0)))
            object.__setattr__(self, name, tuple(map(float, found)))
        object.__setattr__(self, "mu", not_negative("mu", self.mu))
        if len(self.theta) != len(self.lambda_):
            raise InvalidInput(
                f"theta: {len(self.theta)} distances; allowed: as many as lambda_ has "
                f"({len(self.lambda_)})"
            )
        if not self.mu and not any(self.theta):
            raise InvalidInput("mu: 0.0; allowed: above 0 where nothing is cancelled either")

    def inside_rate(self, spread: int) -> float:
        """Return Lambda_S, the rate of limit orders of one side that come inside the spread."""
        return float(sum(self.lambda_[: self._spread(spread) - 1]))

    def best_queue(self, spread: int = 1) -> BirthDeath:
        """Return the queue at a best quote: births lambda(S), deaths mu + n theta(S)."""
        at = self._spread(spread) - 1
        return BirthDeath(self.lambda_[at], linear_death(self.mu, self.theta[at]))

    def mid_up_probability(self, *, b: Counts, a: Counts, spread: int = 1) -> Floats:
        """Return P(the next move of the mid is up), Proposition 3; the shape of `b` and `a`.

        Up: the ask queue is depleted or a bid comes inside the spread, before the opposite.
        """
        queue, inside = self.best_queue(spread), self.inside_rate(spread)
        pairs, bids, asks = _pairs(b, a)
        if not inside and not self.theta[spread - 1]:
            # Constant rates: such queues may grow without bound, and have a formula of their own.
            rates = {"lam": self.lambda_[spread - 1], "mu": self.mu}
            return cont_de_larrard_up_probability(*pairs, **rates)
        both = ((queue.birth, queue.birth), (queue.death, queue.death))
        table = first_depleted(*both, sizes=(asks, bids), wins=inside, losses=inside)
        return _picked(table.T, pairs)

    def mid_up_probability_laplace(self, *, b: int, a: int, spread: int = 1) -> float:
        """Return the same by Proposition 3 itself, its transform inverted at 0; about 1e-6."""
        queue, inside = self.best_queue(spread), self.inside_rate(spread)

        def first(start: int) -> Transform:
            def transform(s: ComplexArray) -> ComplexArray:
                passed = queue.first_passage_laplace(s + inside, start=start)
                if not inside:
                    return passed
                return np.asarray(passed + inside / (inside + s) * (1 - passed))

            return transform

        up, down = (first(whole(name, n, 1, COUNT_MAX)) for name, n in (("a", a), ("b", b)))
        return first_of_two(up, down, self.mu + self.lambda_[0] + self.theta[0])

    def bid_fill_probability(self, *, b: Counts, a: Counts, spread: int = 1) -> Floats:
        """Return P(our bid, last of the b at the best, trades before the mid moves): Section 4.3.

        It is never cancelled; those ahead of it are. With b = 1 it is alone. The journal's Table 4
        does not print this but, to its last digit, `1 - ask_fill_probability`: the chance that the
        b bids are used up before an order that is last of the a asks trades.
        """
        pairs, bids, asks = _pairs(b, a)
        return _picked(self._one_side(bids, asks, spread), pairs)

    def ask_fill_probability(self, *, b: Counts, a: Counts, spread: int = 1) -> Floats:
        """Return P(our ask, last of the a at the best, trades before the mid moves), likewise."""
        return self.bid_fill_probability(b=a, a=b, spread=spread)

    def making_the_spread_probability(self, *, b: Counts, a: Counts, spread: int = 1) -> Floats:
        """Return P(our bid and our ask both trade before the mid moves): Proposition 5.

        Ours are the last of the b bids and of the a asks at the best quotes and are never
        cancelled. Once one has traded, the orders that have come behind it are all of its queue.
        """
        pairs, bids, asks = _pairs(b, a)
        size = max(bids, asks)

        def solve(levels: int) -> Floats:
            ask_first = self._ask_first(levels, size, spread)
            table = np.zeros((levels, levels))
            table[:size, :size] = ask_first + ask_first.T
            return table

        return _picked(settle(solve, size, size)[:bids, :asks], pairs)

    def bid_fill_cdf(self, t: ArrayLike, *, b: int, a: int, spread: int = 1) -> Floats:
        """Return P(our bid, last of the b, trades by t and before the mid moves); t's shape.

        The probability of Proposition 4 with a horizon; at t infinite it is that one.
        """
        theta = self.theta[self._spread(spread) - 1]
        ahead = whole("b", b, 1, _QUEUE_MAX) - 1
        queue = self.best_queue(spread)
        return fill_before_depletion(
            t,
            stages=as_given(self.mu + theta * np.arange(ahead, -1, -1)),
            opposite=whole("a", a, 1, _QUEUE_MAX),
            birth=queue.birth,
            death=queue.death,
            killing=2 * self.inside_rate(spread),
        )

    def deeper_bid_fill_probability(
        self, *, b: int, a: int, n_ahead: int = 0, spread: int = 1
    ) -> float:
        """Return P(our bid one tick below the best trades before the ask moves).

        The b best bids must go first, while the `n_ahead` before us at our own price can only be
        cancelled; then ours is the best price at a spread one wider, and waits as in Proposition 4.
        An order that comes inside the spread, before or after, ends the wait: a bid there would
        stand before ours again (Lokin and Yu 2024 treat orders deeper than the best likewise).
        """
        bids, asks = whole("b", b, 1, _QUEUE_MAX), whole("a", a, 1, _QUEUE_MAX)
        ahead, wider = whole("n_ahead", n_ahead, 0, _QUEUE_MAX), self._spread(spread) + 1
        self._spread(wider)
        theta = self.theta[wider - 1]

        def solve(levels: int) -> Floats:
            births, deaths = self._rates(levels, spread)
            after = self._fills(ahead + 1, levels, wider)
            found = np.zeros((levels, levels))
            for waiting in range(ahead + 1):
                source = waiting * theta * found
                source[0] += deaths[0] * after[waiting]
                killing = 2 * self.inside_rate(spread) + waiting * theta
                found = solve_both((births, births), (deaths, deaths), killing, as_given(source))
            return found

        return float(settle(solve, bids, asks)[bids - 1, asks - 1])

    def mid_move_cdf(self, t: ArrayLike, *, b: int, a: int, spread: int = 1) -> Floats:
        """Return P(the mid has moved by t), t in seconds: either queue depleted or an order inside.

        Section 3.2 of the paper: the minimum of four independent times.
        """
        queue, inside = self.best_queue(spread), self.inside_rate(spread)
        times = numbers("t", t, low=0)
        bid_left = 1 - queue.first_passage_cdf(times, start=whole("b", b, 1, COUNT_MAX))
        ask_left = 1 - queue.first_passage_cdf(times, start=whole("a", a, 1, COUNT_MAX))
        return np.asarray(1 - bid_left * ask_left * np.exp(-2 * inside * times))[()]

    def mid_move_mean(self, *, b: Counts, a: Counts, spread: int = 1) -> Floats:
        """Return the mean time in seconds until the mid moves; the shape of `b` and `a`."""
        queue, inside = self.best_queue(spread), self.inside_rate(spread)
        pairs, bids, asks = _pairs(b, a)
        both = ((queue.birth, queue.birth), (queue.death, queue.death))
        table = mean_first_depletion(*both, sizes=(bids, asks), killing=2 * inside)
        return _picked(table, pairs)

    def _spread(self, spread: int) -> int:
        return whole("spread", spread, 1, len(self.lambda_))

    def _one_side(self, positions: int, opposite: int, spread: int) -> Floats:
        """Return P(fill before the mid moves): row, our position; column, the opposite queue."""
        return settle(lambda levels: self._fills(positions, levels, spread), positions, opposite)

    def _fills(self, positions: int, levels: int, spread: int) -> Floats:
        """Return the same for opposite queues up to `levels`, padded to a square."""
        at = self._spread(spread) - 1
        births, deaths = self._rates(levels, spread)
        table = np.zeros((max(levels, positions), levels))
        value: Floats = np.ones(levels)
        for ahead in range(positions):
            traded = self.mu + ahead * self.theta[at]
            killing = 2 * self.inside_rate(spread) + traded
            value = as_given(np.linalg.solve(tridiagonal(births, deaths, killing), traded * value))
            table[ahead] = value
        return table

    def _rates(self, levels: int, spread: int) -> tuple[Floats, Floats]:
        at = self._spread(spread) - 1
        sizes = np.arange(1, levels + 1)
        return as_given(np.full(levels, self.lambda_[at])), as_given(
            self.mu + self.theta[at] * sizes
        )

    def _ask_first(self, levels: int, size: int, spread: int) -> Floats:
        """Return P(our ask trades, then our bid, before the mid moves): row, bids; column, asks."""
        at = self._spread(spread) - 1
        theta, inside = self.theta[at], 2 * self.inside_rate(spread)
        # After our ask: our bid's place against as many asks as came behind it; none means a move.
        bid_next = np.zeros((size + 1, levels))
        bid_next[1:, 1:] = self._fills(size, levels, spread)[:size, : levels - 1]
        behind = np.full(levels, self.lambda_[at])
        cancels = as_given(theta * np.arange(levels))
        value: dict[tuple[int, int], Floats] = {}
        found = np.zeros((size, size))
        for bids in range(1, size + 1):
            for asks in range(1, size + 1):
                bid_rate = self.mu + (bids - 1) * theta
                ask_rate = self.mu + (asks - 1) * theta
                matrix = tridiagonal(behind, cancels, inside + bid_rate + ask_rate)
                right = ask_rate * (value[bids, asks - 1] if asks > 1 else bid_next[bids])
                if bids > 1:
                    right = right + bid_rate * value[bids - 1, asks]
                value[bids, asks] = np.linalg.solve(matrix, right)
                found[bids - 1, asks - 1] = value[bids, asks][0]
        return found


SKY_PERFECT: Final = ContStoikovTalreja(
    lambda_=(1.85, 1.51, 1.09, 0.88, 0.77), theta=(0.71, 0.81, 0.68, 0.56, 0.47), mu=0.94
)
"""The paper's estimates for Sky Perfect Communications (its section 4)."""


@in_floats
def power_law_arrivals(i: Counts, *, k: float, alpha: float) -> Floats:
    """Return lambda(i) = k / i^alpha, a second, at i ticks (the paper's section 2.3).

    >>> round(float(power_law_arrivals(1, k=1.92, alpha=0.52)), 2)
    1.92
    """
    distances = numbers("i", i, low=1)
    k, alpha = not_negative("k", k), not_negative("alpha", alpha)
    return np.asarray(k * distances**-alpha)[()]


@in_floats
def cst_mid_up_probability(
    *, b: Counts, a: Counts, lambda_: ArrayLike, theta: ArrayLike, mu: float, spread: int = 1
) -> Floats:
    """Return `ContStoikovTalreja.mid_up_probability`; rates by distance, or one for spread 1.

    >>> round(float(cst_mid_up_probability(b=1, a=2, lambda_=1.85, theta=0.71, mu=0.94)), 4)
    0.3352
    """
    return _model(lambda_, theta, mu).mid_up_probability(b=b, a=a, spread=spread)


@in_floats
def cst_mid_move_cdf(
    t: ArrayLike,
    *,
    b: int,
    a: int,
    lambda_: ArrayLike,
    theta: ArrayLike,
    mu: float,
    spread: int = 1,
) -> Floats:
    """Return `ContStoikovTalreja.mid_move_cdf`, P(the mid has moved by t); t in seconds.

    >>> rates = {"lambda_": 1.85, "theta": 0.71, "mu": 0.94}
    >>> round(float(cst_mid_move_cdf(1.0, b=1, a=1, **rates)), 4)
    0.834
    """
    return _model(lambda_, theta, mu).mid_move_cdf(t, b=b, a=a, spread=spread)


@in_floats
def cst_mid_move_mean(
    *, b: Counts, a: Counts, lambda_: ArrayLike, theta: ArrayLike, mu: float, spread: int = 1
) -> Floats:
    """Return `ContStoikovTalreja.mid_move_mean`, the mean seconds until the mid moves."""
    return _model(lambda_, theta, mu).mid_move_mean(b=b, a=a, spread=spread)


@in_floats
def cst_bid_fill_probability(
    *, b: Counts, a: Counts, lambda_: ArrayLike, theta: ArrayLike, mu: float, spread: int = 1
) -> Floats:
    """Return `ContStoikovTalreja.bid_fill_probability`; rates by distance, or one for spread 1."""
    return _model(lambda_, theta, mu).bid_fill_probability(b=b, a=a, spread=spread)


@in_floats
def cst_making_the_spread_probability(
    *, b: Counts, a: Counts, lambda_: ArrayLike, theta: ArrayLike, mu: float, spread: int = 1
) -> Floats:
    """Return `ContStoikovTalreja.making_the_spread_probability`, as the two above."""
    return _model(lambda_, theta, mu).making_the_spread_probability(b=b, a=a, spread=spread)


def _model(lambda_: ArrayLike, theta: ArrayLike, mu: float) -> ContStoikovTalreja:
    rows = [
        np.atleast_1d(numbers(n, v, low=0)) for n, v in (("lambda_", lambda_), ("theta", theta))
    ]
    return ContStoikovTalreja(lambda_=tuple(rows[0]), theta=tuple(rows[1]), mu=mu)


def _pairs(b: Counts, a: Counts) -> tuple[tuple[Floats, Floats], int, int]:
    """Return indices of the pairs, and the largest queue of each side."""
    bids, asks = (_queues(name, values) for name, values in (("b", b), ("a", a)))
    try:
        one, other = np.broadcast_arrays(bids, asks)
    except ValueError:
        raise InvalidInput(
            f"b: shape {bids.shape} beside a's {asks.shape}; allowed: shapes that go together"
        ) from None
    if not one.size:
        raise InvalidInput("b: no queue; allowed: one or more")
    return (one, other), int(one.max()), int(other.max())


def _queues(name: str, values: Counts) -> Floats:
    found = numbers(name, values, low=1, high=_QUEUE_MAX)
    if np.any(found != np.floor(found)):
        raise InvalidInput(f"{name}: {values!r}; allowed: whole numbers from 1 to {_QUEUE_MAX}")
    return found


def _picked(table: Floats, pairs: tuple[Floats, Floats]) -> Floats:
    rows, columns = (side.astype(np.intp) - 1 for side in pairs)
    return np.asarray(table[rows, columns])[()]
