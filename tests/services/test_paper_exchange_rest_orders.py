"""Orders over real HTTP: configurations, edits, previews, closing, lists; two customers alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tests.services.paper_exchange import (
    BIP,
    Key,
    RunningExchange,
    gtc,
    running_exchange,
    write_ed25519_key,
)

END = "2099-01-01T00:00:00Z"


@dataclass
class Market:
    """A venue without background flow, and a second customer to trade with."""

    venue: RunningExchange
    other: Key

    def post(self, path: str, body: dict[str, Any], key: Key | None = None) -> dict[str, Any]:
        """Return the answer of a POST that is understood."""
        answer = self.venue.call("POST", path, body, key=key)
        assert 200 == answer.status_code, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def create(self, key: Key | None = None, **fields: Any) -> str:
        """Enter an order of one contract and return its id."""
        created = self.venue.create(**fields) if key is None else self._create_as(key, fields)
        assert created["success"], created
        order_id: str = created["success_response"]["order_id"]
        return order_id

    def order(self, order_id: str) -> dict[str, Any]:
        """Return an order as it is now."""
        answer = self.venue.call("GET", f"/orders/historical/{order_id}")
        found: dict[str, Any] = answer.json()["order"]
        return found

    def rows(self, query: str, kind: str = "batch", name: str = "orders") -> list[dict[str, Any]]:
        """Return the rows of a list."""
        answer = self.venue.call("GET", f"/orders/historical/{kind}?{query}")
        assert 200 == answer.status_code, answer.text
        found: list[dict[str, Any]] = answer.json()[name]
        return found

    def trade(self, price: str, size: str = "1", side: str = "BUY") -> str:
        """Let the customer's order meet one of the other's; return the customer's order id."""
        against = {"BUY": "SELL", "SELL": "BUY"}[side]
        self.create(self.other, side=against, order_configuration=gtc(size, price))
        return self.create(side=side, order_configuration=gtc(size, price))

    def _create_as(self, key: Key, fields: dict[str, Any]) -> dict[str, Any]:
        body = {
            "client_order_id": f"other-{id(fields)}-{fields.get('side')}",
            "product_id": BIP,
            "side": "BUY",
            **fields,
        }
        body["client_order_id"] += str(len(self.venue.components.venue.exchange.orders("other")))
        return self.post("/orders", body, key)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """One venue for all of these tests, with a first trade at 60,000."""
    data_dir = tmp_path_factory.mktemp("exchange")
    other = write_ed25519_key(data_dir / "exchange" / "keys", "other", account="other")
    with running_exchange(
        data_dir,
        rate_limit_per_second=10_000,
        public_rate_limit_per_second=10_000,
        starting_balance=1_000_000,
        flow="none",
        index_volatility={"BTC": 0, "ETH": 0},
    ) as venue:
        market = Market(venue, other)
        market.trade("100000")
        yield market


