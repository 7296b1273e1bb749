"""The judge at work: fed by the shadow comparison, begun anew with each shadow phase."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from touchstone.rollout.judge import EvidencePoint, Judge, JudgeConfig
from touchstone.rollout.shadow import ShadowPair
from touchstone.rollout.state import Phase


class Analysis:
    """Judge the pairs of the present shadow phase.

    An experiment begins when the phase is entered, as this process sees it, and its evidence stays
    to be looked at after the phase is left. Each one has its own `alpha`.
    """

    def __init__(
        self,
        config: JudgeConfig,
        *,
        phase: Callable[[], Phase | None],
        wall_clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._phase = phase
        self._wall_clock = wall_clock
        self._in_shadow = False
        self._started_at = wall_clock()
        self._judge = Judge(config, self._started_at)

    def observe(self, pair: ShadowPair) -> None:
        """Add a pair."""
        self._follow()
        self._judge.observe_pair(pair)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict, what it is made from, and its evidence as it grew."""
        self._follow()
        verdict = self._judge.verdict(self._wall_clock())
        return {
            "started_at": self._started_at,
            "config": asdict(self._config),
            "verdict": asdict(verdict),
            "curve": [_point_to_json(point) for point in self._judge.curve()],
        }

    def _follow(self) -> None:
        in_shadow = self._phase() is Phase.SHADOW
        if in_shadow and not self._in_shadow:
            self._started_at = self._wall_clock()
            self._judge = Judge(self._config, self._started_at)
        self._in_shadow = in_shadow


def _point_to_json(point: EvidencePoint) -> dict[str, Any]:
    values = asdict(point)
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
