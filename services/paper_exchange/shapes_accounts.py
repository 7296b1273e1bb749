"""Balances, portfolios and positions in Coinbase's shapes.

An account has one balance of dollars. INTX-shaped answers call it USDC and CDE-shaped ones USD.
"""

from decimal import Decimal
from typing import Any, Final

from services.paper_exchange.shapes_orders import hold, portfolio_uuid
from services.paper_exchange.wire import amount, rfc3339, rounded_text, text
from touchstone.exchange import Exchange, Family, Order, Product
from touchstone.exchange.accounts import Position
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.money import ZERO

_HUNDRED: Final = Decimal(100)


def accounts_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the account's one balance as `/accounts` lists it."""
    equity = exchange.equity(account)
    required = exchange.margin_requirement(account)
    opened = rfc3339(exchange.config.start_ns)
    return {
        "accounts": [
            {
                "uuid": derived_uuid("balance", account),
                "name": "USD Wallet",
                "currency": "USD",
                "available_balance": amount(max(ZERO, equity - required), "USD"),
                "default": True,
                "active": True,
                "created_at": opened,
                "updated_at": rfc3339(exchange.now_ns),
                "deleted_at": None,
                "type": "ACCOUNT_TYPE_FIAT",
                "ready": True,
                "hold": amount(required, "USD"),
                "retail_portfolio_id": portfolio_uuid(account),
                "platform": "ACCOUNT_PLATFORM_CFM_CONSUMER",
            }
        ],
        "has_next": False,
        "cursor": "",
        "size": 1,
    }


def portfolios_shape(account: str, portfolio_type: str | None) -> dict[str, Any]:
    """Return the account's portfolio under both types that clients ask for."""
    kinds = ("DEFAULT", "INTX")
    return {
        "portfolios": [
            {
                "name": account,
                "uuid": portfolio_uuid(account),
                "type": kind,
                "deleted": False,
            }
            for kind in kinds
            if portfolio_type in (None, "", "UNDEFINED", kind)
        ]
    }


def intx_positions_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the open INTX-shaped positions and their summed result."""
    positions = [
        intx_position_shape(exchange, account, product)
        for product in _held(exchange, account, Family.INTX)
    ]
    return {
        "positions": positions,
        "summary": {"aggregated_pnl": amount(_aggregated(exchange, account), "USDC")},
    }


def intx_position_shape(exchange: Exchange, account: str, product: Product) -> dict[str, Any]:
    """Return one INTX-shaped position; a flat one has size 0 and no side."""
    position = _position(exchange, account, product)
    mark = exchange.markets[product.product_id].mark()
    leverage = exchange.leverage(account, product)
    notional = product.value(mark, position.lots)
    entry = position.entry_price(product) or ZERO
    sides = {1: "POSITION_SIDE_LONG", -1: "POSITION_SIDE_SHORT", 0: "POSITION_SIDE_UNKNOWN"}
    working = exchange.open_orders(account, product.product_id)
    return {
        "product_id": product.product_id,
        "product_uuid": derived_uuid("product", product.product_id),
        "portfolio_uuid": portfolio_uuid(account),
        "symbol": product.product_id,
        "vwap": amount(entry, "USDC"),
        "entry_vwap": amount(entry, "USDC"),
        "position_side": sides[(position.lots > 0) - (position.lots < 0)],
        "margin_type": "MARGIN_TYPE_CROSS",
        "net_size": _signed(product, position.lots),
        "buy_order_size": _working(product, working, "BUY"),
        "sell_order_size": _working(product, working, "SELL"),
        "im_contribution": rounded_text(abs(notional) / leverage),
        "unrealized_pnl": amount(position.unrealised(product, mark), "USDC"),
        "mark_price": amount(mark, "USDC"),
        # There is no liquidation in this version, hence no price of it and no maintenance margin.
        "liquidation_price": amount(ZERO, "USDC"),
        "leverage": text(leverage),
        "im_notional": amount(abs(notional) / leverage, "USDC"),
        "mm_notional": amount(ZERO, "USDC"),
        "position_notional": amount(notional, "USDC"),
        "aggregated_pnl": amount(position.realised + position.unrealised(product, mark), "USDC"),
    }


def intx_portfolio_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the portfolio summary in the INTX shape."""
    books = exchange.accounts[account]
    marks = exchange.marks()
    unrealised = books.unrealised(exchange.products, marks)
    equity = books.balance + unrealised
    required = exchange.margin_requirement(account)
    notional = sum(
        (abs(exchange.products[n].value(marks[n], p.lots)) for n, p in books.positions.items()),
        ZERO,
    )
    return {
        "portfolios": [
            {
                "portfolio_uuid": portfolio_uuid(account),
                "collateral": rounded_text(books.balance),
                "position_notional": rounded_text(notional),
                "open_position_notional": rounded_text(notional),
                "pending_fees": "0",
                "borrow": "0",
                "accrued_interest": "0",
                "rolling_debt": "0",
                "portfolio_initial_margin": rounded_text(required),
                "portfolio_im_notional": amount(required, "USDC"),
                "portfolio_maintenance_margin": "0",
                "portfolio_mm_notional": amount(ZERO, "USDC"),
                "liquidation_percentage": "0",
                "liquidation_buffer": rounded_text(equity),
                "margin_type": "MARGIN_TYPE_CROSS",
                "margin_flags": "PORTFOLIO_MARGIN_FLAGS_UNSPECIFIED",
                "liquidation_status": "PORTFOLIO_LIQUIDATION_STATUS_NOT_LIQUIDATING",
                "unrealized_pnl": amount(unrealised, "USDC"),
                "total_balance": amount(equity, "USDC"),
            }
        ],
        "summary": {
            "unrealized_pnl": amount(unrealised, "USDC"),
            "buying_power": amount(max(ZERO, equity - required), "USDC"),
            "total_balance": amount(equity, "USDC"),
            "max_withdrawal_amount": amount(max(ZERO, books.balance - required), "USDC"),
        },
    }


