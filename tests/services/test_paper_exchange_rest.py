"""The REST surface over real HTTP: strictness, refusals, lists, limits, administration."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from lob.errors import InvalidInput
from services.paper_exchange import bodies
from services.paper_exchange.bodies import read_bytes
from tests.services.paper_exchange import (
    API,
    BIP,
    RunningExchange,
    gtc,
    running_exchange,
    wait_until,
)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A venue that does not limit the rate of these tests."""
    with running_exchange(
        tmp_path_factory.mktemp("exchange"),
        rate_limit_per_second=10_000,
        public_rate_limit_per_second=10_000,
    ) as running:
        yield running


GTC = "limit_limit_gtc"


def reason(answer: dict[str, Any]) -> str:
    """Return why an order was refused."""
    assert answer["success"] is False
    text: str = answer["error_response"]["new_order_failure_reason"]
    assert text == answer["error_response"]["error"]
    return text


def test_an_unknown_field_is_refused_with_its_place(venue: RunningExchange) -> None:
    """Coinbase's parser says which field it does not know, and where."""
    body = {
        "client_order_id": "x",
        "product_id": BIP,
        "side": "BUY",
        "order_configuration": gtc("1", "50000"),
        "reduceOnly": True,
    }
    content = json.dumps(body).encode()
    answer = venue.call("POST", "/orders", content=content)
    column = content.index(b'"reduceOnly"') + 1
    message = f'proto: (line 1:{column}): unknown field "reduceOnly"'
    assert 400 == answer.status_code
    assert {
        "error": "unknown",
        "error_details": message,
        "message": message,
    } == answer.json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order_configuration": gtc("1", "1", stop="x")}, 'unknown field "stop"'),
        ({"order_configuration": {"limit_gtc": {}}}, 'unknown field "limit_gtc"'),
        ({"order_configuration": {}}, "allowed: exactly one"),
        (
            {"order_configuration": gtc("1", "1") | {"market_market_ioc": {"base_size": "1"}}},
            "allowed: exactly one",
        ),
        ({"order_configuration": {"limit_limit_gtc": {"base_size": "1"}}}, "limit_price"),
        ({"order_configuration": {"market_market_ioc": {}}}, "base_size: ''"),
        ({"order_configuration": gtc("-1", "1")}, "base_size: '-1'"),
        ({"order_configuration": gtc("NaN", "1")}, "base_size: 'NaN'"),
        ({"order_configuration": gtc("1e3", "1")}, "base_size: '1e3'"),
        (
            {"order_configuration": {"limit_limit_gtc": {"base_size": 1, "limit_price": "1"}}},
            "base_size: Expected `str | null`, got `int`",
        ),
        ({"side": "HOLD"}, 'invalid value for enum field side: "HOLD"'),
        ({"client_order_id": ""}, "client_order_id"),
        ({"client_order_id": "x" * 129}, "client_order_id"),
        ({"leverage": "five"}, "leverage: 'five'"),
        ({"order_configuration": {"twap_limit_gtd": {"x": float("nan")}}}, "syntax error"),
        ({"order_configuration": {"twap_limit_gtd": {"x": float("inf")}}}, "syntax error"),
        ({"attached_order_configuration": {"limit_limit_gtc": {}}}, "trigger_bracket_gtc"),
        ({"attached_order_configuration": {"trigger_bracket_gtc": {}}}, "limit_price: missing"),
        (
            {"order_configuration": {"trigger_bracket_gtc": {"base_size": "1"}}},
            "limit_price: missing",
        ),
    ],
)
def test_a_malformed_order_is_a_400(
    venue: RunningExchange, changes: dict[str, Any], message: str
) -> None:
    """What cannot be understood is refused before it is an order."""
    body = {
        "client_order_id": "x",
        "product_id": BIP,
        "side": "BUY",
        "order_configuration": gtc("1", "50000"),
        **changes,
    }
    answer = venue.call("POST", "/orders", body)
    assert 400 == answer.status_code
    assert message in answer.json()["message"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"order_ids": ["x"', b"\xff\xfe"])
def test_junk_bodies_are_a_400(venue: RunningExchange, content: bytes) -> None:
    """No body crashes the venue."""
    assert 400 == venue.call("POST", "/orders/batch_cancel", content=content).status_code


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], "body: not complete within 0.01 s"),
        ([{"type": "http.request", "body": b"{", "more_body": True}], "body: not complete"),
        ([{"type": "http.disconnect"}], "body: the client left before its end"),
    ],
)
def test_a_body_that_never_ends_is_given_up(
    monkeypatch: pytest.MonkeyPatch, messages: list[Message], expected: str
) -> None:
    """A client that stalls, or leaves, holds nothing and leaves no traceback."""
    monkeypatch.setattr(bodies, "BODY_SECONDS_MAX", 0.01)
    waiting = iter(messages)

    async def receive() -> Message:
        for message in waiting:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(InvalidInput, match=expected):
        asyncio.run(asyncio.wait_for(read_bytes(request), 5))


