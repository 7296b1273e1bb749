"""ccxt.pro against the feed: watch and unwatch everything that it can."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import ccxt.pro  # type: ignore[import-not-found]  # in the clients' environment

from tests.conformance.runner import Target

SWAP = "BTC/USD:USD"
INTX = "BTC/USDC:USDC"


@asynccontextmanager
async def exchange(target: Target, key: str | None = None) -> AsyncIterator[Any]:
    """Give ccxt.pro's class, told only where to find us."""
    addresses = {"rest": f"http://{target.plain}", "ws": f"ws://{target.plain}"}
    config: dict[str, Any] = {"urls": {"api": addresses}, "enableRateLimit": False}
    if key is not None:
        config |= {"apiKey": target.keys[key].name, "secret": target.keys[key].secret}
    made = ccxt.pro.coinbase(config)
    try:
        yield made
    finally:
        await made.close()


async def case_watch_market_data(target: Target) -> None:
    """Books, tickers and trades arrive for both families, by the single and the plural calls."""
    async with exchange(target) as ex:
        for symbol in (SWAP, INTX):
            book = await ex.watch_order_book(symbol)
            assert book["bids"][0][0] < book["asks"][0][0]
            updated = await ex.watch_order_book(symbol)
            assert updated["timestamp"]
            ticker = await ex.watch_ticker(symbol)
            assert ticker["bid"] < ticker["ask"]
            assert ticker["last"] > 0
            trades = await ex.watch_trades(symbol)
            assert trades[-1]["side"] in ("buy", "sell")
        both = [SWAP, INTX]
        assert (await ex.watch_order_book_for_symbols(both))["bids"]
        assert await ex.watch_trades_for_symbols(both)
        tickers = await ex.watch_tickers(both)
        assert set(tickers) <= set(both)


async def case_unwatching_resolves(target: Target) -> None:
    """Each unwatch call comes back once nothing is left."""
    async with exchange(target) as ex:
        await ex.watch_ticker(SWAP)
        await ex.un_watch_ticker(SWAP)
        await ex.watch_trades(SWAP)
        await ex.un_watch_trades(SWAP)
        await ex.watch_order_book(SWAP)
        await ex.un_watch_order_book(SWAP)
        await ex.watch_tickers([SWAP, INTX])
        await ex.un_watch_tickers([SWAP, INTX])


async def case_watch_orders_with_both_kinds_of_signature(target: Target) -> None:
    """ES256 and the legacy HMAC open the user channel, which tells an order's whole life."""
    for key in ("es256", "hmac"):
        async with exchange(target, key) as ex:
            await ex.load_markets()
            await follow_an_order(ex)
            await ex.un_watch_orders(SWAP)


async def follow_an_order(ex: Any) -> None:
    """Make an order and cancel it; both is told."""
    price = (await ex.fetch_ticker(SWAP))["bid"] - 500
    name = str(uuid.uuid4())
    opened = await while_acting(
        ex,
        lambda row: (row["clientOrderId"], row["status"]) == (name, "open"),
        lambda: ex.create_order(SWAP, "limit", "buy", 1, price, {"client_order_id": name}),
    )
    assert ("buy", price, 1) == (opened["side"], opened["price"], opened["remaining"])
    ended = await while_acting(
        ex,
        lambda row: (row["clientOrderId"], row["status"]) == (name, "canceled"),
        lambda: ex.cancel_order(opened["id"]),
    )
    assert opened["id"] == ended["id"]


async def while_acting(
    ex: Any, wanted: Callable[[dict[str, Any]], bool], act: Callable[[], Awaitable[Any]]
) -> dict[str, Any]:
    """Return the wanted order; watching begins before acting, or it would be missed."""

    async def watch() -> dict[str, Any]:
        while True:
            for row in await ex.watch_orders(SWAP):
                if wanted(row):
                    found: dict[str, Any] = row
                    return found

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.3)
    await act()
    return await asyncio.wait_for(watching, 40)


async def case_a_book_follows_an_order(target: Target) -> None:
    """An order of ours shows in the watched book at its price, and leaves it."""
    async with exchange(target, "es256") as ex:
        book = await ex.watch_order_book(SWAP)
        price = book["bids"][0][0] - 1000
        before = dict(row[:2] for row in book["bids"]).get(price, 0)
        made = await ex.create_order(SWAP, "limit", "buy", 17, price)
        while dict(row[:2] for row in book["bids"]).get(price, 0) != before + 17:
            book = await ex.watch_order_book(SWAP)
        await ex.cancel_order(made["id"])
        while dict(row[:2] for row in book["bids"]).get(price, 0) != before:
            book = await ex.watch_order_book(SWAP)


async def case_a_wrong_signature_is_told_nothing(target: Target) -> None:
    """The feed answers with an error; ccxt's reading ends with it, and no order ever comes."""
    async with exchange(target, "hmac") as ex:
        await ex.load_markets()
        ex.secret = "not-the-secret"
        watching = asyncio.create_task(ex.watch_orders(SWAP))
        await asyncio.wait([watching], timeout=1)
        assert not watching.done() or watching.exception() is not None
        watching.cancel()
