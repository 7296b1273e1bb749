"""Every REST call of the SDK: reading over http with the adapter, trading over TLS."""

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from coinbase.rest import RESTClient

from tests.conformance.runner import Target
from tests.conformance.sdk import (
    BIP,
    BTC,
    TICK,
    accepted,
    eventually,
    flatten,
    http_problem,
    http_status,
    new_id,
    over_http,
    over_tls,
    reference,
    refused,
    status,
    touch,
)


def in_seconds(seconds: float) -> str:
    """Return a time from now as the SDK's guide writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def case_public_calls_need_no_key(target: Target) -> None:
    """Time and market data come without credentials, over TLS."""
    client = RESTClient(base_url=target.tls)
    now = client.get_unix_time()
    assert abs(int(now.epoch_seconds) - time.time()) < 60
    assert now.iso.endswith("Z")
    listed = client.get_public_products(product_type="FUTURE", get_all_products=True)
    assert {BIP, BTC} <= {product.product_id for product in listed.products}
    assert client.get_public_product(BIP).product_venue == "FCM"
    assert client.get_public_product_book(BIP, limit=5).pricebook.product_id == BIP
    assert client.get_public_market_trades(BIP, limit=5).trades is not None
    end = int(time.time())
    client.get_public_candles(BIP, str(end - 3600), str(end), "ONE_MINUTE")


def case_every_kind_of_key_on_both_transports(target: Target) -> None:
    """ES256, Ed25519 as PEM and as base64 sign requests that both listeners accept."""
    for key in ("es256", "pem", "ed25519"):
        for make in (over_tls, over_http):
            permissions = make(target, key).get_api_key_permissions()
            assert (True, True) == (permissions.can_view, permissions.can_trade)


def case_products_are_listed_in_both_families(target: Target) -> None:
    """Filters narrow the list; both shapes carry what their readers look for."""
    client = over_http(target, "es256")
    everything = client.get_products(get_all_products=False, get_tradability_status=True)
    assert everything.num_products == len(everything.products) >= 4
    futures = client.get_products(product_type="FUTURE", product_ids=[BTC, BIP])
    assert [BTC, BIP] == sorted((p.product_id for p in futures.products), reverse=True)
    perpetual = client.get_products(product_type="FUTURE", contract_expiry_type="PERPETUAL")
    assert all(p.product_id.endswith("-PERP-INTX") for p in perpetual.products)
    assert 1 == len(client.get_products(limit=1, offset=1).products)
    product = client.get_product(BIP, get_tradability_status=True)
    details = product.future_product_details
    assert ("0.01", "BTC", "3600s") == (
        details["contract_size"],
        details["contract_root_unit"],
        details["funding_interval"],
    )
    assert Decimal(details["funding_rate"]) is not None
    intx = client.get_product(BTC).future_product_details["perpetual_details"]
    assert intx["max_leverage"]
    assert http_status(lambda: client.get_product("NO-SUCH")) == 404


def case_market_data(target: Target) -> None:
    """Books, trades and candles of the lively venue agree with one another."""
    client = over_http(target, "es256")
    eventually(lambda: len(client.get_market_trades(BTC, limit=5).trades) == 5)
    bid, ask = touch(client, BTC)
    assert bid < ask
    book = client.get_product_book(BTC, limit=3)
    assert (3, 3) == (len(book.pricebook.bids), len(book.pricebook.asks))
    assert Decimal(book.spread_absolute) > 0
    coarse = client.get_product_book(BTC, limit=5, aggregation_price_increment="1").pricebook
    assert all(Decimal(level.price) % 1 == 0 for level in (*coarse.bids, *coarse.asks))
    trade = client.get_market_trades(BTC, limit=1).trades[0]
    assert trade.side in ("BUY", "SELL")
    now = int(time.time())
    for granularity, seconds in (("ONE_MINUTE", 60), ("FIVE_MINUTE", 300), ("ONE_DAY", 86400)):
        answer = client.get_candles(BTC, str(now - 3 * seconds), str(now + 60), granularity)
        newest = answer.candles[0]
        assert Decimal(newest.low) <= Decimal(newest.close) <= Decimal(newest.high)
        assert int(newest.start) % seconds == 0
    assert http_status(lambda: client.get_candles(BTC, "1", "2", "TWO_MINUTE")) == 400


def case_accounts_fees_and_portfolios(target: Target) -> None:
    """What an account has, in every shape the SDK knows."""
    client = over_http(target, "es256")
    account = client.get_accounts(limit=10).accounts[0]
    assert account.available_balance["currency"] == account.currency
    assert client.get_account(account.uuid).account.uuid == account.uuid
    fees = client.get_transaction_summary(product_type="FUTURE")
    assert Decimal(fees.fee_tier["taker_fee_rate"]) >= 0
    assert client.get_portfolios().portfolios
    intx = client.get_portfolios(portfolio_type="INTX").portfolios[0]
    uuid = intx.uuid if hasattr(intx, "uuid") else intx["uuid"]
    assert client.get_perps_portfolio_summary(uuid).summary is not None
    assert client.list_perps_positions(uuid).positions is not None
    assert client.get_perps_portfolio_balances(uuid).portfolio_balances
    summary = client.get_futures_balance_summary().balance_summary
    assert summary.futures_buying_power
    assert client.list_futures_positions().positions is not None
    default = client.get_portfolios(portfolio_type="DEFAULT").portfolios[0]
    uuid = default.uuid if hasattr(default, "uuid") else default["uuid"]
    assert client.get_portfolio_breakdown(uuid).breakdown is not None
    assert client.list_payment_methods().payment_methods is not None


def case_margin_windows_and_sweeps(target: Target) -> None:
    """The calls about US futures answer in their shapes."""
    client = over_http(target, "es256")
    assert client.get_intraday_margin_setting().setting
    assert client.get_current_margin_window("MARGIN_PROFILE_TYPE_RETAIL_REGULAR") is not None
    client.set_intraday_margin_setting("INTRADAY_MARGIN_SETTING_STANDARD")
    assert client.list_futures_sweeps().sweeps is not None


def case_portfolios_are_made_funded_and_deleted(target: Target) -> None:
    """A new portfolio takes funds and gives them back; its name can change; then it is gone."""
    client = over_tls(target, "pem")
    made = client.create_portfolio("spare").portfolio
    uuid = made["uuid"]
    default = client.get_portfolios(portfolio_type="DEFAULT").portfolios[0]["uuid"]
    client.move_portfolio_funds("10", "USD", default, uuid)
    assert client.edit_portfolio(uuid, "renamed").portfolio["name"] == "renamed"
    client.move_portfolio_funds("10", "USD", uuid, default)
    client.delete_portfolio(uuid)
    assert uuid not in [row["uuid"] for row in client.get_portfolios().portfolios]


def case_a_post_only_order_from_birth_to_double_cancel(target: Target) -> None:
    """Create, repeat, get, list, cancel, cancel again: what the SDK's examples do."""
    client = over_http(target, "es256")
    bid, _ = touch(client, BIP)
    low, name = str(bid - 50 * TICK), new_id()
    order_id = accepted(
        client.limit_order_gtc_buy(
            name, BIP, "1", low, post_only=True, leverage="5", margin_type="CROSS"
        )
    )
    repeated = client.limit_order_gtc_buy(name, BIP, "1", low, post_only=True)
    assert order_id == accepted(repeated)
    order = client.get_order(order_id).order
    assert ("OPEN", name, "0") == (order.status, order.client_order_id, order.filled_size)
    assert low == order.order_configuration.limit_limit_gtc.limit_price
    listed = client.list_orders(product_ids=[BIP], order_status=["OPEN"], order_side="BUY")
    assert 1 == [row.order_id for row in listed.orders].count(order_id)
    first, again, unknown = client.cancel_orders([order_id, order_id, "nope"]).results
    assert (True, False, False) == (first.success, again.success, unknown.success)
    assert "DUPLICATE_CANCEL_REQUEST" == again.failure_reason
    assert "UNKNOWN_CANCEL_ORDER" == unknown.failure_reason
    assert "CANCELLED" == status(client, order_id)
    (late,) = client.cancel_orders([order_id]).results
    assert not late.success
    assert http_status(lambda: client.get_order("nope")) == 404


