"""The L3 simulator's configuration: one file, every key read by something, nothing unknown.

Every mistake is a `ConfigError` of one line that names the key, the value and what is allowed.
"""

from lob.config.document import ENVIRONMENT_PREFIX, L3ExecutionConfig, create_l3_config
from lob.config.engine_sections import (
    EventSchedulingConfig,
    LatencyConfig,
    LobDataConfig,
    QueueTrackingConfig,
)
from lob.config.forecast_sections import FillModelKind, FillProbabilityConfig, QueueValueConfig
from lob.config.impact_section import Decay, ImpactKind, MarketImpactConfig, Reaction
from lob.config.liquidity_sections import (
    DarkPoolsConfig,
    DarkVenueConfig,
    HiddenLiquidityConfig,
)
from lob.config.section import CHANGES, Section

__all__ = [
    "CHANGES",
    "ENVIRONMENT_PREFIX",
    "DarkPoolsConfig",
    "DarkVenueConfig",
    "Decay",
    "EventSchedulingConfig",
    "FillModelKind",
    "FillProbabilityConfig",
    "HiddenLiquidityConfig",
    "ImpactKind",
    "L3ExecutionConfig",
    "LatencyConfig",
    "LobDataConfig",
    "MarketImpactConfig",
    "QueueTrackingConfig",
    "QueueValueConfig",
    "Reaction",
    "Section",
    "create_l3_config",
]