def test_a_long_body_is_not_read_to_its_end(venue: RunningExchange) -> None:
    """A body beyond 64 KiB is refused."""
    answer = venue.call("POST", "/orders", content=b" " * 70_000)
    assert (400, True) == (answer.status_code, "longer than 65536" in answer.text)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"product_id": "DOGE-PERP"}, "INVALID_PRODUCT_ID"),
        ({"order_configuration": gtc("1.5", "50000")}, "INVALID_SIZE_PRECISION"),
        ({"order_configuration": gtc("1", "50001")}, "INVALID_PRICE_PRECISION"),
        ({"order_configuration": gtc("5000", "50000")}, "INSUFFICIENT_FUND"),
        ({"leverage": "50"}, "INVALID_LEVERAGE"),
        ({"margin_type": "PORTFOLIO"}, "INVALID_MARGIN_TYPE"),
        ({"side": "UNKNOWN_ORDER_SIDE"}, "INVALID_SIDE"),
        ({"retail_portfolio_id": "other"}, "INVALID_REQUEST"),
        (
            {"order_configuration": {"limit_limit_fok": gtc("1", "5", post_only=True)[GTC]}},
            "POST_ONLY_NOT_ALLOWED_WITH_FOK",
        ),
        (
            {"order_configuration": gtc("1", "50000", reduce_only=True)},
            "REDUCE_ONLY_INCREASED_POSITION_SIZE",
        ),
    ],
)
def test_refusals_are_200_with_a_reason(
    venue: RunningExchange, changes: dict[str, Any], expected: str
) -> None:
    """A refused order is an answer, not an HTTP error."""
    assert expected == reason(venue.create(**changes))


def test_insufficient_funds_have_ccxt_s_preview_reason(venue: RunningExchange) -> None:
    """The preview's name for it is how ccxt tells InsufficientFunds."""
    answer = venue.create(order_configuration=gtc("5000", "50000"))
    assert "PREVIEW_INSUFFICIENT_FUND" == answer["error_response"]["preview_failure_reason"]


def test_accepted_extras(venue: RunningExchange) -> None:
    """A self-trade prevention id, the own portfolio and a leverage that is a number are taken."""
    permissions = venue.call("GET", "/key_permissions").json()
    answer = venue.create(
        self_trade_prevention_id="any",
        retail_portfolio_id=permissions["portfolio_uuid"],
        margin_type="CROSS",
        leverage=5,
    )
    assert answer["success"] is True


