"""What the paper exchange reads from the environment (`TOUCHSTONE_EXCHANGE_*`)."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from touchstone.exchange.background import FlowKind
from touchstone.exchange.index import USUAL_VOLATILITY
from touchstone.kit.rate_limit import RATE_MAX
from touchstone.kit.settings import ServiceSettings, service_config


class ExchangeSettings(ServiceSettings):
    """Settings of one paper exchange. Fee rates are fractions of the notional."""

    model_config = service_config("TOUCHSTONE_EXCHANGE_")

    port: int = Field(default=8090, ge=0, le=65535)
    seed: int = Field(default=1, ge=0)
    flow_speed: float = Field(default=1.0, ge=0.01, le=1000)
    flow: FlowKind = FlowKind.CLUSTERED
    flow_rate: float = Field(default=1.0, ge=0.01, le=100)
    flow_size: float = Field(default=1.0, ge=0.01, le=100)
    flow_files: dict[str, Path] = Field(default_factory=dict)
    index_volatility: dict[str, float] = Field(default=USUAL_VOLATILITY)
    arbitrage_band: Decimal = Field(default=Decimal("0.001"), ge=0, le=Decimal("0.5"))
    starting_balance: Decimal = Field(default=Decimal(100_000), gt=0, le=10**12)
    maker_fee_rate: Decimal | None = Field(default=None, ge=0, le=Decimal("0.01"))
    taker_fee_rate: Decimal | None = Field(default=None, ge=0, le=Decimal("0.01"))
    funding_interval_seconds: int = Field(default=3_600, ge=20, le=86_400, multiple_of=20)
    funding_rate: Decimal | None = Field(default=None, ge=-1, le=1)
    funding_cap: Decimal | None = Field(default=None, ge=0, le=1)
    insurance_fund: Decimal = Field(default=Decimal(1_000_000), ge=0, le=10**12)
    mark_band: Decimal = Field(default=Decimal("0.05"), gt=0, le=1)
    price_collar: Decimal = Field(default=Decimal(10), gt=1, le=1000)
    rate_limit_per_second: float = Field(default=30, gt=0, le=RATE_MAX)
    public_rate_limit_per_second: float = Field(default=10, gt=0, le=RATE_MAX)
    rate_limit_burst_seconds: float = Field(default=2, ge=1, le=3600)
    token_reuse: bool = False
    # Names of more keys of the default account, made where they are missing: <name>.json.
    extra_keys: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], ...] = ()
    max_connections: int = Field(default=100, ge=1)
    connections_per_second: float = Field(default=8, gt=0, le=RATE_MAX)
    unauthenticated_messages_per_second: float = Field(default=8, gt=0, le=RATE_MAX)
    feed_queue_bytes: int = Field(default=4 << 20, ge=1 << 10, le=1 << 30)
    feed_behind_seconds: float = Field(default=10, gt=0, le=3_600)
    first_subscribe_seconds: float = Field(default=5, gt=0, le=3_600)
    idle_seconds: float = Field(default=75, gt=0, le=3_600)
    user_positions: bool = False
    tick_seconds: float = Field(default=0.05, gt=0, le=1)
    durable: bool = True
    journal_sync: bool = True
    snapshot_records: int = Field(default=50_000, ge=1)
    snapshot_seconds: float = Field(default=300, gt=0, le=86_400)
    latency_profile: Literal["none", "colocated", "proximity", "institutional", "retail"] = "none"
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key: set both or neither")
        if (self.maker_fee_rate is None) != (self.taker_fee_rate is None):
            raise ValueError("maker_fee_rate and taker_fee_rate: set both or neither")
        return self

    @property
    def keys_dir(self) -> Path:
        """Return the folder that holds the API key files."""
        return self.data_dir / "exchange" / "keys"

    @property
    def state_dir(self) -> Path:
        """Return the folder that holds the journal and the snapshots."""
        return self.data_dir / "exchange" / "state"
