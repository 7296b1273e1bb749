"""What the watchdog reads from the environment (`TOUCHSTONE_WATCHDOG_*`)."""

from pathlib import Path

from pydantic import Field

from services.order_gateway.venues.coinbase_auth import LIFETIME_SECONDS_MAX
from services.order_gateway.watchdog_duty import Cancels
from touchstone.kit.settings import ServiceSettings, service_config


class WatchdogSettings(ServiceSettings):
    """Settings of one watchdog (`TOUCHSTONE_WATCHDOG_*`); times in seconds."""

    model_config = service_config("TOUCHSTONE_WATCHDOG_")

    port: int = Field(default=8081, ge=0, le=65535)
    gateway_url: str = Field(default="http://127.0.0.1:8080", pattern=r"^https?://[^/]+/?$")
    venue_url: str = Field(default="http://127.0.0.1:8090", pattern=r"^https?://[^/]+/?$")
    api_key_file: Path | None = None
    silence_seconds: float = Field(default=10, ge=1, le=3600)
    poll_seconds: float = Field(default=1, ge=0.05, le=60)
    recheck_seconds: float = Field(default=30, ge=1, le=3600)
    cancel: Cancels = Cancels.ENTRIES
    gateway_deadline_seconds: float = Field(default=1, gt=0, le=30)
    venue_deadline_seconds: float = Field(default=5, gt=0, le=60)
    jwt_lifetime_seconds: int = Field(default=30, ge=5, le=LIFETIME_SECONDS_MAX)

    @property
    def key_file(self) -> Path:
        """Return the API key file: the configured one, else the paper exchange's own."""
        return self.api_key_file or self.data_dir / "exchange" / "keys" / "cdp_api_key.json"
