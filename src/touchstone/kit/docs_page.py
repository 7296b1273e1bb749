"""The page under `/docs`: Swagger UI over `/openapi.json`, served from an installed package.

Nothing is fetched from elsewhere, so the page works on a machine without a network, and its policy
lets it talk to its own service only.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response

from lob.errors import NotFound

PACKAGE: Final = "fastapi_offline"
"""Whose files are served; nothing of it is run."""
ASSETS: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
HEADERS: Final = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
"""What both pages are served with, this one and the router's console."""
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="/docs/assets/favicon.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""
_START: Final = """\
"use strict";
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""


def install_docs_page(app: FastAPI) -> None:
    """Add `/docs` and its files to an app that was made without such a page.

    Without the package the page is 404, and says what to install; the service works all the same.
    """
    folder = _folder()

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        if folder is None:
            raise NotFound("/docs: fastapi-offline is not installed; allowed: GET /openapi.json")
        return HTMLResponse(_PAGE.format(title=app.title), headers=HEADERS)

    @app.get("/docs/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name == "start.js":
            return Response(_START, media_type="text/javascript", headers=HEADERS)
        if folder is None or name not in ASSETS:
            raise NotFound(f"/docs/assets: {name[:80]!r}; allowed: what /docs names")
        return FileResponse(folder / name, headers=HEADERS)


def _folder() -> Path | None:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "static"
    return folder if all((folder / name).is_file() for name in ASSETS) else None
