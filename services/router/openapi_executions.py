"""The operations that execute and assign: what they read, what they answer, with examples."""

from typing import Any, Final

from execution_providers.types import (
    INT64_MAX,
    MAX_LEVELS,
    MAX_TEXT,
    FillStatus,
    Liquidity,
    OrderType,
    TimeInForce,
)
from lob.texts import KEY, PRINTABLE
from lob.types import AssetClass, Side
from services.router.openapi_model import (
    EVERY,
    NOT_BLANK,
    Answer,
    Body,
    Operation,
    Schema,
    closed,
    in_path,
    nullable,
    query,
    ref,
    told,
)
from touchstone.rollout.assignment import BUCKETS, Arm, Rule
from touchstone.rollout.state import KEY_CHARACTERS_MAX

_TAG: Final = "executions"
# Nanoseconds are counted in 64 bits.
_MILLISECONDS_MAX: Final = INT64_MAX // 1_000_000

DECIMAL: Final[Schema] = {
    "type": "string",
    "pattern": r"^-?[0-9]+(\.[0-9]+)?$",
    "description": "A decimal number as text, exact.",
}
# Within 21 whole digits and 20 decimals, with an exponent or without.
_EXPONENT: Final = r"[eE](\+?(0?[0-9]|1[0-9]|20)|-(0?[0-9]|10))"
_GIVEN_TEXT: Final[Schema] = {
    "type": "string",
    "pattern": rf"^([0-9]{{1,21}}(\.[0-9]{{1,20}})?|[0-9](\.[0-9]{{1,10}})?{_EXPONENT})$",
}
_ABOVE_0_TEXT: Final[Schema] = {
    "type": "string",
    "pattern": r"^([1-9][0-9]{0,20}(\.[0-9]{1,20})?"
    r"|0\.([0-9]{0,9}[1-9][0-9]{0,10}|[0-9]{10,19}[1-9])"
    rf"|[1-9](\.[0-9]{{1,10}})?{_EXPONENT})$",
}
_GIVEN: Final = "A decimal as text (exact) or as a number; at most 21 whole digits and 20 decimals."
_GIVEN_DECIMAL: Final[Schema] = {
    "description": f"{_GIVEN} Above 0.",
    "anyOf": [
        _ABOVE_0_TEXT,
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10**21},
    ],
}
_GIVEN_AMOUNT: Final[Schema] = {
    "description": f"{_GIVEN} 0 or more.",
    "anyOf": [_GIVEN_TEXT, {"type": "number", "minimum": 0, "exclusiveMaximum": 10**21}],
}
_TEXT: Final[Schema] = {"type": "string", "maxLength": MAX_TEXT, "pattern": PRINTABLE}
_LEVELS: Final[Schema] = {
    "type": "array",
    "maxItems": MAX_LEVELS,
    "items": {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "items": ref("GivenDecimal"),
    },
    "description": "`[price, size]`, best first; bids fall, asks rise, and they do not cross.",
}
SYMBOL: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": KEY_CHARACTERS_MAX,
    "pattern": NOT_BLANK,
}
ACCOUNT: Final = query(
    "account",
    {"type": "string", "maxLength": KEY_CHARACTERS_MAX, "default": ""},
    "Who asks; for the account lists.",
    "alice",
)
GENERATION: Final[Schema] = {"type": "integer", "minimum": 0}

_NOTHING: Final[Schema] = {"type": "null"}


def _order(kind: Schema, *, limit: bool = False, stop: bool = False) -> Schema:
    """Return the orders of some types, with the prices that these need and no other."""
    price = ref("GivenDecimal")
    required = ["symbol", "side", "quantity"]
    # Left out it is a market order.
    required += ["type"] * (limit or stop)
    required += ["limit_price"] * limit + ["stop_price"] * stop
    return closed(
        {
            "symbol": _TEXT | {"minLength": 1, "pattern": KEY},
            "side": {"enum": [side.value for side in Side]},
            "quantity": price,
            "type": kind,
            "limit_price": price if limit else _NOTHING,
            "stop_price": price if stop else _NOTHING,
            "time_in_force": nullable({"enum": list(TimeInForce), "default": "GTC"}),
            "post_only": nullable({"type": "boolean", "default": False}),
            "display_quantity": _NOTHING,
            "client_order_id": nullable(_TEXT),
        },
        tuple(required),
    )


