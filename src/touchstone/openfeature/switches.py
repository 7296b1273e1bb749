"""The master switches, read from the files and the environment that the router reads."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lob.config import L3ExecutionConfig
from lob.errors import ConfigError

ENVIRONMENT_NAME: Final = "USE_L3_SIMULATOR"
_TRUE: Final = frozenset({"1", "on", "t", "true", "y", "yes"})
_FILE_BYTES_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Switches:
    """Whether files and environment let L3 answer at all; each only tightens."""

    master_flag: bool
    environment_allows: bool = True


def read_switches(
    config_path: Path, rollout_path: Path, environment: Mapping[str, str] = os.environ
) -> Switches:
    """Return what the files and the environment say; whatever is not surely on is off.

    Args:
        config_path: the file with `execution:`, as `TOUCHSTONE_ROUTER_CONFIG_PATH`.
        rollout_path: the file with `rollout:`, as `TOUCHSTONE_ROUTER_ROLLOUT_PATH`.
        environment: where `USE_L3_SIMULATOR` may be; `true` alone permits nothing.

    Raises:
        ConfigError: a file is missing or is not what it should be; one line names it.
    """
    execution, rollout = _section(config_path, "execution"), _section(rollout_path, "rollout")
    l3_path = execution.get("l3_config_path", "configs/execution_l3.yaml")
    if not isinstance(l3_path, str):
        raise ConfigError(f"{config_path}: execution.l3_config_path: {l3_path!r}; allowed: a path")
    master = (
        execution.get("level", "L2") == "L3"
        and execution.get("use_l3_simulator", False) is True
        and rollout.get("enabled", True) is True
        and L3ExecutionConfig.from_yaml(l3_path).enabled
    )
    said = environment.get(ENVIRONMENT_NAME)
    return Switches(master, said is None or said.strip().lower() in _TRUE)


def _section(path: Path, name: str) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {_FILE_BYTES_MAX} bytes")
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{path}: {reason}") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: {error}") from None
    section = document.get(name) if isinstance(document, Mapping) else None
    if not isinstance(section, Mapping):
        raise ConfigError(f"{path}: {name}: {section!r:.80}; allowed: keys and values")
    return section
