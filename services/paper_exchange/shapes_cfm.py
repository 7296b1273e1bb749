"""Balances and positions in the shape of Coinbase's US futures (`/cfm`).

An account has one balance of dollars; this shape calls it USD.
"""

from decimal import Decimal
from typing import Any, Final

from services.paper_exchange.figures import (
    AccountFigures,
    PositionFigures,
    account_figures,
    liquidation_buffer,
    one_position,
    position_figures,
)
from services.paper_exchange.shapes_markets import CDE_EXPIRY
from services.paper_exchange.wire import amount, rfc3339, rounded_text, text
from touchstone.exchange import Exchange, Family, Product
from touchstone.exchange.money import ZERO
from touchstone.exchange.options import INTRADAY

_CURRENCY: Final = "USD"
_DAY_NS: Final = 86_400 * 1_000_000_000


def positions_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the open positions; prices are plain texts."""
    held = [one for one in position_figures(exchange, account, Family.CDE) if one.lots]
    return {"positions": [_position(one) for one in held]}


def position_shape(exchange: Exchange, account: str, product: Product) -> dict[str, Any]:
    """Return one position; a flat one has no contracts."""
    return _position(one_position(exchange, account, product))


def _position(held: PositionFigures) -> dict[str, Any]:
    return {
        "product_id": held.product.product_id,
        "expiration_time": CDE_EXPIRY,
        "side": "LONG" if held.lots > 0 else "SHORT" if held.lots < 0 else "UNKNOWN",
        "number_of_contracts": text(held.product.instrument.lot_size * abs(held.lots)),
        "current_price": rounded_text(held.mark),
        "avg_entry_price": rounded_text(held.entry_price),
        "unrealized_pnl": rounded_text(held.unrealised),
        "daily_realized_pnl": rounded_text(held.realised_day),
    }


def balance_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the futures balance summary. At a buffer of 0 % liquidation begins.

    Threshold and buffer are of what is on cross margin; an isolated position has its own.
    """
    figures = account_figures(exchange, account)
    return {
        "balance_summary": {
            "futures_buying_power": _money(figures.free),
            "total_usd_balance": _money(figures.cash),
            "cbi_usd_balance": _money(ZERO),
            "cfm_usd_balance": _money(figures.cash),
            "total_open_orders_hold_amount": _money(figures.order_holds),
            "unrealized_pnl": _money(figures.unrealised),
            "daily_realized_pnl": _money(figures.realised_day),
            "initial_margin": _money(figures.initial),
            "available_margin": _money(figures.free),
            "liquidation_threshold": _money(figures.cross.maintenance),
            "liquidation_buffer_amount": _money(liquidation_buffer(figures.cross)),
            "liquidation_buffer_percentage": rounded_text(_buffer(figures)),
            "intraday_margin_window_measure": _window(figures, "INTRADAY"),
            "overnight_margin_window_measure": _window(figures, "OVERNIGHT"),
        }
    }


def sweeps_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the sweep that is pending, if there is one."""
    sweep = exchange.options.of(account).sweep
    if sweep is None:
        return {"sweeps": []}
    asked = ZERO if sweep.amount is None else sweep.amount
    return {
        "sweeps": [
            {
                "id": sweep.sweep_id,
                "requested_amount": _money(asked),
                "should_sweep_all": sweep.amount is None,
                "status": "PENDING",
                # Sweeps are carried out once a day; this venue has nothing to move then.
                "scheduled_time": rfc3339((sweep.asked_ns // _DAY_NS + 1) * _DAY_NS),
            }
        ]
    }


def margin_window_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the window that runs: the day's, where the account has opted in, until midnight UTC.

    Rates are the same in both.
    """
    intraday = exchange.options.of(account).intraday == INTRADAY
    kind = "INTRADAY" if intraday else "OVERNIGHT"
    return {
        "margin_window": {
            "margin_window_type": f"FCM_MARGIN_WINDOW_TYPE_{kind}",
            "end_time": rfc3339((exchange.now_ns // _DAY_NS + 1) * _DAY_NS),
        },
        "is_intraday_margin_killswitch_enabled": False,
        "is_intraday_margin_enrollment_killswitch_enabled": False,
    }


def _window(figures: AccountFigures, kind: str) -> dict[str, str]:
    """Return one margin window's figures as plain texts; both windows have the same rates."""
    return {
        "margin_window_type": f"FCM_MARGIN_WINDOW_TYPE_{kind}",
        "margin_level": f"MARGIN_LEVEL_TYPE_{_level(figures)}",
        "initial_margin": rounded_text(figures.initial),
        "maintenance_margin": rounded_text(figures.maintenance),
        "liquidation_buffer": rounded_text(_buffer(figures)),
        "total_hold": rounded_text(figures.order_holds),
        "futures_buying_power": rounded_text(figures.free),
    }


def _level(figures: AccountFigures) -> str:
    if figures.cross.is_short_of_maintenance:
        return "LIQUIDATION"
    if figures.cross.is_short_of_initial:
        return "WARNING"
    return "BASE"


def _buffer(figures: AccountFigures) -> Decimal:
    """Return the liquidation buffer as Coinbase's percentage: 0 where liquidation begins."""
    maintenance = figures.cross.maintenance
    if maintenance <= 0:
        return Decimal(1000)
    return liquidation_buffer(figures.cross) / maintenance * 100


def _money(value: Decimal) -> dict[str, str]:
    return amount(value, _CURRENCY)
