"""How long messages take: distributions, four components, and profiles.

A draw is `distribution x time of day x volatility`, then a spike, then a clamp. All parameters are
microseconds; draws are whole nanoseconds. Every component has its own random stream, so that
drawing one never moves another. Moments and quantiles of all this, and of queues at an exchange,
are known without drawing: `round_trip_law`, `leg_law`, `MM1ExchangeQueue`.
"""

from lob.latency.conditioned import ConditionedLaw, SumOfLaws, leg_law, round_trip_law
from lob.latency.distributions import (
    Constant,
    Distribution,
    Empirical,
    Gamma,
    Law,
    LogNormal,
    Pareto,
    Shape,
    Uniform,
    matched,
)
from lob.latency.exchange_queue import MM1ExchangeQueue, erlang_c, pollaczek_khinchine_wait_us
from lob.latency.model import (
    HOURS_PER_DAY,
    NANOSECONDS_PER_HOUR,
    PROFILES_US,
    Component,
    Conditions,
    LatencyModel,
)

__all__ = [
    "HOURS_PER_DAY",
    "NANOSECONDS_PER_HOUR",
    "PROFILES_US",
    "Component",
    "ConditionedLaw",
    "Conditions",
    "Constant",
    "Distribution",
    "Empirical",
    "Gamma",
    "LatencyModel",
    "Law",
    "LogNormal",
    "MM1ExchangeQueue",
    "Pareto",
    "Shape",
    "SumOfLaws",
    "Uniform",
    "erlang_c",
    "leg_law",
    "matched",
    "pollaczek_khinchine_wait_us",
    "round_trip_law",
]
