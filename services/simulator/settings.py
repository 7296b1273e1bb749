"""Settings of the simulator: `TOUCHSTONE_SIMULATOR_*`."""

from pathlib import Path

from pydantic import Field

from touchstone.kit.settings import ServiceSettings, service_config


class SimulatorSettings(ServiceSettings):
    """Where it listens, what it simulates, and every bound it keeps."""

    model_config = service_config("TOUCHSTONE_SIMULATOR_")

    port: int = Field(default=50051, ge=0, le=65535)
    metrics_port: int = Field(default=9101, ge=0, le=65535)
    # ExecuteMany alone, for routers, on a quicker server; without a port there is none.
    stream_port: int | None = Field(default=None, ge=0, le=65535)
    l3_config_path: Path = Path("configs/execution_l3.yaml")
    seed: int = Field(default=0, ge=0, le=2**64 - 1)
    # Executions accepted and not answered yet; one more is RESOURCE_EXHAUSTED. Room for two batches
    # of a router, which has two slices of 64 under way, while kinds that are slow run in threads.
    max_in_flight: int = Field(default=256, ge=1, le=10_000)
    max_batch: int = Field(default=1024, ge=1, le=100_000)
    # Executions slower than this, as measured, leave the event loop to the others.
    inline_seconds_max: float = Field(default=0.001, ge=0.0, le=1.0)
    max_sessions: int = Field(default=64, ge=1, le=10_000)
    # Reading a whole book of this size holds the event loop for some 10 ms.
    max_orders_per_session: int = Field(default=10_000, ge=1, le=1_000_000)
    max_subscribers_per_session: int = Field(default=8, ge=1, le=1_000)
    subscriber_queue_size: int = Field(default=1024, ge=1, le=1_000_000)
    session_idle_seconds: float = Field(default=300.0, gt=0.0, le=86_400.0)
    drain_seconds: float = Field(default=5.0, ge=0.0, le=60.0)
    # How often the known order is executed and its answer compared; sooner after a failure.
    self_check_seconds: float = Field(default=300.0, gt=0.0, le=86_400.0)
    # Whether the control state in Redis may ask for the L3 configuration to be read again.
    follow_control: bool = False
    # Orders of others in a session that a file or a generator drives.
    max_source_orders: int = Field(default=1_000_000, ge=1, le=100_000_000)
    # Folder that Replay and sessions may read; without it they refuse every path.
    replay_dir: Path | None = None
    max_replays: int = Field(default=1, ge=1, le=16)
