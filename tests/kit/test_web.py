"""The base web app: health, readiness, metrics, faults as JSON."""

import asyncio

import httpx
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from lob.errors import Conflict
from touchstone.kit.health import Readiness
from touchstone.kit.metrics import create_registry
from touchstone.kit.web import create_web_app


class Body(BaseModel):
    """A request body with one field."""

    model_config = ConfigDict(extra="forbid")
    size: int


class Band(BaseModel):
    """A body whose fields are checked by code, one alone and both together."""

    low: int
    high: int

    @field_validator("low")
    @classmethod
    def _is_even(cls, low: int) -> int:
        if low % 2:
            raise ValueError("allowed: even numbers")
        return low

    @model_validator(mode="after")
    def _in_order(self) -> "Band":
        if self.low > self.high:
            raise ValueError(f"low: {self.low}; allowed: at most high, {self.high}")
        return self


def client_of(readiness: Readiness) -> httpx.AsyncClient:
    """Return a client of an app with one route that fails and one that validates."""
    app: FastAPI = create_web_app("router", readiness, create_registry("router"))

    @app.get("/conflict")
    async def conflict() -> None:
        raise Conflict("generation: 3: the present one is 4")

    @app.get("/defect")
    async def defect() -> None:
        raise ZeroDivisionError("division by zero")

    @app.post("/sized")
    async def sized(body: Body) -> int:
        return body.size

    @app.post("/band")
    async def band(body: Band) -> int:
        return body.low

    # As over a socket: the server answers and logs, where the transport would raise here.
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def ready() -> str:
    """Pass."""
    return "there"


async def broken() -> str:
    """Fail as a dead dependency does."""
    raise ConnectionRefusedError("connection refused")


async def hangs() -> str:
    """Never answer."""
    await asyncio.sleep(3600)
    return "never"


async def test_ready_when_all_checks_pass() -> None:
    """All good is 200 and says what is there."""
    readiness = Readiness()
    readiness.add("redis", ready)
    async with client_of(readiness) as client:
        response = await client.get("/readyz")
    assert (200, "ready") == (response.status_code, response.json()["status"])


async def test_an_optional_failure_is_degraded_not_down() -> None:
    """What the service can do without makes it degraded, and the reason is shown."""
    readiness = Readiness()
    readiness.add("simulator", broken, required=False)
    async with client_of(readiness) as client:
        response = await client.get("/readyz")
    assert (200, "degraded") == (response.status_code, response.json()["status"])
    assert response.json()["checks"]["simulator"]["detail"] == "connection refused"


async def test_a_required_check_that_hangs_is_not_ready_in_bounded_time() -> None:
    """A dependency that never answers cannot hang the probe."""
    readiness = Readiness(timeout_seconds=0.05)
    readiness.add("venue", hangs)
    async with client_of(readiness) as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert "0.05 s" in response.json()["checks"]["venue"]["detail"]


async def test_faults_and_bad_bodies_have_one_shape() -> None:
    """A fault and a validation error answer alike, and name field and value."""
    async with client_of(Readiness()) as client:
        conflict = await client.get("/conflict")
        wrong = await client.post("/sized", json={"size": "huge"})
        broken = await client.post(
            "/sized", content="{size: 1}", headers={"content-type": "application/json"}
        )
        unknown = await client.post("/sized", json={"size": 1, "sizes": 2})
    assert (409, "generation: 3: the present one is 4") == (
        conflict.status_code,
        conflict.json()["error"]["message"],
    )
    assert broken.status_code == 400
    assert broken.json()["error"]["message"].startswith("body: no JSON: ")
    assert wrong.status_code == 400
    assert "size: 'huge'" in wrong.json()["error"]["message"]
    assert "sizes" in unknown.json()["error"]["message"]


async def test_a_check_of_our_own_is_told_in_its_own_words() -> None:
    """Without pydantic's prefix; of fields together, without the whole body before it."""
    async with client_of(Readiness()) as client:
        alone = (await client.post("/band", json={"low": 3, "high": 5})).json()
        together = (await client.post("/band", json={"low": 6, "high": 5})).json()
    assert "low: 3: allowed: even numbers" == alone["error"]["message"]
    assert "low: 6; allowed: at most high, 5" == together["error"]["message"]


async def test_unknown_paths_methods_and_defects_have_the_same_shape() -> None:
    """A client reads one kind of error; a defect tells nothing of its inside."""
    async with client_of(Readiness()) as client:
        path = await client.get("/nowhere")
        method = await client.delete("/sized")
        defect = await client.get("/defect")
    assert (404, "NOT_FOUND") == (path.status_code, path.json()["error"]["code"])
    assert "GET /nowhere" in path.json()["error"]["message"]
    assert (405, "METHOD_NOT_ALLOWED") == (method.status_code, method.json()["error"]["code"])
    assert "POST" == method.headers["Allow"]
    assert (500, "INTERNAL") == (defect.status_code, defect.json()["error"]["code"])
    assert "division" not in defect.text


async def test_metrics_carry_build_information() -> None:
    """Prometheus sees which build runs."""
    async with client_of(Readiness()) as client:
        text = (await client.get("/metrics")).text
    assert "touchstone_build_info{" in text
    assert 'service="router"' in text
