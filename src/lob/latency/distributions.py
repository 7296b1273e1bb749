"""Families of latencies: what they draw, and their moments, distribution functions and quantiles.

Times are microseconds throughout. Closed forms are exact to float precision but for the gamma law,
whose distribution function is good to 1e-12 and whose quantiles to 1e-10, relative.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol, runtime_checkable

import numpy as np

from lob.bounds import Floats, not_negative, positive
from lob.errors import InvalidInput
from lob.latency.gamma_law import gamma_quantile, regularised_gamma

_PARETO_VARIANCE_SHAPE: Final = 2
_ROUNDING: Final = 1e-9  # 0.07 x 100 is above 7


class Distribution(Protocol):
    """Draw a latency in microseconds; `mean_us` is the exact mean of the draws."""

    @property
    def mean_us(self) -> float:
        """Return the mean in microseconds."""
        ...

    def draw(self, rng: np.random.Generator) -> float:
        """Return one latency in microseconds."""
        ...


@runtime_checkable
class Law(Distribution, Protocol):
    """A distribution whose moments and quantiles are known in closed form; all here are."""

    @property
    def sd_us(self) -> float:
        """Return the standard deviation in microseconds; infinity where there is none."""
        ...

    def cdf(self, times_us: Floats) -> Floats:
        """Return P(latency <= time) at each time."""
        ...

    def quantile_us(self, level: float) -> float:
        """Return the least time that a share `level` (0..1) of latencies does not exceed."""
        ...


def require_level(level: float) -> float:
    """Return a level from 0 to 1; `InvalidInput` otherwise."""
    require_that(0 <= level <= 1, "level", level, "0..1")
    return level


def require_that(holds: bool, name: str, value: float, allowed: str) -> None:
    """Refuse a value that is not allowed, or not finite; `InvalidInput` names it."""
    if not holds or not math.isfinite(value):
        raise InvalidInput(f"{name}: {value}; allowed: {allowed}")


@dataclass(frozen=True, slots=True)
class Constant:
    """Take the same time always."""

    mean_us: float

    def __post_init__(self) -> None:
        require_that(self.mean_us >= 0, "mean_us", self.mean_us, "0 or more")

    def draw(self, rng: np.random.Generator) -> float:  # noqa: ARG002 - the protocol's argument
        """Return the constant, leaving the generator alone."""
        return self.mean_us

    @property
    def sd_us(self) -> float:
        """Return 0: the time is always the same."""
        return 0.0

    def cdf(self, times_us: Floats) -> Floats:
        """Return 0 before the constant, 1 from it on."""
        return np.asarray(np.asarray(times_us) >= self.mean_us, dtype=np.float64)

    def quantile_us(self, level: float) -> float:
        """Return the constant, whatever the level."""
        require_level(level)
        return self.mean_us


@dataclass(frozen=True, slots=True)
class Uniform:
    """Take any time from `low_us` to `high_us`, all as likely."""

    low_us: float
    high_us: float

    def __post_init__(self) -> None:
        require_that(self.low_us >= 0, "low_us", self.low_us, "0 or more")
        require_that(self.high_us >= self.low_us, "high_us", self.high_us, f"{self.low_us} or more")

    @property
    def mean_us(self) -> float:
        """Return the middle."""
        return (self.low_us + self.high_us) / 2

    def draw(self, rng: np.random.Generator) -> float:
        """Return one latency in microseconds."""
        return float(rng.uniform(self.low_us, self.high_us))

    @property
    def sd_us(self) -> float:
        """Return (high - low) / sqrt(12)."""
        return (self.high_us - self.low_us) / math.sqrt(12)

    def cdf(self, times_us: Floats) -> Floats:
        """Return how far each time is from low to high, from 0 to 1."""
        times = np.asarray(times_us, dtype=np.float64)
        width = self.high_us - self.low_us
        if not width:
            return np.asarray(times >= self.low_us, dtype=np.float64)
        return np.clip((times - self.low_us) / width, 0.0, 1.0)

    def quantile_us(self, level: float) -> float:
        """Return low + level (high - low)."""
        return self.low_us + require_level(level) * (self.high_us - self.low_us)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Take a lognormal time of the given mean and standard deviation (moment-matched).

    sigma^2 = ln(1 + sd^2 / mean^2) and mu = ln(mean) - sigma^2 / 2.
    """

    mean_us: float
    sd_us: float

    def __post_init__(self) -> None:
        require_that(self.mean_us > 0, "mean_us", self.mean_us, "above 0")
        require_that(self.sd_us > 0, "sd_us", self.sd_us, "above 0")

    def draw(self, rng: np.random.Generator) -> float:
        """Return one latency in microseconds."""
        return float(rng.lognormal(*_lognormal_parameters(self.mean_us, self.sd_us)))

    @property
    def parameters(self) -> tuple[float, float]:
        """Return mu and sigma of the logarithm of the time in microseconds."""
        return _lognormal_parameters(self.mean_us, self.sd_us)

    def cdf(self, times_us: Floats) -> Floats:
        """Return Phi((ln time - mu) / sigma)."""
        mu, sigma = self.parameters
        times = np.asarray(times_us, dtype=np.float64)
        return np.asarray(
            [
                math.erfc((mu - math.log(time)) / (sigma * math.sqrt(2))) / 2
                if 0 < time < math.inf
                else time > 0
                for time in times.ravel().tolist()
            ],
            dtype=np.float64,
        ).reshape(times.shape)

    def quantile_us(self, level: float) -> float:
        """Return exp(mu + sigma Phi^-1(level)).

        >>> round(LogNormal(100.0, 30.0).quantile_us(0.99), 3)
        189.617
        """
        mu, sigma = self.parameters
        if not 0 < require_level(level) < 1:
            return math.inf if level else 0.0
        from statistics import NormalDist  # noqa: PLC0415 - half of this package's import time

        return math.exp(mu + sigma * NormalDist().inv_cdf(level))


