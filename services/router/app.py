"""The router's web application, made from its components."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from services.router.execute import Direct, execution_posts, quick_posts
from services.router.openapi import document, needs_token, operations
from services.router.request_shape import RequestShape
from services.router.rollout_control import StaleGeneration
from services.router.routes import execution_routes, shadow_routes
from services.router.routes_console import console_routes
from services.router.routes_decisions import decision_routes
from services.router.routes_go_no_go import go_no_go_routes
from services.router.routes_rollout import rollout_routes, stale_generation
from services.router.wiring import Components
from touchstone.kit.guard import ControlGuard, is_loopback
from touchstone.kit.trace import TraceRequests
from touchstone.kit.web import create_web_app


def create_app(components: Components) -> FastAPI:
    """Return the application; its life is that of the components."""
    app = create_web_app("router", components.readiness, components.registry)

    @app.exception_handler(StaleGeneration)
    async def on_stale(_request: Request, fault: StaleGeneration) -> JSONResponse:
        return stale_generation(fault)

    app.include_router(execution_routes(components))
    app.include_router(rollout_routes(components))
    app.include_router(go_no_go_routes(components.autopilot.go_no_go))
    app.include_router(shadow_routes(components))
    app.include_router(decision_routes(components.decisions))
    app.include_router(console_routes())
    _guard(app, components)
    return app


def _guard(app: FastAPI, components: Components) -> None:
    """Put who may ask in front of the routes, and before that the declared API."""
    settings = components.settings
    app.router.redirect_slashes = False
    app.openapi = lambda: document(  # type: ignore[method-assign]
        settings.batch_size_max, token_set=settings.token is not None
    )
    # The last one added is asked first: that a path has no such method is no secret.
    posts = execution_posts(components.router, settings.batch_size_max)
    app.state.quick_posts = quick_posts(posts)
    app.add_middleware(Direct, posts=posts, quick=app.state.quick_posts)
    app.add_middleware(
        ControlGuard,
        token=settings.token,
        loopback_only=is_loopback(settings.host),
        needs_token=needs_token,
        allowed_hosts=settings.allowed_hosts,
    )
    app.add_middleware(RequestShape, operations=operations(settings.batch_size_max))
    app.add_middleware(TraceRequests)
