"""The router's web application, made from its components."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from services.router.rollout_control import StaleGeneration
from services.router.routes import execution_routes, shadow_routes
from services.router.routes_rollout import precondition_failed, rollout_routes
from services.router.wiring import Components
from touchstone.kit.web import create_web_app


def create_app(components: Components) -> FastAPI:
    """Return the application; its life is that of the components."""
    app = create_web_app("router", components.readiness, components.registry)

    @app.exception_handler(StaleGeneration)
    async def on_stale(_request: Request, fault: StaleGeneration) -> JSONResponse:
        return precondition_failed(fault)

    app.include_router(execution_routes(components))
    app.include_router(rollout_routes(components))
    app.include_router(shadow_routes(components))
    return app
