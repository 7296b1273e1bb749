"""Which provider answers: one pure function over one published truth table."""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final

from lob.errors import InvalidInput
from touchstone.rollout.state import KEY_CHARACTERS_MAX, Phase, RolloutDocument, normalise

BUCKETS: Final = 10_000
"""One bucket is one basis point."""
LAYER: Final = "execution"
"""The layer of this experiment; another one under another name is independent of it."""


class Arm(StrEnum):
    """Which provider answers."""

    L2 = "L2"
    L3 = "L3"


class Rule(StrEnum):
    """The rule that decided."""

    ROLLED_BACK = "rolled_back"
    UNKNOWN = "unknown"
    STALE = "stale"
    ENVIRONMENT = "environment"
    MASTER_FLAG = "master_flag"
    PHASE_OFF = "phase_off"
    SHADOW = "shadow"
    DENY_LIST = "deny_list"
    ALLOW_LIST = "allow_list"
    PERCENTAGE = "percentage"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingConfig:
    """Everything an assignment depends on besides who asks and when.

    `document` is None while the control state is unknown. `expires_at` is the time, in seconds on
    the caller's clock, from which the document permits nothing any more. `latched` says that this
    process has rolled back, whatever the document says.
    """

    document: RolloutDocument | None
    generation: int = 0
    expires_at: float = 0.0
    latched: bool = False
    environment_allows: bool = True
    master_flag: bool = True


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who answers, by which rule, from which bucket, under which generation of the state."""

    arm: Arm
    rule: Rule
    bucket: int
    generation: int


@dataclass(frozen=True, slots=True)
class Case:
    """One question put to the truth table; keys are normalised."""

    config: RoutingConfig
    document: RolloutDocument
    symbol: str
    account: str
    bucket: int
    now: float


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the truth table; the first row whose test holds decides."""

    precedence: int
    rule: Rule
    arm: Arm
    when: str
    matches: Callable[[Case], bool]


TRUTH_TABLE: Final[tuple[Row, ...]] = (
    Row(
        1,
        Rule.ROLLED_BACK,
        Arm.L2,
        "an emergency rollback is latched, here or in the control state",
        lambda case: case.config.latched or case.document.phase is Phase.ROLLED_BACK,
    ),
    Row(
        1,
        Rule.UNKNOWN,
        Arm.L2,
        "the control state is unknown (never read, lost, damaged or gone back)",
        lambda case: case.config.document is None,
    ),
    Row(
        1,
        Rule.STALE,
        Arm.L2,
        "the router's lease on the control state has lapsed, or the state is older than its limit",
        # What is no time permits nothing.
        lambda case: not case.now < case.config.expires_at,
    ),
    Row(
        2,
        Rule.ENVIRONMENT,
        Arm.L2,
        "`USE_L3_SIMULATOR=false`; `true` alone permits nothing",
        lambda case: not case.config.environment_allows,
    ),
    Row(
        3,
        Rule.MASTER_FLAG,
        Arm.L2,
        "`execution.use_l3_simulator: false`, `execution.level: L2`, `rollout.enabled: false`, or "
        "L3's own `enabled: false`",
        lambda case: not case.config.master_flag,
    ),
    Row(
        3,
        Rule.PHASE_OFF,
        Arm.L2,
        "phase OFF",
        lambda case: case.document.phase is Phase.OFF,
    ),
    Row(
        4,
        Rule.SHADOW,
        Arm.L2,
        "phase SHADOW: L2 answers, L3 mirrors it off the path",
        lambda case: case.document.phase is Phase.SHADOW,
    ),
    Row(
        5,
        Rule.DENY_LIST,
        Arm.L2,
        "the symbol or the account is on a deny list",
        lambda case: (
            case.symbol in case.document.deny_symbols or case.account in case.document.deny_accounts
        ),
    ),
    Row(
        6,
        Rule.ALLOW_LIST,
        Arm.L3,
        "the symbol or the account is on a canary list",
        lambda case: (
            case.symbol in case.document.canary_symbols
            or case.account in case.document.canary_accounts
        ),
    ),
    Row(
        7,
        Rule.PERCENTAGE,
        Arm.L3,
        "`bucket < basis_points`",
        lambda case: case.bucket < case.document.basis_points,
    ),
    Row(8, Rule.DEFAULT, Arm.L2, "otherwise", lambda _case: True),
)

_ARMS: Final = {row.rule: row.arm for row in TRUTH_TABLE}
# The bucket of a symbol is hashed once, for as many symbols as are in use at a time.
_PLACES_KEPT: Final = 4_096
# What stands in for an unknown document: nothing is permitted by it.
_NOTHING: Final = RolloutDocument(phase=Phase.OFF)


