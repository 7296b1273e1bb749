"""Products, books and public trades in Coinbase's shapes."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from lob.types import Side
from services.paper_exchange.wire import rfc3339, rounded_text, text
from touchstone.exchange import Family, MarketTrade, Product
from touchstone.exchange.market import LevelChange, Market
from touchstone.exchange.money import ZERO

CDE_EXPIRY: Final = "2030-12-20T16:00:00Z"
_BPS: Final = Decimal(10_000)


def product_shape(market: Market, now_ns: int) -> dict[str, Any]:
    """Return one product as `/products` lists it.

    There is no funding and no index in this version, so those fields are empty.
    """
    product = market.product
    intx = product.family is Family.INTX
    instrument = product.instrument
    tick, lot = text(instrument.tick_size), text(instrument.lot_size)
    return {
        "product_id": product.product_id,
        "price": text(market.last_price()),
        "price_percentage_change_24h": _day_change(market, now_ns),
        "volume_24h": _day_volume(market, now_ns),
        "volume_percentage_change_24h": "",
        "base_increment": lot,
        "quote_increment": tick,
        "quote_min_size": text(product.min_notional),
        "quote_max_size": "",
        "base_min_size": lot,
        "base_max_size": text(product.max_size),
        "base_name": product.coin,
        "quote_name": "US Dollar",
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
        "fcm_trading_session_details": None if intx else {"is_session_open": True},
        "mid_market_price": rounded_text(market.mark()),
        "alias": "",
        "alias_to": [],
        "base_display_symbol": product.coin,
        "quote_display_symbol": product.currency,
        "view_only": False,
        "price_increment": tick,
        "display_name": product.display_name,
        "product_venue": "INTX" if intx else "FCM",
        "approximate_quote_24h_volume": "",
        "future_product_details": _future_details(product),
    }


def _future_details(product: Product) -> dict[str, Any]:
    intx = product.family is Family.INTX
    margin_rate = rounded_text(1 / product.max_leverage)
    perpetual = {
        "open_interest": "",
        "funding_rate": "",
        "funding_time": None,
        "max_leverage": text(product.max_leverage) if intx else "",
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
        "perpetual_details": perpetual,
        "contract_display_name": product.display_name,
        "non_crypto": False,
    }
    if not intx:
        rates = {"long_margin_rate": margin_rate, "short_margin_rate": margin_rate}
        details |= {
            "funding_rate": "",
            "funding_time": None,
            "funding_interval": "3600s",
            "open_interest": "",
            "index_price": "",
            "settlement_price": "",
            "intraday_margin_rate": rates,
            "overnight_margin_rate": rates,
        }
    return details


def pricebook_shape(market: Market, depth: int, now_ns: int) -> dict[str, Any]:
    """Return `depth` levels a side."""
    bids, asks = market.levels(depth)
    return {
        "product_id": market.product.product_id,
        "bids": [_level(level) for level in bids],
        "asks": [_level(level) for level in asks],
        "time": rfc3339(now_ns),
    }


def product_book_shape(market: Market, depth: int, now_ns: int) -> dict[str, Any]:
    """Return a book with its mid and spread; those are "" while a side is empty."""
    bids, asks = market.levels(1)
    mid, spread, spread_bps = "", "", ""
    if bids and asks:
        middle = (bids[0].price + asks[0].price) / 2
        width = asks[0].price - bids[0].price
        mid, spread = rounded_text(middle), text(width)
        spread_bps = rounded_text(width / middle * _BPS)
    return {
        "pricebook": pricebook_shape(market, depth, now_ns),
        "last": text(market.last_price()),
        "mid_market": mid,
        "spread_bps": spread_bps,
        "spread_absolute": spread,
    }


def trades_shape(market: Market, limit: int) -> dict[str, Any]:
    """Return the latest trades, newest first, and the touch, as `/products/{id}/ticker` does."""
    bids, asks = market.levels(1)
    return {
        "trades": [trade_shape(trade) for trade in list(reversed(market.tape))[:limit]],
        "best_bid": text(bids[0].price) if bids else "",
        "best_ask": text(asks[0].price) if asks else "",
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


def level_updates(changes: Iterable[LevelChange], now_ns: int) -> list[dict[str, str]]:
    """Return levels as the `l2_data` channel sends them: absolute quantities, "0" removes."""
    time = rfc3339(now_ns)
    return [
        {
            "side": "bid" if side is Side.BUY else "offer",
            "event_time": time,
            "price_level": text(price),
            "new_quantity": text(quantity),
        }
        for side, price, quantity in changes
    ]


def ticker_shape(market: Market, now_ns: int) -> dict[str, str]:
    """Return a `ticker` entry; the 52-week figures are those of the last 24 hours at most."""
    product = market.product
    bids, asks = market.levels(1)
    day = market.statistics.day(now_ns)
    low = text(product.instrument.price(day.low_ticks)) if day else ""
    high = text(product.instrument.price(day.high_ticks)) if day else ""
    return {
        "type": "ticker",
        "product_id": product.product_id,
        "price": text(market.last_price()),
        "volume_24_h": _day_volume(market, now_ns),
        "low_24_h": low,
        "high_24_h": high,
        "low_52_w": low,
        "high_52_w": high,
        "price_percent_chg_24_h": _day_change(market, now_ns),
        "best_bid": text(bids[0].price) if bids else "",
        "best_ask": text(asks[0].price) if asks else "",
        "best_bid_quantity": text(bids[0].quantity) if bids else "",
        "best_ask_quantity": text(asks[0].quantity) if asks else "",
    }


def _level(level: LevelChange) -> dict[str, str]:
    return {"price": text(level.price), "size": text(level.quantity)}


def _day_volume(market: Market, now_ns: int) -> str:
    day = market.statistics.day(now_ns)
    return text(market.product.instrument.quantity(day.volume_lots)) if day else "0"


def _day_change(market: Market, now_ns: int) -> str:
    day = market.statistics.day(now_ns)
    if day is None:
        return "0"
    first = market.product.instrument.price(day.open_ticks)
    return rounded_text((market.last_price() - first) / first * 100 if first else ZERO)
