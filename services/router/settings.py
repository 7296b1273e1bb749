"""What the router reads from the environment."""

from pathlib import Path

from pydantic import Field, SecretStr

from touchstone.kit.guard import TOKEN_CHARACTERS_MIN
from touchstone.kit.settings import ServiceSettings, service_config


class RouterSettings(ServiceSettings):
    """Settings of the router, under `TOUCHSTONE_ROUTER_`; units are last in the names."""

    model_config = service_config("TOUCHSTONE_ROUTER_")

    port: int = Field(default=8000, ge=0, le=65535)
    # Needed where `host` is beyond loopback; what it is asked for is in docs/api.md.
    api_token: SecretStr | None = Field(default=None, min_length=TOKEN_CHARACTERS_MIN)
    # Names that the router is called by; besides those of loopback, and only these where given.
    allowed_hosts: tuple[str, ...] = ()
    simulator_address: str = Field(default="127.0.0.1:50051", min_length=1)
    # Where the simulator takes executions on a quicker server, its `stream_port`; else as above.
    simulator_stream_address: str = ""
    simulator_deadline_seconds: float = Field(default=0.25, gt=0, le=60, allow_inf_nan=False)
    # Beyond these, L2 answers at once rather than wait behind a slow simulator.
    simulator_in_flight_max: int = Field(default=2048, ge=1, le=100_000)
    config_path: Path = Path("configs/config_backtest.yaml")
    rollout_path: Path = Path("configs/l3_rollout.yaml")
    seed: int = Field(default=0, ge=0, lt=2**63)
    control_stale_seconds: float = Field(default=60.0, gt=0, le=3600, allow_inf_nan=False)
    # Refuse to promote and to re-arm where Redis may forget a rollback; tightening always works.
    require_durable_control: bool = False
    batch_size_max: int = Field(default=256, ge=1, le=10_000)
    shadow_queue_size: int = Field(default=1_000, ge=1, le=1_000_000)
    shadow_workers: int = Field(default=4, ge=1, le=64)
    shadow_deadline_seconds: float = Field(default=1.0, gt=0, le=60, allow_inf_nan=False)
    # What is beyond is let go and counted: so much of the router's time the comparison may take.
    shadow_per_second_max: int = Field(default=5, ge=1, le=100_000)
    # Processor time of the shadow process for each of these: its share of a processor is both
    # multiplied, all of one at most. L3 takes a third of this.
    shadow_order_seconds: float = Field(default=0.006, gt=0, le=60, allow_inf_nan=False)
    # `module:factory` of a candidate to run in the shadow process in the simulator's place.
    shadow_candidate: str = Field(
        default="", max_length=256, pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*)?$"
    )
    shadow_memory_bytes_max: int = Field(default=1 << 30, ge=1 << 28, le=1 << 40)
    shadow_pairs_max: int = Field(default=5_000, ge=1, le=100_000)
    # The decision log below <data_dir>/router/decisions: what is beyond these goes, oldest first.
    decision_log_enabled: bool = True
    decision_log_bytes_max: int = Field(default=1024 * 1024 * 1024, ge=1024 * 1024)
    decision_log_segment_bytes: int = Field(default=32 * 1024 * 1024, ge=64 * 1024)
    decision_log_age_seconds_max: float = Field(default=7 * 86_400.0, gt=0, allow_inf_nan=False)
    decision_log_queue_size: int = Field(default=20_000, ge=1, le=1_000_000)
    # The guide's name. It only tightens: false forbids L3, true permits nothing by itself.
    use_l3_simulator: bool | None = Field(default=None, validation_alias="USE_L3_SIMULATOR")
    # The guide's name too: whether a hard trigger rolls back, or is only logged and counted.
    auto_rollback_enabled: bool = Field(default=True, validation_alias="AUTO_ROLLBACK_ENABLED")

    @property
    def token(self) -> str | None:
        """Return the token itself, None where there is none."""
        return None if self.api_token is None else self.api_token.get_secret_value()
