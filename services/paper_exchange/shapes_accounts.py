"""Balances, portfolios and fees in Coinbase's shapes.

An account has one balance of dollars. INTX-shaped answers call it USDC and CDE-shaped ones USD.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from services.paper_exchange.figures import account_figures, fees_of, position_figures
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
    """Return the account's one balance: what is free, and what positions and orders hold."""
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
        "hold": amount(figures.required, "USD"),
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
    return {
        "breakdown": {
            "portfolio": portfolio_shape(portfolio, KINDS[0] if portfolio.own else "CONSUMER"),
            "portfolio_balances": {
                "total_balance": amount(figures.equity, currency),
                "total_futures_balance": amount(figures.cash, currency),
                "total_cash_equivalent_balance": amount(figures.cash, currency),
                "total_crypto_balance": amount(ZERO, currency),
                "futures_unrealized_pnl": amount(figures.unrealised, currency),
                "perp_unrealized_pnl": amount(figures.unrealised, currency),
            },
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
                    "asset_img_url": "",
                    "is_cash": True,
                }
            ],
            "perp_positions": [
                {
                    "product_id": one.product.product_id,
                    "product_uuid": derived_uuid("product", one.product.product_id),
                    "symbol": one.product.product_id,
                    "asset_image_url": "",
                    "vwap": _both(one.settled_price, currency),
                    "position_side": "FUTURES_POSITION_SIDE_LONG"
                    if one.lots > 0
                    else "FUTURES_POSITION_SIDE_SHORT",
                    "net_size": text(one.product.instrument.lot_size * one.lots),
                    "buy_order_size": "0",
                    "sell_order_size": "0",
                    "im_contribution": rounded_text(one.initial),
                    "unrealized_pnl": _both(one.unrealised, currency),
                    "mark_price": _both(one.mark, currency),
                    "liquidation_price": _both(one.liquidation_price or ZERO, currency),
                    "leverage": text(one.leverage),
                    "im_notional": _both(one.initial, currency),
                    "mm_notional": _both(one.maintenance, currency),
                    "position_notional": _both(one.notional, currency),
                    "margin_type": f"MARGIN_TYPE_{one.margin_type}",
                    "liquidation_buffer": rounded_text(figures.equity - figures.maintenance),
                    "liquidation_percentage": "0",
                }
                for one in held
                if one.product.family is Family.INTX
            ],
            "futures_positions": [
                {
                    "product_id": one.product.product_id,
                    "contract_size": text(one.product.instrument.contract_size),
                    "side": "FUTURES_POSITION_SIDE_LONG"
                    if one.lots > 0
                    else "FUTURES_POSITION_SIDE_SHORT",
                    "amount": text(one.product.instrument.lot_size * abs(one.lots)),
                    "avg_entry_price": rounded_text(one.entry_price),
                    "current_price": rounded_text(one.mark),
                    "unrealized_pnl": rounded_text(one.unrealised),
                    "expiry": "",
                    "underlying_asset": one.product.coin,
                    "asset_img_url": "",
                    "product_name": one.product.display_name,
                    "venue": "cde",
                    "notional_value": rounded_text(one.notional),
                }
                for one in held
                if one.product.family is Family.CDE
            ],
        }
    }


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
