"""The four legs of a message's way, what bends them, and the model that draws them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from lob.errors import InvalidInput
from lob.latency.distributions import Constant, Distribution, Shape, matched, require_that

NANOSECONDS_PER_HOUR: Final = 3_600_000_000_000
HOURS_PER_DAY: Final = 24
_WORD: Final = 2**32 - 1
_TWO_WORDS: Final = 2**64
_PCG64_WORDS: Final = 4


class Component(StrEnum):
    """The four legs; a round trip is order + exchange + fill."""

    FEED = "feed"
    ORDER = "order"
    EXCHANGE = "exchange"
    FILL = "fill"


_PLACES: Final = {leg: place for place, leg in enumerate(Component)}

PROFILES_US: Final[Mapping[str, Mapping[Component, float]]] = {
    name: dict(zip(Component, means_us, strict=True))
    for name, means_us in {
        "colocated": (10.0, 15.0, 5.0, 10.0),
        "proximity": (100.0, 200.0, 10.0, 150.0),
        "institutional": (200.0, 300.0, 100.0, 150.0),
        "retail": (5_000.0, 10_000.0, 500.0, 5_000.0),
    }.items()
}
"""Mean latency in microseconds of each profile and component."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What bends every draw: spikes, bounds, the hour of the day, and volatility.

    `hour_multipliers` has one factor per hour of the timestamp's own day. A volatility twice its
    normal (ratio 2) multiplies by 1 + `volatility_sensitivity`.
    """

    spike_probability: float = 0.0
    spike_multiplier: float = 1.0
    min_us: float = 0.0
    max_us: float = math.inf
    hour_multipliers: tuple[float, ...] = (1.0,) * HOURS_PER_DAY
    volatility_sensitivity: float = 0.0

    def __post_init__(self) -> None:
        chance = self.spike_probability
        require_that(0 <= chance <= 1, "spike_probability", chance, "0..1")
        require_that(
            self.spike_multiplier >= 1, "spike_multiplier", self.spike_multiplier, "1 or more"
        )
        require_that(self.min_us >= 0, "min_us", self.min_us, "0 or more")
        if not self.max_us >= self.min_us:
            raise InvalidInput(f"max_us: {self.max_us}; allowed: {self.min_us} or more")
        if len(self.hour_multipliers) != HOURS_PER_DAY:
            count = len(self.hour_multipliers)
            raise InvalidInput(f"hour_multipliers: {count} values; allowed: {HOURS_PER_DAY}")
        for factor in self.hour_multipliers:
            require_that(factor > 0, "hour_multipliers", factor, "above 0")
        sensitivity = self.volatility_sensitivity
        require_that(sensitivity >= 0, "volatility_sensitivity", sensitivity, "0 or more")

    def factor(self, timestamp_ns: int, volatility_ratio: float) -> float:
        """Return what a draw at this time and volatility is multiplied by, spikes apart."""
        hour = timestamp_ns // NANOSECONDS_PER_HOUR % HOURS_PER_DAY
        stress = 1 + self.volatility_sensitivity * (volatility_ratio - 1)
        return self.hour_multipliers[hour] * max(0.0, stress)

    def bent_ns(self, drawn_us: float, factor: float, rng: np.random.Generator) -> int:
        """Return a draw in whole nanoseconds, times `factor`, with spikes and within the bounds."""
        time_us = drawn_us * factor
        if self.spike_probability and rng.random() < self.spike_probability:
            time_us *= self.spike_multiplier
        return round(min(max(time_us, self.min_us), self.max_us) * 1_000)


class LatencyModel:
    """Draw the latency of each leg from its own seeded stream.

    >>> model = LatencyModel.profile("colocated", seed=7, shape=Shape.CONSTANT)
    >>> model.draw_ns(Component.ORDER)
    15000
    """

    def __init__(
        self,
        legs: Mapping[Component, Distribution],
        seed: int,
        conditions: Conditions | None = None,
    ) -> None:
        missing = [leg.value for leg in Component if leg not in legs]
        if missing:
            raise InvalidInput(f"legs: no {', '.join(missing)}; allowed: all of {list(Component)}")
        self.legs = dict(legs)
        self.seed = seed
        self.conditions = Conditions() if conditions is None else conditions
        self._streams: dict[Component, np.random.Generator] = {}

    @classmethod
    def profile(
        cls,
        name: str,
        seed: int,
        *,
        shape: Shape = Shape.LOGNORMAL,
        cv: float = 0.3,
        conditions: Conditions | None = None,
    ) -> "LatencyModel":
        """Return a model with a profile's means, one family, and one coefficient of variation."""
        if name not in PROFILES_US:
            raise InvalidInput(f"profile: {name!r}; allowed: {', '.join(PROFILES_US)}")
        means_us = PROFILES_US[name].items()
        return cls({leg: matched(shape, mean, cv) for leg, mean in means_us}, seed, conditions)

    @classmethod
    def zero(cls) -> "LatencyModel":
        """Return a model in which nothing takes any time."""
        return cls(dict.fromkeys(Component, Constant(0.0)), seed=0)

    def reseeded(self, seed: int) -> "LatencyModel":
        """Return a model of the same legs and conditions, at the start of another seed's draws."""
        # Legs that were checked are not checked again: executions begin with this.
        other = LatencyModel.__new__(LatencyModel)
        other.legs, other.seed, other.conditions = self.legs, seed, self.conditions
        other._streams = {}  # noqa: SLF001 - one of our own
        return other

    def draw_ns(
        self, component: Component, timestamp_ns: int = 0, volatility_ratio: float = 1.0
    ) -> int:
        """Return one latency in whole nanoseconds, at a time and at a volatility.

        `volatility_ratio` is the present volatility over its normal value.
        """
        return self._draw_ns(component, self._stream(component), timestamp_ns, volatility_ratio)

    def first_draws_ns(
        self,
        seed: int,
        legs: Iterable[Component],
        timestamp_ns: int = 0,
        volatility_ratio: float = 1.0,
    ) -> int:
        """Return the sum of some legs' first draws by another seed: as `reseeded(seed)` has them.

        This model's own streams stay where they are.
        """
        total, conditions = 0, self.conditions
        factor = conditions.factor(timestamp_ns, volatility_ratio)
        for leg in legs:
            stream = np.random.Generator(np.random.PCG64(child(seed, _PLACES[leg])))
            total += conditions.bent_ns(self.legs[leg].draw(stream), factor, stream)
        return total

    def round_trip_ns(self, timestamp_ns: int = 0, volatility_ratio: float = 1.0) -> int:
        """Return one draw of order + exchange + fill, in nanoseconds."""
        legs = (Component.ORDER, Component.EXCHANGE, Component.FILL)
        return sum(self.draw_ns(leg, timestamp_ns, volatility_ratio) for leg in legs)

    def percentiles(
        self,
        draws: int = 10_000,
        levels: Sequence[float] = (50.0, 95.0, 99.0),
        timestamp_ns: int = 0,
    ) -> dict[str, dict[str, float]]:
        """Return percentiles in microseconds of every leg and of the round trip.

        The draws come from streams of their own: asking does not change what `draw_ns` returns.
        """
        if draws < 1:
            raise InvalidInput(f"draws: {draws}; allowed: 1 or more")
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(len(Component),)))
        times = {
            leg.value: np.array([self._draw_ns(leg, rng, timestamp_ns, 1.0) for _ in range(draws)])
            for leg in Component
        }
        times["round_trip"] = times["order"] + times["exchange"] + times["fill"]
        return {
            name: {f"p{level:g}": float(np.percentile(ns, level)) / 1_000 for level in levels}
            for name, ns in times.items()
        }

    def _stream(self, component: Component) -> np.random.Generator:
        """Return a leg's own stream: that of the seed sequence's child of the leg's place."""
        stream = self._streams.get(component)
        if stream is None:
            # Made when first drawn from; most executions draw from two of the four legs.
            state = child(self.seed, _PLACES[component])
            stream = self._streams[component] = np.random.Generator(np.random.PCG64(state))
        return stream

    def _draw_ns(
        self, leg: Component, rng: np.random.Generator, timestamp_ns: int, volatility_ratio: float
    ) -> int:
        factor = self.conditions.factor(timestamp_ns, volatility_ratio)
        return self.conditions.bent_ns(self.legs[leg].draw(rng), factor, rng)


