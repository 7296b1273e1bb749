"""Portfolios, positions and balances in the INTX shape, which Coinbase retired on 1 October 2026.

An account has one balance of dollars; this shape calls it USDC.
"""

from decimal import Decimal
from typing import Any, Final

from services.paper_exchange.figures import (
    PositionFigures,
    account_figures,
    liquidation_buffer,
    liquidation_percentage,
    one_position,
    position_figures,
)
from services.paper_exchange.shapes_orders import portfolio_uuid
from services.paper_exchange.wire import amount, rounded_text, text
from touchstone.exchange import Exchange, Family, MarginType, Product
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.money import ZERO

_CURRENCY: Final = "USDC"
_SIDES: Final = {
    1: "POSITION_SIDE_LONG",
    -1: "POSITION_SIDE_SHORT",
    0: "POSITION_SIDE_UNKNOWN",
}
_MARGIN_TYPES: Final = {
    MarginType.CROSS: "MARGIN_TYPE_CROSS",
    MarginType.ISOLATED: "MARGIN_TYPE_ISOLATED",
}


def positions_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the open positions and their summed result since they were opened."""
    held = [one for one in position_figures(exchange, account, Family.INTX) if one.lots]
    total = sum((one.aggregated for one in held), ZERO)
    return {
        "positions": [_position(account, one) for one in held],
        "summary": {"aggregated_pnl": _money(total)},
    }


def position_shape(exchange: Exchange, account: str, product: Product) -> dict[str, Any]:
    """Return one position; a flat one has size 0 and no side."""
    return _position(account, one_position(exchange, account, product))


def _position(account: str, held: PositionFigures) -> dict[str, Any]:
    """Return a position: `vwap` and `unrealized_pnl` since the latest five-minute settlement."""
    product = held.product
    price = held.liquidation_price
    return {
        "product_id": product.product_id,
        "product_uuid": derived_uuid("product", product.product_id),
        "portfolio_uuid": portfolio_uuid(account),
        "symbol": product.product_id,
        "vwap": _money(held.settled_price),
        "entry_vwap": _money(held.entry_price),
        "position_side": _SIDES[(held.lots > 0) - (held.lots < 0)],
        "margin_type": _MARGIN_TYPES[held.margin_type],
        "net_size": text(product.instrument.lot_size * held.lots),
        "buy_order_size": text(held.buying),
        "sell_order_size": text(held.selling),
        "im_contribution": rounded_text(held.initial),
        "unrealized_pnl": _money(held.unrealised),
        "mark_price": _money(held.mark),
        "liquidation_price": _money(ZERO if price is None else price),
        "leverage": text(held.leverage),
        "im_notional": _money(held.initial),
        "mm_notional": _money(held.maintenance),
        "position_notional": _money(held.notional if held.lots >= 0 else -held.notional),
        "aggregated_pnl": _money(held.aggregated),
    }


def portfolio_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the margin of the portfolio. It is liquidated at a percentage above 100.

    Percentage and buffer are of what is on cross margin; an isolated position has its own.
    """
    figures = account_figures(exchange, account)
    equity, maintenance = figures.equity, figures.maintenance
    liquidating = figures.liquidating
    status = "LIQUIDATING" if liquidating else "NOT_LIQUIDATING"
    return {
        "portfolios": [
            {
                "portfolio_uuid": portfolio_uuid(account),
                "collateral": rounded_text(figures.cash),
                "position_notional": rounded_text(figures.notional),
                "open_position_notional": rounded_text(figures.notional),
                "pending_fees": "0",
                "borrow": "0",
                "accrued_interest": "0",
                "rolling_debt": "0",
                "portfolio_initial_margin": rounded_text(figures.required),
                "portfolio_im_notional": _money(figures.required),
                "portfolio_maintenance_margin": rounded_text(maintenance),
                "portfolio_mm_notional": _money(maintenance),
                "liquidation_percentage": rounded_text(liquidation_percentage(figures.cross)),
                "liquidation_buffer": rounded_text(liquidation_buffer(figures.cross)),
                "margin_type": "MARGIN_TYPE_CROSS",
                "margin_flags": "PORTFOLIO_MARGIN_FLAGS_UNSPECIFIED"
                if not liquidating
                else "PORTFOLIO_MARGIN_FLAGS_IN_LIQUIDATION",
                "liquidation_status": f"PORTFOLIO_LIQUIDATION_STATUS_{status}",
                "unrealized_pnl": _money(figures.unrealised),
                "total_balance": _money(equity),
            }
        ],
        "summary": {
            "unrealized_pnl": _money(figures.unrealised),
            "buying_power": _money(figures.free),
            "total_balance": _money(equity),
            "max_withdrawal_amount": _money(figures.withdrawable),
        },
    }


def balances_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the one asset that is held, all of which counts as collateral."""
    figures = account_figures(exchange, account)
    return {
        "portfolio_balances": [
            {
                "portfolio_uuid": portfolio_uuid(account),
                "balances": [
                    {
                        "asset": {
                            "asset_id": derived_uuid("asset", _CURRENCY),
                            "asset_uuid": derived_uuid("asset", _CURRENCY),
                            "asset_name": _CURRENCY,
                            "status": "ACTIVE",
                            "collateral_weight": "1",
                            "account_collateral_limit": "0",
                            "ecosystem_collateral_limit_breached": False,
                            "asset_icon_url": "",
                            "supported_networks_enabled": False,
                        },
                        "quantity": rounded_text(figures.cash),
                        "hold": rounded_text(figures.required),
                        "transfer_hold": "0",
                        "collateral_value": rounded_text(figures.cash),
                        "collateral_weight": "1",
                        "max_withdraw_amount": rounded_text(figures.withdrawable),
                        "loan": "0",
                        "loan_collateral_requirement_usd": "0",
                        "pledged_quantity": "0",
                    }
                ],
                "is_margin_limit_reached": figures.free <= 0 < figures.required,
            }
        ]
    }


def _money(value: Decimal) -> dict[str, str]:
    return amount(value, _CURRENCY)