def _only(kind: OrderType) -> Schema:
    return {"const": kind.value}


ORDER: Final[Schema] = {
    "oneOf": [ref(f"{name}Order") for name in ("Market", "Limit", "Stop", "StopLimit")],
    "description": "LIMIT and STOP_LIMIT need `limit_price`, STOP and STOP_LIMIT `stop_price`; the "
    "others have none. Null means left out. `display_quantity` is none: no provider "
    "executes icebergs.",
}
_SIDE: Final = nullable(_LEVELS)
_FULL_SIDE: Final[Schema] = _LEVELS | {"minItems": 1}


def _market(side: Schema, last_price: Schema, *required: str) -> Schema:
    """Return the markets that have so much of the book, and such a last price."""
    return closed(
        {
            "timestamp_ms": {
                "type": "integer",
                "minimum": 0,
                "maximum": _MILLISECONDS_MAX,
                "description": "Milliseconds since 1970 in UTC.",
            },
            "bids": side,
            "asks": side,
            "last_price": last_price,
            "adv_notional": nullable(ref("GivenDecimal")),
            "volatility": nullable(ref("GivenAmount")),
        },
        ("timestamp_ms", *required),
    )


MARKET: Final[Schema] = {
    "anyOf": [ref("QuotedMarket"), ref("TradedMarket")],
    "description": "The market at the moment of decision: both sides of the book, or else the last "
    "price. `adv_notional` is the average daily traded value in quote currency, `volatility` the "
    "daily standard deviation of returns (0.02 is 2 %). Where an order finds no level to trade with"
    " these two say what it costs, or a bar with volume; without either it is refused.",
}
BAR: Final = closed(
    {
        **{name: ref("GivenDecimal") for name in ("open", "high", "low", "close")},
        "volume": ref("GivenAmount"),
        "duration_ms": {"type": "integer", "minimum": 1, "maximum": _MILLISECONDS_MAX},
    },
    ("open", "high", "low", "close", "volume", "duration_ms"),
    description="The bar during which the order lives. `high` is the highest of the four prices, "
    "`low` the lowest.",
)


def _request(order: Schema, market: Schema) -> Schema:
    return closed(
        {
            "order": order,
            "market": market,
            "bar": nullable(ref("Bar")),
            "asset_class": {"enum": [kind.value for kind in AssetClass]},
        },
        ("order", "market", "asset_class"),
    )


