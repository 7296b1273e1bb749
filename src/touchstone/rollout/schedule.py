"""The schedule of the expansion: from a date on a step may be made, and only if the gate is open.

A schedule permits, it never forces. It makes one step at a time, never one back, and none at all
after a rollback or another way back until a person arms it again.
"""

import datetime as dt
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from lob.errors import InvalidInput
from touchstone.rollout.phases import EXPANSION_STEPS, Actor, Facts, Phase, refusals
from touchstone.rollout.state import RolloutDocument, basis_points_from_fraction


@dataclass(frozen=True, slots=True)
class Step:
    """From `not_before` (UTC, from midnight on) the share may be `basis_points`."""

    not_before: dt.date
    basis_points: int

    @property
    def phase(self) -> Phase:
        """Return the phase that carries this share; FULL is a person's decision."""
        return Phase.CANARY if self.basis_points < EXPANSION_STEPS[0] else Phase.EXPANSION


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the schedule does next, and why it does not do it yet; it may when that is empty."""

    step: Step | None
    refused_because: tuple[str, ...]

    @property
    def permitted(self) -> bool:
        """Return whether the step may be made now."""
        return self.step is not None and not self.refused_because


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps whose dates and shares both rise."""

    steps: tuple[Step, ...] = ()

    @classmethod
    def from_mapping(cls, mapping: Mapping[object, object]) -> "Schedule":
        """Return the schedule that `{date: fraction}` describes, in any order.

        Args:
            mapping: dates as ISO text or dates, fractions as the guide's `0.25`.

        Raises:
            InvalidInput: a date or fraction is wrong, or a later date has no larger share.
        """
        steps = sorted(
            (Step(_date(key), _points(key, value)) for key, value in mapping.items()),
            key=lambda step: step.not_before,
        )
        for before, after in itertools.pairwise(steps):
            if after.not_before == before.not_before or after.basis_points <= before.basis_points:
                raise InvalidInput(
                    f"schedule: {after.not_before}: {after.basis_points} basis points after "
                    f"{before.basis_points} on {before.not_before}; allowed: rising shares, one a "
                    "date"
                )
        return cls(tuple(steps))

    def next_step(
        self, document: RolloutDocument, now: float, *, dwelled: bool, gate_open: bool
    ) -> Proposal:
        """Return the smallest step that lies ahead, and what stands in its way.

        Args:
            document: the present state.
            now: seconds since 1970.
            dwelled: whether the present step has lasted as long as it has to.
            gate_open: whether judge and go/no-go permit a promotion.
        """
        present = document.live_basis_points
        step = next((step for step in self.steps if step.basis_points > present), None)
        if step is None:
            return Proposal(None, ("the schedule has no step beyond the present share",))
        today = dt.datetime.fromtimestamp(now, dt.UTC).date()
        facts = Facts(
            expected_generation=True,  # the write itself proves it
            schedule_armed=document.schedule_armed,
            date_reached=today >= step.not_before,
            dwelled=dwelled,
            gate_open=gate_open,
        )
        return Proposal(step, refusals(document.phase, step.phase, Actor.SCHEDULE, facts))


def _date(key: object) -> dt.date:
    if isinstance(key, dt.date) and not isinstance(key, dt.datetime):
        return key
    try:
        return dt.date.fromisoformat(key if isinstance(key, str) else "")
    except ValueError:
        raise InvalidInput(f"schedule: {key!r}; allowed: a date such as 2025-12-01") from None


def _points(key: object, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Decimal | float | int | str):
        raise InvalidInput(f"schedule: {key}: {value!r}; allowed: a fraction above 0, up to 1")
    try:
        points = basis_points_from_fraction(value)
    except InvalidInput as fault:
        raise InvalidInput(f"schedule: {key}: {fault}") from None
    if points == 0:
        raise InvalidInput(f"schedule: {key}: {value!r}; allowed: a fraction above 0, up to 1")
    return points
