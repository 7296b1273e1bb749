"""REST routes about money: positions, profit, and how the risk guards stand."""

from typing import Any

from fastapi import APIRouter

from services.order_gateway.engine import Engine
from services.order_gateway.models import position_json
from services.order_gateway.money import Money


def money_routes(engine: Engine, money: Money) -> APIRouter:
    """Return the routes over the account's money."""
    router = APIRouter()

    @router.get("/v1/positions")
    async def positions() -> dict[str, Any]:
        rows = [
            position_json(engine.ledger.position(symbol), money.account.mark(symbol))
            for symbol in engine.symbols
        ]
        return {"positions": rows, "reconciled": engine.reconciled}

    @router.get("/v1/pnl")
    async def pnl() -> dict[str, Any]:
        return money.pnl()

    @router.get("/v1/risk")
    async def risk() -> dict[str, Any]:
        return {"guards": money.watchers.describe()}

    return router
