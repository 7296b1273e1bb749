"""The schedule: a date permits a step, the gate and a person's arming have to as well."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from touchstone.rollout.phases import LIVE_PHASES, Phase
from touchstone.rollout.schedule import Schedule
from touchstone.rollout.state import BASIS_POINTS, RolloutDocument, change

GUIDE = Schedule.from_mapping(
    {"2025-12-01": 0.25, "2025-12-08": 0.50, "2025-12-15": 0.75, "2025-12-22": 1.00}
)


def at(text: str) -> float:
    """Return a UTC time as seconds since 1970."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()


def canary(**more: Any) -> RolloutDocument:
    """Return an armed canary of 5 %."""
    present: dict[str, Any] = {"phase": Phase.CANARY, "basis_points": 500, "schedule_armed": True}
    return RolloutDocument(**present | more)


def test_the_guides_schedule_steps_a_quarter_at_a_time() -> None:
    """25, 50, 75 and 100 %, each on its date, each as a step of the expansion."""
    document, reached = canary(), []
    for day in ("2025-12-01", "2025-12-08", "2025-12-15", "2025-12-22"):
        proposal = GUIDE.next_step(document, at(day), dwelled=True, gate_open=True)
        assert proposal.permitted
        assert proposal.step is not None
        document = change(
            document,
            {"phase": proposal.step.phase, "basis_points": proposal.step.basis_points},
        )
        reached.append((document.phase, document.basis_points))
    assert reached == [(Phase.EXPANSION, points) for points in (2_500, 5_000, 7_500, 10_000)]
    last = GUIDE.next_step(document, at("2026-12-31"), dwelled=True, gate_open=True)
    assert (last.step, last.permitted) == (None, False)


def test_a_date_begins_at_midnight_utc() -> None:
    """A second before, the step is refused for its date alone."""
    early = GUIDE.next_step(canary(), at("2025-11-30 23:59:59"), dwelled=True, gate_open=True)
    (why,) = early.refused_because
    assert "date" in why
    assert GUIDE.next_step(
        canary(), at("2025-12-01 00:00:00"), dwelled=True, gate_open=True
    ).permitted


def test_missed_dates_are_made_up_step_by_step() -> None:
    """Long after all dates, the next step is still the next one."""
    late = GUIDE.next_step(canary(), at("2026-06-01"), dwelled=True, gate_open=True)
    assert late.step is not None
    assert late.step.basis_points == 2_500


def test_the_gate_holds_whatever_the_date() -> None:
    """A date is the earliest time, not the time."""
    (why,) = GUIDE.next_step(
        canary(), at("2026-06-01"), dwelled=True, gate_open=False
    ).refused_because
    assert "PROMOTE" in why


def test_a_step_lasts_before_the_next_one() -> None:
    """Date and gate alone do not permit a second step right after the first."""
    soon = GUIDE.next_step(canary(), at("2026-06-01"), dwelled=False, gate_open=True)
    assert ("not true that the present step has lasted its dwell time",) == soon.refused_because


@given(st.sampled_from(sorted(Phase)), st.integers(0, 10_000), st.booleans(), st.integers(0, 2**32))
def test_nothing_is_promoted_after_a_rollback_until_armed(
    phase: Phase, points: int, armed: bool, now: int
) -> None:
    """Not out of ROLLED_BACK, not after the re-arm, not without arming, not out of OFF."""
    low, high = BASIS_POINTS[phase]
    document = RolloutDocument(
        phase=phase, basis_points=min(max(points, low), high), schedule_armed=armed
    )
    proposal = GUIDE.next_step(document, now, dwelled=True, gate_open=True)
    if proposal.permitted:
        assert document.schedule_armed
        assert document.phase in LIVE_PHASES
        assert proposal.step is not None
        assert proposal.step.basis_points > document.live_basis_points


def test_a_canary_step_leads_from_shadow_to_canary() -> None:
    """A share below 25 % is a canary; the guide's first step is no way out of shadow."""
    shadow = canary(phase=Phase.SHADOW)
    small = Schedule.from_mapping({dt.date(2025, 11, 24): "0.05"})
    proposal = small.next_step(shadow, at("2025-11-24"), dwelled=True, gate_open=True)
    assert proposal.permitted
    assert proposal.step is not None
    assert proposal.step.phase is Phase.CANARY
    assert not GUIDE.next_step(shadow, at("2026-01-01"), dwelled=True, gate_open=True).permitted


@pytest.mark.parametrize(
    "wrong",
    [
        {"2025-13-01": 0.25},
        {"soon": 0.25},
        {20251201: 0.25},
        {"2025-12-01": 1.5},
        {"2025-12-01": 0},
        {"2025-12-01": True},
        {"2025-12-01": None},
        {"2025-12-01": 0.5, "2025-12-08": 0.25},
        {"2025-12-01": 0.5, "2025-12-08": 0.5},
    ],
)
def test_a_wrong_schedule_is_refused(wrong: dict[object, object]) -> None:
    """One line that names date and value."""
    with pytest.raises(InvalidInput, match=r"schedule: .*allowed"):
        Schedule.from_mapping(wrong)


def test_no_schedule_proposes_nothing() -> None:
    """Which is what an empty mapping gives."""
    assert (
        not Schedule.from_mapping({})
        .next_step(canary(), 0.0, dwelled=True, gate_open=True)
        .permitted
    )