def case_refusals_are_answers(target: Target) -> None:
    """What cannot be is an HTTP 200 with a reason; what is malformed is a 400."""
    client = over_http(target, "es256")
    bid, ask = touch(client, BIP)
    crossing = client.limit_order_gtc_buy(new_id(), BIP, "1", str(ask + TICK), post_only=True)
    assert "INVALID_LIMIT_PRICE_POST_ONLY" == refused(crossing)
    off_tick = client.limit_order_gtc_buy(new_id(), BIP, "1", str(bid - 1))
    assert "INVALID_PRICE_PRECISION" == refused(off_tick)
    fraction = client.limit_order_gtc_buy(new_id(), BIP, "1.5", str(bid))
    assert "INVALID_SIZE_PRECISION" == refused(fraction)
    huge = client.limit_order_gtc_buy(new_id(), BIP, "9999", str(bid))
    assert huge.error_response["error"].startswith("INSUFFICIENT_FUND")
    malformed = {"limit_limit_gtc": {"base_size": "1", "limit_price": "x"}}
    assert 400 == http_status(lambda: client.create_order(new_id(), BIP, "BUY", malformed))
    unknown = {"market_market_ioc": {"base_size": "1"}}
    assert 400 == http_status(
        lambda: client.create_order(new_id(), BIP, "BUY", unknown, reduceOnly=True)
    )