REQUEST: Final[Schema] = {
    "anyOf": [
        _request(ref("Order"), ref("TradedMarket")),
        # What a stop waits for is a trade.
        _request({"oneOf": [ref("MarketOrder"), ref("LimitOrder")]}, ref("QuotedMarket")),
    ],
    "description": "Everything that one execution depends on, besides seed and configuration. A "
    "stop order needs a market with `last_price`.",
}
FILL: Final = told(
    {
        "status": {"enum": list(FillStatus)},
        "filled_quantity": ref("Decimal"),
        "average_price": nullable(ref("Decimal")),
        "fees": ref("Decimal"),
        "slippage_bps": nullable(ref("Decimal")),
        "attribution": {
            "type": "object",
            "description": "Why: slippage by cause, reference price, fees, models, refusals.",
        },
        "fills": {"type": "array", "items": ref("PartialFill")},
    },
    description="`fees` are in quote currency (negative is a rebate); `slippage_bps` is signed, "
    "against the mid at the decision, and positive is a cost.",
)
PARTIAL_FILL: Final = told(
    {
        "price": ref("Decimal"),
        "quantity": ref("Decimal"),
        "liquidity": {"enum": list(Liquidity)},
        "offset_ns": {"type": "integer", "description": "Nanoseconds from the decision."},
    }
)
DECISION: Final = told(
    {
        "id": {"type": "string", "minLength": 1},
        "arm": {"enum": list(Arm)},
        "rule": {
            "type": "string",
            "pattern": f"^({'|'.join(Rule)}|fallback:[A-Z_]+)$",
            "description": "The row of the truth table that decided; `fallback:<code>` where L3 "
            "was to answer and failed.",
        },
        "bucket": {"type": "integer", "minimum": 0, "maximum": BUCKETS - 1},
        "generation": GENERATION,
        "seed": {"type": "integer"},
    }
)
ANSWER: Final = told({"decision": ref("Decision"), "fill": ref("Fill")})
RESULTS: Final = told(
    {"results": {"type": "array", "items": {"anyOf": [ref("Answer"), ref("Error")]}}}
)
ASSIGNMENT: Final = told(
    {
        "symbol": {"type": "string"},
        "account": {"type": "string"},
        "arm": {"enum": list(Arm)},
        "rule": {"enum": list(Rule)},
        "bucket": {"type": "integer", "minimum": 0, "maximum": BUCKETS - 1},
        "generation": GENERATION,
        "layer": {"type": "string"},
    }
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Decimal": DECIMAL,
    "GivenDecimal": _GIVEN_DECIMAL,
    "GivenAmount": _GIVEN_AMOUNT,
    "Order": ORDER,
    "MarketOrder": _order(nullable({"const": "MARKET", "default": "MARKET"})),
    "LimitOrder": _order(_only(OrderType.LIMIT), limit=True),
    "StopOrder": _order(_only(OrderType.STOP), stop=True),
    "StopLimitOrder": _order(_only(OrderType.STOP_LIMIT), limit=True, stop=True),
    "Market": MARKET,
    "QuotedMarket": _market(_FULL_SIDE, nullable(ref("GivenDecimal")), "bids", "asks"),
    "TradedMarket": _market(_SIDE, ref("GivenDecimal"), "last_price"),
    "Bar": BAR,
    "ExecutionRequest": REQUEST,
    "PartialFill": PARTIAL_FILL,
    "Fill": FILL,
    "Decision": DECISION,
    "Answer": ANSWER,
    "BatchResults": RESULTS,
    "Assignment": ASSIGNMENT,
}

_MARKET_EXAMPLE: Final = {
    "timestamp_ms": 1_700_000_000_000,
    "bids": [["99.99", "100"], ["99.98", "300"]],
    "asks": [["100.01", "100"], ["100.02", "300"]],
    "last_price": "100",
    "adv_notional": "100000000",
    "volatility": "0.02",
}
_BAR_EXAMPLE: Final = {
    "open": "100",
    "high": "101",
    "low": "99",
    "close": "100.5",
    "volume": "10000",
    "duration_ms": 60_000,
}
EXAMPLE: Final[dict[str, Any]] = {
    "order": {"symbol": "AAPL", "side": "BUY", "quantity": "10", "type": "MARKET"},
    "market": _MARKET_EXAMPLE,
    "bar": _BAR_EXAMPLE,
    "asset_class": "EQUITY",
}
LIMIT_EXAMPLE: Final[dict[str, Any]] = {
    "order": {
        "symbol": "BTC-USD",
        "side": "SELL",
        "quantity": "0.25",
        "type": "LIMIT",
        "limit_price": "100.02",
        "time_in_force": "IOC",
        "post_only": False,
        "client_order_id": "strategy-7-000123",
    },
    "market": _MARKET_EXAMPLE,
    "bar": _BAR_EXAMPLE,
    "asset_class": "CRYPTO",
}
_FILL_EXAMPLE: Final[dict[str, Any]] = {
    "status": "FILLED",
    "filled_quantity": "10",
    "average_price": "100.01",
    "fees": "0",
    "slippage_bps": "1",
    "attribution": {"provider": "L2", "reference_price": "100", "reference": "mid"},
    "fills": [{"price": "100.01", "quantity": "10", "liquidity": "TAKER", "offset_ns": 0}],
}
FILL_EXAMPLE: Final = _FILL_EXAMPLE
ANSWER_EXAMPLE: Final[dict[str, Any]] = {
    "decision": {
        "id": "27314edbabf447a191d6ff4e39b53814",
        "arm": "L2",
        "rule": "shadow",
        "bucket": 8489,
        "generation": 1,
        "seed": 0,
    },
    "fill": _FILL_EXAMPLE,
}
_ERROR_EXAMPLE: Final = {
    "error": {
        "code": "INVALID_ARGUMENT",
        "message": "order.quantity: '-1'; allowed: a number above 0",
        "retryable": False,
    }
}