CONFIGURATIONS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "limit_limit_gtc": (
        {"base_size": "1", "limit_price": "90000", "post_only": True},
        *("LIMIT", "GOOD_UNTIL_CANCELLED", "INVALID_ORDER_TYPE"),
    ),
    "limit_limit_gtd": (
        {"base_size": "1", "limit_price": "90000", "post_only": False, "end_time": END},
        *("LIMIT", "GOOD_UNTIL_DATE_TIME", "INVALID_ORDER_TYPE"),
    ),
    "stop_limit_stop_limit_gtc": (
        {
            "base_size": "1",
            "limit_price": "111000",
            "stop_price": "110000",
            "stop_direction": "STOP_DIRECTION_STOP_UP",
        },
        *("STOP_LIMIT", "GOOD_UNTIL_CANCELLED", "STOP_PENDING"),
    ),
    "stop_limit_stop_limit_gtd": (
        {"base_size": "1", "limit_price": "111000", "stop_price": "110000", "end_time": END},
        *("STOP_LIMIT", "GOOD_UNTIL_DATE_TIME", "STOP_PENDING"),
    ),
    "trigger_bracket_gtc": (
        {"base_size": "1", "limit_price": "90000", "stop_trigger_price": "110000"},
        *("BRACKET", "GOOD_UNTIL_CANCELLED", "STOP_PENDING"),
    ),
    "trigger_bracket_gtd": (
        {
            "base_size": "1",
            "limit_price": "90000",
            "stop_trigger_price": "110000",
            "end_time": END,
        },
        *("BRACKET", "GOOD_UNTIL_DATE_TIME", "STOP_PENDING"),
    ),
    "twap_limit_gtd": (
        {
            "start_time": "2098-01-01T00:00:00Z",
            "end_time": END,
            "limit_price": "90000",
            "number_buckets": "4",
            "bucket_size": "1",
            "bucket_duration": "300s",
        },
        *("TWAP", "GOOD_UNTIL_DATE_TIME", "INVALID_ORDER_TYPE"),
    ),
    "scaled_limit_gtc": (
        {
            "base_size": "4",
            "num_orders": 4,
            "min_price": "80000",
            "max_price": "83000",
            "price_distribution": "FLAT",
            "size_distribution": "EVENLY_SPLIT",
        },
        *("SCALED", "GOOD_UNTIL_CANCELLED", "INVALID_ORDER_TYPE"),
    ),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_resting_configuration_is_shown_as_it_came(market: Market, name: str) -> None:
    """Its type, time in force and trigger follow; the configuration is echoed untouched."""
    fields, kind, time_in_force, trigger = CONFIGURATIONS[name]
    if kind == "BRACKET":
        market.trade("100000", "3", "SELL")
    created = market.venue.create(order_configuration={name: fields})
    assert created["success"], created
    assert {name: fields} == created["order_configuration"]
    order = market.order(created["success_response"]["order_id"])
    assert {name: fields} == order["order_configuration"]
    assert (kind, time_in_force) == (order["order_type"], order["time_in_force"])
    assert trigger == order["trigger_status"]
    assert order["status"] in ("OPEN", "PENDING")
    ended = market.post("/orders/batch_cancel", {"order_ids": [order["order_id"]]})
    assert ended["results"][0]["success"], ended
    assert "User requested cancel" == market.order(order["order_id"])["cancel_message"]
    if kind == "BRACKET":
        market.trade("100000", "3", "BUY")


@pytest.mark.parametrize("name", ["market_market_ioc", "market_market_fok"])
@pytest.mark.parametrize("size", [{"base_size": "2"}, {"quote_size": "2000"}])
def test_a_market_order_by_size_or_money(market: Market, name: str, size: dict[str, str]) -> None:
    """Two contracts of 0.01 BTC at 100,000 are had for 2,000 dollars."""
    market.create(market.other, side="SELL", order_configuration=gtc("2", "100000"))
    order = market.order(market.create(order_configuration={name: size}))
    assert ("FILLED", "2", "2000") == (
        order["status"],
        order["filled_size"],
        order["filled_value"],
    )
    assert ("quote_size" in size) == order["size_in_quote"]
    assert ("MARKET", "100") == (order["order_type"], order["completion_percentage"])


@pytest.mark.parametrize("name", ["sor_limit_ioc", "limit_limit_fok"])
def test_what_does_not_rest_ends_at_once(market: Market, name: str) -> None:
    """An immediate order that nobody meets is accepted and cancelled."""
    fields = {"base_size": "1", "limit_price": "20000"}
    order = market.order(market.create(order_configuration={name: fields}))
    assert ("CANCELLED", "0") == (order["status"], order["filled_size"])


