"""The units before an order, and then its own, as a Markov chain that only goes down.

A state is the number of units still to go: those ahead, then our own. Market orders come at the
rate mu and take 1, 2, ... units from the front (compound Poisson); each unit ahead, never ours, is
cancelled at the rate theta: the filling stages of Cont, Stoikov and Talreja (Operations Research
58, 2010, section 3.3), with sizes. One matrix exponential gives every number of units ahead.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from lob.bounds import Floats, as_given
from lob.queueing.special import poisson_window

AHEAD_MAX: Final = 128
OWN_MAX: Final = 64
_SMALLEST: Final = 8
_EVENTS_MAX: Final = 20_000
_MATRIX_STATES: Final = 48
_STEPS: Final = 1_000


@dataclass(frozen=True, slots=True)
class ChainAnswer:
    """Hold what the chain says of one order; see `FillForecast`.

    `sensitivity` is T dP/dT: the most by which P moves when a rate moves by a share of itself.
    """

    full: float
    any: float
    own_share: float
    capped_mean_s: float
    mean_s: float
    sensitivity: float


@dataclass(frozen=True, slots=True, eq=False)
class ChainTable:
    """Hold the chain's answers for 0, 1, ... units ahead; means in seconds."""

    full: Floats
    any: Floats
    own_share: Floats
    capped_mean_s: Floats
    mean_s: Floats
    sensitivity: Floats


def generator(mu: float, theta: float, sizes: tuple[float, ...], *, ahead: int, own: int) -> Floats:
    """Return the chain's generator, a second, on 0..ahead + own units to go; row: from."""
    states = ahead + own + 1
    found = np.zeros((states, states))
    left = np.arange(1, states)
    for lots, chance in enumerate(sizes, 1):
        if chance:
            np.add.at(found, (left, np.maximum(left - lots, 0)), mu * chance)
    found[left, left - 1] += theta * np.maximum(left - own, 0)
    np.fill_diagonal(found, 0.0)
    np.fill_diagonal(found, -found.sum(axis=1))
    return found


@lru_cache(maxsize=4096)
def chain_table(
    mu: float, theta: float, sizes: tuple[float, ...], ahead: int, own: int, horizon_s: float
) -> ChainTable:
    """Return the answers for 0..ahead units ahead of `own` of ours. O((ahead + own)^3), cached."""
    rates = generator(mu, theta, sizes, ahead=ahead, own=own)
    left = np.arange(ahead + own + 1)
    asked = np.column_stack([left == 0, left < own, np.maximum(own - left, 0) / own])
    if math.isinf(horizon_s):
        done = np.ones(3) if mu > 0 else np.zeros(3)
        found = np.where(left[:, None] == 0, asked, done)
    else:
        found = moved(rates, horizon_s, asked)
    found = np.minimum.accumulate(np.clip(found, 0.0, 1.0), axis=0)
    mean = _mean(rates)
    if math.isinf(horizon_s):
        capped, flow = mean, np.zeros(len(left))
    else:
        # E min(T, h) = (-Q)^-1 P(T <= h) on the states that are not done: no difference is taken.
        passed = found[1:, 0]
        capped = np.concatenate([[0.0], _solved(rates, passed, horizon_s)])
        flow = horizon_s * np.maximum(rates @ found[:, 0], 0.0)
    ours = slice(own, None)
    full, some, share = (found[ours, k] for k in range(3))
    return ChainTable(full, some, share, capped[ours], mean[ours], flow[ours])


def moved(rates: Floats, t: float, values: Floats) -> Floats:
    """Return exp(t rates) @ values for a generator: the values' mean at t, from each state.

    By uniformisation, all terms positive: so many steps of the jump chain where they are few; else
    a Taylor sum of sixteen terms for t / 2^k, squared k times.
    """
    rate = float(-rates.diagonal().min())
    if rate * t == 0:
        return values.astype(np.float64)
    jumps = rates / rate
    jumps[np.diag_indices_from(jumps)] += 1.0
    if len(rates) > _MATRIX_STATES and rate * t < _STEPS:
        return _stepped(jumps, rate * t, values)
    squarings = max(0, math.ceil(math.log2(rate * t)))
    kernel = _short(jumps, rate * t / 2.0**squarings)
    # The last squarings cost less as products with the few columns asked for.
    by_columns = min(squarings, 3)
    for _ in range(squarings - by_columns):
        kernel = kernel @ kernel
    found = values
    for _ in range(2**by_columns):
        found = kernel @ found
    return as_given(found)


def _short(jumps: Floats, mean: float) -> Floats:
    """Return the kernel of a Poisson number of jumps of mean at most 1, by Horner's rule in J^4."""
    powers = [np.eye(len(jumps)), jumps]
    powers += [jumps @ jumps, jumps @ jumps @ jumps]
    fourth = powers[2] @ powers[2]
    weights = [math.exp(-mean)]
    for k in range(1, 16):
        weights.append(weights[-1] * mean / k)
    found = np.zeros_like(jumps)
    for block in range(12, -1, -4):
        if block < 12:  # noqa: PLR2004 - the first block has nothing to be multiplied
            found = found @ fourth
        found += sum(weights[block + k] * powers[k] for k in range(4))
    return found