@lru_cache(maxsize=64)
def _lognormal_parameters(mean_us: float, sd_us: float) -> tuple[float, float]:
    variance = math.log1p((sd_us / mean_us) ** 2)
    return math.log(mean_us) - variance / 2, math.sqrt(variance)


@dataclass(frozen=True, slots=True)
class Gamma:
    """Take a gamma time of the given mean and standard deviation (moment-matched).

    shape = mean^2 / sd^2 and scale = sd^2 / mean.
    """

    mean_us: float
    sd_us: float

    def __post_init__(self) -> None:
        require_that(self.mean_us > 0, "mean_us", self.mean_us, "above 0")
        require_that(self.sd_us > 0, "sd_us", self.sd_us, "above 0")

    def draw(self, rng: np.random.Generator) -> float:
        """Return one latency in microseconds."""
        variance = self.sd_us**2
        return float(rng.gamma(self.mean_us**2 / variance, variance / self.mean_us))

    @property
    def parameters(self) -> tuple[float, float]:
        """Return shape and scale (microseconds)."""
        return (self.mean_us / self.sd_us) ** 2, self.sd_us**2 / self.mean_us

    def cdf(self, times_us: Floats) -> Floats:
        """Return the regularised incomplete gamma function P(shape, time / scale)."""
        shape, scale = self.parameters
        return regularised_gamma(shape, np.maximum(np.asarray(times_us) / scale, 0.0))

    def quantile_us(self, level: float) -> float:
        """Return where the distribution function reaches the level, by Newton's method.

        >>> round(Gamma(100.0, 100.0).quantile_us(0.5), 6)  # exponential: 100 ln 2
        69.314718
        """
        shape, scale = self.parameters
        return gamma_quantile(shape, require_level(level)) * scale


