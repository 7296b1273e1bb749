"""The console at `/`: its files, what it reads, and what a browser shows."""

import asyncio
import re
import shutil
from pathlib import Path

import httpx
import pytest

from services.router.openapi import operations
from services.router.routes_console import ASSETS, FOLDER
from tests.services.router_harness import Harness

PLAIN = {"/readyz", "/metrics", "/docs", "/v1/rollout"}
"""What the page links to or reads that takes no parameter."""


def test_it_reads_only_what_the_api_declares() -> None:
    """Every path in the page and its script is an operation, or one of every service's own."""
    declared = {operation.path for operation in operations(100)} | PLAIN
    text = "".join((FOLDER / name).read_text() for name in ("index.html", "console.js"))
    paths = {
        path.rstrip("/")
        for path in re.findall(r"[\"`](/(?:v1|readyz|docs|metrics)[^\"`?$]*)", text)
    }

    assert len(paths) > 7
    assert set() == paths - declared - {"/v1/decisions"}


async def test_its_files_come_with_a_policy(url: str) -> None:
    """The page and its files may talk to their own service only; nothing else is served."""
    async with httpx.AsyncClient(base_url=url) as client:
        for path in ("/", *(f"/console/{name}" for name in ASSETS)):
            answer = await client.get(path)
            assert 200 == answer.status_code, path
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        fault = await client.get("/console/..%2f__init__.py")
        assert 404 == fault.status_code
        fault = await client.get("/console/index.html")
        assert "allowed: console.css, console.js" in fault.json()["error"]["message"]


@pytest.mark.slow
async def test_a_browser_shows_what_the_router_says(
    harness: Harness, url: str, tmp_path: Path
) -> None:
    """An order sent is in the page, with who answered it; the phase and the health too."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on PATH to open the console with")
    body = await harness.execute("AAPL")
    process = await asyncio.create_subprocess_exec(
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *(f"--user-data-dir={tmp_path}", "--virtual-time-budget=9000", "--dump-dom", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        page = (await process.communicate())[0].decode()

    assert body["decision"]["id"][:8] in page
    assert '<p class="big"><span class="good">SHADOW</span>' in page
    assert "as of " in page
    assert "what is shown may be old" not in page
    assert "needs 100" in page  # the triggers