def _stepped(jumps: Floats, mean: float, values: Floats) -> Floats:
    first, weights = poisson_window(mean)
    found, at = np.zeros_like(values, dtype=np.float64), values.astype(np.float64)
    for step in range(first + len(weights)):
        if step >= first:
            found += weights[step - first] * at
        at = jumps @ at
    return as_given(found / weights.sum())


def _mean(rates: Floats) -> Floats:
    inner = -rates[1:, 1:]
    if np.any(np.diag(inner) <= 0):
        return np.concatenate([[0.0], np.full(len(inner), np.inf)])
    return np.concatenate([[0.0], np.linalg.solve(inner, np.ones(len(inner)))])


def _solved(rates: Floats, passed: Floats, horizon_s: float) -> Floats:
    inner = -rates[1:, 1:]
    if np.any(np.diag(inner) <= 0):  # nothing trades: nothing passes
        return np.full(len(inner), horizon_s)
    return as_given(np.clip(np.linalg.solve(inner, passed), 0.0, horizon_s))


def chain_answer(
    mu: float,
    theta: float,
    sizes: tuple[float, ...],
    *,
    ahead: float,
    own: float,
    horizon_s: float,
) -> ChainAnswer:
    """Return the answer for `ahead` units, which need not be whole, ahead of `own` of ours.

    Between whole units ahead it is linear; a part of an own unit counts as one. Beyond 128 units
    ahead the queue comes down to 128 as a fluid, by its mean rate; more than 64 own units are
    counted in coarser ones.
    """
    coarse = max(1, math.ceil(own / OWN_MAX))
    ahead, own_units, mu = ahead / coarse, math.ceil(own / coarse), mu / coarse
    delay = 0.0
    if ahead > AHEAD_MAX:
        mean_size = sum(lots * chance for lots, chance in enumerate(sizes, 1))
        delay = _fluid_time(mu * mean_size, theta, ahead, AHEAD_MAX)
        ahead = AHEAD_MAX
    if delay >= horizon_s:
        return _not_yet(mu, theta, sizes, own_units, horizon_s, delay)
    low = math.floor(ahead)
    high = math.ceil(ahead)
    capacity = max(_SMALLEST, 1 << (high - 1).bit_length()) if high else _SMALLEST
    table = chain_table(mu, theta, sizes, min(capacity, AHEAD_MAX), own_units, horizon_s - delay)
    part = ahead - low

    def at(values: Floats) -> float:
        below = float(values[low])
        # infinite means: no difference of two infinities
        return below if not part else below * (1 - part) + float(values[high]) * part

    return ChainAnswer(
        full=at(table.full),
        any=at(table.any),
        own_share=at(table.own_share),
        capped_mean_s=at(table.capped_mean_s) + delay,
        mean_s=at(table.mean_s) + delay,
        sensitivity=at(table.sensitivity) * _stretch(horizon_s, delay),
    )


def _stretch(horizon_s: float, delay: float) -> float:
    """Return by how much the rates' errors weigh more where part of the horizon is a delay."""
    return horizon_s / (horizon_s - delay) if math.isfinite(horizon_s) else 1.0


def _not_yet(
    mu: float, theta: float, sizes: tuple[float, ...], own: int, horizon_s: float, delay: float
) -> ChainAnswer:
    if math.isinf(delay):
        return ChainAnswer(0.0, 0.0, 0.0, horizon_s, math.inf, 0.0)
    mean = float(chain_table(mu, theta, sizes, AHEAD_MAX, own, 0.0).mean_s[AHEAD_MAX])
    return ChainAnswer(0.0, 0.0, 0.0, horizon_s, mean + delay, 0.0)


def _fluid_time(rate: float, theta: float, start: float, end: float) -> float:
    """Return the time in which dn/dt = -(rate + theta n) brings n from `start` to `end`."""
    if theta * start < 1e-12 * rate or not theta:
        return (start - end) / rate if rate else math.inf
    return math.log((rate + theta * start) / (rate + theta * end)) / theta


def chain_curve(
    mu: float,
    theta: float,
    sizes: tuple[float, ...],
    *,
    ahead: int,
    own: int,
    times_s: Floats,
) -> Floats:
    """Return P(fully filled by t) at many times, by uniformisation; `times_s` one-dimensional."""
    rates = generator(mu, theta, sizes, ahead=ahead, own=own)
    rate = float(-rates.diagonal().min())
    longest = float(times_s.max(initial=0.0))
    if rate * longest == 0:
        return np.zeros(len(times_s))
    if rate * longest > _EVENTS_MAX:
        return _curve_by_steps(rates, times_s)
    jumps = np.eye(len(rates)) + rates / rate
    first, weights = poisson_window(rate * longest)
    passed = np.empty(first + len(weights))
    value = (np.arange(len(rates)) == 0).astype(np.float64)
    for step in range(len(passed)):
        passed[step] = value[-1]
        value = jumps @ value
    found = np.empty(len(times_s))
    for i, t in enumerate(times_s):
        first, weights = poisson_window(rate * float(t))
        found[i] = weights @ passed[first : first + len(weights)]
    return as_given(np.clip(found, 0.0, 1.0))


def _curve_by_steps(rates: Floats, times_s: Floats) -> Floats:
    done = (np.arange(len(rates)) == 0).astype(np.float64)
    found = [moved(rates, float(t), done)[-1] for t in times_s]
    return as_given(np.clip(found, 0.0, 1.0))
