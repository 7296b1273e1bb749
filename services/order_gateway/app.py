"""The gateway as an ASGI app over its components."""

from fastapi import FastAPI

from services.order_gateway.guard import MutationGuard
from services.order_gateway.routes import create_router
from services.order_gateway.wiring import Components
from touchstone.kit.web import create_web_app


def create_app(components: Components) -> FastAPI:
    """Return the app: health, metrics, the routes, and the guard in front of them."""
    app = create_web_app("order_gateway", components.readiness, components.registry)
    app.include_router(
        create_router(components.engine, components.store, components.kill_switch),
    )
    settings = components.settings
    token = settings.api_token.get_secret_value() if settings.api_token else None
    app.add_middleware(MutationGuard, token=token, allowed_hosts=settings.allowed_hosts)
    return app