class _State(ISeedSequence):
    """What `PCG64` asks of a seed sequence: four words of 64 bits, made before."""

    __slots__ = ("_words",)

    def __init__(self, words: "np.ndarray[Any, Any]") -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> "np.ndarray[Any, Any]":
        """Return the words; there are no others."""
        if n_words != _PCG64_WORDS or dtype is not np.uint64:
            raise AssertionError(f"{n_words} words of {dtype}")
        return self._words


def plain_child(seed: int, place: int) -> np.random.SeedSequence:
    """Return the seed sequence's child of a place: `SeedSequence(seed, spawn_key=(place,))`.

    The words that numpy makes of a seed of 64 bits and of its key are written down directly, which
    takes a third of the time; the streams are the same.
    """
    if 0 <= seed < _TWO_WORDS:
        words = (seed & _WORD, seed >> 32, 0, 0, place)
        return np.random.SeedSequence(np.array(words, dtype=np.uint32))
    return np.random.SeedSequence(seed, spawn_key=(place,))


try:
    from lob._core import seed_state
except ImportError:
    child = plain_child
else:

    def child(seed: int, place: int) -> np.random.SeedSequence:
        """Return what gives a bit generator the state that `plain_child` gives it."""
        if 0 <= seed < _TWO_WORDS:
            return _State(  # type: ignore[return-value] # `PCG64` takes any `ISeedSequence`
                np.frombuffer(seed_state(seed, place), np.uint64)
            )
        return plain_child(seed, place)