def case_every_order_type_is_taken(target: Target) -> None:
    """Each of the SDK's order methods makes an order of its type on the quiet venue."""
    client = over_tls(target, "es256")
    price = reference(client)
    low, high, later = str(price - 40 * TICK), str(price + 40 * TICK), in_seconds(600)
    up, down = "STOP_DIRECTION_STOP_UP", "STOP_DIRECTION_STOP_DOWN"
    beyond = str(price + 50 * TICK)
    made: dict[str, Any] = {
        "gtc": client.limit_order_gtc_buy(new_id(), BIP, "2", low),
        "gtd": client.limit_order_gtd_buy(new_id(), BIP, "2", low, later, post_only=True),
        "ioc": client.limit_order_ioc_buy(new_id(), BIP, "2", low),
        "fok": client.limit_order_fok_buy(new_id(), BIP, "2", low),
        "sell": client.limit_order_gtc_sell(new_id(), BIP, "2", high),
        "stop": client.stop_limit_order_gtc_buy(new_id(), BIP, "1", beyond, high, up),
        "stop gtd": client.stop_limit_order_gtd_sell(new_id(), BIP, "1", low, low, later, down),
    }
    statuses = {name: status(client, accepted(answer)) for name, answer in made.items()}
    assert statuses.pop("ioc") == "CANCELLED"
    assert statuses.pop("fok") == "CANCELLED"
    assert {"OPEN"} == set(statuses.values()), statuses
    kinds = {name: client.get_order(accepted(answer)).order for name, answer in made.items()}
    assert "STOP_LIMIT" == kinds["stop"].order_type
    assert "STOP_PENDING" == kinds["stop"].trigger_status
    assert "GOOD_UNTIL_DATE_TIME" == kinds["gtd"].time_in_force
    flatten(client)