def test_lists_page_newest_first(venue: RunningExchange) -> None:
    """Pages follow one another by cursor without gap or overlap."""
    created = [venue.create()["success_response"]["order_id"] for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        path = f"/orders/historical/batch?limit=2&order_status=OPEN&cursor={cursor}"
        page = venue.call("GET", path).json()
        seen += [order["order_id"] for order in page["orders"]]
        cursor = page["cursor"]
        assert page["has_next"] == bool(cursor)
        if not cursor:
            break
    assert created[::-1] == [order_id for order_id in seen if order_id in created]
    assert len(set(seen)) == len(seen)
    venue.call("POST", "/orders/batch_cancel", {"order_ids": created})
    query = "&".join(f"order_ids={order_id}" for order_id in created)
    rows = venue.call("GET", f"/orders/historical/batch?{query}").json()["orders"]
    assert {"CANCELLED"} == {row["status"] for row in rows}


def test_lists_filter_by_time_and_product(venue: RunningExchange) -> None:
    """start_date is inclusive, end_date is not; the singular product_id works, too."""
    order_id = venue.create()["success_response"]["order_id"]
    order = venue.call("GET", f"/orders/historical/{order_id}").json()["order"]
    created = order["created_time"]
    after = venue.call("GET", f"/orders/historical/batch?start_date={created}").json()
    assert order_id in [row["order_id"] for row in after["orders"]]
    before = venue.call("GET", "/orders/historical/batch?end_date=2020-01-01T00:00:00Z").json()
    assert [] == before["orders"]
    other = venue.call("GET", "/orders/historical/batch?product_id=BTC-PERP-INTX").json()
    assert [] == other["orders"]


@pytest.mark.parametrize(
    "query",
    [
        "order_status=WRONG",
        "limit=0",
        "limit=x",
        "cursor=x",
        "start_date=yesterday",
        "start_date=2026-01-01T00:00:00",
        "time_in_forces=GOOD",
        "sort_by=PRICE",
        "sort_by=LIMIT_PRICE&sort_by=LAST_FILL_TIME",
        "cursor=NaN_1",
        "order_types=ICEBERG",
        "limti=3",
    ],
)
def test_a_filter_that_is_not_there_is_refused(venue: RunningExchange, query: str) -> None:
    """Ignoring a filter would return wrong rows."""
    assert 400 == venue.call("GET", f"/orders/historical/batch?{query}").status_code


def test_orders_of_others_are_not_found(venue: RunningExchange) -> None:
    """An id that is not this account's is a 404 in Coinbase's shape."""
    answer = venue.call("GET", "/orders/historical/11111111-1111-4111-8111-111111111111")
    assert (404, "NOT_FOUND") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/products/NOPE", 404),
        ("GET", "/product_book?product_id=NOPE", 404),
        ("GET", "/intx/positions/NOPE", 404),
        ("GET", f"/cfm/positions/{BIP}x", 404),
        ("GET", f"/products/{BIP}/candles", 400),
        ("POST", "/orders/edit", 400),
        ("GET", "/payment_methods/x", 404),
        ("GET", "/convert/trade/x", 404),
        ("POST", "/convert/quote", 400),
        ("DELETE", "/orders", 405),
    ],
)
def test_what_is_not_there_says_so_in_json(
    venue: RunningExchange, method: str, path: str, status: int
) -> None:
    """What is not there is 404 and what cannot be is 400, with Coinbase's three fields."""
    answer = venue.call(method, path)
    assert status == answer.status_code
    assert {"error", "error_details", "message"} == set(answer.json())


def test_public_paths_need_no_key(venue: RunningExchange) -> None:
    """`/market/*` and `/time` answer anyone, and in the private shapes."""
    url = f"http://{venue.host}{API}"
    public = httpx.get(f"{url}/market/product_book?product_id={BIP}&limit=1", timeout=5).json()
    assert {"pricebook", "last", "mid_market", "spread_bps", "spread_absolute"} == set(public)
    assert 200 == httpx.get(f"{url}/time", timeout=5).status_code
    assert 401 == httpx.get(f"{url}/product_book?product_id={BIP}", timeout=5).status_code
    listed = httpx.get(f"{url}/market/products?product_type=SPOT", timeout=5).json()
    assert (0, []) == (listed["num_products"], listed["products"])


