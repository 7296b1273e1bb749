"""The one table of phases: who may move where, and what the docs are drawn from."""

import itertools
from dataclasses import fields, replace
from typing import Any

import pytest

from touchstone.rollout.phases import (
    EXPANSION_STEPS,
    GUARDS,
    LIVE_PHASES,
    PHASES,
    Actor,
    Facts,
    Guard,
    Phase,
    guards_markdown,
    mermaid,
    refusals,
    transitions_markdown,
)

EVERYTHING = Facts(
    expected_generation=True,
    reason="r",
    rearm=True,
    schedule_armed=True,
    date_reached=True,
    dwelled=True,
    gate_open=True,
)


def allowed(actor: Actor) -> set[tuple[Phase, Phase]]:
    """Return the moves this actor may make when everything holds."""
    return {
        (before, after)
        for before, after in itertools.product(Phase, Phase)
        if not refusals(before, after, actor, EVERYTHING)
    }


def test_a_trigger_only_rolls_back_and_may_do_so_from_everywhere() -> None:
    """Rollback is live in every phase but the one it leads to."""
    expected = {(phase, Phase.ROLLED_BACK) for phase in Phase if phase is not Phase.ROLLED_BACK}
    assert expected == allowed(Actor.TRIGGER)


def test_the_schedule_only_goes_on_and_never_leaves_a_rollback() -> None:
    """Its moves are the steps of the ramp; the first shadow and the end are a person's."""
    assert allowed(Actor.SCHEDULE) == {
        (Phase.SHADOW, Phase.CANARY),
        (Phase.CANARY, Phase.CANARY),
        (Phase.CANARY, Phase.EXPANSION),
        (Phase.EXPANSION, Phase.EXPANSION),
    }


def test_only_a_rearm_leaves_a_rollback() -> None:
    """By a person, with a reason and the generation, to where L3 does not answer."""
    leaving = {after for before, after in allowed(Actor.PERSON) if before is Phase.ROLLED_BACK}
    assert leaving == {Phase.OFF, Phase.SHADOW}
    assert not leaving & LIVE_PHASES
    without: tuple[dict[str, Any], ...] = (
        {"rearm": False},
        {"reason": " "},
        {"expected_generation": False},
    )
    for missing in without:
        facts = replace(EVERYTHING, **missing)
        assert len(refusals(Phase.ROLLED_BACK, Phase.SHADOW, Actor.PERSON, facts)) == 1


@pytest.mark.parametrize(
    "missing", ["expected_generation", "schedule_armed", "date_reached", "dwelled"]
)
def test_a_scheduled_step_needs_date_gate_and_arming_together(missing: str) -> None:
    """With any one of them missing, the refusal says which."""
    for name in (missing, "gate_open"):
        facts = replace(EVERYTHING, **{name: False})  # type: ignore[arg-type]
        (why,) = refusals(Phase.CANARY, Phase.EXPANSION, Actor.SCHEDULE, facts)
        assert why.startswith("not true that ")


def test_nothing_holds_by_default() -> None:
    """Facts that nobody stated permit no move at all."""
    for before, after, actor in itertools.product(Phase, Phase, Actor):
        assert refusals(before, after, actor, Facts())


def test_tightening_loses_no_race() -> None:
    """A rollback needs no generation, by whomever."""
    for before, actor in itertools.product(
        set(Phase) - {Phase.ROLLED_BACK}, (Actor.PERSON, Actor.TRIGGER)
    ):
        facts = Facts(reason="errors")
        assert refusals(before, Phase.ROLLED_BACK, actor, facts) == ()


def test_the_table_is_total_and_every_guard_is_used() -> None:
    """Each phase has a row, each guard words and a use, each share an order."""
    assert set(PHASES) == set(Phase)
    assert set(GUARDS) == set(Guard)
    used = {
        guard
        for row in PHASES.values()
        for move in row.moves.values()
        for guards in move.values()
        for guard in guards
    }
    assert used == set(Guard)
    assert len(fields(Facts)) == len(Guard)
    assert all(
        0 <= low <= high <= 10_000 for low, high in (r.basis_points for r in PHASES.values())
    )
    assert PHASES[Phase.CANARY].basis_points[1] < EXPANSION_STEPS[0]


def test_what_the_docs_show_has_each_move() -> None:
    """One row a phase, each move in the guards' table, each change of phase an arrow."""
    assert len(transitions_markdown().splitlines()) == len(Phase) + 2
    moves = [(before, after) for before, row in PHASES.items() for after in row.moves]
    assert all(f"{before} -> {after}" in guards_markdown() for before, after in moves)
    arrows = [line for line in mermaid().splitlines() if "-->" in line]
    assert len(arrows) == 1 + sum(a is not b for a, b in moves) + 2
