"""The one way to make a provider: by asset class and level."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from execution_providers.fees import FeeSchedule
from execution_providers.l2 import L2Config, L2Provider
from execution_providers.provider import ExecutionProvider
from execution_providers.types import member
from lob.errors import ConfigError, InvalidInput
from lob.types import AssetClass, Instrument

if TYPE_CHECKING:
    from lob.config import L3ExecutionConfig

LEVELS = ("L2", "L3")


def create_execution_provider(
    asset_class: AssetClass | str,
    level: str = "L2",
    config: "L2Config | L3ExecutionConfig | None" = None,
    config_path: str | Path | None = None,
    seed: int | None = None,
    *,
    fees: FeeSchedule | None = None,
    instruments: Mapping[str, Instrument] | None = None,
    **options: Any,
) -> ExecutionProvider:
    """Return a provider of the level asked for, never of another.

    Args:
        asset_class: EQUITY, CRYPTO or FUTURES; decides fees and default sizes.
        level: L2 or L3.
        config: `L2Config` for L2; `lob.config.L3ExecutionConfig` for L3, where nothing means the
            asset class's preset.
        config_path: a YAML file with an L3 configuration, instead of `config`.
        seed: base seed of every execution; nothing means 0.
        fees: replaces the asset class's default schedule.
        instruments: L3 only: tick and lot sizes by symbol, where they are not those of the prices.
        options: refused; a misspelt option must not be ignored.

    Raises:
        InvalidInput: an unknown level, asset class or option.
        ConfigError: a configuration of the wrong kind, or a file that is not right.
    """
    kind = member("asset_class", asset_class, AssetClass)
    if options:
        raise InvalidInput(
            f"{min(options)}: no such option; allowed: config, config_path, seed, fees, instruments"
        )
    if level not in LEVELS:
        raise InvalidInput(f"level: {level!r}; allowed: {', '.join(LEVELS)}")
    base_seed = 0 if seed is None else seed
    if level == "L3":
        from execution_providers.l3 import create_l3  # noqa: PLC0415 - L2 needs none of it

        return create_l3(kind, config, config_path, base_seed, fees, instruments)
    if config_path is not None or instruments is not None:
        name = "config_path" if config_path is not None else "instruments"
        raise ConfigError(f"{name}: is for level L3; allowed for L2: config, seed, fees")
    if config is not None and not isinstance(config, L2Config):
        raise ConfigError(f"config: {type(config).__name__}; allowed for L2: L2Config")
    return L2Provider(kind, config, base_seed, fees)
