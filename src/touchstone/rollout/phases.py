"""The phases of the rollout as one table: shares, moves, who may make them, and under which guards.

Everything else that concerns phases (what a `PUT` may do, what the schedule may do, the diagram in
the docs) is read from `PHASES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BASIS_POINTS_MAX: Final = 10_000
EXPANSION_STEPS: Final = (2_500, 5_000, 7_500, 10_000)
"""The guide's steps; whatever is below the first is a canary."""


class Phase(StrEnum):
    """How far the rollout of L3 has come."""

    OFF = "OFF"
    SHADOW = "SHADOW"
    CANARY = "CANARY"
    EXPANSION = "EXPANSION"
    FULL = "FULL"
    ROLLED_BACK = "ROLLED_BACK"


class Actor(StrEnum):
    """Who makes a move."""

    PERSON = "person"
    SCHEDULE = "schedule"
    TRIGGER = "trigger"


class Guard(StrEnum):
    """What has to hold for a move."""

    GENERATION = "generation"
    REASON = "reason"
    REARM = "re-arm"
    ARMED = "armed"
    DATE = "date"
    DWELL = "dwell"
    GATE = "gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the guards look at; nothing holds unless it is said."""

    expected_generation: bool = False
    reason: str = ""
    rearm: bool = False
    schedule_armed: bool = False
    date_reached: bool = False
    dwelled: bool = False
    gate_open: bool = False


GUARDS: Final[Mapping[Guard, tuple[str, Callable[[Facts], bool]]]] = {
    Guard.GENERATION: (
        "the state has the generation that the change is based on",
        lambda facts: facts.expected_generation,
    ),
    Guard.REASON: ("a reason is given", lambda facts: bool(facts.reason.strip())),
    Guard.REARM: ("it is an explicit re-arm, not a change", lambda facts: facts.rearm),
    Guard.ARMED: (
        "a person has armed the schedule since the last way back",
        lambda facts: facts.schedule_armed,
    ),
    Guard.DATE: ("the date of the step has come (UTC)", lambda facts: facts.date_reached),
    Guard.DWELL: ("the present step has lasted its dwell time", lambda facts: facts.dwelled),
    Guard.GATE: ("the judge says PROMOTE and go/no-go says GO", lambda facts: facts.gate_open),
}

