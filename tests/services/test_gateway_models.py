"""Request bodies of the gateway: what goes together, and the line that says what does not."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from lob.types import Side, TimeInForce
from services.order_gateway.answers import HTTP_STATUS
from services.order_gateway.models import CloseRequest, OrderRequest, ReplaceRequest, order_json
from touchstone.perps.checks import RefusalReason
from touchstone.perps.orders import Attached, Order, OrderType, Replacement

BASE: dict[str, Any] = {"symbol": "BTC-PERP", "side": "BUY", "quantity": "0.02"}
STOP_LIMIT: dict[str, Any] = {"type": "STOP_LIMIT", "limit_price": "101", "stop_price": "100"}
LIMIT: dict[str, Any] = {"type": "LIMIT", "limit_price": "100"}
LATER = "2026-11-21T22:00:00.25Z"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"type": "LIMIT"}, "limit_price: missing; a LIMIT order needs one"),
        ({"type": "MARKET", "limit_price": "1"}, "limit_price: 1; a MARKET order has none"),
        ({"type": "STOP"}, "stop_price: missing; a STOP order needs one"),
        ({"type": "STOP", "stop_price": "1", "limit_price": "1"}, "a STOP order has none"),
        ({"type": "STOP_LIMIT", "limit_price": "1"}, "stop_price: missing"),
        ({**LIMIT, "stop_price": "1"}, "stop_price: 1; a LIMIT order has none"),
        ({**STOP_LIMIT, "limit_price": "99"}, "at or above stop_price 100"),
        ({**STOP_LIMIT, "side": "SELL"}, "at or below stop_price 100"),
        ({**STOP_LIMIT, "type": "BRACKET"}, "BUY BRACKET: below stop_price 100"),
        ({"type": "MARKET", "time_in_force": "GTC"}, "allowed for MARKET: IOC, FOK"),
        ({**LIMIT, "time_in_force": "DAY"}, "allowed for LIMIT: GTC, GTD, IOC, FOK"),
        ({**STOP_LIMIT, "time_in_force": "IOC"}, "allowed for STOP_LIMIT: GTC, GTD"),
        ({**LIMIT, "time_in_force": "GTD"}, "expires_at: missing; a GTD order needs one"),
        ({**LIMIT, "expires_at": LATER}, "expires_at: only a GTD order has one"),
        ({**LIMIT, "time_in_force": "GTD", "expires_at": "2026-11-21T22:00:00"}, "with its zone"),
        ({**LIMIT, "time_in_force": "GTD", "expires_at": 5}, "with its zone"),
        ({"type": "MARKET", "post_only": True}, "only a LIMIT order can be post-only"),
        ({**LIMIT, "post_only": True, "time_in_force": "IOC"}, "allowed for post-only: GTC, GTD"),
        (
            {**STOP_LIMIT, "attached": {"take_profit_price": "120", "stop_price": "90"}},
            "only a MARKET or LIMIT order that opens",
        ),
        (
            {**LIMIT, "attached": {"take_profit_price": "100", "stop_price": "90"}},
            "must lie on either side of the entry",
        ),
        (
            {**LIMIT, "side": "SELL", "attached": {"take_profit_price": "120", "stop_price": "90"}},
            "must lie on either side of the entry of a SELL",
        ),
        ({**LIMIT, "reduceOnly": True}, "Extra inputs"),
    ],
)
def test_terms_that_do_not_go_together_are_named(fields: dict[str, Any], problem: str) -> None:
    """Each says the field, its value, and what is allowed."""
    with pytest.raises(ValidationError, match=problem):
        OrderRequest.model_validate(BASE | fields)


def test_a_whole_request_becomes_the_intent() -> None:
    """Every field arrives; a time becomes nanoseconds."""
    body = OrderRequest.model_validate(
        BASE
        | LIMIT
        | {
            "client_order_id": "a",
            "time_in_force": "GTD",
            "expires_at": LATER,
            "post_only": True,
            "strategy": "trend",
            "attached": {"take_profit_price": "120", "stop_price": "90"},
        }
    )
    intent = body.intent()
    assert intent.client_order_id == "a"
    assert intent.expires_at_ns == 1_795_298_400_250_000_000
    assert intent.attached == Attached(take_profit_price=Decimal(120), stop_price=Decimal(90))
    assert (intent.time_in_force, intent.post_only, intent.strategy) == (
        TimeInForce.GTD,
        True,
        "trend",
    )


def test_what_is_left_out_has_its_usual_value() -> None:
    """A market order is immediate, a stop rests, a bracket only reduces; ids are made."""
    market = OrderRequest.model_validate(BASE | {"type": "MARKET"}).intent()
    stop = OrderRequest.model_validate(BASE | {"type": "STOP", "stop_price": 5}).intent()
    bracket = OrderRequest.model_validate(
        BASE | {"type": "BRACKET", "side": "SELL", "limit_price": 5, "stop_price": 3}
    ).intent()
    assert market.time_in_force is TimeInForce.IOC
    assert (stop.order_type, stop.time_in_force) == (OrderType.STOP, TimeInForce.GTC)
    assert (bracket.side, bracket.reduce_only) == (Side.SELL, True)
    assert len({market.client_order_id, stop.client_order_id, bracket.client_order_id}) == 3


def test_a_replacement_has_to_say_something() -> None:
    """An empty wish is refused; so is a close with an id that is none."""
    with pytest.raises(ValidationError, match="at least one of quantity"):
        ReplaceRequest.model_validate({})
    assert ReplaceRequest.model_validate({"stop_price": "5"}).stop_price == Decimal(5)
    with pytest.raises(ValidationError, match="request_id"):
        CloseRequest.model_validate({"request_id": "a b"})


def test_an_order_shows_its_terms_and_who_takes_its_place() -> None:
    """Decimals are texts; what an order does not have is null."""
    body = OrderRequest.model_validate(BASE | STOP_LIMIT | {"client_order_id": "a"})
    wish = Replacement(client_order_id="a.r1", quantity=Decimal(1))
    shown = order_json(Order(intent=body.intent(), replacement=wish))
    assert (shown["stop_price"], shown["limit_price"], shown["expires_at_ns"]) == (
        "100",
        "101",
        None,
    )
    assert (shown["replaced_by"], shown["replaces"], shown["attached"]) == ("a.r1", None, None)


def test_every_refusal_has_a_status() -> None:
    """The table from reasons to HTTP is total."""
    assert set(HTTP_STATUS) == set(RefusalReason)
    assert set(HTTP_STATUS.values()) == {409, 422, 429, 503}
