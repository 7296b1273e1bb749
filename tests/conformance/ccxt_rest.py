"""Every call of ccxt's `coinbase` that concerns trading, with each kind of key."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import ccxt  # type: ignore[import-not-found]  # in the clients' environment

from tests.conformance.runner import Target

SWAP = "BTC/USD:USD"
INTX = "BTC/USDC:USDC"


def exchange(target: Target, key: str | None = "es256", **options: Any) -> Any:
    """Return ccxt's class, told only where to find us."""
    config: dict[str, Any] = {
        "urls": {"api": {"rest": f"http://{target.plain}"}},
        "enableRateLimit": False,
        "options": options,
    }
    if key is not None:
        config |= {"apiKey": target.keys[key].name, "secret": target.keys[key].secret}
    made = ccxt.coinbase(config)
    made.session.trust_env = False
    return made


def raises(kind: type[Exception], call: Callable[[], object]) -> Exception:
    """Return the exception of this kind that the call raises."""
    try:
        result = call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised, but {result!r} returned")


def case_load_markets_with_each_kind_of_key(target: Target) -> None:
    """Both families are found as swaps, with their steps and sizes."""
    for key in (None, "es256", "ed25519", "hmac"):
        markets = exchange(target, key).load_markets()
        assert {SWAP, INTX, "ETH/USD:USD", "ETH/USDC:USDC"} <= set(markets)
        nano, coin = markets[SWAP], markets[INTX]
        assert ("BIP-20DEC30-CDE", "BTC-PERP-INTX") == (nano["id"], coin["id"])
        assert (True, True, True) == (nano["swap"], coin["swap"], nano["active"])
        assert (0.01, 1.0, 5.0) == (
            nano["contractSize"],
            nano["precision"]["amount"],
            nano["precision"]["price"],
        )
        assert (0.0001, 0.1) == (coin["precision"]["amount"], coin["precision"]["price"])


def case_the_way_of_older_versions_lists_intx_only(target: Target) -> None:
    """`contract_expiry_type=PERPETUAL` finds the INTX family."""
    markets = exchange(target).load_markets(True, {"contract_expiry_type": "PERPETUAL"})
    assert INTX in markets


def case_time_and_currencies(target: Target) -> None:
    """The time by both methods, and the currencies."""
    ex = exchange(target)
    for method in ("v2PublicGetTime", "v3PublicGetBrokerageTime"):
        assert abs(ex.fetch_time({"method": method}) - time.time() * 1000) < 60_000
    currencies = ex.fetch_currencies()
    assert {"USD", "USDC", "BTC", "ETH"} <= set(currencies)


def case_market_data(target: Target) -> None:
    """Tickers, books, trades and candles, by the public paths and by the private ones."""
    ex = exchange(target)
    for symbol in (SWAP, INTX):
        for private in (False, True):
            params = {"usePrivate": private}
            ticker = ex.fetch_ticker(symbol, params)
            assert ticker["bid"] < ticker["ask"]
            book = ex.fetch_order_book(symbol, 5, params)
            assert book["bids"][0][0] < book["asks"][0][0]
            assert len(book["bids"]) <= 5
            assert ex.fetch_trades(symbol, None, 5, params)
            candles = ex.fetch_ohlcv(symbol, "1m", None, 10, params)
            assert candles
            assert candles[-1][3] <= candles[-1][4] <= candles[-1][2]
    for timeframe in ex.timeframes:
        assert ex.fetch_ohlcv(SWAP, timeframe)
    tickers = ex.fetch_tickers([SWAP, INTX])
    assert {SWAP, INTX} == set(tickers)
    assert tickers[SWAP]["last"] > 0
    assert {SWAP, INTX} <= set(ex.fetch_tickers())
    assert {SWAP, INTX} == set(ex.fetch_bids_asks([SWAP, INTX]))
    until = int(time.time() * 1000)
    assert ex.fetch_trades(SWAP, until - 60_000, 50, {"until": until}) is not None