Move = Mapping[Actor, tuple[Guard, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRow:
    """One phase: may L3 answer in it, the lowest and highest share, and the moves out of it."""

    live: bool
    basis_points: tuple[int, int]
    moves: Mapping[Phase, Move]


_CHANGE: Final[Move] = {Actor.PERSON: (Guard.GENERATION,)}
_STEP: Final[Move] = {
    Actor.PERSON: (Guard.GENERATION,),
    Actor.SCHEDULE: (Guard.GENERATION, Guard.ARMED, Guard.DATE, Guard.DWELL, Guard.GATE),
}
# Tightening needs no generation: it must not lose a race.
_ROLLBACK: Final[Move] = {Actor.PERSON: (Guard.REASON,), Actor.TRIGGER: (Guard.REASON,)}
_REARM: Final[Move] = {Actor.PERSON: (Guard.REARM, Guard.REASON, Guard.GENERATION)}

PHASES: Final[Mapping[Phase, PhaseRow]] = {
    # One step forward at a time, any way back; a rollback from everywhere. OFF, SHADOW and
    # ROLLED_BACK keep a share for later. Staying in a phase is a move too: it changes the share.
    Phase.OFF: PhaseRow(
        live=False,
        basis_points=(0, BASIS_POINTS_MAX),
        moves={Phase.OFF: _CHANGE, Phase.SHADOW: _CHANGE, Phase.ROLLED_BACK: _ROLLBACK},
    ),
    Phase.SHADOW: PhaseRow(
        live=False,
        basis_points=(0, BASIS_POINTS_MAX),
        moves={
            Phase.OFF: _CHANGE,
            Phase.SHADOW: _CHANGE,
            Phase.CANARY: _STEP,
            Phase.ROLLED_BACK: _ROLLBACK,
        },
    ),
    Phase.CANARY: PhaseRow(
        live=True,
        basis_points=(0, EXPANSION_STEPS[0] - 1),
        moves={
            Phase.OFF: _CHANGE,
            Phase.SHADOW: _CHANGE,
            Phase.CANARY: _STEP,
            Phase.EXPANSION: _STEP,
            Phase.ROLLED_BACK: _ROLLBACK,
        },
    ),
    Phase.EXPANSION: PhaseRow(
        live=True,
        basis_points=(0, BASIS_POINTS_MAX),
        moves={
            Phase.OFF: _CHANGE,
            Phase.SHADOW: _CHANGE,
            Phase.CANARY: _CHANGE,
            Phase.EXPANSION: _STEP,
            Phase.FULL: _CHANGE,
            Phase.ROLLED_BACK: _ROLLBACK,
        },
    ),
    Phase.FULL: PhaseRow(
        live=True,
        basis_points=(BASIS_POINTS_MAX, BASIS_POINTS_MAX),
        moves={
            Phase.OFF: _CHANGE,
            Phase.SHADOW: _CHANGE,
            Phase.CANARY: _CHANGE,
            Phase.EXPANSION: _CHANGE,
            Phase.FULL: _CHANGE,
            Phase.ROLLED_BACK: _ROLLBACK,
        },
    ),
    # Latched: only a re-arm leaves it, and for no phase in which L3 answers.
    Phase.ROLLED_BACK: PhaseRow(
        live=False,
        basis_points=(0, BASIS_POINTS_MAX),
        moves={Phase.OFF: _REARM, Phase.SHADOW: _REARM},
    ),
}


def refusals(before: Phase, after: Phase, actor: Actor, facts: Facts) -> tuple[str, ...]:
    """Return why a move may not be made now, each reason in words; empty when it may."""
    move = PHASES[before].moves.get(after)
    if move is None or actor not in move:
        return (f"{before} -> {after} is no move of a {actor}",)
    return tuple(
        f"not true that {text}"
        for text, holds in (GUARDS[guard] for guard in move[actor])
        if not holds(facts)
    )


def _targets(phase: Phase, actor: Actor, *, rearm: bool) -> tuple[Phase, ...]:
    return tuple(
        after
        for after, move in PHASES[phase].moves.items()
        if actor in move and (Guard.REARM in move[actor]) is rearm
    )


LIVE_PHASES: Final = frozenset(phase for phase, row in PHASES.items() if row.live)
"""The phases in which L3 may answer; while in one, the salt cannot change."""
BASIS_POINTS: Final = {phase: row.basis_points for phase, row in PHASES.items()}
"""Lowest and highest share of each phase."""
TRANSITIONS: Final = {phase: _targets(phase, Actor.PERSON, rearm=False) for phase in Phase}
"""Where a person's change (`PUT /v1/rollout`) may lead."""
REARM_PHASES: Final = _targets(Phase.ROLLED_BACK, Actor.PERSON, rearm=True)
"""Where a re-arm may lead."""


def transitions_markdown() -> str:
    """Return the table of phases for the documentation."""
    lines = [
        "| From | To, by `PUT /v1/rollout` | By the schedule | By a trigger | Basis points |",
        "|---|---|---|---|---|",
    ]
    for phase, row in PHASES.items():
        low, high = row.basis_points
        by_put = ", ".join(other for other in TRANSITIONS[phase] if other is not phase)
        leave = by_put or f"none; re-arm leads to {' or '.join(REARM_PHASES)}"
        steps = ", ".join(
            f"{other}, higher" if other is phase else other
            for other in _targets(phase, Actor.SCHEDULE, rearm=False)
        )
        trips = ", ".join(_targets(phase, Actor.TRIGGER, rearm=False))
        lines.append(f"| {phase} | {leave} | {steps or '-'} | {trips or '-'} | {low} to {high} |")
    return "\n".join(lines)


def guards_markdown() -> str:
    """Return what each kind of move needs, for the documentation."""
    kinds: dict[tuple[Actor, tuple[Guard, ...]], list[str]] = {}
    for before, row in PHASES.items():
        for after, move in row.moves.items():
            for actor, guards in move.items():
                kinds.setdefault((actor, guards), []).append(f"{before} -> {after}")
    lines = ["| Who | Moves | What has to hold |", "|---|---|---|"]
    for (actor, guards), moves in kinds.items():
        needs = "; ".join(GUARDS[guard][0] for guard in guards)
        lines.append(f"| {actor} | {', '.join(moves)} | {needs} |")
    return "\n".join(lines)


def mermaid() -> str:
    """Return the diagram as Mermaid text; a loop only where the schedule makes it."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.OFF}"]
    for before, row in PHASES.items():
        for after, move in row.moves.items():
            if before is after and Actor.SCHEDULE not in move:
                continue
            who = ", ".join(
                f"{actor} ({Guard.REARM})" if Guard.REARM in guards else actor
                for actor, guards in move.items()
            )
            lines.append(f"    {before} --> {after}: {who}")
    return "\n".join(lines)
