"""How long a message waits at an exchange that serves one, or a few, at a time.

Messages come as a Poisson process; L. Kleinrock, "Queueing Systems" I (1975), chapters 3 and 5.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from lob.bounds import Floats, not_negative, positive, whole
from lob.errors import InvalidInput
from lob.latency.distributions import Law, require_level

_US: Final = 1e6


@dataclass(frozen=True, slots=True)
class MM1ExchangeQueue:
    """One server, exponential service: what `draw` gives is the stay, waiting and service.

    The stay is exponential of rate mu - lambda, so that its mean is the mean service time over
    1 - rho. A law like any other: it can be a leg of a `LatencyModel` (successive draws are then
    independent, those of messages far apart).

    >>> gateway = MM1ExchangeQueue(arrivals_per_second=80_000, services_per_second=100_000)
    >>> round(gateway.utilisation, 9), round(gateway.mean_us, 9), round(gateway.mean_wait_us, 9)
    (0.8, 50.0, 40.0)
    """

    arrivals_per_second: float
    services_per_second: float

    def __post_init__(self) -> None:
        not_negative("arrivals_per_second", self.arrivals_per_second)
        positive("services_per_second", self.services_per_second)
        if not self.arrivals_per_second < self.services_per_second:
            raise InvalidInput(
                f"arrivals_per_second: {self.arrivals_per_second}; allowed: below "
                f"{self.services_per_second} (services_per_second)"
            )

    @property
    def utilisation(self) -> float:
        """Return rho = lambda / mu."""
        return self.arrivals_per_second / self.services_per_second

    @property
    def mean_us(self) -> float:
        """Return the mean stay, 1 / (mu - lambda)."""
        return _US / (self.services_per_second - self.arrivals_per_second)

    @property
    def sd_us(self) -> float:
        """Return the standard deviation of the stay: its mean, as it is exponential."""
        return self.mean_us

    @property
    def mean_wait_us(self) -> float:
        """Return the mean time before service, rho / (mu - lambda)."""
        return self.utilisation * self.mean_us

    @property
    def mean_messages(self) -> float:
        """Return the mean number there, rho / (1 - rho) (Little: lambda times the mean stay)."""
        return self.utilisation / (1 - self.utilisation)

    def messages_probability(self, count: int) -> float:
        """Return P(so many there) = (1 - rho) rho^count."""
        return float((1 - self.utilisation) * self.utilisation ** whole("count", count, 0))

    def draw(self, rng: np.random.Generator) -> float:
        """Return one stay in microseconds."""
        return float(rng.exponential(self.mean_us))

    def cdf(self, times_us: Floats) -> Floats:
        """Return P(stay <= time) = 1 - exp(-(mu - lambda) time)."""
        return np.asarray(-np.expm1(-np.maximum(np.asarray(times_us), 0.0) / self.mean_us))

    def quantile_us(self, level: float) -> float:
        """Return the stay that a share `level` of messages does not exceed."""
        left = 1 - require_level(level)
        return -math.log(left) * self.mean_us if left else math.inf

    def wait_cdf(self, times_us: Floats) -> Floats:
        """Return P(wait <= time) = 1 - rho exp(-(mu - lambda) time): 1 - rho do not wait at all."""
        fading = np.exp(-np.maximum(np.asarray(times_us), 0.0) / self.mean_us)
        return np.asarray(np.where(np.asarray(times_us) < 0, 0.0, 1 - self.utilisation * fading))

    def wait_quantile_us(self, level: float) -> float:
        """Return the wait that a share `level` of messages does not exceed; 0 up to 1 - rho."""
        left = 1 - require_level(level)
        if left >= self.utilisation:
            return 0.0
        return math.log(self.utilisation / left) * self.mean_us if left else math.inf


def pollaczek_khinchine_wait_us(arrivals_per_second: float, service: Law) -> float:
    """Return the mean wait at one server with any law of service (M/G/1), in microseconds.

    lambda E[S^2] / (2 (1 - rho)). A constant service waits half of what an exponential one does:

    >>> from lob.latency import Constant
    >>> round(pollaczek_khinchine_wait_us(80_000, Constant(10.0)), 9)
    20.0
    """
    per_us = not_negative("arrivals_per_second", arrivals_per_second) / _US
    rho = per_us * service.mean_us
    if not rho < 1:
        raise InvalidInput(f"arrivals_per_second: utilisation {rho:.6g}; allowed: below 1")
    return per_us * (service.mean_us**2 + service.sd_us**2) / (2 * (1 - rho))


def erlang_c(servers: int, offered_load: float) -> float:
    """Return the probability that a message must wait where there are c servers (M/M/c).

    `offered_load` is lambda / mu, below c. By the recursion of Erlang B, which does not overflow:
    C = B / (1 - (1 - B) load / c). With one server it is rho.

    >>> round(erlang_c(2, 1.0), 9)
    0.333333333
    """
    whole("servers", servers, 1, 1_000_000)
    load = not_negative("offered_load", offered_load)
    if not load < servers:
        raise InvalidInput(f"offered_load: {load}; allowed: below {servers} (servers)")
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - (1 - blocked) * load / servers)
