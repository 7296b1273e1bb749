"""What the order gateway reads from the environment (`TOUCHSTONE_GATEWAY_*`, DATABASE_URL)."""

from decimal import Decimal
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from lob.errors import InvalidInput
from services.order_gateway.venues.coinbase_auth import LIFETIME_SECONDS_MAX
from touchstone.kit.rate_limit import RATE_MAX
from touchstone.kit.settings import ServiceSettings, service_config
from touchstone.perps.kill import parse_scope, scopes_of
from touchstone.perps.profiles import MAX_LEVERAGE
from touchstone.perps.sizing import SizingMode

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
    # Of one client address; what closes trading is never limited.
    mutations_per_second: float = Field(default=2_000, ge=0.1, le=RATE_MAX)
    # Hosts beyond loopback that are paper exchanges: only there is the very first state ACTIVE.
    paper_venue_hosts: tuple[str, ...] = ()
    symbol_map: dict[str, str] = Field(default=DEFAULT_SYMBOL_MAP, min_length=1)
    # What the kill switch can close apart: this account, these strategies, each symbol.
    account: str = Field(default="default", pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    strategies: tuple[str, ...] = ("ma_crossover",)
    bot_id: str = Field(default="touchstone", pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    database_url: SecretStr | None = Field(default=None, validation_alias="DATABASE_URL")

    max_order_notional: Decimal = Field(default=Decimal(50_000), gt=0)
    max_orders_per_minute: int = Field(default=60, ge=1)
    # None is no limit.
    max_position_notional: Decimal | None = Field(default=None, gt=0)
    max_total_notional: Decimal | None = Field(default=None, gt=0)
    max_leverage: Decimal | None = Field(default=None, gt=0, le=MAX_LEVERAGE)
    # How entries are fitted to the depth of the book; without a mode they are not.
    sizing_mode: SizingMode | None = None
    max_impact_bps: Decimal = Field(default=Decimal(10), gt=0, le=25)
    # How far beyond the touch a stop that the gateway holds may trade once it is set off.
    max_slippage_bps: Decimal = Field(default=Decimal(15), gt=0, le=1_000)
    # Everything happens but the last step: nothing reaches the venue.
    dry_run: bool = False
    quote_stale_after_seconds: float = Field(default=10, gt=0)
    # What the guards watch. Dollars and shares; None is no limit.
    max_daily_loss: Decimal | None = Field(default=None, gt=0)
    max_drawdown: Decimal | None = Field(default=Decimal("0.02"), gt=0, le=1)
    max_orders_per_day: int | None = Field(default=None, ge=1)
    max_price_range: Decimal | None = Field(default=Decimal("0.05"), gt=0)
    stale_warn_seconds: float = Field(default=180, gt=0)
    stale_halt_seconds: float = Field(default=360, gt=0)
    liquidation_warn: Decimal = Field(default=Decimal("0.20"), ge=0, le=1)
    liquidation_critical: Decimal = Field(default=Decimal("0.15"), ge=0, le=1)
    # Of products that do not tell their own.
    funding_interval_seconds: int = Field(default=3_600, gt=0, le=86_400)
    forward_reduce_only: bool = True

    control_stale_after_seconds: float = Field(default=0.5, gt=0, le=5)
    venue_deadline_seconds: float = Field(default=5, gt=0, le=60)
    venue_idle_seconds: float = Field(default=4, gt=0, le=3_600)
    store_deadline_seconds: float = Field(default=2, gt=0, le=60)
    jwt_lifetime_seconds: int = Field(default=30, ge=5, le=LIFETIME_SECONDS_MAX)
    orders_reconcile_seconds: float = Field(default=45, gt=0)
    positions_reconcile_seconds: float = Field(default=90, gt=0)
    drain_seconds: float = Field(default=3, ge=0, le=30)
    flatten_seconds: float = Field(default=120, gt=0, le=3600)
    # How long the go/no-go matrix has to be clear before it says GO.
    go_dwell_seconds: float = Field(default=86_400, ge=0)

    @model_validator(mode="after")
    def _one_product_each(self) -> Self:
        if len(set(self.symbol_map.values())) != len(self.symbol_map):
            raise ValueError("symbol_map: two symbols share one product id")
        return self

    @model_validator(mode="after")
    def _scopes_can_be_named(self) -> Self:
        for scope in self.kill_scopes:
            try:
                parse_scope(scope)
            except InvalidInput as problem:
                raise ValueError(f"account, strategies, symbol_map: {problem}") from None
        return self

    @property
    def kill_scopes(self) -> tuple[str, ...]:
        """Return every scope of the kill switch that an order of this gateway can have."""
        strategies = (f"strategy:{name}" for name in self.strategies)
        symbols = (f"symbol:{name}" for name in self.symbol_map)
        return (*scopes_of(self.account), *strategies, *symbols)

    @property
    def key_file(self) -> Path:
        """Return the API key file: the configured one, else the paper exchange's own."""
        return self.api_key_file or self.data_dir / "exchange" / "keys" / "cdp_api_key.json"

    @property
    def venue_is_paper(self) -> bool:
        """Return whether no real money is at the venue: it is on loopback, or named as paper."""
        host = urlsplit(self.venue_url).hostname or ""
        return host in LOOPBACK_HOSTS or host in self.paper_venue_hosts
