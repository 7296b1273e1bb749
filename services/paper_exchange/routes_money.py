"""`GET /admin/money`: where all the money is, so that anybody can add it up. Loopback only."""

from decimal import Decimal
from typing import Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, Response

from services.paper_exchange.routes_admin import require_local
from services.paper_exchange.venue import Venue
from services.paper_exchange.wire import rfc3339, text
from touchstone.exchange import Exchange
from touchstone.exchange.accounts import Account

PAYMENTS_SHOWN: Final = 100
"""The latest funding payments of each account."""


def money_router(venue: Venue) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/admin", dependencies=[Depends(require_local)])

    @router.get("/money")
    async def money() -> Response:
        return JSONResponse(money_shape(venue.exchange))

    return router


def money_shape(exchange: Exchange) -> dict[str, Any]:
    """Return deposits, book values, fees, fund, marks, rates and funding payments, as texts.

    Book value is money less the cost of what is held: it needs no prices. `deposits` is what
    `book_values`, `insurance_fund` and `fees` add up to, exactly.
    """
    clearing, liquidator = exchange.clearing, exchange.liquidator
    customers = [*clearing.accounts.values(), clearing.flow]
    return {
        "time": rfc3339(exchange.now_ns),
        "deposits": text(clearing.deposits()),
        "book_values": text(sum((one.book_value() for one in customers), Decimal(0))),
        "insurance_fund": text(clearing.fund.book_value()),
        "fees": text(clearing.fees_collected),
        "insurance_fund_equity": text(
            clearing.fund.equity(clearing.products, clearing.mark_prices())
        ),
        "conserved": clearing.conserved_total() == clearing.deposits(),
        "liquidation": {
            "orders": liquidator.steps,
            "lots_taken_over": liquidator.taken_over_lots,
            "lots_deleveraged": liquidator.deleveraged_lots,
        },
        "products": {
            name: {
                "mark": text(clearing.mark(name)),
                "index": text(clearing.index(name)),
                "funding_rate": text(funding.rate),
                "funding_time": None if funding.time_ns is None else rfc3339(funding.time_ns),
                "predicted_rate": text(funding.predicted()),
            }
            for name, funding in clearing.funding.items()
        },
        "accounts": {
            account.name: _account(exchange, account) for account in clearing.accounts.values()
        },
    }


def _account(exchange: Exchange, account: Account) -> dict[str, Any]:
    return {
        "deposits": text(account.deposits),
        "balance": text(account.balance),
        "allocated": text(account.allocated()),
        "equity": text(exchange.equity(account.name)),
        "book_value": text(account.book_value()),
        "fees_paid": text(account.fees_paid),
        "liquidating": sorted(account.liquidating),
        "funding": [
            {
                "product_id": payment.product_id,
                "time": rfc3339(payment.time_ns),
                "lots": payment.lots,
                "mark": text(payment.mark),
                "rate": text(payment.rate),
                "paid": text(payment.amount),
            }
            for payment in list(account.payments)[-PAYMENTS_SHOWN:]
        ],
    }
