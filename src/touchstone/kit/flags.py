"""The flags in configuration files: master switches, and the state a first boot starts from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from lob.config import L3ExecutionConfig
from lob.errors import ConfigError, InvalidInput
from touchstone.rollout.plan import PLAN_KEYS, Plan
from touchstone.rollout.state import (
    DEFAULT_SALT,
    LIVE_PHASES,
    Phase,
    RolloutDocument,
    basis_points_from_fraction,
)

FILE_BYTES_MAX: Final = 1024 * 1024
_LISTS: Final = ("canary_symbols", "canary_accounts", "deny_symbols", "deny_accounts")
_ROLLOUT_KEYS: Final = ("enabled", "phase", "percentage", "salt", *_LISTS, *PLAN_KEYS)
_EXECUTION_KEYS: Final = ("level", "use_l3_simulator", "l3_config_path")
_LEVELS: Final = ("L2", "L3")


@dataclass(frozen=True, slots=True)
class Flags:
    """What files and environment say. `off_because` lists each master switch that is off.

    `first_document` is the file's rollout, taken back to SHADOW where it says more: a file cannot
    promote. `plan` is how the rollout may go on by itself once a person has armed it.
    """

    first_document: RolloutDocument
    off_because: tuple[str, ...]
    environment_allows: bool
    plan: Plan = field(default_factory=Plan)

    @property
    def master_flag(self) -> bool:
        """Return whether every master switch is on."""
        return not self.off_because


def load_flags(config_path: Path, rollout_path: Path, use_l3: bool | None) -> Flags:
    """Read the files that switch L3 on or off.

    Args:
        config_path: the file with `execution:`.
        rollout_path: the file with `rollout:`.
        use_l3: `USE_L3_SIMULATOR`; None when it is not set.

    Raises:
        ConfigError: a file is missing or wrong; one line with file, key, value, what is allowed.
    """
    execution = _section(config_path, "execution", _EXECUTION_KEYS)
    rollout = _section(rollout_path, "rollout", _ROLLOUT_KEYS)
    off = []
    level = execution.get("level", "L2")
    if level not in _LEVELS:
        raise ConfigError(
            f"{config_path}: execution.level: {level!r}; allowed: {', '.join(_LEVELS)}"
        )
    if level == "L2":
        off.append("execution.level: L2")
    if not _flag(config_path, "execution", execution, "use_l3_simulator", default=False):
        off.append("execution.use_l3_simulator: false")
    if not _flag(rollout_path, "rollout", rollout, "enabled", default=True):
        off.append("rollout.enabled: false")
    l3_path = execution.get("l3_config_path", "configs/execution_l3.yaml")
    if not isinstance(l3_path, str):
        raise ConfigError(f"{config_path}: execution.l3_config_path: {l3_path!r}; allowed: a path")
    if not L3ExecutionConfig.from_yaml(l3_path, os.environ).enabled:
        off.append(f"{l3_path}: enabled: false")
    try:
        plan = Plan.from_mapping(rollout)
    except InvalidInput as fault:
        raise ConfigError(f"{rollout_path}: rollout.{fault}") from None
    return Flags(_first_document(rollout_path, rollout), tuple(off), use_l3 is not False, plan)


def load_proposal(path: Path) -> tuple[RolloutDocument, bool]:
    """Return the rollout that a file with `rollout:` asks for, any phase, and whether it is on.

    Nothing is put in force by it: recorded decisions are run under it.

    Raises:
        ConfigError: the file is missing or wrong; one line with file, key, value, what is allowed.
    """
    rollout = _section(path, "rollout", _ROLLOUT_KEYS)
    return _document(path, rollout), _flag(path, "rollout", rollout, "enabled", default=True)


def _first_document(path: Path, rollout: Mapping[str, Any]) -> RolloutDocument:
    document = _document(path, rollout)
    return replace(document, phase=Phase.SHADOW) if document.phase in LIVE_PHASES else document


def _document(path: Path, rollout: Mapping[str, Any]) -> RolloutDocument:
    phase = rollout.get("phase", "shadow")
    try:
        return RolloutDocument(
            phase=Phase(phase.upper() if isinstance(phase, str) else phase),
            salt=rollout.get("salt", DEFAULT_SALT),
            basis_points=basis_points_from_fraction(rollout.get("percentage", 0)),
            **{name: rollout.get(name, ()) for name in _LISTS},
        )
    except InvalidInput as fault:
        raise ConfigError(f"{path}: rollout.{fault}") from None
    except ValueError:
        allowed = ", ".join(phase.lower() for phase in Phase)
        raise ConfigError(f"{path}: rollout.phase: {phase!r}; allowed: {allowed}") from None


def _flag(path: Path, name: str, section: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = section.get(key, default)
    if type(value) is not bool:
        raise ConfigError(f"{path}: {name}.{key}: {value!r}; allowed: true, false")
    return value


def _section(path: Path, name: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the one section of a YAML file, with known keys only and none of them twice."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{path}: {reason}") from None
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = (error.problem or "not YAML").splitlines()[0]
        raise ConfigError(f"{path}: {line}{problem}") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: {error}") from None
    _require_keys(path, "", document, (name,))
    section = document.get(name)
    _require_keys(path, f"{name}.", section, keys)
    return section  # type: ignore[no-any-return]


def _require_keys(path: Path, prefix: str, value: object, keys: tuple[str, ...]) -> None:
    if not isinstance(value, Mapping):
        where = prefix.rstrip(".") or "the file"
        raise ConfigError(f"{path}: {where}: {value!r}; allowed: keys {', '.join(keys)}")
    for key in value:
        if key not in keys:
            raise ConfigError(f"{path}: {prefix}{key}: no such key; allowed: {', '.join(keys)}")
