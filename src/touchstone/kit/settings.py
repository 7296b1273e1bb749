"""Settings from the environment, refused as a whole when one name or value is wrong.

Every service has a prefix (`TOUCHSTONE_ROUTER_`, ...); a few names are shared by all. A name that
starts with `TOUCHSTONE_` and is nobody's is an error, because a misspelt limit must not be ignored.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from lob.errors import ConfigError

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["json", "console"]

HIDDEN: Final = "[hidden]"
"""What is shown in a secret's place."""
SECRET_NAMES: Final = re.compile(
    r"passw|secret|token|authorization|private_?key|api_?key$|jwt|credential", re.IGNORECASE
)

SERVICE_PREFIXES = {
    "router": "TOUCHSTONE_ROUTER_",
    "order_gateway": "TOUCHSTONE_GATEWAY_",
    "paper_exchange": "TOUCHSTONE_EXCHANGE_",
    "simulator": "TOUCHSTONE_SIMULATOR_",
    "watchdog": "TOUCHSTONE_WATCHDOG_",
}

L3_PREFIX = "TOUCHSTONE_L3__"

# Names of the bootstrap script, the command line and the test suite.
TOOL_NAMES = frozenset(
    {
        "TOUCHSTONE_EMERGENCY_API_KEY_FILE",
        "TOUCHSTONE_HOME",
        "TOUCHSTONE_MARKET_DATA",
        "TOUCHSTONE_REDIS_PORT",
        "TOUCHSTONE_REQUIRE_ALL",
        "TOUCHSTONE_VENV",
    }
)


def service_config(prefix: str) -> SettingsConfigDict:
    """Return the pydantic-settings configuration of a service with this environment prefix."""
    return SettingsConfigDict(env_prefix=prefix, extra="forbid", frozen=True, validate_default=True)


class ServiceSettings(BaseSettings):
    """What every service has: where it listens, how it logs, where the shared parts are."""

    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    log_level: LogLevel = "INFO"
    log_format: LogFormat = Field(default="json", validation_alias="TOUCHSTONE_LOG_FORMAT")
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        validation_alias="TOUCHSTONE_REDIS_URL",
    )
    data_dir: Path = Field(default=Path(".touchstone"), validation_alias="TOUCHSTONE_DATA_DIR")


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(cls: type[SettingsT], **overrides: object) -> SettingsT:
    """Read `cls` from the environment.

    Raises:
        ConfigError: one line naming the variable, its value and what is allowed.
    """
    refuse_unknown_names(os.environ, cls)
    try:
        return cls(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError(explain(error, cls)) from None


def environment_names(cls: type[BaseSettings]) -> set[str]:
    """Return the environment names that `cls` reads."""
    prefix = str(cls.model_config.get("env_prefix") or "")
    names = set()
    for name, field in cls.model_fields.items():
        alias = field.validation_alias
        names.add(alias if isinstance(alias, str) else f"{prefix}{name}".upper())
    return names


def refuse_unknown_names(environment: Mapping[str, str], cls: type[BaseSettings]) -> None:
    """Raise ConfigError for a `TOUCHSTONE_` name that nothing reads.

    Names of *other* services are theirs to check: one environment is shared by all of them.
    """
    known = environment_names(cls)
    own_prefix = str(cls.model_config.get("env_prefix") or "")
    # Keys of execution_l3.yaml are checked by whoever reads that file.
    others = (*(p for p in SERVICE_PREFIXES.values() if p != own_prefix), L3_PREFIX)
    for name in environment:
        if not name.startswith("TOUCHSTONE_") or name in known or name in TOOL_NAMES:
            continue
        if name.startswith(others):
            continue
        raise ConfigError(f"environment {name}: no such setting{_nearest(name, known)}")


def without_password(url: str) -> str:
    """Return a URL as it may be shown: with `***` for the password.

    >>> without_password("redis://:secret@127.0.0.1:6379/0")
    'redis://:***@127.0.0.1:6379/0'
    """
    hidden = re.sub(r"(?<=://)([^/@:]*):[^/]*@", r"\1:***@", url)
    return re.sub(r"(?<=[?&]password=)[^&]*", "***", hidden)


def explain(error: ValidationError, cls: type[BaseSettings]) -> str:
    """Return the first problem of a settings validation error as one line."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    field = cls.model_fields.get(where)
    prefix = str(cls.model_config.get("env_prefix") or "")
    name = where if field is None or field.validation_alias else f"{prefix}{where}".upper()
    shown = HIDDEN if SECRET_NAMES.search(name) else repr(problem.get("input"))
    return f"environment {name}: {shown}: {problem['msg']}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(sorted(known))}"
