"""What the router reads from the environment."""

from pathlib import Path

from pydantic import Field

from touchstone.kit.settings import ServiceSettings, service_config


class RouterSettings(ServiceSettings):
    """Settings of the router, under `TOUCHSTONE_ROUTER_`; units are last in the names."""

    model_config = service_config("TOUCHSTONE_ROUTER_")

    port: int = Field(default=8000, ge=0, le=65535)
    simulator_address: str = Field(default="127.0.0.1:50051", min_length=1)
    simulator_deadline_seconds: float = Field(default=0.25, gt=0, le=60, allow_inf_nan=False)
    # Beyond these, L2 answers at once rather than wait behind a slow simulator.
    simulator_in_flight_max: int = Field(default=256, ge=1, le=100_000)
    config_path: Path = Path("configs/config_backtest.yaml")
    rollout_path: Path = Path("configs/l3_rollout.yaml")
    seed: int = Field(default=0, ge=0, lt=2**63)
    control_stale_seconds: float = Field(default=60.0, gt=0, le=3600, allow_inf_nan=False)
    batch_size_max: int = Field(default=256, ge=1, le=10_000)
    shadow_queue_size: int = Field(default=1_000, ge=1, le=1_000_000)
    shadow_workers: int = Field(default=4, ge=1, le=64)
    shadow_deadline_seconds: float = Field(default=1.0, gt=0, le=60, allow_inf_nan=False)
    shadow_pairs_max: int = Field(default=5_000, ge=1, le=100_000)
    # The guide's name. It only tightens: false forbids L3, true permits nothing by itself.
    use_l3_simulator: bool | None = Field(default=None, validation_alias="USE_L3_SIMULATOR")
    # The guide's name too: whether a hard trigger rolls back, or is only logged and counted.
    auto_rollback_enabled: bool = Field(default=True, validation_alias="AUTO_ROLLBACK_ENABLED")
