"""Balances, portfolios and fees in Coinbase's shapes.

An account has one balance of dollars. INTX-shaped answers call it USDC and CDE-shaped ones USD.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from services.paper_exchange.figures import (
    PositionFigures,
    account_figures,
    fees_of,
    liquidation_buffer,
    liquidation_percentage,
    position_figures,
)
from services.paper_exchange.shapes_markets import CDE_EXPIRY
from services.paper_exchange.shapes_orders import portfolio_uuid
from services.paper_exchange.wire import amount, rfc3339, rounded_text, text
from touchstone.exchange import Exchange, Family
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.money import ZERO
from touchstone.exchange.portfolios import Portfolio

KINDS = ("DEFAULT", "INTX")
"""A key's own portfolio is listed under both types that clients ask for."""


def balance_uuid(account: str) -> str:
    """Return the id of an account's one balance."""
    return derived_uuid("balance", account)


def account_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the account's one balance: what is free, and all else, which is held."""
    figures = account_figures(exchange, account)
    return {
        "uuid": balance_uuid(account),
        "name": "USD Wallet",
        "currency": "USD",
        "available_balance": amount(figures.free, "USD"),
        "default": True,
        "active": True,
        "created_at": rfc3339(exchange.config.start_ns),
        "updated_at": rfc3339(exchange.now_ns),
        "deleted_at": None,
        "type": "ACCOUNT_TYPE_FIAT",
        "ready": True,
        "hold": amount(figures.equity - figures.free, "USD"),
        "retail_portfolio_id": portfolio_uuid(account),
        "platform": "ACCOUNT_PLATFORM_CFM_CONSUMER",
    }


def portfolios_shape(listed: Iterable[Portfolio], kind: str) -> dict[str, Any]:
    """Return portfolios of one type, or of all: a key's own one is of two, a purse CONSUMER."""
    return {
        "portfolios": [
            portfolio_shape(portfolio, name)
            for portfolio in listed
            for name in (KINDS if portfolio.own else ("CONSUMER",))
            if kind in ("", name)
        ]
    }


def portfolio_shape(portfolio: Portfolio, kind: str = "CONSUMER") -> dict[str, Any]:
    """Return one portfolio."""
    return {
        "name": portfolio.name,
        "uuid": portfolio.portfolio_id,
        "type": kind,
        "deleted": False,
    }


def breakdown_shape(exchange: Exchange, portfolio: Portfolio, currency: str) -> dict[str, Any]:
    """Return what a portfolio holds: its cash, and its positions in either shape."""
    account = portfolio.account
    figures = account_figures(exchange, account)
    held = [one for one in position_figures(exchange, account) if one.lots]
    perpetual = [one for one in held if one.product.family is Family.INTX]
    futures = [one for one in held if one.product.family is Family.CDE]
    totals = {
        "total_balance": figures.equity,
        "total_futures_balance": figures.cash,
        "total_cash_equivalent_balance": figures.cash,
        "total_crypto_balance": ZERO,
        "futures_unrealized_pnl": sum((one.unrealised for one in futures), ZERO),
        "perp_unrealized_pnl": sum((one.unrealised for one in perpetual), ZERO),
    }
    return {
        "breakdown": {
            "portfolio": portfolio_shape(portfolio, KINDS[0] if portfolio.own else "CONSUMER"),
            "portfolio_balances": {name: amount(total, currency) for name, total in totals.items()},
            "spot_positions": [
                {
                    "asset": "USD",
                    "account_uuid": balance_uuid(account),
                    "total_balance_fiat": float(figures.cash),
                    "total_balance_crypto": float(figures.cash),
                    "available_to_trade_fiat": float(figures.free),
                    "allocation": 1,
                    "one_day_change": 0,
                    "cost_basis": amount(figures.cash, currency),
                    "expires_at": None,
                    "leverage": None,
                    "rate": None,
                    "asset_img_url": "",
                    "is_cash": True,
                }
            ],
            "perp_positions": [_perpetual(one, currency) for one in perpetual],
            "futures_positions": [_future(one) for one in futures],
        }
    }


