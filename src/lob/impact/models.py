"""Temporary and permanent impact in basis points of the mid: one interface, one model each.

A model answers `impact(quantity, market)`: what trading so much moves the price against the trader,
split into what fades (temporary) and what stays (permanent), both of 0 or more. `market` holds what
the model needs of the instrument; what is missing is refused, never replaced by a guess. Quantities
in one unit, that of `adv_quantity` (which is not `adv_notional`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, not_negative, numbers, positive, share
from lob.errors import InvalidInput
from lob.impact.kernels import (
    ExponentialKernel,
    Kernel,
    ShiftedPowerLawKernel,
)
from lob.in_floats import in_floats

BPS: Final = 10_000.0


class Impact(NamedTuple):
    """An impact in basis points of the mid, against the trader."""

    temporary_bps: float
    permanent_bps: float

    @property
    def total_bps(self) -> float:
        """Return both together."""
        return self.temporary_bps + self.permanent_bps


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactMarket:
    """What models ask of an instrument; None is unknown.

    `adv_quantity` is the average daily volume in units of the quantity, `volatility` the daily one
    as a fraction (.02 is 2 %), `mid_price` in quote currency.
    """

    adv_quantity: float | None = None
    volatility: float | None = None
    mid_price: float | None = None

    def __post_init__(self) -> None:
        if self.adv_quantity is not None:
            positive("adv_quantity", self.adv_quantity)
        if self.volatility is not None:
            not_negative("volatility", self.volatility)
        if self.mid_price is not None:
            positive("mid_price", self.mid_price)

    def need(self, name: str) -> float:
        """Return the named figure, or raise InvalidInput where it is unknown."""
        value: float | None = getattr(self, name)
        if value is None:
            raise InvalidInput(f"{name}: missing; allowed: a number, as this impact model needs it")
        return value


class ImpactModel(Protocol):
    """A market-impact model."""

    @property
    def kernel(self) -> Kernel:
        """Return how the temporary part fades, with ages in seconds."""

    def impact(self, quantity: float, market: ImpactMarket) -> Impact:
        """Return the impact of trading `quantity`, of 0 or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryPermanent:
    """Temporary eta sigma (Q/ADV)^delta, permanent gamma Q/ADV, both x 10,000.

    The form of Almgren and others (2005) with the fading of Gatheral's propagator: by a power law
    (1 + t/tau_s)^(-beta), or e^(-t/tau_s) where `exponential`. Defaults are those for equities;
    `sigma` is used where the market's volatility is unknown and None leaves it required.

    >>> model = TemporaryPermanent()
    >>> impact = model.impact(1_000, ImpactMarket(adv_quantity=1_000_000, volatility=0.02))
    >>> round(impact.temporary_bps, 3), round(impact.permanent_bps, 3)
    (0.316, 0.3)
    """

    eta: float = 0.05
    gamma: float = 0.03
    delta: float = 0.5
    tau_s: float = 30.0
    beta: float = 1.5
    sigma: float | None = None
    exponential: bool = False

    def __post_init__(self) -> None:
        not_negative("eta", self.eta)
        not_negative("gamma", self.gamma)
        positive("delta", self.delta)
        positive("tau_s", self.tau_s)
        positive("beta", self.beta)
        if self.sigma is not None:
            not_negative("sigma", self.sigma)

    @classmethod
    def equity(cls) -> "TemporaryPermanent":
        """Return the defaults for equities, daily volatility .02 where none is known."""
        return cls(sigma=0.02)

    @classmethod
    def crypto(cls) -> "TemporaryPermanent":
        """Return the defaults for crypto: .10, .05, .5, 60 s, 1.2, daily volatility .05."""
        return cls(eta=0.10, gamma=0.05, delta=0.5, tau_s=60.0, beta=1.2, sigma=0.05)

    @property
    def kernel(self) -> Kernel:
        """Return how the temporary part fades."""
        if self.exponential:
            return ExponentialKernel(1 / self.tau_s)
        return ShiftedPowerLawKernel(self.tau_s, self.beta)

    def impact(self, quantity: float, market: ImpactMarket) -> Impact:
        """Return the impact of trading `quantity`."""
        size = not_negative("quantity", quantity) / market.need("adv_quantity")
        unknown = market.volatility is None and self.sigma is not None
        sigma = self.sigma if unknown else market.need("volatility")
        assert sigma is not None  # noqa: S101 - one of the two was taken
        return Impact(self.eta * sigma * size**self.delta * BPS, self.gamma * size * BPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SplitImpact(ABC):
    """An impact of which `permanent_share` stays, while the rest fades as e^(-t/tau_s)."""

    _coefficient: ClassVar[str]

    permanent_share: float = 0.0
    tau_s: float = 30.0

    def __post_init__(self) -> None:
        not_negative(self._coefficient, getattr(self, self._coefficient))
        share("permanent_share", self.permanent_share)
        positive("tau_s", self.tau_s)

    @property
    def kernel(self) -> Kernel:
        """Return how the temporary part fades."""
        return ExponentialKernel(1 / self.tau_s)

    def impact(self, quantity: float, market: ImpactMarket) -> Impact:
        """Return the impact of trading `quantity`."""
        moved_bps = self._moved(not_negative("quantity", quantity), market) * BPS
        return Impact(moved_bps * (1 - self.permanent_share), moved_bps * self.permanent_share)

    @abstractmethod
    def _moved(self, quantity: float, market: ImpactMarket) -> float:
        """Return the whole impact as a share of the mid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareRootImpact(_SplitImpact):
    """Y sigma sqrt(Q/ADV) at the end of the trade (Toth and others, Physical Review X 1, 2011).

    `permanent_share` of it stays, the rest fades as e^(-t/tau_s). `Y` is of order 1.
    """

    _coefficient: ClassVar[str] = "Y"

    Y: float = 1.0

    def _moved(self, quantity: float, market: ImpactMarket) -> float:
        size = quantity / market.need("adv_quantity")
        return self.Y * market.need("volatility") * math.sqrt(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearImpact(_SplitImpact):
    """`coefficient` Q/ADV of the mid; `permanent_share` of it stays, the rest fades by tau_s.

    Linear permanent impact is the only one without price manipulation (Huberman and Stanzl, 2004).
    """

    _coefficient: ClassVar[str] = "coefficient"

    coefficient: float = 0.1
    permanent_share: float = 0.5

    def _moved(self, quantity: float, market: ImpactMarket) -> float:
        return self.coefficient * (quantity / market.need("adv_quantity"))


@dataclass(frozen=True, slots=True, kw_only=True)
class KyleImpact(_SplitImpact):
    """lam |Q| in quote currency, Kyle's (1985); `permanent_share` stays (all of it, in the paper).

    `lam` is in price by unit of quantity: `kyle_single` and its like give it.
    """

    _coefficient: ClassVar[str] = "lam"

    lam: float
    permanent_share: float = 1.0

    def _moved(self, quantity: float, market: ImpactMarket) -> float:
        return self.lam * quantity / market.need("mid_price")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObizhaevaWangImpact:
    """Q / q at once, of which lambda_perm Q stays and the rest fades as e^(-rho t) (2013).

    `q` is the book's density in units of quantity by unit of price, `rho` the resilience in
    1/second.
    """

    q: float
    lambda_perm: float = 0.0
    rho: float = 1 / 30

    def __post_init__(self) -> None:
        positive("q", self.q)
        not_negative("lambda_perm", self.lambda_perm)
        positive("rho", self.rho)
        if self.lambda_perm > 1 / self.q:
            raise InvalidInput(f"lambda_perm: {self.lambda_perm}; allowed: 1 / q or less")

    @property
    def kernel(self) -> Kernel:
        """Return how the temporary part fades."""
        return ExponentialKernel(self.rho)

    def impact(self, quantity: float, market: ImpactMarket) -> Impact:
        """Return the impact of trading `quantity`."""
        unit = not_negative("quantity", quantity) / market.need("mid_price") * BPS
        return Impact((1 / self.q - self.lambda_perm) * unit, self.lambda_perm * unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeImpact:
    """The weighted mean of several models; weights of 0 or more, not all 0.

    Its parts fade each by their own kernel: the kernel here is their mean by weight.
    """

    models: tuple[ImpactModel, ...]
    weights: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.models:
            raise InvalidInput("models: none; allowed: one or more")
        if self.weights and len(self.weights) != len(self.models):
            raise InvalidInput(
                f"weights: {len(self.weights)}; allowed: as many as models ({len(self.models)})"
            )
        for weight in self.weights:
            not_negative("weights", weight)
        if self.weights and not sum(self.weights) > 0:
            raise InvalidInput("weights: all 0; allowed: one or more above 0")

    @property
    def shares(self) -> tuple[float, ...]:
        """Return the weights as shares of 1; equal ones where none were given."""
        weights = self.weights or (1.0,) * len(self.models)
        return tuple(weight / sum(weights) for weight in weights)

    @property
    def kernel(self) -> Kernel:
        """Return the mean of the parts' kernels."""
        return MixedKernel(tuple(model.kernel for model in self.models), self.shares)

    def impact(self, quantity: float, market: ImpactMarket) -> Impact:
        """Return the mean impact of trading `quantity`."""
        parts = [model.impact(quantity, market) for model in self.models]
        return Impact(
            math.fsum(s * part.temporary_bps for s, part in zip(self.shares, parts, strict=True)),
            math.fsum(s * part.permanent_bps for s, part in zip(self.shares, parts, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class MixedKernel:
    """A sum of kernels, each times its share."""

    kernels: tuple[Kernel, ...]
    shares: tuple[float, ...]

    def value(self, t: ArrayLike) -> Floats:
        """Return G(t)."""
        return self._sum([kernel.value(t) for kernel in self.kernels])

    def first(self, t: ArrayLike) -> Floats:
        """Return the integral of G over 0..t."""
        return self._sum([kernel.first(t) for kernel in self.kernels])

    def second(self, t: ArrayLike) -> Floats:
        """Return the integral of `first` over 0..t."""
        return self._sum([kernel.second(t) for kernel in self.kernels])

    def _sum(self, parts: Sequence[Floats]) -> Floats:
        return np.asarray(sum(share * part for share, part in zip(self.shares, parts, strict=True)))


@in_floats
def temporary_impact_bps(
    Q: ArrayLike,  # noqa: N803 - the formula's names
    ADV: ArrayLike,  # noqa: N803
    sigma: ArrayLike,
    eta: float = 0.05,
    delta: float = 0.5,
) -> Floats:
    """Return 10,000 eta sigma (Q/ADV)^delta, in basis points; arguments broadcast.

    >>> round(float(temporary_impact_bps(Q=1, ADV=1000, sigma=0.02)), 3)
    0.316
    """
    size = numbers("Q", Q, low=0) / numbers("ADV", ADV, above=0)
    scale = not_negative("eta", eta) * numbers("sigma", sigma, low=0) * BPS
    return np.asarray(scale * size ** positive("delta", delta))


@in_floats
def permanent_impact_bps(
    Q: ArrayLike,  # noqa: N803 - the formula's names
    ADV: ArrayLike,  # noqa: N803
    gamma: float = 0.03,
) -> Floats:
    """Return 10,000 gamma Q/ADV, in basis points; arguments broadcast.

    >>> round(float(permanent_impact_bps(Q=1, ADV=1000)), 3)
    0.3
    """
    size = numbers("Q", Q, low=0) / numbers("ADV", ADV, above=0)
    return np.asarray(not_negative("gamma", gamma) * size * BPS)


@in_floats
def square_root_impact(
    Q: ArrayLike,  # noqa: N803 - the law's names
    V: ArrayLike,  # noqa: N803
    sigma: ArrayLike,
    Y: float = 1.0,  # noqa: N803
) -> Floats:
    """Return Y sigma sqrt(Q/V), in sigma's unit: the move at the end of a trade of Q.

    Its average price is 2/3 of that from the start, the path being a square root too. V is the
    volume of the time that sigma is of.

    >>> round(float(square_root_impact(Q=1e4, V=1e6, sigma=0.02)), 6)
    0.002
    """
    size = numbers("Q", Q, low=0) / numbers("V", V, above=0)
    return np.asarray(not_negative("Y", Y) * numbers("sigma", sigma, low=0) * np.sqrt(size))


@in_floats
def linear_impact(Q: ArrayLike, lam: float) -> Floats:  # noqa: N803 - the law's name
    """Return lam Q in price, signed as Q; zero-sum trades leave nothing behind."""
    return np.asarray(not_negative("lam", lam) * numbers("Q", Q))
