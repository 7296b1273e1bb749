"""Market data over real HTTP: products, books, trades, candles, and ccxt's paths below `/v2`."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.services.paper_exchange import (
    API,
    BIP,
    BTC,
    RunningExchange,
    gtc,
    running_exchange,
    wait_until,
)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A venue with trades, whose flow then stands still."""
    with running_exchange(
        tmp_path_factory.mktemp("exchange"),
        rate_limit_per_second=10_000,
        public_rate_limit_per_second=10_000,
        flow_speed=20,
    ) as running:
        tapes = running.components.venue.exchange.markets
        wait_until(lambda: all(len(tapes[name].tape) > 5 for name in (BTC, BIP)))
        httpx.post(f"http://{running.host}/admin/flow", json={"paused": True}, timeout=5)
        yield running


def public(venue: RunningExchange, path: str) -> Any:
    """Return the answer of a path that needs no key."""
    found = httpx.get(f"http://{venue.host}{path}", timeout=5)
    assert 200 == found.status_code, found.text
    return found.json()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", 4),
        ("product_type=FUTURE", 4),
        ("product_type=SPOT", 0),
        ("product_type=FUTURE&contract_expiry_type=PERPETUAL", 2),
        ("contract_expiry_type=EXPIRING", 2),
        ("contract_expiry_type=UNKNOWN_CONTRACT_EXPIRY_TYPE", 4),
        ("expiring_contract_status=STATUS_UNEXPIRED", 4),
        ("contract_expiry_type=EXPIRING&expiring_contract_status=STATUS_EXPIRED", 0),
        ("limit=3", 3),
        ("limit=3&offset=2", 2),
        (f"product_ids={BIP}&product_ids={BTC}", 2),
        ("product_ids=DOGE-PERP", 0),
        ("get_all_products=False&get_tradability_status=True", 4),
    ],
)
def test_products_are_filtered(venue: RunningExchange, query: str, expected: int) -> None:
    """Every filter narrows the list, with a key and without one alike."""
    found = public(venue, f"{API}/market/products?{query}")
    assert (expected, expected) == (len(found["products"]), found["num_products"])
    again = venue.call("GET", f"/products?{query}").json()
    assert found["num_products"] == again["num_products"]


@pytest.mark.parametrize(
    "query",
    ["limit=x", "offset=-1", "product_type=STOCK", "contract_expiry_type=X", "get_all_products=9"],
)
def test_products_with_a_wrong_filter_are_a_400(venue: RunningExchange, query: str) -> None:
    """A value that is none of the enum's is refused, not ignored."""
    assert 400 == venue.call("GET", f"/products?{query}").status_code


def test_a_product_tells_funding_where_its_shape_has_it(venue: RunningExchange) -> None:
    """CDE figures stand on the details, INTX figures in the perpetual's; both are numbers."""
    cde = venue.call("GET", f"/products/{BIP}").json()["future_product_details"]
    intx = venue.call("GET", f"/products/{BTC}").json()["future_product_details"]
    inner = intx["perpetual_details"]
    for found in (cde, inner):
        assert Decimal(found["open_interest"]) >= 0
        assert abs(Decimal(found["funding_rate"])) < 1
        assert found["funding_time"].endswith("Z")
    assert "3600s" == cde["funding_interval"]
    assert ("", None) == (
        cde["perpetual_details"]["funding_rate"],
        cde["perpetual_details"]["funding_time"],
    )
    assert abs(Decimal(cde["index_price"]) / Decimal(cde["settlement_price"]) - 1) < Decimal("0.06")
    assert {"long_margin_rate": "0.1", "short_margin_rate": "0.1"} == cde["intraday_margin_rate"]


def test_a_book_adds_levels_up(venue: RunningExchange) -> None:
    """Aggregated bids stand at their group's lowest price, asks at the highest; nothing is lost."""
    path = f"/product_book?product_id={BTC}"
    plain = venue.call("GET", path).json()["pricebook"]
    grouped = venue.call("GET", f"{path}&aggregation_price_increment=50").json()["pricebook"]
    for side, rounding in (("bids", "ROUND_FLOOR"), ("asks", "ROUND_CEILING")):
        sums: dict[Decimal, Decimal] = {}
        for level in plain[side]:
            at = (Decimal(level["price"]) / 50).to_integral_value(rounding) * 50
            sums[at] = sums.get(at, Decimal(0)) + Decimal(level["size"])
        expected = list(sums.items())
        assert expected == [(Decimal(x["price"]), Decimal(x["size"])) for x in grouped[side]]
        assert len(grouped[side]) < len(plain[side])
    two = venue.call("GET", f"{path}&aggregation_price_increment=50&limit=2").json()["pricebook"]
    assert grouped["bids"][:2] == two["bids"]
    for wrong in ("0", "0.05", "x", "-5"):
        answer = venue.call("GET", f"{path}&aggregation_price_increment={wrong}")
        assert 400 == answer.status_code, wrong


def test_best_bid_ask_is_the_touch_of_what_is_asked_for(venue: RunningExchange) -> None:
    """One level a side, for the products named or for all."""
    every = venue.call("GET", "/best_bid_ask").json()["pricebooks"]
    assert 4 == len(every)
    (one,) = venue.call("GET", f"/best_bid_ask?product_ids={BIP}").json()["pricebooks"]
    book = venue.call("GET", f"/product_book?product_id={BIP}&limit=1").json()
    assert (book["pricebook"]["bids"], book["pricebook"]["asks"]) == (one["bids"], one["asks"])
    width = Decimal(one["asks"][0]["price"]) - Decimal(one["bids"][0]["price"])
    assert width == Decimal(book["spread_absolute"])
    assert 404 == venue.call("GET", "/best_bid_ask?product_ids=NOPE").status_code