@dataclass(frozen=True, slots=True)
class Pareto:
    """Take a Pareto (type I) time: minimum `scale_us`, tail exponent `shape` above 1.

    mean = scale * shape / (shape - 1); the variance is finite for a shape above 2 only.
    """

    scale_us: float
    shape: float

    def __post_init__(self) -> None:
        require_that(self.scale_us > 0, "scale_us", self.scale_us, "above 0")
        require_that(self.shape > 1, "shape", self.shape, "above 1, where the mean is finite")

    @property
    def mean_us(self) -> float:
        """Return the mean in microseconds."""
        return self.scale_us * self.shape / (self.shape - 1)

    def draw(self, rng: np.random.Generator) -> float:
        """Return one latency in microseconds."""
        return float(self.scale_us * (1 + rng.pareto(self.shape)))

    @property
    def sd_us(self) -> float:
        """Return scale sqrt(shape / (shape - 2)) / (shape - 1); infinity up to a shape of 2."""
        if self.shape <= _PARETO_VARIANCE_SHAPE:
            return math.inf
        return self.scale_us * math.sqrt(self.shape / (self.shape - 2)) / (self.shape - 1)

    def cdf(self, times_us: Floats) -> Floats:
        """Return 1 - (scale / time)^shape from the scale on."""
        times = np.maximum(np.asarray(times_us, dtype=np.float64), self.scale_us)
        return np.asarray(-np.expm1(self.shape * np.log(self.scale_us / times)))

    def quantile_us(self, level: float) -> float:
        """Return scale (1 - level)^(-1 / shape).

        >>> round(Pareto(80.0, 5.0).quantile_us(1 - 2**-5), 9)
        160.0
        """
        left = 1 - require_level(level)
        return self.scale_us * left ** (-1 / self.shape) if left else math.inf


@dataclass(frozen=True, slots=True)
class Empirical:
    """Take one of the measured times, each as likely."""

    samples_us: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.samples_us:
            raise InvalidInput("samples_us: (); allowed: at least one sample")
        for sample in self.samples_us:
            require_that(sample >= 0, "samples_us", sample, "0 or more")

    @property
    def mean_us(self) -> float:
        """Return the mean of the samples."""
        return math.fsum(self.samples_us) / len(self.samples_us)

    def draw(self, rng: np.random.Generator) -> float:
        """Return one latency in microseconds."""
        return self.samples_us[int(rng.integers(len(self.samples_us)))]

    @property
    def sd_us(self) -> float:
        """Return the standard deviation of the samples (divided by their number)."""
        mean = self.mean_us
        total = math.fsum((sample - mean) ** 2 for sample in self.samples_us)
        return math.sqrt(total / len(self.samples_us))

    def cdf(self, times_us: Floats) -> Floats:
        """Return the share of samples up to each time."""
        ordered = np.sort(self.samples_us)
        counts = np.searchsorted(ordered, np.asarray(times_us), side="right")
        return np.asarray(counts / len(ordered), dtype=np.float64)

    def quantile_us(self, level: float) -> float:
        """Return the least sample with a share `level` of the samples up to it."""
        ordered = sorted(self.samples_us)
        place = math.ceil(require_level(level) * len(ordered) - _ROUNDING)
        return ordered[max(0, place - 1)]


class Shape(StrEnum):
    """The families that `matched` can fit to a mean and a coefficient of variation."""

    CONSTANT = "constant"
    UNIFORM = "uniform"
    LOGNORMAL = "lognormal"
    PARETO = "pareto"
    GAMMA = "gamma"


def matched(shape: Shape, mean_us: float, cv: float) -> Law:
    """Return the distribution of a family with this mean and coefficient of variation (sd/mean).

    A uniform cannot have a cv above 1/sqrt(3) without negative times: that is `InvalidInput`.
    """
    if shape not in tuple(Shape):
        raise InvalidInput(f"shape: {shape!r}; allowed: {', '.join(Shape)}")
    mean_us = not_negative("mean_us", mean_us)
    if shape == Shape.CONSTANT or mean_us == 0:
        return Constant(mean_us)
    positive("cv", cv)
    match shape:
        case Shape.UNIFORM:
            half_us = math.sqrt(3) * cv * mean_us
            require_that(half_us <= mean_us, "cv", cv, "at most 0.577 for a uniform distribution")
            return Uniform(mean_us - half_us, mean_us + half_us)
        case Shape.PARETO:
            # cv^2 = 1 / (a (a - 2)), so a = 1 + sqrt(1 + 1 / cv^2)
            exponent = 1 + math.sqrt(1 + cv**-2)
            return Pareto(mean_us * (exponent - 1) / exponent, exponent)
        case Shape.GAMMA:
            return Gamma(mean_us, cv * mean_us)
        case _:
            return LogNormal(mean_us, cv * mean_us)