def test_an_attached_bracket_is_named_both_ways(market: Market) -> None:
    """The parent names its child from the start, and the child its parent."""
    bracket = {"trigger_bracket_gtc": {"limit_price": "95000", "stop_trigger_price": "85000"}}
    created = market.venue.create(
        order_configuration=gtc("1", "90000"), attached_order_configuration=bracket
    )
    answer = created["success_response"]
    parent, child = (market.order(answer[f"{name}order_id"]) for name in ("", "attached_"))
    assert bracket == parent["attached_order_configuration"]
    assert (answer["attached_order_id"], answer["order_id"]) == (
        parent["attached_order_id"],
        child["originating_order_id"],
    )
    assert ("PENDING", "SELL") == (child["status"], child["side"])
    market.post("/orders/batch_cancel", {"order_ids": [answer["order_id"]]})
    assert "CANCELLED" == market.order(child["order_id"])["status"]


def test_an_attached_bracket_tells_its_size(market: Market) -> None:
    """It has none at first, then what its order has traded; the order keeps what was asked."""
    terms = {"limit_price": "95000", "stop_trigger_price": "85000"}
    created = market.venue.create(
        order_configuration=gtc("3", "90000"),
        attached_order_configuration={"trigger_bracket_gtc": terms},
    )["success_response"]
    assert {"trigger_bracket_gtc": terms} == (
        market.order(created["attached_order_id"])["order_configuration"]
    )
    market.create(market.other, side="SELL", order_configuration=gtc("2", "90000"))
    assert {"trigger_bracket_gtc": {**terms, "base_size": "2"}} == (
        market.order(created["attached_order_id"])["order_configuration"]
    )
    ids = [created["attached_order_id"], created["order_id"]]
    market.post("/orders/batch_cancel", {"order_ids": ids})
    market.trade("90000", "2", "SELL")


def test_an_edit_is_remembered(market: Market) -> None:
    """The id stays; price, size, configuration and edit history change."""
    order_id = market.create(order_configuration=gtc("2", "90000"))
    edited = market.post("/orders/edit", {"order_id": order_id, "price": "91000", "size": "3"})
    assert {"success": True, "errors": []} == edited
    order = market.order(order_id)
    assert gtc("3", "91000") == order["order_configuration"]
    (first,) = order["edit_history"]
    assert ("91000", "3") == (first["price"], first["size"])
    assert first["replace_accept_timestamp"].endswith("Z")
    market.post("/orders/batch_cancel", {"order_ids": [order_id]})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"order_id": "unknown"}, "ORDER_NOT_FOUND"),
        ({}, "EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST"),
        ({"size": "1.5"}, "INVALID_EDITED_SIZE"),
        ({"price": "90001"}, "INVALID_EDITED_PRICE"),
    ],
)
def test_a_refused_edit_says_why_and_changes_nothing(
    market: Market, changes: dict[str, str], reason: str
) -> None:
    """A refused edit is a 200 with its reasons, and its preview has the same."""
    order_id = market.create(order_configuration=gtc("2", "90000"))
    body = {"order_id": order_id, "price": "90000", "size": "2", **changes}
    edited = market.post("/orders/edit", body)
    assert (False, [reason]) == (
        edited["success"],
        [error["edit_failure_reason"] for error in edited["errors"]],
    )
    previewed = market.post("/orders/edit_preview", body)
    assert edited["errors"] == previewed["errors"]
    assert [] == market.order(order_id)["edit_history"]
    market.post("/orders/batch_cancel", {"order_ids": [order_id]})


def test_an_ended_order_cannot_be_edited(market: Market) -> None:
    """What has been cancelled stays as it is."""
    order_id = market.create()
    market.post("/orders/batch_cancel", {"order_ids": [order_id]})
    edited = market.post("/orders/edit", {"order_id": order_id, "price": "1000", "size": "1"})
    assert "ONLY_OPEN_ORDERS_CAN_BE_EDITED" == edited["errors"][0]["edit_failure_reason"]


