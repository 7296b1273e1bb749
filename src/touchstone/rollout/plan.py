"""What a rollout file says of going on by itself: schedule, dwell, judge and go/no-go.

A plan permits nothing alone: a person arms the schedule, and the gate has to be open at each step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from lob.errors import InvalidInput
from touchstone.rollout.go_no_go import DWELL_SECONDS, ROWS, Row
from touchstone.rollout.judge import JudgeConfig
from touchstone.rollout.schedule import Schedule

STEP_DWELL_SECONDS: Final = 86_400.0
"""How long a step lasts at least before the schedule makes the next."""
SECONDS_MAX: Final = 366 * 86_400.0
PLAN_KEYS: Final = ("schedule", "dwell_seconds", "judge", "go_no_go")
_GO_KEYS: Final = ("rows", "dwell_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a rollout goes on by itself. `rows` are those of the go/no-go matrix that decide."""

    schedule: Schedule = field(default_factory=Schedule)
    dwell_seconds: float = STEP_DWELL_SECONDS
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    rows: tuple[Row, ...] = ROWS
    go_dwell_seconds: float = DWELL_SECONDS

    @classmethod
    def from_mapping(cls, section: Mapping[str, Any]) -> "Plan":
        """Return the plan that the keys `PLAN_KEYS` of a rollout file describe.

        Raises:
            InvalidInput: one of them is wrong; the text names key, value and what is allowed.
        """
        go = _mapping("go_no_go", section.get("go_no_go", {}), _GO_KEYS)
        return cls(
            schedule=Schedule.from_mapping(_mapping("schedule", section.get("schedule", {}))),
            dwell_seconds=_seconds(
                "dwell_seconds", section.get("dwell_seconds", STEP_DWELL_SECONDS)
            ),
            judge=_judge(section.get("judge", {})),
            rows=_rows(go.get("rows", [row.name for row in ROWS])),
            go_dwell_seconds=_seconds(
                "go_no_go.dwell_seconds", go.get("dwell_seconds", DWELL_SECONDS)
            ),
        )


def _judge(value: object) -> JudgeConfig:
    allowed = tuple(f.name for f in fields(JudgeConfig))
    found = _mapping("judge", value, allowed)
    for name, number in found.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InvalidInput(f"judge.{name}: {number!r}; allowed: a number")
    try:
        return JudgeConfig(**found)
    except InvalidInput as fault:
        raise InvalidInput(f"judge.{fault}") from None


def _rows(value: object) -> tuple[Row, ...]:
    by_name = {row.name: row for row in ROWS}
    if not isinstance(value, list) or not value:
        raise InvalidInput(f"go_no_go.rows: {value!r}; allowed: a list of {', '.join(by_name)}")
    for name in value:
        if not isinstance(name, str) or name not in by_name:
            raise InvalidInput(f"go_no_go.rows: {name!r}; allowed: {', '.join(by_name)}")
    return tuple(row for row in ROWS if row.name in value)


def _mapping(name: str, value: object, keys: tuple[str, ...] | None = None) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name}: {value!r}; allowed: keys {', '.join(keys or ('a date',))}")
    for key in value:
        if keys is not None and key not in keys:
            raise InvalidInput(f"{name}.{key}: no such key; allowed: {', '.join(keys)}")
    return value


def _seconds(name: str, value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= SECONDS_MAX:  # type: ignore[arg-type,operator]
        raise InvalidInput(f"{name}: {value!r}; allowed: seconds, 0..{SECONDS_MAX:.0f}")
    return float(value)  # type: ignore[arg-type]
