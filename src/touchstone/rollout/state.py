"""The rollout's state: one validated document, and how a person may change it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, Final

from lob.errors import Conflict, InvalidInput
from lob.texts import is_printable
from touchstone.rollout.phases import (
    BASIS_POINTS,
    BASIS_POINTS_MAX,
    LIVE_PHASES,
    REARM_PHASES,
    TRANSITIONS,
    Phase,
)

LIST_ENTRIES_MAX: Final = 1_000
KEY_CHARACTERS_MAX: Final = 128
SALT_CHARACTERS_MAX: Final = 64
DEFAULT_SALT: Final = "touchstone"

__all__ = [
    "BASIS_POINTS",
    "BASIS_POINTS_MAX",
    "DEFAULT_SALT",
    "KEY_CHARACTERS_MAX",
    "LIST_ENTRIES_MAX",
    "LIVE_PHASES",
    "REARM_PHASES",
    "SALT_CHARACTERS_MAX",
    "TRANSITIONS",
    "Phase",
    "RolloutDocument",
    "basis_points_from_fraction",
    "change",
    "fraction_from_basis_points",
    "loosens",
    "normalise",
]


def normalise(key: str) -> str:
    """Return a symbol or account as it is compared and hashed: no outer blanks, upper case.

    >>> normalise(" aapl ")
    'AAPL'
    """
    return key.strip().upper()


def basis_points_from_fraction(fraction: Decimal | float | str) -> int:
    """Return a fraction (0.05) as basis points (500), exactly.

    A float counts as what it prints as. `InvalidInput` outside 0..1 or between basis points.

    >>> [basis_points_from_fraction(value) for value in (0.07, 0.14, 0.28, "0.0001")]
    [700, 1400, 2800, 1]
    """
    refusal = f"percentage: {fraction!r}; allowed: a fraction 0..1 in steps of 0.0001"
    if isinstance(fraction, bool) or not isinstance(fraction, Decimal | float | int | str):
        raise InvalidInput(refusal)
    try:
        value = Decimal(str(fraction))
    except ArithmeticError:
        raise InvalidInput(refusal) from None
    if not value.is_finite() or not 0 <= value <= 1:
        raise InvalidInput(refusal)
    points = value * BASIS_POINTS_MAX
    if points != points.to_integral_value():
        raise InvalidInput(refusal)
    return int(points)


def fraction_from_basis_points(basis_points: int) -> Decimal:
    """Return basis points (500) as a fraction (0.05), exactly."""
    return Decimal(basis_points) / BASIS_POINTS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDocument:
    """What a person decides about the rollout; validated, with lists normalised and sorted.

    Every field is checked on construction: `InvalidInput` names the field, the value and what is
    allowed. `schedule_armed` lets the schedule promote; a rollback takes it away.
    """

    phase: Phase
    basis_points: int = 0
    salt: str = DEFAULT_SALT
    canary_symbols: tuple[str, ...] = ()
    canary_accounts: tuple[str, ...] = ()
    deny_symbols: tuple[str, ...] = ()
    deny_accounts: tuple[str, ...] = ()
    schedule_armed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "phase", _phase(self.phase))
        points = self.basis_points
        if type(points) is not int or not 0 <= points <= BASIS_POINTS_MAX:
            raise InvalidInput(f"basis_points: {points!r}; allowed: 0..{BASIS_POINTS_MAX}, whole")
        low, high = BASIS_POINTS[self.phase]
        if not low <= points <= high:
            raise InvalidInput(
                f"basis_points: {points}; allowed in phase {self.phase}: {low}..{high}"
            )
        _require_text("salt", self.salt, SALT_CHARACTERS_MAX)
        for name in ("canary_symbols", "canary_accounts", "deny_symbols", "deny_accounts"):
            object.__setattr__(self, name, _keys(name, getattr(self, name)))
        if type(self.schedule_armed) is not bool:
            raise InvalidInput(f"schedule_armed: {self.schedule_armed!r}; allowed: true, false")
        if self.phase is Phase.ROLLED_BACK:
            object.__setattr__(self, "schedule_armed", False)

    @property
    def live_basis_points(self) -> int:
        """Return the share that L3 may answer now: none outside the live phases."""
        return self.basis_points if self.phase in LIVE_PHASES else 0

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RolloutDocument":
        """Return the document that JSON holds; `InvalidInput` for unknown or missing keys."""
        allowed = [field.name for field in fields(cls)]
        for key in document:
            if key not in allowed:
                raise InvalidInput(f"{key}: no such key; allowed: {', '.join(allowed)}")
        if "phase" not in document:
            raise InvalidInput(f"phase: missing; allowed: {', '.join(Phase)}")
        return cls(**document)

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON values."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            for value in [getattr(self, field.name)]
        }


def change(present: RolloutDocument, changes: Mapping[str, Any]) -> RolloutDocument:
    """Return `present` with `changes`; phase FULL brings its share along.

    Going back, to an earlier phase or a smaller share, disarms the schedule, unless the change
    itself says otherwise.

    Raises:
        InvalidInput: a key or a value is wrong.
        Conflict: the phase, or the salt, may not become that from here.
    """
    phase = _phase(changes.get("phase", present.phase))
    allowed = TRANSITIONS[present.phase]
    if phase not in allowed:
        others = ", ".join(allowed) or "none; a rollback is left by a re-arm"
        raise Conflict(f"phase: {present.phase} -> {phase}; allowed from here: {others}")
    implied = {"basis_points": BASIS_POINTS_MAX} if phase is Phase.FULL else {}
    wanted = RolloutDocument.from_json({**present.to_json(), **implied, **changes})
    if present.phase in LIVE_PHASES and wanted.salt != present.salt:
        raise Conflict(
            f"salt: cannot change in phase {present.phase}, because symbols would change sides; "
            f"allowed: {present.salt!r}"
        )
    back = wanted.live_basis_points < present.live_basis_points or _ORDER.index(
        wanted.phase
    ) < _ORDER.index(present.phase)
    if back and "schedule_armed" not in changes:
        wanted = replace(wanted, schedule_armed=False)
    return wanted


_ORDER: Final = tuple(Phase)
_REACH: Final = {
    Phase.ROLLED_BACK: 0,
    Phase.OFF: 0,
    Phase.SHADOW: 1,
    Phase.CANARY: 2,
    Phase.EXPANSION: 2,
    Phase.FULL: 2,
}
"""L3 runs not at all, beside L2, or in its place."""


def loosens(before: RolloutDocument, after: RolloutDocument) -> bool:
    """Return whether a change may bring anything to L3 that it has not now.

    Whatever is not surely a tightening is a loosening: a latch that is left, a later phase, a
    larger share, a longer canary list, a shorter deny list, another salt, a schedule newly armed.

    >>> canary = RolloutDocument(phase=Phase.CANARY, basis_points=500)
    >>> loosens(canary, replace(canary, basis_points=100)), loosens(canary, canary)
    (False, False)
    >>> loosens(replace(canary, phase=Phase.SHADOW), canary)
    True
    """
    if after.phase is Phase.ROLLED_BACK:
        return False
    wider = (
        before.phase is Phase.ROLLED_BACK,
        _REACH[after.phase] > _REACH[before.phase],
        after.live_basis_points > before.live_basis_points,
        after.salt != before.salt and after.phase in LIVE_PHASES,
        after.schedule_armed and not before.schedule_armed,
        after.phase in LIVE_PHASES
        and (
            not set(after.canary_symbols) <= set(before.canary_symbols)
            or not set(after.canary_accounts) <= set(before.canary_accounts)
            or not set(after.deny_symbols) >= set(before.deny_symbols)
            or not set(after.deny_accounts) >= set(before.deny_accounts)
        ),
    )
    return any(wider)


def _phase(value: object) -> Phase:
    try:
        return Phase(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidInput(f"phase: {value!r}; allowed: {', '.join(Phase)}") from None


def _require_text(name: str, value: object, longest: int) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise InvalidInput(f"{name}: {value!r}; allowed: text of 1..{longest} characters")
    if not is_printable(value):
        raise InvalidInput(f"{name}: {value!r}; allowed: printable characters only")
    return value


def _keys(name: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple):
        raise InvalidInput(f"{name}: {values!r}; allowed: a list of texts")
    if len(values) > LIST_ENTRIES_MAX:
        raise InvalidInput(f"{name}: {len(values)} entries; allowed: at most {LIST_ENTRIES_MAX}")
    checked = (
        _require_text(f"{name}[{i}]", value, KEY_CHARACTERS_MAX) for i, value in enumerate(values)
    )
    return tuple(sorted({normalise(value) for value in checked}))