def case_balances_fees_and_ledger(target: Target) -> None:
    """Each balance call, portfolios, fees, and the ledger."""
    ex = exchange(target)
    for params in ({}, {"v3": True}, {"type": "swap"}, {"type": "future"}):
        balance = ex.fetch_balance(params)
        assert balance["USD"]["total"] > 0, params
    assert ex.fetch_accounts()
    ex.options["fetchAccounts"] = "fetchAccountsV2"
    assert ex.fetch_accounts()
    ex.options["fetchAccounts"] = "fetchAccountsV3"
    portfolio = ex.fetch_portfolios()[0]["id"]
    assert ex.fetch_portfolio_details(portfolio)
    fees = ex.fetch_trading_fees({"type": "swap"})
    assert fees[SWAP]["taker"] > 0
    (opening,) = ex.fetch_ledger("USD")
    assert ("in", 500_000) == (opening["direction"], opening["amount"])
    ex.fetch_deposits_withdrawals("USD")
    assert [] == ex.fetch_deposits("USD") == ex.fetch_withdrawals("USD")
    assert [] == ex.fetch_my_buys(params={"account_id": "USD"}) == ex.fetch_deposit_method_ids()
    ticker = ex.fetch_ticker(SWAP, {}) and ex.fetch_ticker_v2(SWAP)
    assert ticker["bid"] < ticker["ask"]


def case_the_life_of_an_order(target: Target) -> None:
    """Create, find, edit, cancel, cancel again, with each kind of key."""
    for key in ("es256", "ed25519", "hmac"):
        ex = exchange(target, key)
        bid = ex.fetch_ticker(SWAP)["bid"]
        made = ex.create_order(SWAP, "limit", "buy", 2, bid - 200, {"postOnly": True})
        order = ex.fetch_order(made["id"], SWAP)
        assert ("open", 2.0, bid - 200, True) == (
            order["status"],
            order["amount"],
            order["price"],
            order["postOnly"],
        )
        assert made["id"] in [row["id"] for row in ex.fetch_open_orders(SWAP)]
        assert made["id"] in [row["id"] for row in ex.fetch_orders(SWAP, None, 10)]
        ex.edit_order(made["id"], SWAP, "limit", "buy", 1, bid - 205)
        order = ex.fetch_order(made["id"])
        assert (1.0, bid - 205) == (order["amount"], order["price"])
        ex.edit_order(made["id"], SWAP, "limit", "buy", 3, bid - 205, {"preview": True})
        ex.cancel_order(made["id"], SWAP)
        assert made["id"] in [row["id"] for row in ex.fetch_canceled_orders(SWAP)]
        raises(ccxt.BadRequest, lambda e=ex, m=made: e.cancel_order(m["id"]))  # type: ignore[misc]
        raises(ccxt.ExchangeError, lambda e=ex: e.fetch_order("nope"))  # type: ignore[misc]


def case_every_type_and_parameter(target: Target) -> None:
    """Time in force, triggers, stop-loss, take-profit, leverage and margin mode."""
    ex = exchange(target, "ed25519")
    ticker = ex.fetch_ticker(SWAP)
    low, high = ticker["bid"] - 500, ticker["ask"] + 500
    soon = ex.iso8601(ex.milliseconds() + 600_000)
    up = "STOP_DIRECTION_STOP_UP"
    wanted = [
        ("buy", low, {}),
        ("buy", low, {"timeInForce": "PO"}),
        ("buy", low, {"timeInForce": "IOC"}),
        ("buy", low, {"timeInForce": "FOK"}),
        ("buy", low, {"timeInForce": "GTD", "end_time": soon}),
        ("buy", low, {"marginMode": "cross", "leverage": "3"}),
        ("buy", high, {"triggerPrice": high, "stop_direction": up}),
        ("sell", low, {"triggerPrice": low, "stop_direction": "STOP_DIRECTION_STOP_DOWN"}),
        ("buy", low, {"triggerPrice": low}),
        ("sell", low, {"stopLossPrice": low}),
        ("sell", high, {"takeProfitPrice": high}),
        ("buy", high, {"triggerPrice": high, "stop_direction": up, "end_time": soon}),
    ]
    made = [ex.create_order(SWAP, "limit", side, 1, price, p)["id"] for side, price, p in wanted]
    assert all(made)
    assert len(made) == len(set(made))
    found = [ex.fetch_order(order_id) for order_id in made]
    assert ["canceled", "canceled"] == [order["status"] for order in found[2:4]]
    open_ids = [order["id"] for order in found if order["status"] == "open"]
    assert 10 == len(open_ids), [(o["status"], o["info"].get("order_type")) for o in found]
    assert high == found[6]["triggerPrice"]
    ex.cancel_orders(open_ids)
    assert [] == ex.fetch_open_orders(SWAP)


def case_isolated_margin(target: Target) -> None:
    """An order with isolated margin carries it."""
    ex = exchange(target, "hmac")
    bid = ex.fetch_ticker(INTX)["bid"]
    params = {"marginMode": "isolated", "leverage": "2"}
    made = ex.create_order(INTX, "limit", "buy", 0.01, bid - 100, params)
    info = ex.fetch_order(made["id"])["info"]
    assert ("ISOLATED", "2") == (info["margin_type"], info["leverage"])
    ex.cancel_order(made["id"])


