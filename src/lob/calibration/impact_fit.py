"""Coefficients of market impact from a tape: what trades cost, and what stays of it.

Permanent impact is the slope of the mid's moves on signed volume over equal intervals; temporary
impact what aggressive orders moved the mid by at once beyond that, as eta sigma (Q/ADV)^delta
(Almgren, Thum, Hauptmann and Li 2005). Volume and volatility of a day are the tape's, drawn out to
a session's length: a quiet or a wild hour gives a quiet or a wild day.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from lob.bounds import Floats, positive
from lob.calibration.measures import Aggressors, aggressors, grid, mids
from lob.calibration.tape import Tape
from lob.errors import InvalidInput
from lob.impact import fit_power_impact, fit_price_impact

INTERVAL_SECONDS: Final = 10.0
AT_ONCE_SECONDS: Final = 0.1
MIN_INTERVALS: Final = 30


class Coefficient(NamedTuple):
    """An estimate, its standard error, the share of variance explained, and of how many."""

    value: float
    error: float
    r2: float
    n: int

    @property
    def significant(self) -> bool:
        """Return whether it is more than two standard errors above 0."""
        return self.value > 2 * self.error


class ImpactFit(NamedTuple):
    """Coefficients in the units of `lob.config.MarketImpactConfig`.

    `gamma` moves the mid by gamma Q/ADV, for good; `eta` by eta sigma (Q/ADV)^`delta` at once;
    `square_root` is Y of Y sigma sqrt(Q/ADV), `linear` the coefficient of Q/ADV, both of the whole
    move at once. `kyle` is in price by unit of quantity. `sigma` is the volatility and
    `adv_quantity` the volume of a day of `session_seconds`; `sigma_error` by the fourth moment.
    """

    gamma: Coefficient
    eta: Coefficient
    delta: float
    square_root: Coefficient
    linear: Coefficient
    kyle: Coefficient
    sigma: float
    sigma_error: float
    adv_quantity: float
    session_seconds: float


def fit_impact(tape: Tape, *, session_seconds: float = 23_400.0) -> ImpactFit:
    """Return the coefficients that a tape speaks for.

    Raises:
        InvalidInput: fewer than 30 intervals of 10 s or aggressive orders, or prices that never
            move.
    """
    positive("session_seconds", session_seconds)
    took = aggressors(tape)
    count = math.floor(tape.duration / INTERVAL_SECONDS)
    if min(count, len(took.sign)) < MIN_INTERVALS:
        raise InvalidInput(
            f"messages: {count} intervals of {INTERVAL_SECONDS:g} s, {len(took.sign)} aggressive "
            f"orders; allowed: {MIN_INTERVALS} or more of both"
        )
    edges = grid(count, INTERVAL_SECONDS)
    moves = np.diff(np.log(mids(tape, edges)))
    if not moves.any():
        raise InvalidInput("messages: the mid never moves; allowed: prices that do")
    if not tape.quotes.two_sided[took.first].sum() >= MIN_INTERVALS:
        raise InvalidInput(
            "messages: hardly an aggressive order met both sides of the book; allowed: a two-sided "
            "market"
        )
    sigma, sigma_error = _volatility(moves, session_seconds)
    adv_lots = float(took.lots.sum()) / tape.duration * session_seconds
    flow, _ = np.histogram(took.seconds, edges, weights=took.sign * took.lots)
    permanent = fit_price_impact(moves, flow / adv_lots)
    error = abs(permanent.beta / permanent.t_beta) if permanent.t_beta else math.inf
    gamma = Coefficient(permanent.beta, error, permanent.r2, permanent.n)
    size, cost = _at_once(tape, took, adv_lots)
    temporary = cost - max(gamma.value, 0.0) * size
    fit = fit_power_impact(temporary, size, np.full(len(size), sigma))
    lot = float(tape.instrument.lot_size)
    price = float(np.median(mids(tape, edges))) * float(tape.instrument.tick_size)
    kyle = price / (adv_lots * lot)
    return ImpactFit(
        gamma=gamma,
        eta=_slope(temporary, sigma * size**fit.delta),
        delta=fit.delta,
        square_root=_slope(cost, sigma * np.sqrt(size)),
        linear=_slope(cost, size),
        kyle=Coefficient(gamma.value * kyle, gamma.error * kyle, gamma.r2, gamma.n),
        sigma=sigma,
        sigma_error=sigma_error,
        adv_quantity=adv_lots * lot,
        session_seconds=session_seconds,
    )


def _volatility(moves: Floats, session_seconds: float) -> tuple[float, float]:
    """Return the volatility of a session, and its standard error."""
    squares = moves**2
    variance = float(squares.mean())
    sigma = math.sqrt(variance * session_seconds / INTERVAL_SECONDS)
    error = float(squares.std(ddof=1)) / math.sqrt(len(squares))
    return sigma, sigma * error / (2 * variance)


def _at_once(tape: Tape, took: Aggressors, adv_lots: float) -> tuple[Floats, Floats]:
    """Return each aggressive order's Q/ADV, and the signed log move of the mid just after it."""
    both = tape.quotes.two_sided[took.first]
    both &= took.seconds + AT_ONCE_SECONDS <= tape.duration
    before = tape.quotes.mid[took.first][both]
    after = mids(tape, took.seconds[both] + AT_ONCE_SECONDS)
    return took.lots[both] / adv_lots, np.log(after / before) * took.sign[both]


def _slope(y: Floats, x: Floats) -> Coefficient:
    """Return the slope of a line through the origin, with White's error."""
    sxx = float(x @ x)
    slope = float(x @ y) / sxx
    residual = y - slope * x
    total = float(y @ y)
    error = math.sqrt(float((x * residual) @ (x * residual))) / sxx
    return Coefficient(
        slope, error, 1 - float(residual @ residual) / total if total else 1.0, len(y)
    )