def case_expiry_ends_an_order(target: Target) -> None:
    """A GTD order whose time has come is EXPIRED."""
    client = over_tls(target, "es256")
    price = str(reference(client) - 40 * TICK)
    order_id = accepted(client.limit_order_gtd_buy(new_id(), BIP, "1", price, in_seconds(3)))
    eventually(lambda: status(client, order_id) == "EXPIRED")
    past = client.limit_order_gtd_buy(new_id(), BIP, "1", price, in_seconds(-5))
    assert "END_TIME_IS_IN_THE_PAST" == refused(past)


def case_edits_keep_or_lose_the_place_in_the_queue(target: Target) -> None:
    """A smaller size keeps its place at its price; a larger one goes to the end."""
    first, second, seller = (over_tls(target, key) for key in ("es256", "ed25519", "pem"))
    price = str(reference(first) - 10 * TICK)
    ahead = accepted(first.limit_order_gtc_buy(new_id(), BIP, "4", price))
    behind = accepted(second.limit_order_gtc_buy(new_id(), BIP, "2", price))
    assert first.edit_order(ahead, size="3", price=price).success
    accepted(seller.limit_order_ioc_sell(new_id(), BIP, "1", price))
    assert ("1", "0") == (
        first.get_order(ahead).order.filled_size,
        second.get_order(behind).order.filled_size,
    )
    assert first.edit_order(ahead, size="5", price=price).success
    accepted(seller.limit_order_ioc_sell(new_id(), BIP, "2", price))
    order = first.get_order(ahead).order
    assert ("1", "FILLED") == (order.filled_size, status(second, behind))
    assert ["3", "5"] == sorted(row["size"] for row in order.edit_history)
    same = first.edit_order(ahead, size="5", price=price)
    assert not same.success
    below = first.edit_order(ahead, size="0", price=price)
    assert not below.success
    preview = first.preview_edit_order(ahead, size="6", price=price)
    assert not preview.errors
    first.cancel_orders([ahead])
    gone = first.edit_order(ahead, size="6", price=price)
    assert not gone.success
    accepted(first.limit_order_gtc_sell(new_id(), BIP, "1", price))
    accepted(second.limit_order_gtc_sell(new_id(), BIP, "2", price))
    accepted(seller.limit_order_ioc_buy(new_id(), BIP, "3", price))


def case_a_stop_waits_for_its_trade(target: Target) -> None:
    """A stop-limit order rests once a trade prints at its price, and then trades."""
    holder, maker, taker = (over_tls(target, key) for key in ("es256", "ed25519", "pem"))
    price = reference(holder)
    stop_price, limit = price + 20 * TICK, price + 22 * TICK
    stop = accepted(
        holder.stop_limit_order_gtc_buy(
            new_id(), BIP, "1", str(limit), str(stop_price), "STOP_DIRECTION_STOP_UP"
        )
    )
    accepted(maker.limit_order_gtc_sell(new_id(), BIP, "1", str(stop_price - TICK)))
    accepted(taker.limit_order_ioc_buy(new_id(), BIP, "1", str(stop_price)))
    assert "STOP_PENDING" == holder.get_order(stop).order.trigger_status
    accepted(maker.limit_order_gtc_sell(new_id(), BIP, "2", str(stop_price)))
    accepted(taker.limit_order_ioc_buy(new_id(), BIP, "1", str(stop_price)))
    order = holder.get_order(stop).order
    assert ("STOP_TRIGGERED", "FILLED") == (order.trigger_status, order.status)
    wrong = holder.stop_limit_order_gtc_buy(
        new_id(), BIP, "1", str(limit), str(price - 20 * TICK), "STOP_DIRECTION_STOP_UP"
    )
    assert not wrong.success
    accepted(maker.limit_order_gtc_buy(new_id(), BIP, "3", str(price)))
    accepted(holder.limit_order_ioc_sell(new_id(), BIP, "1", str(price)))
    accepted(taker.limit_order_ioc_sell(new_id(), BIP, "2", str(price)))