def cfm_positions_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the open CDE-shaped positions."""
    return {
        "positions": [
            cfm_position_shape(exchange, account, product)
            for product in _held(exchange, account, Family.CDE)
        ]
    }


def cfm_position_shape(exchange: Exchange, account: str, product: Product) -> dict[str, Any]:
    """Return one CDE-shaped position; prices are plain texts. A flat one has no contracts.

    `daily_realized_pnl` is what was realised since the venue started: there is no daily cut yet.
    """
    position = _position(exchange, account, product)
    mark = exchange.markets[product.product_id].mark()
    return {
        "product_id": product.product_id,
        "expiration_time": "2030-12-20T16:00:00Z",
        "side": "LONG" if position.lots > 0 else "SHORT" if position.lots < 0 else "UNKNOWN",
        "number_of_contracts": text(abs(product.instrument.lot_size * position.lots)),
        "current_price": rounded_text(mark),
        "avg_entry_price": rounded_text(position.entry_price(product) or ZERO),
        "unrealized_pnl": rounded_text(position.unrealised(product, mark)),
        "daily_realized_pnl": rounded_text(position.realised),
    }


def cfm_balance_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the futures balance summary. Without liquidation its threshold is 0."""
    books = exchange.accounts[account]
    unrealised = books.unrealised(exchange.products, exchange.marks())
    equity = books.balance + unrealised
    required = exchange.margin_requirement(account)
    free = max(ZERO, equity - required)
    holds = sum((hold(order) for order in exchange.open_orders(account)), ZERO)
    realised = sum((position.realised for position in books.positions.values()), ZERO)
    percentage = _HUNDRED * free / equity if equity > 0 else ZERO
    return {
        "balance_summary": {
            "futures_buying_power": amount(free, "USD"),
            "total_usd_balance": amount(books.balance, "USD"),
            "cbi_usd_balance": amount(ZERO, "USD"),
            "cfm_usd_balance": amount(books.balance, "USD"),
            "total_open_orders_hold_amount": amount(holds, "USD"),
            "unrealized_pnl": amount(unrealised, "USD"),
            "daily_realized_pnl": amount(realised, "USD"),
            "initial_margin": amount(required, "USD"),
            "available_margin": amount(free, "USD"),
            "liquidation_threshold": amount(ZERO, "USD"),
            "liquidation_buffer_amount": amount(equity, "USD"),
            "liquidation_buffer_percentage": rounded_text(percentage),
            "intraday_margin_window_measure": None,
            "overnight_margin_window_measure": None,
        }
    }


def transaction_summary_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return what the account has traded and paid, and its one fee tier."""
    books = exchange.accounts[account]
    return {
        "total_volume": float(books.volume),
        "total_fees": float(books.fees_paid),
        "fee_tier": {
            "pricing_tier": "Paper",
            "usd_from": "0",
            "usd_to": "",
            "taker_fee_rate": text(exchange.config.taker_fee_rate),
            "maker_fee_rate": text(exchange.config.maker_fee_rate),
            "aop_from": "",
            "aop_to": "",
        },
        "margin_rate": None,
        "goods_and_services_tax": None,
        "advanced_trade_only_volume": float(books.volume),
        "advanced_trade_only_fees": float(books.fees_paid),
        "total_balance": rounded_text(exchange.equity(account)),
        "has_promo_fee": False,
    }


def _held(exchange: Exchange, account: str, family: Family) -> list[Product]:
    return [
        product
        for product in exchange.products.values()
        if product.family is family and _position(exchange, account, product).lots
    ]


def _position(exchange: Exchange, account: str, product: Product) -> Position:
    return exchange.accounts[account].position(product.product_id)


def _signed(product: Product, lots: int) -> str:
    return text(product.instrument.lot_size * lots)


def _working(product: Product, orders: list[Order], side: str) -> str:
    lots = sum(order.leaves_lots for order in orders if order.side == side)
    return text(product.instrument.lot_size * lots)


def _aggregated(exchange: Exchange, account: str) -> Decimal:
    marks = exchange.marks()
    return sum(
        (
            position.realised + position.unrealised(exchange.products[name], marks[name])
            for name, position in exchange.accounts[account].positions.items()
            if exchange.products[name].family is Family.INTX
        ),
        ZERO,
    )
