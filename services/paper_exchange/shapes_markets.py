"""Products, books and public trades in Coinbase's shapes."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from lob.types import Side
from services.paper_exchange.wire import parse_rfc3339, rfc3339, rounded_text, text
from touchstone.exchange import Exchange, Family, MarketTrade, Product
from touchstone.exchange.candles import Candle
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.market import Market
from touchstone.exchange.money import ZERO

CDE_EXPIRY: Final = "2030-12-20T16:00:00Z"
CDE_EXPIRY_NS: Final = parse_rfc3339("contract_expiry", CDE_EXPIRY)
_MILLISECOND: Final = 1_000_000
_BPS: Final = Decimal(10_000)
_ALL: Final = 100_000
"""Levels a side: more than a book ever has."""


def product_shape(exchange: Exchange, market: Market) -> dict[str, Any]:
    """Return one product as `/products` lists it."""
    product, now_ns = market.product, exchange.now_ns
    intx = product.family is Family.INTX
    instrument = product.instrument
    tick, lot = text(instrument.tick_size), text(instrument.lot_size)
    mid = market.mid()
    return {
        "product_id": product.product_id,
        "price": text(market.last_price()),
        "price_percentage_change_24h": _day_change(market, now_ns),
        "volume_24h": _day_volume(market, now_ns),
        "volume_percentage_change_24h": "",
        "base_increment": lot,
        "quote_increment": tick,
        "quote_min_size": text(product.min_notional),
        "quote_max_size": text(product.max_size * market.last_price()),
        "base_min_size": lot,
        "base_max_size": text(product.max_size),
        "base_name": product.coin,
        "quote_name": "USDC" if intx else "US Dollar",
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": "",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "FUTURE",
        "quote_currency_id": product.currency,
        "base_currency_id": "",
        "fcm_trading_session_details": None if intx else _session(exchange),
        "mid_market_price": "" if mid is None else rounded_text(mid),
        "alias": "",
        "alias_to": [],
        "base_display_symbol": product.coin,
        "quote_display_symbol": product.currency,
        "view_only": False,
        "price_increment": tick,
        "display_name": product.display_name,
        "product_venue": "INTX" if intx else "FCM",
        "approximate_quote_24h_volume": _day_turnover(market, now_ns),
        "new_at": None,
        "future_product_details": _future_details(exchange, product),
    }


def _session(exchange: Exchange) -> dict[str, Any]:
    """Return the one trading session there is: from the venue's start to the contract's expiry."""
    return {
        "is_session_open": True,
        "open_time": rfc3339(exchange.config.start_ns),
        "close_time": CDE_EXPIRY,
        "session_state": "FCM_TRADING_SESSION_STATE_OPEN",
        "after_hours_order_entry_disabled": False,
        "closed_reason": "FCM_TRADING_SESSION_CLOSED_REASON_UNDEFINED",
        "maintenance": None,
    }


def _future_details(exchange: Exchange, product: Product) -> dict[str, Any]:
    """Return what only futures have; funding stands inside for INTX and outside for CDE."""
    intx = product.family is Family.INTX
    clearing = exchange.clearing
    funding = clearing.funding[product.product_id]
    live = {
        "open_interest": text(_open_interest(exchange, product)),
        "funding_rate": text(funding.rate),
        "funding_time": rfc3339(funding.next_time_ns(exchange.now_ns)),
    }
    details: dict[str, Any] = {
        "venue": "" if intx else "cde",
        "contract_code": product.coin if intx else product.product_id.split("-")[0],
        "contract_expiry": None if intx else CDE_EXPIRY,
        "contract_size": text(product.instrument.contract_size),
        "contract_root_unit": product.coin,
        "group_description": product.display_name,
        "contract_expiry_timezone": "",
        "group_short_description": product.coin,
        "risk_managed_by": "MANAGED_BY_VENUE" if intx else "MANAGED_BY_FCM",
        # Coinbase calls its US perpetuals expiring; clients tell them apart by the far date.
        "contract_expiry_type": "PERPETUAL" if intx else "EXPIRING",
        "perpetual_details": {
            **(live if intx else dict.fromkeys(live, "") | {"funding_time": None}),
            "max_leverage": text(product.max_leverage) if intx else "",
            "base_asset_uuid": derived_uuid("asset", product.coin) if intx else "",
            "underlying_type": "SPOT" if intx else "",
        },
        "contract_display_name": product.display_name,
        "time_to_expiry_ms": None
        if intx
        else str((CDE_EXPIRY_NS - exchange.now_ns) // _MILLISECOND),
        "non_crypto": False,
        "contract_expiry_name": "",
        "twenty_four_by_seven": True,
    }
    if not intx:
        rate = rounded_text(1 / product.max_leverage)
        rates = {"long_margin_rate": rate, "short_margin_rate": rate}
        interval_ns = exchange.config.funding.interval_ns
        details |= live | {
            "funding_interval": f"{interval_ns // 1_000_000_000}s",
            "index_price": rounded_text(clearing.index(product.product_id)),
            "settlement_price": rounded_text(clearing.mark(product.product_id)),
            "intraday_margin_rate": rates,
            "overnight_margin_rate": rates,
        }
    return details


def _open_interest(exchange: Exchange, product: Product) -> Decimal:
    """Return what all long positions sum to, in coins or contracts. O(accounts)."""
    held = (holder.positions.get(product.product_id) for holder in exchange.clearing.holders())
    lots = sum(position.lots for position in held if position is not None and position.lots > 0)
    return product.instrument.quantity(lots)


def pricebook_shape(
    market: Market, depth: int, now_ns: int, group_ticks: int = 1
) -> dict[str, Any]:
    """Return `depth` levels a side; levels of `group_ticks` ticks are added up to one.

    A group of bids stands at its lowest price and a group of asks at its highest, so that nothing
    looks better than it is.
    """
    instrument = market.product.instrument
    sides = []
    for side, levels in zip(
        (Side.BUY, Side.SELL), market.book.depth(depth if group_ticks == 1 else _ALL), strict=True
    ):
        lots: dict[int, int] = {}
        for price_ticks, quantity_lots, _ in levels:
            whole, part = divmod(price_ticks, group_ticks)
            ticks = (whole + (side is Side.SELL and part > 0)) * group_ticks
            lots[ticks] = lots.get(ticks, 0) + quantity_lots
        sides.append(
            [
                {"price": text(instrument.price(at)), "size": text(instrument.quantity(size))}
                for at, size in list(lots.items())[:depth]
            ]
        )
    return {
        "product_id": market.product.product_id,
        "bids": sides[0],
        "asks": sides[1],
        "time": rfc3339(now_ns),
    }


def product_book_shape(
    market: Market, depth: int, now_ns: int, group_ticks: int = 1
) -> dict[str, Any]:
    """Return a book with its mid and spread; those are "" while a side is empty."""
    bids, asks = market.levels(1)
    mid, spread, spread_bps = "", "", ""
    if bids and asks:
        middle = (bids[0].price + asks[0].price) / 2
        width = asks[0].price - bids[0].price
        mid, spread = rounded_text(middle), text(width)
        spread_bps = rounded_text(width / middle * _BPS)
    return {
        "pricebook": pricebook_shape(market, depth, now_ns, group_ticks),
        "last": text(market.last_price()),
        "mid_market": mid,
        "spread_bps": spread_bps,
        "spread_absolute": spread,
    }


def trades_shape(
    market: Market, limit: int, start_ns: int | None, end_ns: int | None
) -> dict[str, Any]:
    """Return the latest trades of `[start_ns, end_ns]`, newest first, and the present touch."""
    bids, asks = market.levels(1)
    return {
        "trades": [trade_shape(trade) for trade in market.trades(limit, start_ns, end_ns)],
        "best_bid": text(bids[0].price) if bids else "",
        "best_ask": text(asks[0].price) if asks else "",
    }


def candles_shape(product: Product, candles: Iterable[Candle]) -> dict[str, Any]:
    """Return candles, newest first: starts in Unix seconds, volume in coins or contracts."""
    instrument = product.instrument
    return {
        "candles": [
            {
                "start": str(candle.start_s),
                "low": text(instrument.price(candle.low_ticks)),
                "high": text(instrument.price(candle.high_ticks)),
                "open": text(instrument.price(candle.open_ticks)),
                "close": text(instrument.price(candle.close_ticks)),
                "volume": text(instrument.quantity(candle.volume_lots)),
            }
            for candle in candles
        ]
    }


def trade_shape(trade: MarketTrade) -> dict[str, str]:
    """Return one public trade; its side is the maker's."""
    return {
        "trade_id": trade.trade_id,
        "product_id": trade.product.product_id,
        "price": text(trade.price),
        "size": text(trade.size),
        "time": rfc3339(trade.time_ns),
        "side": str(trade.maker_side),
        "exchange": "",
    }


