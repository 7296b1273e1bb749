"""Which state a very first start begins with."""

import pytest

from services.order_gateway.settings import GatewaySettings
from services.order_gateway.wiring import first_state
from touchstone.kit.settings import load
from touchstone.perps.kill import TradingState


@pytest.mark.parametrize(
    ("url", "paper_hosts", "expected"),
    [
        ("http://127.0.0.1:8090", "[]", TradingState.ACTIVE),
        ("http://paper-exchange:8090", '["paper-exchange"]', TradingState.ACTIVE),
        ("http://paper-exchange:8090", "[]", TradingState.REDUCE_ONLY),
        ("https://api.coinbase.com", '["paper-exchange"]', TradingState.REDUCE_ONLY),
    ],
)
def test_only_a_paper_exchange_starts_active(
    monkeypatch: pytest.MonkeyPatch, url: str, paper_hosts: str, expected: TradingState
) -> None:
    """Against real money the first thing a person does is to open trading."""
    monkeypatch.setenv("TOUCHSTONE_GATEWAY_VENUE_URL", url)
    monkeypatch.setenv("TOUCHSTONE_GATEWAY_PAPER_VENUE_HOSTS", paper_hosts)
    assert expected == first_state(load(GatewaySettings))