def assign(symbol: str, account: str, config: RoutingConfig, now: float) -> Assignment:
    """Return who answers for `symbol`; the first row of `TRUTH_TABLE` that matches decides.

    Args:
        symbol: what is traded; case and outer blanks do not matter.
        account: who asks; empty when nobody says.
        config: the state and flags.
        now: seconds on the clock of `config.expires_at`.

    Raises:
        InvalidInput: the symbol is blank, or one of them is too long.
    """
    document = config.document or _NOTHING
    # Before anything is kept of them: the lengths.
    short = len(symbol) <= KEY_CHARACTERS_MAX and len(account) <= KEY_CHARACTERS_MAX
    key, place = _placed(symbol, document.salt) if short else ("", 0)
    if not key:
        raise InvalidInput(
            f"symbol, account: {symbol[:40]!r}, {account[:40]!r}; allowed: at most "
            f"{KEY_CHARACTERS_MAX} characters, and a symbol is not blank"
        )
    rule = _rule(config, document, key, normalise(account), place, now)
    return Assignment(_ARMS[rule], rule, place, config.generation)


def assign_by_table(symbol: str, account: str, config: RoutingConfig, now: float) -> Assignment:
    """Return what `assign` returns, row by row of the published table; for tests and readers."""
    document = config.document or _NOTHING
    key = normalise(symbol)
    place = bucket(key, document.salt)
    case = Case(config, document, key, normalise(account), place, now)
    row = next(row for row in TRUTH_TABLE if row.matches(case))
    return Assignment(row.arm, row.rule, place, config.generation)


def _rule(  # noqa: PLR0911 - one line a row
    config: RoutingConfig,
    document: RolloutDocument,
    symbol: str,
    account: str,
    place: int,
    now: float,
) -> Rule:
    """Return the rule of the first row that matches.

    Written out, because it runs for every order and this is a third of what walking over the rows
    takes; a test holds the two against one another in every combination.
    """
    phase = document.phase
    if config.latched or phase is Phase.ROLLED_BACK:
        return Rule.ROLLED_BACK
    if config.document is None:
        return Rule.UNKNOWN
    if not now < config.expires_at:
        return Rule.STALE
    if not config.environment_allows:
        return Rule.ENVIRONMENT
    if not config.master_flag:
        return Rule.MASTER_FLAG
    if phase is Phase.OFF:
        return Rule.PHASE_OFF
    if phase is Phase.SHADOW:
        return Rule.SHADOW
    if _holds(document.deny_symbols, symbol) or _holds(document.deny_accounts, account):
        return Rule.DENY_LIST
    if _holds(document.canary_symbols, symbol) or _holds(document.canary_accounts, account):
        return Rule.ALLOW_LIST
    return Rule.PERCENTAGE if place < document.basis_points else Rule.DEFAULT


def _holds(keys: tuple[str, ...], key: str) -> bool:
    """Return whether `key` is among sorted `keys`, which may be a thousand; O(log n)."""
    if not keys:
        return False
    index = bisect_left(keys, key)
    return index < len(keys) and keys[index] == key


@lru_cache(maxsize=_PLACES_KEPT)
def _placed(symbol: str, salt: str) -> tuple[str, int]:
    """Return the normalised symbol and its bucket."""
    key = normalise(symbol)
    return key, bucket(key, salt)


def hash32(text: str) -> int:
    """Return 32 bits of BLAKE2b over UTF-8, big-endian.

    Not CRC-32, which is linear: with it two salts would shift every bucket by the same bits, and
    two layers would not be independent.
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def bucket(symbol: str, salt: str, layer: str = LAYER) -> int:
    """Return the bucket of a symbol, 0..9,999; case and outer blanks do not matter."""
    return (hash32(f"{layer}:{salt}:{normalise(symbol)}") * BUCKETS) >> 32


def should_use_l3(symbol: str, rollout_pct: Decimal | float = 0.0) -> bool:
    """Answer the deployment guide's question as the guide does: MD5 and 100 buckets.

    Kept for compatibility; the router uses `assign`. The comparison is exact, where the guide's
    float arithmetic admits one bucket too many at 7, 14, 28, 55 and 56 %.

    Raises:
        InvalidInput: `rollout_pct` is not a fraction from 0 to 1.
    """
    share = Decimal(str(rollout_pct))
    if not share.is_finite() or not 0 <= share <= 1:
        raise InvalidInput(f"rollout_pct: {rollout_pct!r}; allowed: a fraction 0..1")
    digest = hashlib.md5(symbol.encode(), usedforsecurity=False).hexdigest()
    return int(digest, 16) % 100 < share * 100


def truth_table_markdown(rows: Iterable[Row] = TRUTH_TABLE) -> str:
    """Return the truth table for the documentation."""
    lines = ["| Precedence | When | Answers | `rule` |", "|---|---|---|---|"]
    lines += [f"| {row.precedence} | {row.when} | {row.arm} | `{row.rule}` |" for row in rows]
    return "\n".join(lines)
