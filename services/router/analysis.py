"""The judge at work: fed by pairs of the shadow phase and of the live ones, one trial a step."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from touchstone.kit.control import ControlRecord, ControlView
from touchstone.rollout.judge import EvidencePoint, Judge, JudgeConfig, Verdict
from touchstone.rollout.shadow import ShadowPair
from touchstone.rollout.state import LIVE_PHASES, Phase

EARLIER_MAX: Final = 20
_JUDGED: Final = frozenset({Phase.SHADOW, *LIVE_PHASES})


@dataclass(frozen=True, slots=True)
class Step:
    """What is judged as one experiment: a stay in a phase at a share."""

    phase: Phase
    basis_points: int
    generation: int


class Analysis:
    """Judge the pairs of the present step.

    An experiment begins with each step, which is a phase together with its share, as this process
    sees it; a state that was missed in between counts as another step. Its evidence stays to be
    looked at after the step is left for OFF or a rollback. Each one has its own `alpha`, and the
    settings that held when it began.

    All its times are this process's monotonic clock, counted from the wall clock at the start: a
    wall clock that is set moves neither a block nor the deadline.
    """

    def __init__(
        self,
        config: Callable[[], JudgeConfig],
        *,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._monotonic = monotonic
        self._offset = wall_clock() - monotonic()
        self._record: ControlRecord | None = None
        self._earlier: deque[dict[str, Any]] = deque(maxlen=EARLIER_MAX)
        self._experiment = 0
        self.step: Step | None = None
        self._begin()

    @property
    def started_at(self) -> float:
        """Return when the present experiment began, on the clock of `now`."""
        return self._started_at

    @property
    def experiment(self) -> int:
        """Return the number of the present experiment in this process."""
        return self._experiment

    def now(self) -> float:
        """Return seconds since 1970 by a clock that only goes forward, a second a second."""
        return self._offset + self._monotonic()

    def follow(self, view: ControlView) -> None:
        """Begin an experiment where the state is another step; for `ControlReader.subscribe`."""
        record = view.record
        if not view.known or record is None or record is self._record:
            return
        before, self._record = self._record, record
        try:
            phase = Phase(record.state)
        except ValueError:
            return
        if phase not in _JUDGED:
            self.step = None
            return
        points = record.document.get("basis_points")
        step = Step(phase, points if isinstance(points, int) else 0, record.generation)
        missed = before is not None and record.generation > before.generation + 1
        same = self.step is not None and (self.step.phase, self.step.basis_points) == (
            step.phase,
            step.basis_points,
        )
        if same and not missed:
            return
        if before is not None:
            self._earlier.append(self._summary())
        self.step = step
        self._begin()

    def observe(self, pair: ShadowPair) -> None:
        """Add a pair; one of an earlier generation than the step's says nothing of the step."""
        if self.step is not None and pair.generation < self.step.generation:
            return
        self._judge.observe_pair(pair, self.now())

    def verdict(self) -> Verdict:
        """Return what the evidence of the present step permits now."""
        return self._judge.verdict(self.now())

    def to_json(self) -> dict[str, Any]:
        """Return the verdict, what it is made from, its evidence as it grew, and the earlier."""
        return {
            "started_at": self._started_at,
            "step": None if self.step is None else asdict(self.step),
            "config": asdict(self._judge.config),
            "verdict": asdict(self.verdict()),
            "curve": [_point_to_json(point) for point in self._judge.curve()],
            "earlier": list(self._earlier),
        }

    def _begin(self) -> None:
        self._experiment += 1
        self._started_at = self.now()
        self._judge = Judge(self._config(), self._started_at)

    def _summary(self) -> dict[str, Any]:
        return {
            "started_at": self._started_at,
            "step": None if self.step is None else asdict(self.step),
            "verdict": asdict(self.verdict()),
        }


def _point_to_json(point: EvidencePoint) -> dict[str, Any]:
    values = asdict(point)
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