def case_a_bracket_closes_at_either_end(target: Target) -> None:
    """Of a bracket, the take-profit leg rests; a trade at the stop price turns it into a stop."""
    holder, maker, taker = (over_tls(target, key) for key in ("es256", "ed25519", "pem"))
    price = reference(holder)
    for end in ("profit", "stop"):
        accepted(maker.limit_order_gtc_sell(new_id(), BIP, "1", str(price)))
        accepted(holder.limit_order_ioc_buy(new_id(), BIP, "1", str(price)))
        target_price, stop_price = price + 20 * TICK, price - 20 * TICK
        bracket = accepted(
            holder.trigger_bracket_order_gtc_sell(
                new_id(), BIP, "1", str(target_price), str(stop_price)
            )
        )
        assert "BRACKET" == holder.get_order(bracket).order.order_type
        if end == "profit":
            accepted(maker.limit_order_ioc_buy(new_id(), BIP, "1", str(target_price)))
        else:
            accepted(maker.limit_order_gtc_buy(new_id(), BIP, "2", str(stop_price)))
            accepted(taker.limit_order_ioc_sell(new_id(), BIP, "1", str(stop_price)))
        eventually(lambda b=bracket: status(holder, b) == "FILLED")  # type: ignore[misc]
    accepted(maker.limit_order_gtc_sell(new_id(), BIP, "1", str(price)))
    accepted(taker.limit_order_ioc_buy(new_id(), BIP, "1", str(price)))


def case_market_orders_make_positions_that_close(target: Target) -> None:
    """Market orders of both families fill as TAKER, show as positions, and close in parts."""
    client = over_http(target, "es256")
    for product_id, size, part in ((BTC, "0.05", "0.02"), (BIP, "3", "1")):
        order_id = accepted(client.market_order_buy(new_id(), product_id, base_size=size))
        order = client.get_order(order_id).order
        assert ("FILLED", size, "MARKET") == (order.status, order.filled_size, order.order_type)
        fills = client.get_fills(order_ids=[order_id]).fills
        assert {"TAKER"} == {fill.liquidity_indicator for fill in fills}
        assert Decimal(size) == sum(Decimal(fill.size) for fill in fills)
        if product_id == BTC:
            uuid = client.get_portfolios(portfolio_type="INTX").portfolios[0]["uuid"]
            held = client.get_perps_position(uuid, BTC).position
            assert (size, "POSITION_SIDE_LONG") == (held.net_size, held.position_side)
            assert [BTC] == [row.product_id for row in client.list_perps_positions(uuid).positions]
        else:
            position = client.get_futures_position(BIP).position
            assert ("LONG", size) == (position.side, position.number_of_contracts)
        accepted(client.close_position(new_id(), product_id, part))
        accepted(client.close_position(new_id(), product_id))
        nothing = client.close_position(new_id(), product_id)
        assert not nothing.success
    assert [] == client.list_futures_positions().positions


def case_market_orders_by_quote_size(target: Target) -> None:
    """A quote size buys as much as it pays for."""
    client = over_http(target, "es256")
    order_id = accepted(client.market_order_buy(new_id(), BTC, quote_size="1000"))
    order = client.get_order(order_id).order
    assert Decimal(900) < Decimal(order.filled_value) <= Decimal(1000)
    accepted(client.close_position(new_id(), BTC))


def case_history_comes_in_pages(target: Target) -> None:
    """Cursors lead through orders and fills, each once."""
    client = over_http(target, "pem")
    for _ in range(3):
        accepted(client.market_order_buy(new_id(), BIP, base_size="1"))
    accepted(client.close_position(new_id(), BIP))
    for read, rows_of, identity in (
        (client.list_orders, "orders", "order_id"),
        (client.get_fills, "fills", "entry_id"),
    ):
        seen: list[str] = []
        cursor = None
        while True:
            page = read(limit=2, cursor=cursor)
            seen += [getattr(row, identity) for row in getattr(page, rows_of)]
            cursor = page.cursor
            if not cursor:
                break
        assert len(seen) >= 4
        assert len(seen) == len(set(seen))
    since = in_seconds(-3600)
    assert client.list_orders(start_date=since, order_types=["MARKET"], sort_by=None).orders
    assert client.get_fills(start_sequence_timestamp=since, product_ids=[BIP]).fills


