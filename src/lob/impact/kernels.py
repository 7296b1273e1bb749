"""How the impact of a trade fades: G(t), with the integrals that cost formulas need.

`first(t)` is the integral of G over 0..t and `second(t)` that of `first`; both are 0 at 0. Times in
any one unit.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, not_negative, number, numbers, positive


class Kernel(Protocol):
    """A decay: G and its first and second integral from 0, for ages of any shape."""

    def value(self, t: ArrayLike) -> Floats:
        """Return G(t)."""

    def first(self, t: ArrayLike) -> Floats:
        """Return the integral of G over 0..t."""

    def second(self, t: ArrayLike) -> Floats:
        """Return the integral of `first` over 0..t: what a unit rate over t costs."""


@dataclass(frozen=True, slots=True)
class PermanentKernel:
    """Impact that stays: G = 1 (Huberman and Stanzl, Econometrica 72, 2004)."""

    def value(self, t: ArrayLike) -> Floats:
        """Return 1."""
        return np.ones_like(numbers("t", t, low=0))

    def first(self, t: ArrayLike) -> Floats:
        """Return t."""
        return numbers("t", t, low=0)

    def second(self, t: ArrayLike) -> Floats:
        """Return t^2 / 2."""
        return np.asarray(numbers("t", t, low=0) ** 2 / 2)


@dataclass(frozen=True, slots=True)
class ExponentialKernel:
    """G = e^(-rho t), Obizhaeva and Wang's; `rho` is of 0 or more, in 1/time."""

    rho: float

    def __post_init__(self) -> None:
        not_negative("rho", self.rho)

    def value(self, t: ArrayLike) -> Floats:
        """Return e^(-rho t)."""
        return np.asarray(np.exp(-self.rho * numbers("t", t, low=0)))

    def first(self, t: ArrayLike) -> Floats:
        """Return (1 - e^(-rho t)) / rho."""
        ages = numbers("t", t, low=0)
        if self.rho == 0:
            return ages
        return np.asarray(-np.expm1(-self.rho * ages) / self.rho)

    def second(self, t: ArrayLike) -> Floats:
        """Return (e^(-rho t) - 1 + rho t) / rho^2, which loses no digits where rho t is small."""
        ages = numbers("t", t, low=0)
        y = self.rho * ages
        series = sum((-y) ** k / math.factorial(k + 2) for k in range(12))
        small = y < 0.3  # noqa: PLR2004 - twelve terms are exact to the last bit below it
        with np.errstate(divide="ignore", invalid="ignore"):
            whole = (np.expm1(-y) + y) / y**2
        return np.asarray(ages**2 * np.where(small, series, whole))


@dataclass(frozen=True, slots=True)
class PowerLawKernel:
    """G = t^(-gamma), Gatheral's; gamma above 0 and below 1, else a cost would be infinite."""

    gamma: float

    def __post_init__(self) -> None:
        number("gamma", self.gamma, above=0, below=1)

    def value(self, t: ArrayLike) -> Floats:
        """Return t^(-gamma), infinite at 0."""
        with np.errstate(divide="ignore"):
            return np.asarray(numbers("t", t, low=0) ** -self.gamma)

    def first(self, t: ArrayLike) -> Floats:
        """Return t^(1 - gamma) / (1 - gamma)."""
        power = 1 - self.gamma
        return np.asarray(numbers("t", t, low=0) ** power / power)

    def second(self, t: ArrayLike) -> Floats:
        """Return t^(2 - gamma) / ((1 - gamma) (2 - gamma))."""
        power = 2 - self.gamma
        return np.asarray(numbers("t", t, low=0) ** power / ((1 - self.gamma) * power))


@dataclass(frozen=True, slots=True)
class ShiftedPowerLawKernel:
    """G = (1 + t / tau)^(-beta), finite at 0: Bouchaud's G0 l0^beta / (l0 + t)^beta with l0 = tau.

    `tau` is a time above 0, beta above 0. Digits are lost in the integrals where beta is within
    1e-4 of 1 or 2, except just there.
    """

    tau: float
    beta: float

    def __post_init__(self) -> None:
        positive("tau", self.tau)
        positive("beta", self.beta)

    def value(self, t: ArrayLike) -> Floats:
        """Return (1 + t / tau)^(-beta)."""
        return np.asarray(np.exp(-self.beta * self._log(t)))

    def first(self, t: ArrayLike) -> Floats:
        """Return tau ((1 + t / tau)^(1 - beta) - 1) / (1 - beta); a logarithm for beta 1."""
        return np.asarray(self.tau * _power_less_1(1 - self.beta, self._log(t)))

    def second(self, t: ArrayLike) -> Floats:
        """Return the integral of `first`."""
        log = self._log(t)
        if self.beta == 1:
            ratio = np.expm1(log)
            return np.asarray(self.tau**2 * ((1 + ratio) * log - ratio))
        gap = _power_less_1(2 - self.beta, log) - np.expm1(log)
        return np.asarray(self.tau**2 * gap / (1 - self.beta))

    def _log(self, t: ArrayLike) -> Floats:
        return np.asarray(np.log1p(numbers("t", t, low=0) / self.tau))


def _power_less_1(power: float, log: Floats) -> Floats:
    """Return (e^(power log) - 1) / power, `log` itself at power 0."""
    return log if power == 0 else np.asarray(np.expm1(power * log) / power)
