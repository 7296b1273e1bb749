"""Moments and quantiles of what is really drawn: scaled, with spikes, between bounds.

A leg's draw is X f, times the spike multiplier m with probability p, then clamped. Its distribution
function is (1 - p) F(t / f) + p F(t / (f m)) between the bounds.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from lob.bounds import Floats, positive, share
from lob.errors import InvalidInput
from lob.latency.distributions import Constant, Empirical, Law, require_level
from lob.latency.model import Component, Conditions, LatencyModel

_BISECTIONS: Final = 200
_GRID: Final = 1 << 15
_TAIL: Final = 1e-7
_NODES: Final = 20
_BULK: Final = (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99)
_LEVELS: Final = (*_BULK, *(1 - 10.0**-k for k in range(3, 14)))


@dataclass(frozen=True, slots=True)
class ConditionedLaw:
    """A law under conditions, at one time and volatility: `factor` is what both multiply it by.

    >>> law = ConditionedLaw(Constant(100.0), Conditions(spike_probability=0.1,
    ...                                                  spike_multiplier=5.0))
    >>> law.mean_us, round(law.sd_us, 6), law.quantile_us(0.9), law.quantile_us(0.95)
    (140.0, 120.0, 100.0, 500.0)
    """

    law: Law
    conditions: Conditions
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.factor:  # a volatility far below normal may bring it to 0
            positive("factor", self.factor)

    @property
    def mean_us(self) -> float:
        """Return the mean: f E[X] (1 + p (m - 1)) where nothing is clamped."""
        return self._moments()[0]

    @property
    def sd_us(self) -> float:
        """Return the standard deviation: E[draw^2] is f^2 E[X^2] (1 + p (m^2 - 1)), unclamped."""
        mean, second = self._moments()
        return math.sqrt(max(0.0, second - mean**2)) if math.isfinite(second) else math.inf

    def draw(self, rng: np.random.Generator) -> float:
        """Return one latency in microseconds."""
        conditions = self.conditions
        time_us = self.law.draw(rng) * self.factor
        if conditions.spike_probability and rng.random() < conditions.spike_probability:
            time_us *= conditions.spike_multiplier
        return min(max(time_us, conditions.min_us), conditions.max_us)

    def cdf(self, times_us: Floats) -> Floats:
        """Return P(draw <= time) at each time."""
        times = np.asarray(times_us, dtype=np.float64)
        conditions, chance = self.conditions, self.conditions.spike_probability
        below = self._scaled_cdf(times, self.factor)
        if chance:
            spiked = self._scaled_cdf(times, self.factor * conditions.spike_multiplier)
            below = (1 - chance) * below + chance * spiked
        bounded = np.where(times >= conditions.max_us, 1.0, below)
        return np.where(times < conditions.min_us, 0.0, bounded)

    def quantile_us(self, level: float) -> float:
        """Return the least time that a share `level` of draws does not exceed, to 1e-12 relative.

        Closed form without spikes; else the mixture is bisected between its parts' quantiles.
        """
        require_level(level)
        conditions, chance = self.conditions, self.conditions.spike_probability
        low = self.law.quantile_us(level) * self.factor if self.factor else 0.0
        if chance and self.factor:
            low = self._mixture_quantile(level, low)
        return min(max(low, conditions.min_us), conditions.max_us)

    def _mixture_quantile(self, level: float, low: float) -> float:
        high = low * self.conditions.spike_multiplier
        if not math.isfinite(high) or level == 0:
            return low
        free = ConditionedLaw(
            self.law,
            Conditions(
                spike_probability=self.conditions.spike_probability,
                spike_multiplier=self.conditions.spike_multiplier,
            ),
            self.factor,
        )
        # a level such as 0.9 is met by a share 1 - p of 0.9, rounding or no rounding
        wanted = level - 1e-14
        if float(free.cdf(np.array([low]))[0]) >= wanted:
            return low
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if not low < middle < high:
                break
            if float(free.cdf(np.array([middle]))[0]) >= wanted:
                high = middle
            else:
                low = middle
        return high

    def _scaled_cdf(self, times: Floats, factor: float) -> Floats:
        if not factor:
            return np.asarray(times >= 0, dtype=np.float64)
        return self.law.cdf(times / factor)

    def _moments(self) -> tuple[float, float]:
        """Return E[draw] and E[draw^2]."""
        conditions, chance = self.conditions, self.conditions.spike_probability
        low, high, multiplier = conditions.min_us, conditions.max_us, conditions.spike_multiplier
        if isinstance(self.law, Constant | Empirical):
            samples = np.atleast_1d(getattr(self.law, "samples_us", self.law.mean_us))
            plain = np.clip(samples * self.factor, low, high)
            spiked = np.clip(samples * self.factor * multiplier, low, high)
            first = (1 - chance) * plain.mean() + chance * spiked.mean()
            second = (1 - chance) * (plain**2).mean() + chance * (spiked**2).mean()
            return float(first), float(second)
        mean = self.law.mean_us * self.factor
        second = (self.law.mean_us**2 + self.law.sd_us**2) * self.factor**2
        mean *= 1 + chance * (multiplier - 1)
        second *= 1 + chance * (multiplier**2 - 1)
        if math.isinf(high):
            # E[max(X, low)] = E[X] + integral of F below low
            first_part, second_part = self._integrals(0.0, low, above=False)
            return mean + first_part, second + second_part
        first_part, second_part = self._integrals(low, high, above=True)
        return low + first_part, low**2 + second_part

    def _integrals(self, low: float, high: float, *, above: bool) -> tuple[float, float]:
        """Return the integrals of F, or of 1 - F, and of 2 t times it, over low..high.

        Gauss-Legendre over panels between quantiles, then doubling: 1e-9 relative.
        """
        if not low < high or not self.factor:
            return 0.0, 0.0
        scales = {self.factor, self.factor * self.conditions.spike_multiplier}
        edges = {low, high}
        for scale in scales:
            edges |= {self.law.quantile_us(level) * scale for level in (*_LEVELS, 1.0)}
        inside = sorted(edge for edge in edges if low <= edge <= high)
        last = inside[-2] if len(inside) > 1 else low
        while last > 0 and 2 * last < high:
            last *= 2
            inside.append(last)
        ends = np.unique(inside)
        half, centre = np.diff(ends)[:, None] / 2, ((ends[:-1] + ends[1:]) / 2)[:, None]
        nodes, node_weights = np.polynomial.legendre.leggauss(_NODES)
        times = centre + half * nodes
        heights = self._free_cdf(times)
        heights = 1 - heights if above else heights
        weights = half * node_weights
        return float((weights * heights).sum()), float((weights * heights * 2 * times).sum())

    def _free_cdf(self, times: Floats) -> Floats:
        chance, multiplier = self.conditions.spike_probability, self.conditions.spike_multiplier
        spiked = self._scaled_cdf(times, self.factor * multiplier) if chance else 0.0
        return (1 - chance) * self._scaled_cdf(times, self.factor) + chance * spiked


def leg_law(
    model: LatencyModel, leg: Component, timestamp_ns: int = 0, volatility_ratio: float = 1.0
) -> ConditionedLaw:
    """Return the law of what a model draws for a leg, at a time and a volatility.

    The model rounds to whole nanoseconds, which is left out here.
    """
    law = model.legs[leg]
    if not isinstance(law, Law):
        allowed = "a law with sd_us, cdf and quantile_us"
        raise InvalidInput(f"legs: {leg.value} is {type(law).__name__}; allowed: {allowed}")
    factor = model.conditions.factor(timestamp_ns, volatility_ratio)
    return ConditionedLaw(law, model.conditions, factor)


@dataclass(frozen=True, slots=True)
class SumOfLaws:
    """Independent latencies one after another, such as order, exchange and fill.

    >>> way = SumOfLaws((Constant(5.0), Constant(7.0)))
    >>> way.mean_us, way.sd_us, way.quantile_us(0.99)
    (12.0, 0.0, 12.0)
    """

    laws: tuple[Law, ...]

    def __post_init__(self) -> None:
        if not self.laws:
            raise InvalidInput("laws: (); allowed: one or more")

    @property
    def mean_us(self) -> float:
        """Return the sum of the means."""
        return math.fsum(law.mean_us for law in self.laws)

    @property
    def sd_us(self) -> float:
        """Return the root of the sum of the variances."""
        return math.sqrt(math.fsum(law.sd_us**2 for law in self.laws))

    def draw(self, rng: np.random.Generator) -> float:
        """Return one latency in microseconds."""
        return math.fsum(law.draw(rng) for law in self.laws)

    def cdf(self, times_us: Floats) -> Floats:
        """Return P(sum <= time), to one step of the grid (see `quantile_us`)."""
        start, step, reached = self._grid()
        if not step:
            return np.asarray(np.asarray(times_us) >= start, dtype=np.float64)
        places = (np.asarray(times_us, dtype=np.float64) - start) / step
        return np.interp(places, np.arange(len(reached)) + 0.5, reached, left=0.0, right=1.0)

    def quantile_us(self, level: float) -> float:
        """Return the quantile of the sum, to one step of a grid; exact for constants.

        The laws are put on a grid of 32,768 steps up to the sum of their 1 - 1e-7 quantiles, and
        convolved (FFT). Levels above 1 - 1e-6 are not resolved, and refused below 1.
        """
        require_level(level)
        if level == 1:
            return math.fsum(law.quantile_us(1.0) for law in self.laws)
        share("level", level)
        if level > 1 - 10 * _TAIL:
            raise InvalidInput(f"level: {level}; allowed: at most {1 - 10 * _TAIL}, or 1")
        start, step, reached = self._grid()
        if not step:
            return start
        return start + step * float(np.interp(level, reached, np.arange(len(reached)) + 0.5))

    def _grid(self) -> tuple[float, float, Floats]:
        """Return where the grid starts, its step, and P(sum <= place + 1/2) at each place."""
        lows = [law.quantile_us(0.0) for law in self.laws]
        widths = [
            law.quantile_us(1 - _TAIL) - low for law, low in zip(self.laws, lows, strict=True)
        ]
        start, step = math.fsum(lows), math.fsum(widths) / _GRID
        if not step:
            return start, 0.0, np.ones(1)
        length = _GRID + len(self.laws) * 2
        spectrum = np.ones(length + 1, dtype=np.complex128)
        for law, low in zip(self.laws, lows, strict=True):
            places = np.arange(length, dtype=np.float64) + 0.5
            reached = law.cdf(np.asarray(low + places * step, dtype=np.float64))
            spectrum = spectrum * np.fft.rfft(np.diff(reached, prepend=0.0), 2 * length)
        masses = np.fft.irfft(spectrum, 2 * length)[:length]
        return start, step, np.minimum(np.maximum.accumulate(np.cumsum(masses)), 1.0)


def round_trip_law(
    model: LatencyModel, timestamp_ns: int = 0, volatility_ratio: float = 1.0
) -> SumOfLaws:
    """Return the law of order + exchange + fill of a model, at a time and a volatility.

    >>> way = round_trip_law(LatencyModel.profile("institutional", seed=1))
    >>> round(way.mean_us, 6), round(way.sd_us, 3)
    (550.0, 105.0)
    """
    legs = (Component.ORDER, Component.EXCHANGE, Component.FILL)
    return SumOfLaws(tuple(leg_law(model, leg, timestamp_ns, volatility_ratio) for leg in legs))