def case_previews_change_nothing(target: Target) -> None:
    """Each kind of order can be tried first; the preview's id can go with the order."""
    client = over_http(target, "es256")
    bid, ask = touch(client, BIP)
    low, high, later = str(bid - 20 * TICK), str(ask + 20 * TICK), in_seconds(600)
    before = len(client.list_orders().orders)
    previews = [
        client.preview_market_order_buy(BIP, base_size="1", leverage="5"),
        client.preview_market_order_sell(BIP, base_size="1"),
        client.preview_limit_order_gtc_buy(BIP, "1", low, post_only=True),
        client.preview_limit_order_gtd_sell(BIP, "1", high, later),
        client.preview_limit_order_ioc_buy(BIP, "1", high),
        client.preview_limit_order_fok_buy(BIP, "1", high),
        client.preview_stop_limit_order_gtc_buy(BIP, "1", high, high, "STOP_DIRECTION_STOP_UP"),
        client.preview_stop_limit_order_gtd_sell(
            BIP, "1", low, low, later, "STOP_DIRECTION_STOP_DOWN"
        ),
    ]
    for preview in previews:
        assert not preview.errs, preview.to_dict()
        assert Decimal(preview.order_total) > 0
        assert Decimal(preview.best_bid) < Decimal(preview.best_ask)
    assert before == len(client.list_orders().orders)
    preview_id = previews[2].preview_id
    order_id = accepted(
        client.limit_order_gtc_buy(new_id(), BIP, "1", low, post_only=True, preview_id=preview_id)
    )
    client.cancel_orders([order_id])
    poor = client.preview_limit_order_gtc_buy(BIP, "9999", low)
    assert poor.errs


def case_a_viewer_may_look_but_not_trade(target: Target) -> None:
    """The SDK finds its own words in the 403."""
    client = over_http(target, "viewer")
    assert client.get_accounts().accounts
    text = http_problem(lambda: client.cancel_orders(["x"]))
    assert "403 Client Error: Missing Required Scopes" in text


def case_a_wrong_secret_is_unauthorized(target: Target) -> None:
    """Somebody else's key under our name gets 401."""
    name, other = target.keys["es256"].name, target.keys["pem"].secret
    client = RESTClient(api_key=name, api_secret=other, base_url=target.tls)
    assert 401 == http_status(client.get_accounts)


def case_what_is_not_offered_says_so(target: Target) -> None:
    """Converting currencies, sweeps on demand and payment methods by id are no part of this."""
    client = over_http(target, "es256")
    calls = (
        lambda: client.create_convert_quote("USD", "USDC", "1"),
        lambda: client.get_convert_trade("x", "USD", "USDC"),
        lambda: client.commit_convert_trade("x", "USD", "USDC"),
        lambda: client.get_payment_method("x"),
    )
    assert all(http_status(call) in (400, 404, 501) for call in calls)


def case_too_fast_is_429_with_the_state_in_the_headers(target: Target) -> None:
    """A key of one request a second, two at once, is told so, under the SDK's own header names."""
    client = over_http(target, "slow", rate_limit_headers=True)
    assert "2" == client.get_accounts()["rate_limit_limit"]
    client.get_accounts()
    for _ in range(2):
        problem = http_problem(client.get_accounts)
        assert "429 Client Error" in problem
        assert "rate_limit_exceeded" in problem


