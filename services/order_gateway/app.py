"""The gateway as an ASGI app over its components."""

from fastapi import FastAPI

from services.order_gateway.capabilities import capability_routes
from services.order_gateway.guard import MutationGuard
from services.order_gateway.openapi import AllowedMethods, document_faults
from services.order_gateway.routes import create_router
from services.order_gateway.routes_go_no_go import go_no_go_routes
from services.order_gateway.routes_kill import WatchdogEar, kill_routes
from services.order_gateway.routes_money import money_routes
from services.order_gateway.wiring import Components
from touchstone.kit.trace import TraceRequests
from touchstone.kit.web import create_web_app


def create_app(components: Components) -> FastAPI:
    """Return the app: health, metrics, the routes, and the guard in front of them."""
    app = create_web_app("order_gateway", components.readiness, components.registry)
    app.include_router(
        create_router(components.engine, components.store, components.books),
    )
    app.include_router(
        kill_routes(
            components.kill_switch, components.flattening, WatchdogEar(components.engine.metrics)
        ),
    )
    app.include_router(money_routes(components.engine, components.money))
    app.include_router(capability_routes(components.capabilities))
    app.include_router(go_no_go_routes(components.go_no_go))
    settings = components.settings
    token = settings.api_token.get_secret_value() if settings.api_token else None
    app.add_middleware(
        MutationGuard,
        token=token,
        allowed_hosts=settings.allowed_hosts,
        per_second=settings.mutations_per_second,
    )
    app.add_middleware(AllowedMethods, documented=app)
    app.add_middleware(TraceRequests)
    document_faults(app)
    return app