def test_cde_and_intx_carry_their_fields_where_coinbase_has_them(venue: RunningExchange) -> None:
    """The CDE shape is EXPIRING with margin rates outside; the INTX shape is PERPETUAL."""
    rows = {row["product_id"]: row for row in venue.call("GET", "/products").json()["products"]}
    cde = rows[BIP]["future_product_details"]
    intx = rows["BTC-PERP-INTX"]["future_product_details"]
    assert ("EXPIRING", "0.01", "3600s") == (
        cde["contract_expiry_type"],
        cde["contract_size"],
        cde["funding_interval"],
    )
    assert ("PERPETUAL", "1", "10") == (
        intx["contract_expiry_type"],
        intx["contract_size"],
        intx["perpetual_details"]["max_leverage"],
    )


def test_too_many_requests_are_turned_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The bucket of a key empties, says so in its headers, and fills again."""
    with running_exchange(
        tmp_path_factory.mktemp("limited"), rate_limit_per_second=1, public_rate_limit_per_second=1
    ) as venue:
        answers = [venue.call("GET", "/accounts") for _ in range(3)]
        assert [200, 200, 429] == [answer.status_code for answer in answers]
        names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
        assert ["2", "0", "2"] == [answers[2].headers[name] for name in names]
        assert "rate_limit_exceeded" == answers[2].json()["errors"][0]["id"]
        wait_until(lambda: venue.call("GET", "/accounts").status_code == 200)
        url = f"http://{venue.host}{API}/time"
        assert [200, 200, 429] == [venue.client.get(url).status_code for _ in range(3)]


def test_administration(venue: RunningExchange) -> None:
    """State is plain about durability; clock and flow obey; web pages are turned away."""
    url = f"http://{venue.host}/admin"
    state = httpx.get(f"{url}/state", timeout=5).json()
    assert (True, True, 1.0) == (state["durable"], state["running"], state["clock"]["speed"])
    paused = httpx.post(f"{url}/flow", json={"paused": True}, timeout=5).json()
    again = httpx.get(f"{url}/state", timeout=5).json()
    assert paused["flow"]["paused"]
    assert paused["markets"][BIP]["state_hash"] == again["markets"][BIP]["state_hash"]
    fast = httpx.post(f"{url}/clock", json={"speed": 50}, timeout=5).json()
    httpx.post(f"{url}/flow", json={"paused": False}, timeout=5)
    assert 50 == fast["clock"]["speed"]
    before = again["markets"][BIP]["flow_seconds"]
    wait_until(
        lambda: (
            httpx.get(f"{url}/state", timeout=5).json()["markets"][BIP]["flow_seconds"]
            > before + 20
        )
    )
    httpx.post(f"{url}/clock", json={"speed": 1}, timeout=5)
    assert 400 == httpx.post(f"{url}/clock", json={"speed": 0}, timeout=5).status_code
    assert 400 == httpx.post(f"{url}/flow", json={"stop": True}, timeout=5).status_code
    page = httpx.post(
        f"{url}/flow", json={"paused": True}, headers={"Origin": "http://evil"}, timeout=5
    )
    assert (403, "PERMISSION_DENIED") == (page.status_code, page.json()["error"]["code"])


def test_health_and_metrics(venue: RunningExchange) -> None:
    """Ready while the venue runs; orders are counted by outcome."""
    venue.create()
    venue.create(product_id="NOPE")
    assert 200 == httpx.get(f"http://{venue.host}/readyz", timeout=5).status_code
    metrics = httpx.get(f"http://{venue.host}/metrics", timeout=5).text
    assert 'exchange_orders_total{outcome="ACCEPTED"}' in metrics
    assert 'exchange_orders_total{outcome="INVALID_PRODUCT_ID"}' in metrics
