"""Every method of the official SDK's REST client, held against the table in the guide."""

import fnmatch
import inspect
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from coinbase.rest import RESTClient
from coinbase.rest.rest_base import RESTBase
from coinbase.rest.types.base_response import BaseResponse

from tests.services.paper_exchange import (
    API,
    BIP,
    BTC,
    RunningExchange,
    gtc,
    running_exchange,
    wait_until,
)

ETP = "ETP-20DEC30-CDE"

METHODS = sorted(
    name
    for name, member in inspect.getmembers(RESTClient, inspect.isfunction)
    if not name.startswith("_") and not hasattr(RESTBase, name)
)


class Recorder(requests.adapters.HTTPAdapter):
    """Speak plain HTTP, and remember where the latest request went."""

    latest = ""

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        """Send a request with its scheme changed."""
        request.url = request.url.replace("https://", "http://", 1)
        self.latest = f"{request.method} {request.path_url.partition('?')[0].removeprefix(API)}"
        return super().send(request, *args, **options)


@dataclass(frozen=True)
class Surface:
    """A client, what it last asked for, and what there is to ask about."""

    client: RESTClient
    recorder: Recorder
    known: dict[str, Any]
    last: dict[str, Decimal]
    end_time: str
    short: str

    def arguments(self, name: str) -> dict[str, Any]:
        """Return what a method needs, by its parameters' names."""
        # The client is long of one product and short of another; brackets close what is held.
        closes = "bracket" in name and not name.endswith("_buy")
        sells = name.endswith("_sell") or closes
        product = self.short if "bracket" in name and not closes else BIP
        values = {
            **self.known,
            "product_id": product,
            "end_time": self.end_time,
            "side": "SELL" if sells else "BUY",
        }
        values["client_order_id"] = values["name"] = secrets.token_hex(8)
        above, below = self.near("1.1", product), self.near("0.9", product)
        values["limit_price"] = above if sells else below
        if "stop_limit" in name:
            values["limit_price"] = values["stop_price"] = below if sells else above
            direction = "DOWN" if sells else "UP"
            values["stop_direction"] = f"STOP_DIRECTION_STOP_{direction}"
        values["stop_trigger_price"] = below if sells else above
        if name == "delete_portfolio":
            values["portfolio_uuid"] = self.known["empty_portfolio"]
        elif name in ("edit_portfolio", "get_portfolio_breakdown"):
            values["portfolio_uuid"] = self.known["target_portfolio_uuid"]
        elif name == "cancel_orders":
            values["order_ids"] = [self.known["order_to_cancel"]]
        elif name == "preview_edit_order":
            values["price"] = self.near("0.75", BIP)
        elif name == "get_perps_position":
            values["symbol"] = BTC
        method = inspect.signature(getattr(RESTClient, name))
        return {
            parameter.name: values[parameter.name]
            for parameter in method.parameters.values()
            if parameter.name != "self"
            and parameter.kind is not inspect.Parameter.VAR_KEYWORD
            and (parameter.default is inspect.Parameter.empty or parameter.name in OPTIONAL)
        }

    def near(self, factor: str, product: str) -> str:
        """Return a price on the grid near a part of the last trade's."""
        return str(int(self.last[product] * Decimal(factor)) // 5 * 5)


NEVER_TOGETHER = {
    # One of these is there at a time, or none: which depends on what was asked for.
    "CreateOrderResponse": {"failure_reason", "order_id", "error_response"},
    "ClosePositionResponse": {"error_response"},
    "EditOrderResponse": {"success_response", "error_response"},
    "OrderConfiguration": None,
    "MarketMarketIoc": None,
    # The SDK's own misspelling of a field that ends without its s.
    "GetTransactionSummaryResponse": {"advanced_trade_only_volumes"},
    # Its `identifier` is what two fields of one name come from.
    "PortfolioBalances": {"total_neptune_balance"},
}
"""Fields that the SDK's types have and an answer need not have, by type; None is all of them."""


def missing_fields(found: Any) -> set[str]:
    """Return the fields of the SDK's types that an answer left out, as `Type.field`."""
    if isinstance(found, list):
        return {name for item in found for name in missing_fields(item)}
    if not isinstance(found, BaseResponse):
        return set()
    kind = type(found).__name__
    source = inspect.getsource(type(found).__init__)
    known = set(re.findall(r"self\.(\w+): ", source))
    optional = NEVER_TOGETHER.get(kind, set())
    absent = set() if optional is None else known - set(vars(found)) - optional
    below = (missing_fields(value) for value in vars(found).values())
    return {f"{kind}.{name}" for name in absent}.union(*below)


OPTIONAL = ("base_size", "size", "price")
"""Optional parameters without which a call says nothing."""


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A venue that does not limit the rate of these tests."""
    with running_exchange(
        tmp_path_factory.mktemp("exchange"),
        rate_limit_per_second=10_000,
        public_rate_limit_per_second=10_000,
        starting_balance=10_000_000,
    ) as running:
        tape = running.components.venue.exchange.markets[BIP].tape
        httpx.post(f"http://{running.host}/admin/clock", json={"speed": 50}, timeout=5)
        wait_until(lambda: len(tape) > 0)
        httpx.post(f"http://{running.host}/admin/flow", json={"paused": True}, timeout=5)
        httpx.post(f"http://{running.host}/admin/clock", json={"speed": 1}, timeout=5)
        yield running


@pytest.fixture(scope="module")
def surface(venue: RunningExchange) -> Surface:
    """A client with an order, positions in both shapes and two portfolios beside its own."""
    client = RESTClient(key_file=str(venue.key_file), base_url=venue.host)
    recorder = Recorder()
    client.session.mount("https://", recorder)
    last = {product: Decimal(client.get_product(product).price) for product in (BIP, ETP)}
    cheap = str(int(last[BIP] * Decimal("0.8")) // 5 * 5)
    ids = [
        client.limit_order_gtc_buy("", BIP, "2", cheap).success_response["order_id"]
        for _ in range(2)
    ]
    assert client.market_order_buy("", BIP, base_size="12").success
    assert client.market_order_sell("", ETP, base_size="12").success
    isolated = client.market_order_buy(
        "", BTC, base_size="0.1", leverage="5", margin_type="ISOLATED"
    )
    assert isolated.success, isolated.to_dict()
    own = client.get_portfolios(portfolio_type="INTX").portfolios[0]["uuid"]
    purses = [client.create_portfolio(name).portfolio["uuid"] for name in ("spare", "empty")]
    assert client.schedule_futures_sweep("1").success
    now = int(client.get_unix_time().epoch_seconds or 0)
    known = {
        "product_id": BIP,
        "base_size": "1",
        "order_id": ids[0],
        "order_to_cancel": ids[1],
        "price": cheap,
        "size": "1",
        "order_configuration": gtc("1", cheap, post_only=False),
        "account_uuid": client.get_accounts().accounts[0].uuid,
        "portfolio_uuid": own,
        "source_portfolio_uuid": own,
        "target_portfolio_uuid": purses[0],
        "empty_portfolio": purses[1],
        "value": "10",
        "currency": "USDC",
        "symbol": BTC,
        "amount": "10",
        "multi_asset_collateral_enabled": True,
        "usd_amount": "5",
        "setting": "INTRADAY_MARGIN_SETTING_INTRADAY",
        "margin_profile_type": "MARGIN_PROFILE_TYPE_RETAIL_REGULAR",
        "start": str(now - 3_600),
        "end": str(now),
        "granularity": "ONE_MINUTE",
        "limit": 5,
        "payment_method_id": "none",
        "trade_id": "none",
        "from_account": "USD",
        "to_account": "USDC",
    }
    end_time = datetime.fromtimestamp(now + 86_400, UTC).isoformat().replace("+00:00", "Z")
    return Surface(client, recorder, known, last, end_time, ETP)


def table(root: Path) -> list[tuple[list[str], str, str]]:
    """Return the rows of the guide's table: methods, path, answer."""
    text = (root / "docs" / "paper-exchange.md").read_text()
    section = text.partition("## What is served")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+`) \| `([A-Z]+ /.+)` \| (.+) \|$", section, re.MULTILINE)
    return [(re.findall(r"`(.+?)`", names), path, answer) for names, path, answer in rows]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_does_what_the_guide_says(surface: Surface, root: Path, name: str) -> None:
    """One row names the method; its path is the one asked for, and its answer the one given."""
    rows = [row for row in table(root) if any(fnmatch.fnmatch(name, one) for one in row[0])]
    assert 1 == len(rows), rows
    _, path, answer = rows[0]
    try:
        found = getattr(surface.client, name)(**surface.arguments(name))
    except requests.HTTPError as error:
        outcome = f"`{getattr(error.response, 'status_code', None)}`"
    else:
        outcome = "served"
        assert set() == missing_fields(found)
        assert getattr(found, "success", True), found.to_dict()
        assert not getattr(found, "errors", None), found.to_dict()
        assert not getattr(found, "errs", None), found.to_dict()
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
    assert re.fullmatch(pattern, surface.recorder.latest), surface.recorder.latest
    assert answer.split(":")[0] == outcome


def test_the_table_names_nothing_that_is_not_there(root: Path) -> None:
    """Every name in the table is a method of the SDK, or a pattern that finds some."""
    for names, _, _ in table(root):
        for name in names:
            assert fnmatch.filter(METHODS, name), name
