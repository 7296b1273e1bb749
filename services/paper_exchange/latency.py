"""How long an account's messages take to the exchange and back, in the exchange's own time.

The models are those of `lob.latency`: ORDER and EXCHANGE are the way in, FILL is the way back.
Each account has its own seeded draws, and its messages never overtake one another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from lob.errors import InvalidInput
from lob.latency import (
    PROFILES_US,
    Component,
    Constant,
    Distribution,
    LatencyModel,
    Shape,
    matched,
)
from touchstone.exchange.identifiers import derived_seed

NO_LATENCY: Final = "none"
PROFILES: Final = (NO_LATENCY, *PROFILES_US)
SPREAD: Final = 0.3
"""Standard deviation over mean of a profile's legs (log-normal)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTerms:
    """Mean microseconds in and back, and the coefficient of variation of both; 0 is constant."""

    profile: str
    in_us: float
    back_us: float
    spread: float = SPREAD

    @classmethod
    def named(cls, profile: str) -> "LatencyTerms":
        """Return the terms of a profile of `lob.latency`, or of `none`."""
        if profile == NO_LATENCY:
            return cls(profile=profile, in_us=0, back_us=0, spread=0)
        if profile not in PROFILES_US:
            raise InvalidInput(f"profile: {profile!r}; allowed: {', '.join(PROFILES)}")
        legs = PROFILES_US[profile]
        return cls(
            profile=profile,
            in_us=legs[Component.ORDER] + legs[Component.EXCHANGE],
            back_us=legs[Component.FILL],
        )


class Way(NamedTuple):
    """When a message reaches the engine, and how long the answer takes back, in nanoseconds."""

    arrival_ns: int
    back_ns: int


class Latencies:
    """Draw each account's latencies; an account without terms of its own has the default ones.

    >>> latencies = Latencies(seed=1, default="colocated")
    >>> latencies.way("alice", 1_000).arrival_ns > 1_000
    True
    """

    def __init__(self, seed: int, default: str = NO_LATENCY) -> None:
        self._seed = seed
        self.default = LatencyTerms.named(default)
        self.by_account: dict[str, LatencyTerms] = {}
        self._models: dict[str, LatencyModel] = {}
        self._latest: dict[str, int] = {}

    def set(self, account: str | None, terms: LatencyTerms | None) -> None:
        """Give an account (None: all without terms of their own) these terms; None takes its own.

        Draws begin anew.
        """
        if account is None:
            self.default = terms or LatencyTerms.named(NO_LATENCY)
            self._models.clear()
            return
        self._models.pop(account, None)
        if terms is None:
            self.by_account.pop(account, None)
        else:
            self.by_account[account] = terms

    def way(self, account: str, now_ns: int) -> Way | None:
        """Return the way of a message sent now; None for one that takes no time."""
        terms = self.by_account.get(account, self.default)
        if not terms.in_us and not terms.back_us:
            return None
        model = self._models.get(account)
        if model is None:
            model = self._models[account] = LatencyModel(
                _legs(terms), derived_seed("latency", self._seed, account)
            )
        arrival_ns = max(
            now_ns + model.draw_ns(Component.ORDER, now_ns), self._latest.get(account, 0)
        )
        self._latest[account] = arrival_ns
        return Way(arrival_ns, model.draw_ns(Component.FILL, now_ns))


def _legs(terms: LatencyTerms) -> Mapping[Component, Distribution]:
    nothing = Constant(0.0)
    return {
        Component.FEED: nothing,
        Component.ORDER: _leg(terms.in_us, terms.spread),
        Component.EXCHANGE: nothing,
        Component.FILL: _leg(terms.back_us, terms.spread),
    }


def _leg(mean_us: float, spread: float) -> Distribution:
    if not mean_us or not spread:
        return Constant(mean_us)
    return matched(Shape.LOGNORMAL, mean_us, spread)
