"""What goes wrong in one seed: windows of bad weather, and the hours at which processes die.

Everything is drawn from the seed before it begins, so that what the gateway does cannot change what
befalls it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.simulation.control import RedisModel
from tests.simulation.network import Network, Weather
from tests.simulation.sql import Database
from tests.simulation.venue import Mood

USUAL: Final = Weather(
    not_sent=0.01,
    request_lost=0.01,
    request_late=0.01,
    request_twice=0.01,
    answer_lost=0.015,
    answer_late=0.01,
    feed_drop=0.001,
    feed_repeat=0.001,
    feed_swap=0.002,
    feed_garbage=0.0005,
    feed_cut=0.001,
    feed_late=0.001,
)
CLEAR: Final = Weather()
CANCELS_QUEUE: Final = 0.15
LAG: Final = "rest lags"


@dataclass(frozen=True, slots=True)
class Window:
    """A fault that holds for a while."""

    name: str
    start: float
    seconds: float
    strength: float


@dataclass
class Sky:
    """All faults in force; `settle` recomputes what the parts of the world feel."""

    network: Network
    mood: Mood
    redis: RedisModel
    base: Weather
    active: list[Window]
    database: Database
    over: bool = False
    slow_disk: bool = False
    broken_disk: bool = False
    skew_seconds: float = 0.0
    stall_chance: float = 0.0

    def begin(self, window: Window) -> None:
        """A fault begins, unless all is over."""
        if not self.over:
            self.active.append(window)
            self.settle()

    def end(self, window: Window) -> None:
        """A fault ends."""
        if window in self.active:
            self.active.remove(window)
            self.settle()

    def clear(self) -> None:
        """Everything that was wrong is well."""
        self.over = True
        self.active.clear()
        self.base = CLEAR
        self.settle()

    def settle(self) -> None:
        """Have the parts feel the sum of what is in force."""
        weather, mood = self.base, self.mood
        mood.down = mood.user_silent = False
        mood.rest_lag_seconds = mood.server_errors = 0.0
        mood.rate_limits = mood.half_done_errors = 0.0
        mood.half_told = 0.0
        mood.cancels_queue = 0.0 if self.base is CLEAR else CANCELS_QUEUE
        self.database.away = False
        self.redis.away = self.redis.slow = self.slow_disk = self.broken_disk = False
        self.stall_chance = 0.0
        for window in self.active:
            weather = _FAULTS[window.name](self, weather, window.strength) or weather
        if mood.down:
            self.network.cut_feeds()
        self.network.weather = weather


def _weather(**fields: float) -> Callable[[Sky, Weather, float], Weather]:
    def apply(_sky: Sky, weather: Weather, strength: float) -> Weather:
        changed: dict[str, Any] = {name: strength * share for name, share in fields.items()}
        return replace(weather, **changed)

    return apply


def _slow(_sky: Sky, weather: Weather, strength: float) -> Weather:
    return replace(weather, latency_seconds=(0.02, 0.1 + 1.5 * strength))


def _mood(**fields: float) -> Callable[[Sky, Weather, float], None]:
    def apply(sky: Sky, _weather: Weather, strength: float) -> None:
        for name, share in fields.items():
            setattr(sky.mood, name, share * strength)

    return apply


def _flag(part: str, name: str) -> Callable[[Sky, Weather, float], None]:
    def apply(sky: Sky, _weather: Weather, _strength: float) -> None:
        setattr(getattr(sky, part) if part else sky, name, True)

    return apply


def _cut(sky: Sky, _weather: Weather, _strength: float) -> None:
    sky.network.cut_feeds()


def _stalls(sky: Sky, _weather: Weather, strength: float) -> None:
    sky.stall_chance = 0.002 * strength


_FAULTS: Final[dict[str, Callable[[Sky, Weather, float], Any]]] = {
    "requests lost": _weather(request_lost=0.9),
    "answers lost": _weather(answer_lost=0.9),
    "requests late": _weather(request_late=0.8),
    "answers late": _weather(answer_late=0.8),
    "requests doubled": _weather(request_twice=0.9),
    "no connection": _weather(not_sent=1.0),
    "feed bad": _weather(feed_drop=0.05, feed_repeat=0.03, feed_swap=0.05, feed_garbage=0.02),
    "feed late": _weather(feed_late=0.4),
    "slow venue": _slow,
    "venue away": _flag("mood", "down"),
    "user channel silent": _flag("mood", "user_silent"),
    LAG: _mood(rest_lag_seconds=2.5),
    "server errors": _mood(server_errors=0.8),
    "rate limits": _mood(rate_limits=0.8),
    "errors though done": _mood(half_done_errors=0.7),
    "ends told early": _mood(half_told=0.9),
    "cancels queue": _mood(cancels_queue=1.0),
    "feed cut": _cut,
    "redis away": _flag("redis", "away"),
    "redis slow": _flag("redis", "slow"),
    "sql away": _flag("database", "away"),
    "disk full": _flag("", "broken_disk"),
    "slow disk": _flag("", "slow_disk"),
    "stalls": _stalls,
}


def draw_windows(rng: random.Random, until: float) -> list[Window]:
    """Return the faults of a seed: none, a few, or many."""
    count = rng.choice((0, 1, 2, 3, 4, 6, 9))
    names = list(_FAULTS)
    return [
        Window(
            rng.choice(names),
            rng.uniform(0, until),
            rng.choice((0.3, 0.7, 1.5, 3.0)) * rng.uniform(0.5, 1.5),
            rng.choice((0.2, 0.5, 1.0)),
        )
        for _ in range(count)
    ]
