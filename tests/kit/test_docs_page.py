"""The documentation page: everything from this service, or one clear line."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from touchstone.kit import docs_page
from touchstone.kit.web import install_fault_handlers


def served() -> httpx.AsyncClient:
    """Return a client of an app with the page."""
    app = FastAPI(title="a service", docs_url=None, redoc_url=None)
    docs_page.install_docs_page(app)
    install_fault_handlers(app)
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client where the package is installed."""
    async with served() as asker:
        yield asker


async def test_the_page_names_its_own_service_only(client: httpx.AsyncClient) -> None:
    """Every file it names is here, and its policy forbids any other."""
    page = await client.get("/docs")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 4
    for path in named:
        assert path.startswith("/docs/assets/")
        found = await client.get(path)
        assert (found.status_code, len(found.content) > 100) == (200, True)
    assert "http" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["x.js", "..%2F__init__.py", "redoc.standalone.js"])
async def test_no_other_file_is_served(client: httpx.AsyncClient, name: str) -> None:
    """Nor anything outside the folder."""
    assert (await client.get(f"/docs/assets/{name}")).status_code == 404


async def test_without_the_package_the_page_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """404 in one line; the service works all the same."""
    monkeypatch.setattr(docs_page, "PACKAGE", "a_package_that_is_not_there")
    async with served() as asker:
        response = await asker.get("/docs")
        assert response.status_code == 404
        assert "fastapi-offline is not installed" in response.json()["error"]["message"]
