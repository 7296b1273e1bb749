"""The master switches, read from the files and the environment that the router reads."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from touchstone.kit.flags import load_flags

ENVIRONMENT_NAME: Final = "USE_L3_SIMULATOR"
_TRUE: Final = frozenset({"1", "on", "t", "true", "y", "yes"})


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
    flags = load_flags(config_path, rollout_path, None)
    said = environment.get(ENVIRONMENT_NAME)
    return Switches(flags.master_flag, said is None or said.strip().lower() in _TRUE)
