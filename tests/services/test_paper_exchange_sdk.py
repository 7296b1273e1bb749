"""The official `coinbase-advanced-py` SDK against the paper exchange, as a user would run it."""

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from coinbase.rest import RESTClient
from coinbase.websocket import WebsocketResponse, WSClient

from services.paper_exchange.settings import ExchangeSettings
from tests.services.paper_exchange import (
    BIP,
    BTC,
    RunningExchange,
    running_exchange,
    wait_until,
    write_ed25519_key,
)
from touchstone.kit.settings import environment_names


class PlainHTTP(requests.adapters.HTTPAdapter):
    """Send to http what the SDK addresses to https: it has no setting for that."""

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        """Rewrite the scheme and send."""
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *args, **options)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A venue with its own ES256 key and an Ed25519 key of a second account."""
    data_dir = tmp_path_factory.mktemp("exchange")
    write_ed25519_key(data_dir / "exchange" / "keys", "second", account="second")
    with running_exchange(
        data_dir, rate_limit_per_second=300, public_rate_limit_per_second=300
    ) as running:
        yield running


def key_file(venue: RunningExchange, kind: str) -> str:
    """Return the key file of one kind."""
    own = venue.key_file
    return str(own if kind == "ES256" else own.with_name("second.json"))


@pytest.fixture(params=["ES256", "EdDSA"])
def client(venue: RunningExchange, request: pytest.FixtureRequest) -> RESTClient:
    """The SDK's REST client, once with each kind of key."""
    made = RESTClient(
        key_file=key_file(venue, request.param), base_url=venue.host, rate_limit_headers=True
    )
    made.session.mount("https://", PlainHTTP())
    return made


def touch(client: RESTClient, product_id: str) -> tuple[str, str]:
    """Return the best bid and ask."""
    book = client.get_best_bid_ask(product_ids=[product_id]).pricebooks[0]
    return book.bids[0].price, book.asks[0].price


def test_reading(client: RESTClient) -> None:
    """Time, permissions, products and books answer in the SDK's types."""
    assert str(client.get_unix_time().epoch_seconds).isdigit()
    assert client.get_api_key_permissions().can_trade is True
    assert client.get_products(get_all_products=False).num_products == 4
    perpetual = client.get_products(product_type="FUTURE", contract_expiry_type="PERPETUAL")
    assert ["BTC-PERP-INTX", "ETH-PERP-INTX"] == [p.product_id for p in perpetual.products]
    product = client.get_product(BIP)
    assert ("1", "5", "FCM") == (
        product.base_increment,
        product.price_increment,
        product.product_venue,
    )
    book = client.get_product_book(BTC, limit=3)
    assert (3, 3) == (len(book.pricebook.bids), len(book.pricebook.asks))
    assert client.get_public_product(BTC).product_id == BTC
    assert client.get_market_trades(BTC, limit=5).best_bid
    assert client.get_accounts().accounts[0].currency == "USD"
    assert client.get_transaction_summary()["fee_tier"]["taker_fee_rate"] == "0.0003"


def test_a_post_only_order_from_birth_to_double_cancel(client: RESTClient) -> None:
    """Create, repeat, get, list, cancel, cancel again: what the SDK's examples do."""
    bid, _ = touch(client, BIP)
    name = str(uuid.uuid4())
    low = str(int(bid) - 5_000)
    created = client.limit_order_gtc_buy(
        name, BIP, "1", low, post_only=True, leverage="5", margin_type="CROSS"
    )
    assert created.success
    order_id = created.success_response["order_id"]
    repeated = client.limit_order_gtc_buy(name, BIP, "1", low, post_only=True)
    assert (True, order_id) == (repeated.success, repeated.success_response["order_id"])
    order = client.get_order(order_id).order
    assert ("OPEN", name, "5", "0") == (
        order.status,
        order.client_order_id,
        order.leverage,
        order.filled_size,
    )
    assert low == order.order_configuration.limit_limit_gtc.limit_price
    listed = client.list_orders(product_ids=[BIP], order_status=["OPEN"])
    assert order_id in [row.order_id for row in listed.orders]
    first, again, unknown = client.cancel_orders([order_id, order_id, "nope"]).results
    assert first.success
    assert (False, "DUPLICATE_CANCEL_REQUEST") == (again.success, again.failure_reason)
    assert (False, "UNKNOWN_CANCEL_ORDER") == (unknown.success, unknown.failure_reason)
    assert client.get_order(order_id).order.status == "CANCELLED"


def test_a_crossing_post_only_order_is_refused(client: RESTClient) -> None:
    """The refusal is an HTTP 200 that the SDK hands back as an object."""
    _, ask = touch(client, BIP)
    refused = client.limit_order_gtc_buy("", BIP, "1", str(int(ask) + 500), post_only=True)
    assert not refused.success
    assert refused.error_response["error"] == "INVALID_LIMIT_PRICE_POST_ONLY"


