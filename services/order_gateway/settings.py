"""What the order gateway reads from the environment (`TOUCHSTONE_GATEWAY_*`, DATABASE_URL)."""

from decimal import Decimal
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from services.order_gateway.venues.coinbase_auth import LIFETIME_SECONDS_MAX
from touchstone.kit.settings import ServiceSettings, service_config

DEFAULT_SYMBOL_MAP = {"BTC-PERP": "BIP-20DEC30-CDE", "ETH-PERP": "ETP-20DEC30-CDE"}
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class GatewaySettings(ServiceSettings):
    """Settings of one order gateway. Money is in quote currency, times are in seconds."""

    model_config = service_config("TOUCHSTONE_GATEWAY_")

    port: int = Field(default=8080, ge=0, le=65535)
    venue_url: str = Field(default="http://127.0.0.1:8090", pattern=r"^https?://[^/]+/?$")
    venue_ws_url: str = Field(default="ws://127.0.0.1:8090", pattern=r"^wss?://[^/]+/?$")
    api_key_file: Path | None = None
    api_token: SecretStr | None = Field(default=None, min_length=16)
    allowed_hosts: tuple[str, ...] = ()
    # Hosts beyond loopback that are paper exchanges: only there is the very first state ACTIVE.
    paper_venue_hosts: tuple[str, ...] = ()
    symbol_map: dict[str, str] = Field(default=DEFAULT_SYMBOL_MAP, min_length=1)
    bot_id: str = Field(default="touchstone", pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    database_url: SecretStr | None = Field(default=None, validation_alias="DATABASE_URL")

    max_order_notional: Decimal = Field(default=Decimal(50_000), gt=0)
    max_orders_per_minute: int = Field(default=60, ge=1)
    quote_stale_after_seconds: float = Field(default=10, gt=0)
    forward_reduce_only: bool = True

    control_stale_after_seconds: float = Field(default=0.5, gt=0, le=5)
    venue_deadline_seconds: float = Field(default=5, gt=0, le=60)
    store_deadline_seconds: float = Field(default=2, gt=0, le=60)
    jwt_lifetime_seconds: int = Field(default=30, ge=5, le=LIFETIME_SECONDS_MAX)
    orders_reconcile_seconds: float = Field(default=45, gt=0)
    positions_reconcile_seconds: float = Field(default=90, gt=0)
    drain_seconds: float = Field(default=3, ge=0, le=30)

    @model_validator(mode="after")
    def _one_product_each(self) -> Self:
        if len(set(self.symbol_map.values())) != len(self.symbol_map):
            raise ValueError("symbol_map: two symbols share one product id")
        return self

    @property
    def key_file(self) -> Path:
        """Return the API key file: the configured one, else the paper exchange's own."""
        return self.api_key_file or self.data_dir / "exchange" / "keys" / "cdp_api_key.json"

    @property
    def venue_is_paper(self) -> bool:
        """Return whether no real money is at the venue: it is on loopback, or named as paper."""
        host = urlsplit(self.venue_url).hostname or ""
        return host in LOOPBACK_HOSTS or host in self.paper_venue_hosts