def case_orders_in_parts(target: Target) -> None:
    """TWAP and scaled orders, which the SDK has no method for, go through its create_order."""
    client = over_tls(target, "es256")
    price = reference(client)
    twap = {
        "start_time": in_seconds(60),
        "end_time": in_seconds(4_000),
        "limit_price": str(price),
        "number_buckets": "3",
        "bucket_size": "2",
        "bucket_duration": "300s",
    }
    waiting = accepted(client.create_order(new_id(), BIP, "BUY", {"twap_limit_gtd": twap}))
    order = client.get_order(waiting).order
    assert ("TWAP", "PENDING") == (order.order_type, order.status)
    assert client.cancel_orders([waiting]).results[0].success
    assert "CANCELLED" == status(client, waiting)
    ladder = {
        "num_orders": "3",
        "base_size": "6",
        "min_price": str(price - 30 * TICK),
        "max_price": str(price - 20 * TICK),
        "price_distribution": "FLAT",
        "size_distribution": "EVENLY_SPLIT",
    }
    scaled = accepted(client.create_order(new_id(), BIP, "BUY", {"scaled_limit_gtc": ladder}))
    assert "SCALED" == client.get_order(scaled).order.order_type
    bids = client.get_product_book(BIP, limit=10).pricebook.bids
    steps = {str(price - n * TICK) for n in (20, 25, 30)}
    assert steps <= {bid.price for bid in bids}
    flatten(client)
    assert not client.list_orders(order_status=["OPEN"]).orders


def case_an_attached_bracket_follows_its_order(target: Target) -> None:
    """The bracket waits for the fill, closes the position at its take-profit, and is done."""
    holder, maker = (over_tls(target, key) for key in ("es256", "ed25519"))
    price = reference(holder)
    attached = {
        "trigger_bracket_gtc": {
            "limit_price": str(price + 20 * TICK),
            "stop_trigger_price": str(price - 20 * TICK),
        }
    }
    answer = holder.create_order(
        new_id(),
        BIP,
        "BUY",
        {"limit_limit_gtc": {"base_size": "1", "limit_price": str(price)}},
        attached_order_configuration=attached,
    )
    parent = accepted(answer)
    bracket = answer.success_response["attached_order_id"]
    assert "PENDING" == status(holder, bracket)
    accepted(maker.limit_order_ioc_sell(new_id(), BIP, "1", str(price)))
    assert ("FILLED", "OPEN") == (status(holder, parent), status(holder, bracket))
    accepted(maker.limit_order_ioc_buy(new_id(), BIP, "1", str(price + 20 * TICK)))
    order = holder.get_order(bracket).order
    assert ("FILLED", parent) == (order.status, order.originating_order_id)


def case_isolated_margin_and_its_collateral(target: Target) -> None:
    """An isolated position holds its own money; more can be put there, the other type cannot."""
    client = over_http(target, "pem")
    uuid = client.get_portfolios(portfolio_type="INTX").portfolios[0]["uuid"]
    accepted(
        client.market_order_buy(
            new_id(), BTC, base_size="0.01", leverage="2", margin_type="ISOLATED"
        )
    )
    held = client.get_perps_position(uuid, BTC).position
    assert "MARGIN_TYPE_ISOLATED" == held.margin_type
    assert Decimal(held.liquidation_price["value"]) > 0
    client.allocate_portfolio(uuid, BTC, "100", "USDC")
    safer = client.get_perps_position(uuid, BTC).position
    assert Decimal(safer.liquidation_price["value"]) < Decimal(held.liquidation_price["value"])
    opposite = client.market_order_buy(new_id(), BTC, base_size="0.01", margin_type="CROSS")
    assert not opposite.success
    preview = client.preview_market_order_buy(BTC, base_size="0.01", margin_type="CROSS")
    assert "PREVIEW_OPPOSITE_MARGIN_TYPE_EXISTS" in str(preview.errs)
    accepted(client.close_position(new_id(), BTC))
    assert client.opt_in_or_out_multi_asset_collateral(uuid, True) is not None
