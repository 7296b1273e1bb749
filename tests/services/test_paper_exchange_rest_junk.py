"""No input is a 5xx: bodies, queries and path parts of every kind, at every path there is."""

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.paper_exchange.app import create_app
from services.paper_exchange.configurations import CONFIGURATIONS as ORDER_CONFIGURATIONS
from tests.services.paper_exchange import API, BIP, BTC, RunningExchange, gtc, running_exchange

EXAMPLES = 60 * int(os.environ.get("TOUCHSTONE_FUZZ_ROUNDS", "1"))

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)
TEXTS = st.sampled_from(
    [
        *("", "0", "-1", "1e9", "NaN", "1" * 40, "\u0661", "\x00", "%", "a" * 300, "é", "true"),
        *("2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.9Z", "1000"),
        *("99999999999", "1_2", "1e999_5", "USD", "USDC", "FUTURE", "ONE_DAY", BIP, BTC),
    ]
)
NAMES = st.sampled_from(
    [
        *("limit", "offset", "cursor", "start", "end", "granularity", "product_ids", "sort_by"),
        *("order_status", "start_date", "end_date", "product_type", "aggregation_price_increment"),
        *("portfolio_type", "currency", "product_id", "start_sequence_timestamp", "order_ids"),
        *("contract_expiry_type", "expiring_contract_status", "get_all_products", "order_types"),
    ]
)
ORDER = {
    "client_order_id": "junk",
    "product_id": BIP,
    "side": "BUY",
    "order_configuration": gtc("1", "50000"),
    "leverage": "2",
    "margin_type": "CROSS",
    "attached_order_configuration": {
        "trigger_bracket_gtc": {"limit_price": "60000", "stop_trigger_price": "40000"}
    },
}
BODIES: dict[str, dict[str, Any]] = {
    "/orders": ORDER,
    "/orders/preview": {k: v for k, v in ORDER.items() if k != "client_order_id"},
    "/orders/edit": {"order_id": "x", "price": "1", "size": "1", "stop_price": "1"},
    "/orders/edit_preview": {"order_id": "x", "price": "1", "size": "1"},
    "/orders/close_position": {"client_order_id": "x", "product_id": BIP, "size": "1"},
    "/orders/batch_cancel": {"order_ids": ["x"]},
    "/portfolios": {"name": "x"},
    "/portfolios/{uuid}": {"name": "x"},
    "/portfolios/move_funds": {
        "funds": {"value": "1", "currency": "USD"},
        "source_portfolio_uuid": "x",
        "target_portfolio_uuid": "y",
    },
    "/intx/allocate": {"portfolio_uuid": "x", "symbol": BTC, "amount": "1", "currency": "USDC"},
    "/intx/multi_asset_collateral": {
        "portfolio_uuid": "x",
        "multi_asset_collateral_enabled": True,
    },
    "/cfm/sweeps/schedule": {"usd_amount": "1"},
    "/cfm/intraday/margin_setting": {"setting": "x"},
}
FIELDS = (
    *("base_size", "quote_size", "limit_price", "stop_price", "end_time", "stop_direction"),
    *("stop_trigger_price", "start_time", "number_buckets", "bucket_size", "bucket_duration"),
    *("num_orders", "min_price", "max_price"),
)
CONFIGURATION = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, TEXTS | JSON))
CONFIGURATIONS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys([*ORDER_CONFIGURATIONS, "limit_limit_gtb"], CONFIGURATION)
)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A venue that does not limit the rate of these tests, and has no background flow."""
    with running_exchange(
        tmp_path_factory.mktemp("exchange"),
        rate_limit_per_second=100_000,
        public_rate_limit_per_second=100_000,
        flow="none",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def paths(venue: RunningExchange) -> list[tuple[str, str]]:
    """Every method and path below Coinbase's prefix, as the app itself has them."""
    documented = create_app(venue.components).openapi()["paths"]
    return sorted(
        (method.upper(), path.removeprefix(API))
        for path, methods in documented.items()
        if path.startswith(API)
        for method in methods
    )


def test_every_path_with_a_body_has_one_here(paths: list[tuple[str, str]]) -> None:
    """A new path that takes a body comes with a sample to spoil."""
    without = {"/convert/quote", "/convert/trade/{trade_id}"}
    taking = {path for method, path in paths if method in ("POST", "PUT")}
    assert set(BODIES) == taking - without


@st.composite
def spoiled(draw: st.DrawFn, sample: dict[str, Any]) -> bytes:
    """Return a body with some of its fields changed, gone or added, or no JSON at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=40))
    body = dict(sample)
    for name in draw(st.lists(st.sampled_from([*sample, "extra"]), max_size=2)):
        if draw(st.booleans()):
            body.pop(name, None)
        else:
            body[name] = draw(TEXTS | JSON)
    if "order_configuration" in body and draw(st.booleans()):
        body["order_configuration"] = draw(CONFIGURATIONS)
    return json.dumps(body).encode()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_request_is_a_5xx(
    venue: RunningExchange, paths: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Whatever is sent, the answer is below 500, and JSON where it is not a 401."""
    method, template = data.draw(st.sampled_from(paths))
    path = template
    while "{" in path:
        head, _, rest = path.partition("{")
        part = quote(data.draw(TEXTS), safe="") or "x"
        path = f"{head}{part}{rest.partition('}')[2]}"
    pairs = data.draw(st.lists(st.tuples(NAMES, TEXTS), max_size=3))
    content = data.draw(spoiled(BODIES.get(template, {"extra": 1})))
    answer = venue.call(method, f"{path}?{urlencode(pairs)}", content=content)
    assert 500 > answer.status_code, answer.text
    if answer.status_code != 401:
        answer.json()
    assert not venue.components.venue.failure
