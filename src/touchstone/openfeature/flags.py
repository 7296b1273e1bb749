"""The flags and what they say: one pure function over the router's own assignment.

A flag that cannot be answered with certainty has the value that permits nothing: L2, false, 0, OFF.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from lob.errors import InvalidInput
from touchstone.rollout.assignment import LAYER, Arm, RoutingConfig, Rule, assign
from touchstone.rollout.state import LIVE_PHASES, Phase, fraction_from_basis_points

EXECUTION_LEVEL: Final = "execution.level"
USE_L3: Final = "use_l3_simulator"
PERCENTAGE: Final = "rollout.percentage"
PHASE: Final = "rollout.phase"
DOCUMENT: Final = "rollout.document"


class Why(StrEnum):
    """Why a flag has its value, in OpenFeature's words."""

    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    STATIC = "STATIC"
    DISABLED = "DISABLED"
    STALE = "STALE"
    DEFAULT = "DEFAULT"
    ERROR = "ERROR"


WHY: Final[Mapping[Rule, Why]] = {
    Rule.ROLLED_BACK: Why.DISABLED,
    Rule.UNKNOWN: Why.DEFAULT,
    Rule.STALE: Why.STALE,
    Rule.ENVIRONMENT: Why.DISABLED,
    Rule.MASTER_FLAG: Why.DISABLED,
    Rule.PHASE_OFF: Why.DISABLED,
    Rule.SHADOW: Why.DISABLED,
    Rule.DENY_LIST: Why.TARGETING_MATCH,
    Rule.ALLOW_LIST: Why.TARGETING_MATCH,
    Rule.PERCENTAGE: Why.SPLIT,
    Rule.DEFAULT: Why.SPLIT,
}
"""The rule that decided, as a reason; in the phases before the rollout L3 is disabled."""

_ANY: Final = "ANY"
_CLOSED: Final = frozenset(
    {Rule.ROLLED_BACK, Rule.UNKNOWN, Rule.STALE, Rule.ENVIRONMENT, Rule.MASTER_FLAG}
)
_NOT_KNOWN: Final = frozenset({Rule.UNKNOWN, Rule.STALE})


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: under which state, at which time of its clock, for whom.

    `symbol` is None where the caller named none; both may be anything that a context holds.
    """

    config: RoutingConfig
    now: float
    symbol: object = None
    account: object = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A flag's value, why, and what it was decided from.

    `metadata` has the generation and the rule, and for a symbol its bucket and layer; `problem` is
    one line where the question was wrong, and the value is then the safe one.
    """

    value: Any
    variant: str
    why: Why
    metadata: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    problem: str = ""


def evaluate(flag: str, question: Question) -> Evaluation:
    """Return what `flag` says; KeyError for a flag that is none."""
    return FLAGS[flag].evaluate(question)


def _level(question: Question) -> Evaluation:
    config, account = question.config, question.account
    problem = ""
    if question.symbol is None:
        problem = "targeting key: missing; allowed: the symbol"
    elif not isinstance(question.symbol, str):
        problem = f"targeting key: {type(question.symbol).__name__}; allowed: text"
    elif not isinstance(account, str):
        problem = f"account: {type(account).__name__}; allowed: text"
    else:
        try:
            found = assign(question.symbol, account, config, question.now)
        except (InvalidInput, UnicodeError) as fault:  # half of a surrogate pair has no bytes
            problem = str(fault)
        else:
            metadata: dict[str, bool | int | float | str] = {
                "generation": found.generation,
                "rule": found.rule.value,
                "bucket": found.bucket,
                "layer": LAYER,
            }
            return Evaluation(found.arm.value, found.arm.value, WHY[found.rule], metadata)
    metadata = {"generation": config.generation, "problem": problem}
    return Evaluation(Arm.L2.value, Arm.L2.value, Why.ERROR, metadata, problem)


def _use_l3(question: Question) -> Evaluation:
    level = _level(question)
    on = level.value == Arm.L3
    return Evaluation(on, "on" if on else "off", level.why, level.metadata, level.problem)


def _percentage(question: Question) -> Evaluation:
    """Return the share of symbols that L3 may answer now, a fraction 0..1."""
    rule, metadata = _standing(question)
    document = question.config.document
    live = rule not in _CLOSED and document is not None and document.phase in LIVE_PHASES
    points = document.live_basis_points if live and document is not None else 0
    why = Why.STATIC if live else WHY[rule]
    return Evaluation(float(fraction_from_basis_points(points)), f"{points} bp", why, metadata)


def _phase(question: Question) -> Evaluation:
    """Return the phase; OFF while it is not known."""
    rule, metadata = _standing(question)
    document = question.config.document
    if rule is Rule.ROLLED_BACK:
        return Evaluation(Phase.ROLLED_BACK.value, Phase.ROLLED_BACK.value, Why.STATIC, metadata)
    if rule in _NOT_KNOWN or document is None:
        return Evaluation(Phase.OFF.value, Phase.OFF.value, WHY[rule], metadata)
    return Evaluation(document.phase.value, document.phase.value, Why.STATIC, metadata)


def _document(question: Question) -> Evaluation:
    """Return the whole document; an empty one while it is not known."""
    rule, metadata = _standing(question)
    document = question.config.document
    if document is None or (rule in _NOT_KNOWN):
        return Evaluation({}, "unknown", WHY[rule], metadata)
    variant = f"generation {question.config.generation}"
    return Evaluation(document.to_json(), variant, Why.STATIC, metadata)


def _standing(question: Question) -> tuple[Rule, Mapping[str, bool | int | float | str]]:
    """Return the rule that decides for a symbol on no list, and the metadata."""
    found = assign(_ANY, "", question.config, question.now)
    return found.rule, {"generation": found.generation, "rule": found.rule.value}


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag: the type of its value and what answers it."""

    kind: type
    evaluate: Callable[[Question], Evaluation]


FLAGS: Final[Mapping[str, Flag]] = {
    EXECUTION_LEVEL: Flag(str, _level),
    USE_L3: Flag(bool, _use_l3),
    PERCENTAGE: Flag(float, _percentage),
    PHASE: Flag(str, _phase),
    DOCUMENT: Flag(dict, _document),
}