def ticker_shape(market: Market, now_ns: int) -> dict[str, str]:
    """Return a `ticker` entry; the 52-week figures go back to the venue's start at most."""
    product = market.product
    bids, asks = market.levels(1)
    day = market.candles.day(now_ns)
    low = text(product.instrument.price(day.low_ticks)) if day else ""
    high = text(product.instrument.price(day.high_ticks)) if day else ""
    year = market.candles.year(now_ns)
    return {
        "type": "ticker",
        "product_id": product.product_id,
        "price": text(market.last_price()),
        "volume_24_h": _day_volume(market, now_ns),
        "low_24_h": low,
        "high_24_h": high,
        "low_52_w": text(product.instrument.price(year.low_ticks)) if year else "",
        "high_52_w": text(product.instrument.price(year.high_ticks)) if year else "",
        "price_percent_chg_24_h": _day_change(market, now_ns),
        "best_bid": text(bids[0].price) if bids else "",
        "best_ask": text(asks[0].price) if asks else "",
        "best_bid_quantity": text(bids[0].quantity) if bids else "",
        "best_ask_quantity": text(asks[0].quantity) if asks else "",
    }


def _day_volume(market: Market, now_ns: int) -> str:
    day = market.candles.day(now_ns)
    return text(market.product.instrument.quantity(day.volume_lots)) if day else "0"


def _day_turnover(market: Market, now_ns: int) -> str:
    """Return the last day's volume in the settlement currency."""
    day = market.candles.day(now_ns)
    product = market.product
    if day is None:
        return "0"
    return rounded_text(product.instrument.price(1) * product.lot_value_per_price * day.turnover)


def _day_change(market: Market, now_ns: int) -> str:
    day = market.candles.day(now_ns)
    if day is None:
        return "0"
    first = market.product.instrument.price(day.open_ticks)
    return rounded_text((market.last_price() - first) / first * 100 if first else ZERO)