def case_refusals_have_their_exceptions(target: Target) -> None:
    """Each refusal becomes the exception that ccxt has for it."""
    ex = exchange(target)
    ticker = ex.fetch_ticker(SWAP)
    low = ticker["bid"] - 500
    raises(ccxt.InsufficientFunds, lambda: ex.create_order(SWAP, "limit", "buy", 9_999, low))
    crossing = {"postOnly": True}
    raises(
        ccxt.ExchangeError,
        lambda: ex.create_order(SWAP, "limit", "buy", 1, ticker["ask"] + 50, crossing),
    )
    raises(ccxt.BadRequest, lambda: ex.cancel_orders(["a", "b"]))
    raises(ccxt.NotSupported, lambda: ex.fetch_positions(None, {"portfolio": "x"}))
    raises(ccxt.NotSupported, lambda: ex.create_market_buy_order_with_cost(SWAP, 100))
    raises(
        ccxt.ExchangeError,
        lambda: ex.create_order(
            SWAP, "market", "sell", 1, None, {"reduceOnly": True, "clientOrderId": "c"}
        ),
    )
    raises(ccxt.PermissionDenied, lambda: exchange(target, "viewer").cancel_order("x"))
    thief = exchange(target, "hmac")
    thief.secret = "not-the-secret"
    raises(ccxt.AuthenticationError, thief.fetch_balance)


def case_a_client_order_id_counts_once(target: Target) -> None:
    """The same client order id returns the first order and makes no second."""
    ex = exchange(target)
    bid = ex.fetch_ticker(SWAP)["bid"]
    name = {"client_order_id": str(uuid.uuid4())}
    first = ex.create_order(SWAP, "limit", "buy", 1, bid - 500, name)
    again = ex.create_order(SWAP, "limit", "buy", 1, bid - 500, name)
    assert first["id"] == again["id"]
    ex.cancel_order(first["id"])


def case_positions_open_and_close(target: Target) -> None:
    """A market order makes a position; closePosition ends it; the fills are my trades."""
    for key, symbol, size in (("es256", SWAP, 2), ("hmac", INTX, 0.05)):
        ex = exchange(target, key)
        made = ex.create_order(symbol, "market", "buy", size)
        assert "closed" == ex.fetch_order(made["id"])["status"]
        trades = ex.fetch_my_trades(symbol)
        ours = [trade for trade in trades if trade["order"] == made["id"]]
        assert abs(size - sum(trade["amount"] for trade in ours)) < 1e-9
        assert {"taker"} == {trade["takerOrMaker"] for trade in ours}
        if symbol == SWAP:
            (position,) = ex.fetch_positions([symbol])
            assert ("long", 2.0) == (position["side"], position["contracts"])
            assert position["entryPrice"] > 0
            assert ex.fetch_position(symbol)["contracts"] == 2.0
        closed = ex.close_position(symbol, None, {"clientOrderId": str(uuid.uuid4())})
        assert closed["id"]
        assert [] == ex.fetch_positions([symbol])
        assert made["id"] in [row["id"] for row in ex.fetch_closed_orders(symbol)]


def case_history_comes_in_pages(target: Target) -> None:
    """The pagination that ccxt brings by cursor finds every order once."""
    ex = exchange(target, "ed25519")
    bid = ex.fetch_ticker(SWAP)["bid"]
    made = [ex.create_order(SWAP, "limit", "buy", 1, bid - 500 - 5 * n)["id"] for n in range(5)]
    page = ex.fetch_orders(SWAP, None, 2)
    assert 2 == len(page)
    since = ex.milliseconds() - 3_600_000
    pages = {"paginate": True, "maxEntriesPerRequest": 2, "paginationCalls": 100}
    found = [order["id"] for order in ex.fetch_orders(SWAP, since, None, pages)]
    assert set(made) <= set(found)
    assert len(found) == len(set(found)) > 4
    recent = ex.fetch_orders(SWAP, since, 100, {"until": ex.milliseconds() + 60_000})
    assert set(made) <= {order["id"] for order in recent}
    ex.cancel_orders(made)


def case_too_fast_is_rate_limit_exceeded(target: Target) -> None:
    """A key of two requests a second meets ccxt's own exception."""
    ex = exchange(target, "slow")
    ex.load_markets()

    def hurry() -> None:
        for _ in range(6):
            ex.fetch_balance({"v3": True})

    raises(ccxt.RateLimitExceeded, hurry)