def _perpetual(held: PositionFigures, currency: str) -> dict[str, Any]:
    product = held.product
    return {
        "product_id": product.product_id,
        "product_uuid": derived_uuid("product", product.product_id),
        "symbol": product.product_id,
        "asset_image_url": "",
        "vwap": _both(held.settled_price, currency),
        "position_side": _side(held),
        "net_size": text(product.instrument.lot_size * held.lots),
        "buy_order_size": text(held.buying),
        "sell_order_size": text(held.selling),
        "im_contribution": rounded_text(held.initial),
        "unrealized_pnl": _both(held.unrealised, currency),
        "mark_price": _both(held.mark, currency),
        "liquidation_price": _both(held.liquidation_price or ZERO, currency),
        "leverage": text(held.leverage),
        "im_notional": _both(held.initial, currency),
        "mm_notional": _both(held.maintenance, currency),
        "position_notional": _both(held.notional, currency),
        "margin_type": f"MARGIN_TYPE_{held.margin_type}",
        "liquidation_buffer": rounded_text(liquidation_buffer(held.scope)),
        "liquidation_percentage": rounded_text(liquidation_percentage(held.scope)),
    }


def _future(held: PositionFigures) -> dict[str, Any]:
    product = held.product
    return {
        "product_id": product.product_id,
        "contract_size": text(product.instrument.contract_size),
        "side": _side(held),
        "amount": text(product.instrument.lot_size * abs(held.lots)),
        "avg_entry_price": rounded_text(held.entry_price),
        "current_price": rounded_text(held.mark),
        "unrealized_pnl": rounded_text(held.unrealised),
        "expiry": CDE_EXPIRY,
        "underlying_asset": product.coin,
        "asset_img_url": "",
        "product_name": product.display_name,
        "venue": "cde",
        "notional_value": rounded_text(held.notional),
    }


def _side(held: PositionFigures) -> str:
    return f"FUTURES_POSITION_SIDE_{'LONG' if held.lots > 0 else 'SHORT'}"


def fee_family(product_type: str, expiry_type: str, venue: str) -> Family | None:
    """Return whose fees a query asks for; None where nothing like it is listed."""
    if product_type == "SPOT" or venue == "CBE":
        return None
    intx = expiry_type == "PERPETUAL" or venue == "INTX"
    cde = expiry_type == "EXPIRING" or venue == "FCM"
    if intx and cde:
        return None
    return Family.INTX if intx else Family.CDE


def transaction_summary_shape(
    exchange: Exchange, account: str, family: Family | None
) -> dict[str, Any]:
    """Return what an account has traded and paid, and the fee tier that holds for it.

    The volume is of the last thirty days, over both families; the fees are since the account exists
    (Coinbase sends these two as numbers). Nobody trades spot here, so a query for it gets zeroes.
    """
    fees = fees_of(exchange, account, family or Family.CDE)
    volume = float(fees.volume) if family is not None else 0.0
    paid = float(fees.paid) if family is not None else 0.0
    return {
        "total_volume": volume,
        "total_fees": paid,
        "fee_tier": {
            "pricing_tier": fees.tier.name,
            "usd_from": text(fees.tier.usd_from),
            "usd_to": "" if fees.usd_to is None else text(fees.usd_to),
            "taker_fee_rate": text(fees.tier.taker_rate),
            "maker_fee_rate": text(fees.tier.maker_rate),
            "aop_from": "",
            "aop_to": "",
        },
        "margin_rate": None,
        "goods_and_services_tax": None,
        "advanced_trade_only_volume": volume,
        "advanced_trade_only_fees": paid,
        "coinbase_pro_volume": 0.0,
        "coinbase_pro_fees": 0.0,
        "total_balance": rounded_text(exchange.equity(account)),
        "has_promo_fee": False,
    }


def _both(value: Decimal, currency: str) -> dict[str, dict[str, str]]:
    """Return an amount in the customer's currency and in that of the position, which are one."""
    return {
        "userNativeCurrency": amount(value, currency),
        "rawCurrency": amount(value, currency),
    }