def test_trades_of_a_period(venue: RunningExchange) -> None:
    """The ticker takes Unix seconds and RFC 3339, both ends inclusive, newest first."""
    path = f"/products/{BIP}/ticker?limit=1000"
    every = venue.call("GET", path).json()["trades"]
    assert sorted((trade["time"] for trade in every), reverse=True) == [x["time"] for x in every]
    middle = every[len(every) // 2]["time"]
    late = venue.call("GET", f"{path}&start={middle}").json()["trades"]
    early = venue.call("GET", f"{path}&end={middle}").json()["trades"]
    same = [trade for trade in every if trade["time"] == middle]
    assert len(every) + len(same) == len(late) + len(early)
    assert [] == venue.call("GET", f"{path}&start=1&end=2").json()["trades"]
    assert 400 == venue.call("GET", f"{path}&start=soon").status_code


def test_candles_are_those_of_the_trades(venue: RunningExchange) -> None:
    """Open, high, low, close and volume of a day's candles follow from the public trades."""
    trades = venue.call("GET", f"/products/{BTC}/ticker?limit=1000").json()["trades"]
    assert 1000 > len(trades)
    now = int(public(venue, f"{API}/time")["epochSeconds"])
    path = f"/products/{BTC}/candles?start={now - 86_400}&end={now}"
    candles = venue.call("GET", f"{path}&granularity=FIVE_MINUTE").json()["candles"]
    assert sorted((int(x["start"]) for x in candles), reverse=True) == [
        int(x["start"]) for x in candles
    ]
    prices = [Decimal(trade["price"]) for trade in trades]
    assert max(prices) == max(Decimal(candle["high"]) for candle in candles)
    assert min(prices) == min(Decimal(candle["low"]) for candle in candles)
    assert (prices[-1], prices[0]) == (
        Decimal(candles[-1]["open"]),
        Decimal(candles[0]["close"]),
    )
    volume = sum(Decimal(trade["size"]) for trade in trades)
    assert volume == sum(Decimal(candle["volume"]) for candle in candles)
    assert 1 == len(venue.call("GET", f"{path}&granularity=FIVE_MINUTE&limit=1").json()["candles"])


@pytest.mark.parametrize(
    "query",
    [
        "",
        "start=1&end=2",
        "start=1&granularity=ONE_MINUTE",
        "start=1&end=2&granularity=ONE_SECOND",
        "start=1&end=2&granularity=UNKNOWN_GRANULARITY",
        "start=0&end=21061&granularity=ONE_MINUTE",
        "start=x&end=2&granularity=ONE_MINUTE",
        "start=999999999999&end=2&granularity=ONE_MINUTE",
    ],
)
def test_candles_need_a_period_of_at_most_350(venue: RunningExchange, query: str) -> None:
    """More than 350 candles, or no period, is a 400; 350 themselves are an answer."""
    assert 400 == venue.call("GET", f"/products/{BTC}/candles?{query}").status_code
    fits = f"{API}/market/products/{BTC}/candles?start=0&end=21000&granularity=ONE_MINUTE"
    assert [] == public(venue, fits)["candles"]


def test_what_ccxt_loads_first(venue: RunningExchange) -> None:
    """Currencies, crypto currencies, rates and the time come without a key, each below `data`."""
    (fiat,) = public(venue, "/v2/currencies")["data"]
    assert {"id": "USD", "name": "United States Dollar", "min_size": "0.01"} == fiat
    crypto = public(venue, "/v2/currencies/crypto")["data"]
    assert ["BTC", "ETH", "USDC"] == [currency["code"] for currency in crypto]
    rates = public(venue, "/v2/exchange-rates")["data"]
    assert ("USD", "1", "1") == (rates["currency"], rates["rates"]["USD"], rates["rates"]["USDC"])
    of_btc = public(venue, "/v2/exchange-rates?currency=BTC")["data"]["rates"]
    assert abs(Decimal(of_btc["USD"]) * Decimal(rates["rates"]["BTC"]) - 1) < Decimal("0.001")
    moment = public(venue, "/v2/time")["data"]
    assert isinstance(moment["epoch"], int)
    assert 404 == httpx.get(f"http://{venue.host}/v2/exchange-rates?currency=X").status_code


def test_the_wallet_needs_a_key(venue: RunningExchange) -> None:
    """`/v2/accounts` tells the cash of the key's account, and is a 401 without a token."""
    url = f"http://{venue.host}/v2/accounts"
    assert 401 == httpx.get(url, timeout=5).status_code
    token = venue.key.token(f"GET {venue.host}/v2/accounts")
    found = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=5).json()
    (wallet,) = found["data"]
    assert ("USD", "100000") == (wallet["currency"]["code"], wallet["balance"]["amount"])
    missing = httpx.get(f"http://{venue.host}/v2/nothing", timeout=5)
    assert (404, "not_found") == (missing.status_code, missing.json()["errors"][0]["id"])


def test_an_order_of_ours_shows_in_the_book(venue: RunningExchange) -> None:
    """What a customer rests can be read back from the public book."""
    order = venue.create(order_configuration=gtc("7", "60005"))
    assert order["success"], order
    book = public(venue, f"{API}/market/product_book?product_id={BIP}")["pricebook"]
    assert {"price": "60005", "size": "7"} in book["bids"]
