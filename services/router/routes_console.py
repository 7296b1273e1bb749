"""The console at `/`: one page that shows what the router's own API says, every two seconds.

It only reads. The files are served as they are, under a policy that lets the page talk to its own
service and nothing else.
"""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse

from lob.errors import NotFound
from touchstone.kit.docs_page import HEADERS

FOLDER: Final = Path(__file__).with_name("console")
ASSETS: Final = ("console.css", "console.js")


def console_routes() -> APIRouter:
    """Return the routes of the page and of its files."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def console() -> FileResponse:
        return FileResponse(FOLDER / "index.html", headers=HEADERS)

    @routes.get("/console/{name}")
    async def asset(name: str) -> FileResponse:
        if name not in ASSETS:
            raise NotFound(f"/console: {name[:80]!r}; allowed: {', '.join(ASSETS)}")
        return FileResponse(FOLDER / name, headers=HEADERS)

    return routes