def test_a_preview_tells_and_changes_nothing(market: Market) -> None:
    """What an order would cost at the touch, and no trace of it afterwards."""
    market.create(market.other, side="SELL", order_configuration=gtc("2", "100000"))
    before = len(market.rows("limit=1000"))
    body = {"product_id": BIP, "side": "BUY", "leverage": "5"}
    asked = {"market_market_ioc": {"base_size": "2"}}
    found = market.post("/orders/preview", {**body, "order_configuration": asked})
    assert [] == found["errs"]
    assert ("2", "100000", "100000", "5") == (
        found["base_size"],
        found["best_ask"],
        found["est_average_filled_price"],
        found["leverage"],
    )
    assert Decimal("0.6") == Decimal(found["commission_total"])
    assert before == len(market.rows("limit=1000"))
    market.trade("100000", "2", "SELL")
    market.venue.create(side="BUY", order_configuration={"market_market_ioc": {"base_size": "2"}})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"order_configuration": gtc("9000", "90000"), "leverage": "1"},
            "PREVIEW_INSUFFICIENT_FUND",
        ),
        ({"order_configuration": gtc("1", "90001")}, "PREVIEW_INVALID_PRICE_PRECISION"),
        ({"product_id": "NOPE"}, "PREVIEW_INVALID_PRODUCT_ID"),
        ({"side": "UNKNOWN_ORDER_SIDE"}, "PREVIEW_INVALID_SIDE"),
        ({"leverage": "99"}, "PREVIEW_INVALID_LEVERAGE"),
        (
            {
                "order_configuration": {
                    "stop_limit_stop_limit_gtc": {
                        "base_size": "1",
                        "limit_price": "90000",
                        "stop_price": "90000",
                        "stop_direction": "STOP_DIRECTION_STOP_UP",
                    }
                }
            },
            "PREVIEW_STOP_PRICE_BELOW_LAST_TRADE_PRICE",
        ),
    ],
)
def test_a_preview_names_what_an_order_would_be_refused_for(
    market: Market, changes: dict[str, Any], reason: str
) -> None:
    """`errs` of the preview and `preview_failure_reason` of the order are the same."""
    body = {
        "product_id": BIP,
        "side": "BUY",
        "order_configuration": gtc("1", "90000"),
        **changes,
    }
    assert [reason] == market.post("/orders/preview", body)["errs"]
    refused = market.venue.create(**body)
    assert reason == refused["error_response"]["preview_failure_reason"]


def test_closing_closes_what_is_there(market: Market) -> None:
    """All of a position, a part of it, and then there is none."""
    held = market.venue.call("GET", f"/cfm/positions/{BIP}").json()["position"]
    if held["number_of_contracts"] != "0":
        side = {"LONG": "SELL", "SHORT": "BUY"}[held["side"]]
        market.trade("100000", held["number_of_contracts"], side)
    none = market.post("/orders/close_position", {"client_order_id": "c0", "product_id": BIP})
    assert "CANNOT_CLOSE_ZERO_POSITION" == none["error_response"]["new_order_failure_reason"]
    market.trade("100000", "3")
    market.create(market.other, side="BUY", order_configuration=gtc("3", "100000"))
    part = {"client_order_id": "c1", "product_id": BIP, "size": "1"}
    first = market.post("/orders/close_position", part)
    assert first["success"], first
    again = market.post("/orders/close_position", part)
    assert first["success_response"] == again["success_response"]
    rest = market.post("/orders/close_position", {"client_order_id": "c2", "product_id": BIP})
    order = market.order(rest["success_response"]["order_id"])
    assert ("SELL", "2", "FILLED") == (order["side"], order["filled_size"], order["status"])
    position = market.venue.call("GET", f"/cfm/positions/{BIP}").json()["position"]
    assert "0" == position["number_of_contracts"]
    bogus = {"client_order_id": "c3", "product_id": BIP, "amount": 1}
    answer = market.venue.call("POST", "/orders/close_position", bogus)
    assert 400 == answer.status_code
    assert 'unknown field "amount"' in answer.json()["message"]


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ("order_status=OPEN", lambda row: row["status"] == "OPEN"),
        (
            "order_status=FILLED&order_status=CANCELLED",
            lambda row: row["status"] in ("FILLED", "CANCELLED"),
        ),
        ("order_side=SELL", lambda row: row["side"] == "SELL"),
        (
            "order_types=MARKET,STOP_LIMIT",
            lambda row: row["order_type"] in ("MARKET", "STOP_LIMIT"),
        ),
        (
            "time_in_forces=IMMEDIATE_OR_CANCEL",
            lambda row: row["time_in_force"] == "IMMEDIATE_OR_CANCEL",
        ),
        ("product_type=FUTURE", lambda _: True),
        ("product_type=SPOT", lambda _: False),
        ("contract_expiry_type=EXPIRING", lambda row: row["product_id"].endswith("CDE")),
        ("contract_expiry_type=PERPETUAL", lambda row: row["product_id"].endswith("INTX")),
        ("asset_filters=BTC", lambda _: True),
        ("asset_filters=ETH", lambda _: False),
        ("order_placement_source=RETAIL_ADVANCED", lambda _: True),
        ("order_placement_source=RETAIL_SIMPLE", lambda _: False),
        ("retail_portfolio_id=elsewhere", lambda _: False),
        ("product_ids=NOPE", lambda _: False),
        ("order_side=UNKNOWN_ORDER_SIDE", lambda _: True),
    ],
)
def test_every_filter_holds(market: Market, query: str, holds: Any) -> None:
    """A filtered list is the whole list without the rows that the filter is against."""
    every = market.rows("limit=1000")
    assert [row for row in every if holds(row)] == market.rows(f"limit=1000&{query}")


