"""What the paper exchange reads from the environment (`TOUCHSTONE_EXCHANGE_*`)."""

from decimal import Decimal
from pathlib import Path
from typing import Final, Self

from pydantic import Field, model_validator

from touchstone.kit.settings import ServiceSettings, service_config

RATE_MAX: Final = 1_000_000.0
"""Requests a second; beyond any real rate, and below infinity, which no bucket can count."""


class ExchangeSettings(ServiceSettings):
    """Settings of one paper exchange. Fee rates are fractions of the notional."""

    model_config = service_config("TOUCHSTONE_EXCHANGE_")

    port: int = Field(default=8090, ge=0, le=65535)
    seed: int = Field(default=1, ge=0)
    flow_speed: float = Field(default=1.0, ge=0.01, le=1000)
    background_flow: bool = True
    starting_balance: Decimal = Field(default=Decimal(100_000), gt=0, le=10**12)
    maker_fee_rate: Decimal = Field(default=Decimal(0), ge=0, le=Decimal("0.01"))
    taker_fee_rate: Decimal = Field(default=Decimal("0.0003"), ge=0, le=Decimal("0.01"))
    rate_limit_per_second: float = Field(default=30, gt=0, le=RATE_MAX)
    public_rate_limit_per_second: float = Field(default=10, gt=0, le=RATE_MAX)
    max_connections: int = Field(default=100, ge=1)
    feed_queue_messages: int = Field(default=1_000, ge=10)
    first_subscribe_seconds: float = Field(default=5, gt=0, le=3_600)
    tick_seconds: float = Field(default=0.05, gt=0, le=1)
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key: set both or neither")
        return self

    @property
    def keys_dir(self) -> Path:
        """Return the folder that holds the API key files."""
        return self.data_dir / "exchange" / "keys"