def operations(batch_size_max: int) -> tuple[Operation, ...]:
    """Return the operations, for a router that takes batches of at most so many."""
    return (_execute(), _execute_batch(batch_size_max), _assignment())


def _execute() -> Operation:
    return Operation(
        method="POST",
        path="/v1/executions",
        name="execute",
        tag=_TAG,
        summary="Execute one order",
        description="Simulate an order against the market given, by L2 or L3 as the rollout "
        "says, and answer with the decision and the fill. A business refusal is a fill with "
        "status REJECTED. Where L3 fails L2 answers, and the rule says so.",
        parameters=(ACCOUNT,),
        body=Body(ref("ExecutionRequest"), {"market_order": EXAMPLE, "limit": LIMIT_EXAMPLE}),
        answers={
            200: Answer(
                "The decision and the fill.",
                ref("Answer"),
                {"l2": ANSWER_EXAMPLE},
                headers={
                    "Server-Timing": {
                        "type": "string",
                        "pattern": r"^provider;dur=[0-9.]+$",
                        "description": "How long the provider took, in milliseconds.",
                    }
                },
            )
        },
    )


def _execute_batch(batch_size_max: int) -> Operation:
    requests = {
        "type": "array",
        "minItems": 1,
        "maxItems": batch_size_max,
        # Each is checked for itself, and a wrong one is answered in its place.
        "items": {
            "anyOf": [ref("ExecutionRequest"), {"description": "Answered with an error."}],
        },
    }
    return Operation(
        method="POST",
        path="/v1/executions/batch",
        name="execute_batch",
        tag=_TAG,
        summary="Execute many orders",
        description="Each result is an answer or an error, in the order of the requests; a "
        "wrong request spoils nobody else's.",
        parameters=(ACCOUNT,),
        body=Body(
            closed({"requests": requests}, ("requests",)),
            {"two": {"requests": [EXAMPLE, LIMIT_EXAMPLE]}},
        ),
        answers={
            200: Answer(
                "One result per request, in order.",
                ref("BatchResults"),
                {"one_wrong": {"results": [ANSWER_EXAMPLE, _ERROR_EXAMPLE]}},
            )
        },
    )


def _assignment() -> Operation:
    return Operation(
        method="GET",
        path="/v1/assignments/{symbol}",
        name="assignment",
        tag=_TAG,
        summary="Say who would answer for a symbol",
        description="The same function that decides about an execution; nothing is executed.",
        parameters=(in_path("symbol", SYMBOL, "What is traded.", "AAPL"), ACCOUNT),
        answers={
            200: Answer(
                "Who would answer now, and by which rule.",
                ref("Assignment"),
                {
                    "shadow": {
                        "symbol": "AAPL",
                        "account": "",
                        "arm": "L2",
                        "rule": "shadow",
                        "bucket": 8489,
                        "generation": 1,
                        "layer": "execution",
                    }
                },
            )
        },
        refusals=(*EVERY, 404),
    )