@pytest.mark.parametrize("product_id", [BTC, BIP])
def test_a_market_order_fills_and_makes_a_position(client: RESTClient, product_id: str) -> None:
    """A market order fills as TAKER and shows as a fill and as a position of its family."""
    size = "0.05" if product_id == BTC else "3"
    bought = client.market_order_buy("", product_id, base_size=size)
    assert bought.success
    order_id = bought.success_response["order_id"]
    order = client.get_order(order_id).order
    assert ("FILLED", size, "MARKET") == (order.status, order.filled_size, order.order_type)
    fills = client.get_fills(order_ids=[order_id]).fills
    assert {"TAKER"} == {fill.liquidity_indicator for fill in fills}
    if product_id == BTC:
        portfolio = client.get_portfolios(portfolio_type="INTX").portfolios[0]["uuid"]
        (held,) = client.list_perps_positions(portfolio).positions
        assert ("0.05", "POSITION_SIDE_LONG") == (held.net_size, held.position_side)
        one = client.get_perps_position(portfolio, BTC).position
        assert one.entry_vwap["value"] == held.entry_vwap["value"]
        assert client.get_perps_portfolio_summary(portfolio).portfolios
    else:
        (position,) = client.list_futures_positions().positions
        assert ("LONG", "3") == (position.side, position.number_of_contracts)
        assert client.get_futures_position(BIP).position.number_of_contracts == "3"
        assert client.get_futures_balance_summary().balance_summary.initial_margin
    closed = client.create_order(
        str(uuid.uuid4()),
        product_id,
        "SELL",
        {"market_market_ioc": {"base_size": size, "reduce_only": True}},
    )
    assert closed.success


def test_immediate_orders(client: RESTClient) -> None:
    """IOC and FOK limits trade or end at once."""
    _, ask = touch(client, BIP)
    fok = client.limit_order_fok_buy("", BIP, "9000", str(int(ask) - 5_000))
    assert fok["error_response"]["error"] == "INSUFFICIENT_FUND"
    fok = client.limit_order_fok_buy("", BIP, "1", str(int(ask) - 5_000))
    assert client.get_order(fok["success_response"]["order_id"]).order.status == "CANCELLED"
    ioc = client.limit_order_ioc_buy("", BIP, "1", str(int(ask) + 500))
    assert client.get_order(ioc["success_response"]["order_id"]).order.status == "FILLED"
    client.market_order_sell("", BIP, base_size="1")


def test_rate_limit_headers_reach_the_sdk(client: RESTClient) -> None:
    """The SDK finds the headers under its own lower-case names."""
    assert client.get_accounts()["rate_limit_limit"] == "300"


@pytest.mark.parametrize("kind", ["ES256", "EdDSA"])
def test_the_feed(venue: RunningExchange, kind: str) -> None:
    """level2, heartbeats and user arrive with one gapless sequence and match REST."""
    messages: list[dict[str, Any]] = []

    def keep(text: str) -> None:
        messages.append(json.loads(text))
        WebsocketResponse(json.loads(text))  # the SDK's own types take every message

    rest = RESTClient(key_file=key_file(venue, kind), base_url=venue.host)
    rest.session.mount("https://", PlainHTTP())
    feed = WSClient(
        key_file=key_file(venue, kind), base_url=f"ws://{venue.host}", on_message=keep, retry=False
    )
    feed.open()
    try:
        feed.level2([BIP])
        feed.heartbeats()
        feed.user([])
        wait_until(lambda: any(m["channel"] == "user" for m in messages))
        created = rest.limit_order_gtc_buy("", BIP, "1", "90000", post_only=True)
        order_id = created.success_response["order_id"]
        rest.cancel_orders([order_id])
        wait_until(lambda: "CANCELLED" in user_statuses(messages, order_id))
        wait_until(lambda: any(m["channel"] == "heartbeats" for m in messages))
    finally:
        feed.close()
    assert ["OPEN", "CANCELLED"] == user_statuses(messages, order_id)
    assert list(range(len(messages))) == [m["sequence_num"] for m in messages]
    levels = [m["events"][0] for m in messages if m["channel"] == "l2_data"]
    assert "snapshot" == levels[0]["type"]
    assert {"bid", "offer"} == {u["side"] for u in levels[0]["updates"]}
    ours = [u for e in levels[1:] for u in e["updates"] if u["price_level"] == "90000"]
    assert ["1", "0"] == [u["new_quantity"] for u in ours]


def user_statuses(messages: list[dict[str, Any]], order_id: str) -> list[str]:
    """Return the statuses that the user channel told of an order."""
    return [
        order["status"]
        for message in messages
        if message["channel"] == "user"
        for event in message["events"]
        for order in event["orders"]
        if order["order_id"] == order_id
    ]


def test_the_guide_s_example_runs(
    venue: RunningExchange, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python block of docs/paper-exchange.md places an order, given this venue's address."""
    monkeypatch.chdir(venue.data_dir)
    text = (root / "docs" / "paper-exchange.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    script = block.replace("127.0.0.1:8090", venue.host).replace(".touchstone/", "")
    before = len(venue.call("GET", "/orders/historical/batch").json()["orders"])
    exec(compile(script, "docs/paper-exchange.md", "exec"), {})  # noqa: S102 - it is our own guide
    after = venue.call("GET", "/orders/historical/batch").json()["orders"]
    assert (before + 1, "OPEN") == (len(after), after[0]["status"])


def test_the_guide_lists_every_setting(root: Path) -> None:
    """No setting is missing from the table in docs/paper-exchange.md."""
    text = (root / "docs" / "paper-exchange.md").read_text()
    for name in environment_names(ExchangeSettings) - {"TOUCHSTONE_REDIS_URL"}:
        assert f"`{name.removeprefix('TOUCHSTONE_EXCHANGE_')}`" in text, name


def test_the_key_file_is_private(venue: RunningExchange, tmp_path: Path) -> None:
    """Only the owner may read the key that the venue made."""
    assert venue.key_file.stat().st_mode & 0o777 == 0o600
    assert not tmp_path.samefile(venue.data_dir)