@pytest.mark.parametrize(
    ("kind", "name", "sort", "key"),
    [
        ("batch", "orders", "LAST_FILL_TIME", lambda row: row["last_fill_time"] or ""),
        ("batch", "orders", "LIMIT_PRICE", None),
        ("fills", "fills", "PRICE", lambda row: Decimal(row["price"])),
        ("fills", "fills", "TRADE_TIME", lambda row: row["trade_time"]),
    ],
)
def test_sorted_pages_follow_one_another(
    market: Market, kind: str, name: str, sort: str, key: Any
) -> None:
    """Three rows at a time, highest first, with neither a gap nor a repeat."""
    whole = market.rows(f"limit=1000&sort_by={sort}", kind, name)
    assert len(market.rows("limit=1000", kind, name)) == len(whole)
    seen: list[dict[str, Any]] = []
    cursor = ""
    while cursor or not seen:
        path = f"/orders/historical/{kind}?limit=3&sort_by={sort}&cursor={cursor}"
        page = market.venue.call("GET", path).json()
        seen += page[name]
        cursor = page["cursor"]
    assert whole == seen
    if key is not None:
        assert sorted(map(key, seen), reverse=True) == [key(row) for row in seen]


def test_fills_are_filtered(market: Market) -> None:
    """By order, by trade, by product and by time; the end is exclusive."""
    market.trade("100000")
    every = market.rows("limit=1000", "fills", "fills")
    one = every[0]
    assert [one] == market.rows(f"order_ids={one['order_id']}", "fills", "fills")
    assert [one] == market.rows(f"trade_ids={one['trade_id']}", "fills", "fills")
    assert [] == market.rows("product_ids=NOPE", "fills", "fills")
    since = market.rows(f"start_sequence_timestamp={one['trade_time']}", "fills", "fills")
    assert [one] == since
    until = market.rows(f"limit=1000&end_sequence_timestamp={one['trade_time']}", "fills", "fills")
    assert every[1:] == until


def test_an_unknown_order_is_told_in_coinbase_s_words(market: Market) -> None:
    """Clients look for this very text."""
    answer = market.venue.call("GET", "/orders/historical/nope")
    text = "order with this orderID was not found"
    assert (404, {"error": "NOT_FOUND", "error_details": text, "message": text}) == (
        answer.status_code,
        answer.json(),
    )
