"""The rollout's state: one validated document, and the table of phases it may move through."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from lob.errors import Conflict, InvalidInput

BASIS_POINTS_MAX: Final = 10_000
LIST_ENTRIES_MAX: Final = 1_000
KEY_CHARACTERS_MAX: Final = 128
SALT_CHARACTERS_MAX: Final = 64
DEFAULT_SALT: Final = "touchstone"


class Phase(StrEnum):
    """How far the rollout of L3 has come."""

    OFF = "OFF"
    SHADOW = "SHADOW"
    CANARY = "CANARY"
    EXPANSION = "EXPANSION"
    FULL = "FULL"
    ROLLED_BACK = "ROLLED_BACK"


TRANSITIONS: Final[Mapping[Phase, tuple[Phase, ...]]] = {
    # One step forward at a time; any way back. What is not listed is refused.
    Phase.OFF: (Phase.OFF, Phase.SHADOW, Phase.ROLLED_BACK),
    Phase.SHADOW: (Phase.OFF, Phase.SHADOW, Phase.CANARY, Phase.ROLLED_BACK),
    Phase.CANARY: (Phase.OFF, Phase.SHADOW, Phase.CANARY, Phase.EXPANSION, Phase.ROLLED_BACK),
    Phase.EXPANSION: (
        Phase.OFF,
        Phase.SHADOW,
        Phase.CANARY,
        Phase.EXPANSION,
        Phase.FULL,
        Phase.ROLLED_BACK,
    ),
    Phase.FULL: (
        Phase.OFF,
        Phase.SHADOW,
        Phase.CANARY,
        Phase.EXPANSION,
        Phase.FULL,
        Phase.ROLLED_BACK,
    ),
    # Latched: only a re-arm, with a reason and the expected generation, leaves it.
    Phase.ROLLED_BACK: (),
}

REARM_PHASES: Final = (Phase.OFF, Phase.SHADOW)
"""Where a re-arm may lead: neither of them answers with L3."""

LIVE_PHASES: Final = frozenset({Phase.CANARY, Phase.EXPANSION, Phase.FULL})
"""The phases in which L3 may answer; while in one, the salt cannot change."""

BASIS_POINTS: Final[Mapping[Phase, tuple[int, int]]] = {
    # Lowest and highest share each phase may carry. OFF and SHADOW keep one for later; a canary
    # stays below the first step of the expansion (25 %).
    Phase.OFF: (0, BASIS_POINTS_MAX),
    Phase.SHADOW: (0, BASIS_POINTS_MAX),
    Phase.CANARY: (0, 2_499),
    Phase.EXPANSION: (0, BASIS_POINTS_MAX),
    Phase.FULL: (BASIS_POINTS_MAX, BASIS_POINTS_MAX),
    Phase.ROLLED_BACK: (0, BASIS_POINTS_MAX),
}


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
    allowed.
    """

    phase: Phase
    basis_points: int = 0
    salt: str = DEFAULT_SALT
    canary_symbols: tuple[str, ...] = ()
    canary_accounts: tuple[str, ...] = ()
    deny_symbols: tuple[str, ...] = ()
    deny_accounts: tuple[str, ...] = ()

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
    return wanted


def transitions_markdown() -> str:
    """Return the table of phases for the documentation."""
    rows = ["| From | To, by `PUT /v1/rollout` | Basis points |", "|---|---|---|"]
    for phase, allowed in TRANSITIONS.items():
        low, high = BASIS_POINTS[phase]
        to = ", ".join(other for other in allowed if other is not phase)
        leave = to or f"none; re-arm leads to {' or '.join(REARM_PHASES)}"
        rows.append(f"| {phase} | {leave} | {low} to {high} |")
    return "\n".join(rows)


def _phase(value: object) -> Phase:
    try:
        return Phase(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidInput(f"phase: {value!r}; allowed: {', '.join(Phase)}") from None


def _require_text(name: str, value: object, longest: int) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise InvalidInput(f"{name}: {value!r}; allowed: text of 1..{longest} characters")
    if not value.isprintable():
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
