"""The ASGI app: Coinbase's paths, the feed at `/`, administration, health and metrics."""

from fastapi import FastAPI

from services.paper_exchange.faults_rest import RestFaults
from services.paper_exchange.gate import QuotaHeaders, install_answers
from services.paper_exchange.quick import quick_orders
from services.paper_exchange.routes_accounts import account_router
from services.paper_exchange.routes_admin import admin_router
from services.paper_exchange.routes_faults import fault_router
from services.paper_exchange.routes_feed import feed_router
from services.paper_exchange.routes_futures import futures_router
from services.paper_exchange.routes_ledger import ledger_router
from services.paper_exchange.routes_markets import market_router
from services.paper_exchange.routes_money import money_router
from services.paper_exchange.routes_orders import order_router
from services.paper_exchange.routes_wallet import wallet_router
from services.paper_exchange.wiring import Components
from touchstone.kit.trace import TraceRequests
from touchstone.kit.web import create_web_app


def create_app(components: Components) -> FastAPI:
    """Return the app over composed components."""
    app = create_web_app("paper_exchange", components.readiness, components.registry)
    install_answers(app)
    app.add_middleware(QuotaHeaders)
    venue, gate, faults = components.venue, components.gate, components.faults
    app.add_middleware(RestFaults, book=faults, account_of=gate.claimed_account)
    app.add_middleware(TraceRequests)
    app.include_router(market_router(venue, gate))
    orders = order_router(venue, gate, components.metrics)
    app.include_router(orders)
    app.include_router(account_router(venue, gate))
    app.include_router(futures_router(venue, gate))
    app.include_router(wallet_router(venue, gate))
    app.include_router(ledger_router(venue, gate))
    app.include_router(admin_router(venue, components.feed))
    app.include_router(money_router(venue))
    app.include_router(fault_router(faults, components.feed))
    app.include_router(feed_router(components.feed))
    app.state.quick_posts, app.state.quick_gets = quick_orders(
        orders.routes, gate, faults.concerns_rest
    )
    return app
