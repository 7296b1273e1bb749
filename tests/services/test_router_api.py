"""The API is what its document says: each route, each example, each answer, each refusal."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from services.router.app import create_app
from services.router.openapi import document as make_document
from services.router.openapi import needs_token
from services.router.routes_rollout import _PUT_KEYS
from tests.services.api_contract import check, validator
from tests.services.router_harness import Harness, request_json, running_router, to_canary
from touchstone.kit.redis_server import RedisServer

Eventually = Callable[..., Awaitable[float]]
pytestmark = pytest.mark.usefixtures("router_environment")

TOKEN = "a-token-of-24-characters"
DOCUMENT = make_document(256)
NESTED = b"[" * 100_000 + b"]" * 100_000
TWICE = b'{"reason": "once", "reason": "more"}'
AS_JSON = {"Content-Type": "application/json"}
MATCH_TWICE = [("If-Match", '"1"'), ("If-Match", '"2"')]


def described() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and operation of all that is documented."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def examples(media: dict[str, Any]) -> list[Any]:
    """Return the whole bodies that are given as examples."""
    return [example["value"] for example in media.get("examples", {}).values()]


def flattened(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield the routes themselves, also those of routers that were included."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from flattened(included.routes)


async def test_the_document_has_every_route_and_no_other(harness: Harness) -> None:
    """A route that nobody documents, and an operation that nobody serves, both fail here."""
    app = create_app(harness.components)
    routes = {
        (route.path, method.lower())
        for route in flattened(app.routes)
        for method in route.methods - {"HEAD"}
        # Pages for people, and the document itself.
        if route.path not in {"/", "/openapi.json"}
        and not route.path.startswith(("/docs", "/console/"))
    }
    assert routes == {(path, method) for path, method, _ in described()}


async def test_the_service_serves_the_document(harness: Harness) -> None:
    """What tools read is what these tests hold the handlers to."""
    response = await harness.client.get("/openapi.json")
    assert (response.status_code, response.json()) == (200, make_document(256, token_set=False))


async def test_without_a_token_the_document_does_not_demand_one(
    harness: Harness, guarded: Harness
) -> None:
    """It says what this router does: with a token it is demanded, without one nobody looks."""
    for running, expected in ((harness, None), (guarded, [{"token": []}])):
        paths = (await running.client.get("/openapi.json")).json()["paths"]
        changing = paths["/v1/rollout"]["put"]
        assert changing.get("security") == expected
        assert ("401" in changing["responses"]) is (expected is not None)
        assert "security" not in paths["/v1/executions"]["post"]


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    """The schemas are valid, and compile with all that they refer to."""
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
        validator(DOCUMENT, schema)


def test_every_operation_is_described_and_unique() -> None:
    """Summary, description, an id of its own; a description and an example of each parameter."""
    names = [operation["operationId"] for _, _, operation in described()]
    assert len(set(names)) == len(names)
    for path, _, operation in described():
        assert operation["summary"], path
        assert operation["description"], path
        assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], path
            validator(DOCUMENT, parameter["schema"]).validate(parameter["example"])


def test_every_example_has_the_shape_that_it_is_an_example_of() -> None:
    """Requests and answers, refusals too; every request has one."""
    for path, _, operation in described():
        media = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if media is not None:
            assert examples(media), path
            for example in examples(media):
                validator(DOCUMENT, media["schema"]).validate(example)
        for response in operation["responses"].values():
            for answered in response.get("content", {}).values():
                for example in examples(answered):
                    validator(DOCUMENT, answered["schema"]).validate(example)


def test_a_change_may_name_what_the_handler_reads() -> None:
    """The keys of the document and those of the handler are the same."""
    assert set(DOCUMENT["components"]["schemas"]["RolloutChange"]["properties"]) == set(_PUT_KEYS)


def bodies(path: str, method: str = "post") -> list[Any]:
    """Return the examples of a request."""
    return examples(DOCUMENT["paths"][path][method]["requestBody"]["content"]["application/json"])


@pytest.mark.parametrize("path", ["/v1/executions", "/v1/executions/batch"])
async def test_the_examples_of_executions_are_executed(harness: Harness, path: str) -> None:
    """They can be sent as they stand, and something fills."""
    for body in bodies(path):
        response = await harness.client.post(path, json=body, params={"account": "alice"})
        answer = check(DOCUMENT, path, response, 200).json()
        fills = [result["fill"] for result in answer.get("results", [answer])]
        assert "FILLED" in [fill["status"] for fill in fills] or len(fills) == 1


async def test_the_examples_of_changes_are_made_and_undone(harness: Harness) -> None:
    """Change, roll back in both ways, re-arm, with the bodies of the document."""
    path = "/v1/rollout"
    generation = 1
    for body in bodies(path, "put"):
        response = await harness.put(generation, **body)
        generation = check(DOCUMENT, path, response, 200).json()["generation"]
    for body in bodies("/v1/rollout/rollback"):
        response = await harness.client.post("/v1/rollout/rollback", json=body)
        generation = check(DOCUMENT, "/v1/rollout/rollback", response, 200).json()["generation"]
        for again in bodies("/v1/rollout/rearm"):
            changed = again | {"expected_generation": generation}
            response = await harness.client.post("/v1/rollout/rearm", json=changed)
            check(DOCUMENT, "/v1/rollout/rearm", response, 200)


async def test_the_examples_of_the_matrix_are_taken(harness: Harness) -> None:
    """A waiver is given and taken back once, a measurement is reported."""
    for template, row in (
        ("/v1/go-no-go/waivers/{row}", "slippage"),
        ("/v1/go-no-go/measurements/{row}", "post_only_rejects"),
    ):
        for body in bodies(template, "put"):
            response = await harness.client.put(template.format(row=row), json=body)
            check(DOCUMENT, template, response, 200)
    template = "/v1/go-no-go/waivers/{row}"
    for expected in (200, 404):
        response = await harness.client.delete(template.format(row="slippage"))
        check(DOCUMENT, template, response, expected)


async def test_every_answer_has_the_shape_that_is_promised(
    harness: Harness, eventually: Eventually
) -> None:
    """With something in each: pairs, a verdict, an audit, a dossier in both its forms."""
    get = harness.client.get
    decided = (await harness.execute("AAPL"))["decision"]["id"]
    await eventually(lambda: len(harness.components.shadow.store.pairs(0.0)) > 0)
    await to_canary(harness)
    await harness.client.post("/v1/rollout/rollback", json={"reason": "to be looked at"})
    for path in (
        "/v1/rollout",
        "/v1/rollout/analysis",
        "/v1/go-no-go",
        "/v1/go-no-go/verdicts",
        "/healthz",
        "/readyz",
        "/metrics",
    ):
        check(DOCUMENT, path, await get(path), 200)
    check(DOCUMENT, "/v1/assignments/{symbol}", await get("/v1/assignments/AAPL"), 200)
    summary = check(DOCUMENT, "/v1/shadow/summary", await get("/v1/shadow/summary"), 200)
    assert summary.json()["worst"]
    pairs = check(DOCUMENT, "/v1/shadow/pairs", await get("/v1/shadow/pairs?limit=1"), 200)
    assert pairs.json()["pairs"]
    audit = check(DOCUMENT, "/v1/rollout/audit", await get("/v1/rollout/audit?limit=2"), 200)
    assert [entry["phase"] for entry in audit.json()["entries"]] == ["ROLLED_BACK", "CANARY"]
    path = "/v1/decisions"
    assert check(DOCUMENT, path, await get(f"{path}?symbol=aapl"), 200).json()["decisions"]
    check(DOCUMENT, f"{path}/{{identity}}", await get(f"{path}/{decided}"), 200)
    check(DOCUMENT, f"{path}/{{identity}}", await get(f"{path}/{'0' * 32}"), 404)
    folder = harness.components.dossiers
    await eventually(lambda: bool(folder.names()))
    listed = check(DOCUMENT, "/v1/rollout/dossiers", await get("/v1/rollout/dossiers"), 200)
    name = listed.json()["dossiers"][0]["id"]
    for suffix in ("", ".html"):
        response = await get(f"/v1/rollout/dossiers/{name}{suffix}")
        check(DOCUMENT, "/v1/rollout/dossiers/{name}", response, 200)


@pytest.mark.parametrize(
    ("method", "path", "options", "expected", "named"),
    [
        ("GET", "/v1/shadow/pairs?limit=0", {}, 400, "limit"),
        ("GET", "/v1/shadow/pairs?limit=1001", {}, 400, "limit"),
        ("GET", "/v1/shadow/pairs?limit=nan", {}, 400, "limit"),
        ("GET", "/v1/shadow/pairs?limit=1&limit=2", {}, 400, "given twice"),
        ("GET", "/v1/shadow/pairs?limits=1", {}, 400, "no such parameter; allowed: limit"),
        ("GET", "/v1/rollout?x=%ff", {}, 400, "no such parameter; allowed: none here"),
        ("GET", "/metrics?x", {}, 400, "no such parameter"),
        ("GET", "/v1/shadow/summary?reference=%00", {}, 400, "reference"),
        ("GET", f"/v1/shadow/summary?reference={'x' * 9000}", {}, 400, "bytes"),
        ("POST", "/v1/executions?acount=a", {"json": {}}, 400, "allowed: account"),
        ("POST", "/v1/executions", {"content": b"\xff\xfe"}, 400, "body"),
        ("POST", "/v1/executions", {"content": b'{"\\ud800": 1}'}, 400, "\\\\ud800"),
        ("POST", "/v1/executions", {"content": b"null"}, 400, "body"),
        ("POST", "/v1/executions", {"content": b'{"market":' + b"[" * 100_000}, 400, "body"),
        ("POST", "/v1/executions", {"content": NESTED}, 400, "body"),
        ("POST", "/v1/executions", {"content": b'{"order":1e99999999999999999999}'}, 400, "1e99"),
        ("POST", "/v1/executions/batch", {"content": b'{"requests":' + NESTED}, 400, "body"),
        ("POST", "/v1/rollout/rollback", {"content": TWICE, "headers": AS_JSON}, 400, "reason"),
        ("PUT", "/v1/rollout", {"json": {}, "headers": MATCH_TWICE}, 400, "if-match: given twice"),
        ("POST", "/v1/executions", {"data": {"a": "b"}}, 415, "application/json"),
        ("POST", "/v1/executions/batch", {"content": b" " * 5_000_000}, 413, "4194304"),
        ("POST", "/v1/rollout/rollback", {"content": b'{"reason": "x"}'}, 415, "Content-Type"),
        ("POST", "/v1/rollout/rollback", {"json": {"reason": "\x00"}}, 200, "persisted"),
        ("POST", "/v1/rollout/rollback", {"json": {"reason": 1e300}}, 400, "reason"),
        ("POST", "/v1/rollout/rearm", {"json": {"reason": "none"}}, 428, "If-Match"),
        ("PUT", "/v1/rollout", {"json": {"phase": "OFF"}}, 428, "If-Match"),
    ],
)
async def test_what_is_wrong_in_shape_is_a_documented_refusal(
    harness: Harness, method: str, path: str, options: dict[str, Any], expected: int, named: str
) -> None:
    """Never a 5xx, never a trace: one line that names it."""
    response = await harness.client.request(method, path, **options)
    check(DOCUMENT, path.partition("?")[0], response, expected)
    assert named in response.text
    assert "\n" not in response.text


async def test_numbers_that_nobody_meant_are_answered(harness: Harness) -> None:
    """What the schema allows at its edges is an answer or a refusal, never a defect."""
    request = bodies("/v1/executions")[0]
    market = {"timestamp_ms": 0, "last_price": "5", "adv_notional": "7203"}
    for changed in (
        {"market": market | {"volatility": "502430902628490863359"}, "bar": None},
        {"market": request["market"] | {"asks": [["1E-20", "1"]], "bids": []}},
    ):
        response = await harness.client.post("/v1/executions", json=request | changed)
        check(DOCUMENT, "/v1/executions", response, response.status_code)
        assert response.status_code in {200, 400}


async def test_an_iceberg_is_a_refusal_of_the_request(harness: Harness) -> None:
    """What this version does not do is 400 by name, and no 5xx."""
    iceberg = request_json(display_quantity="1", type="LIMIT", limit_price="100")
    response = await harness.client.post("/v1/executions", json=iceberg)
    error = check(DOCUMENT, "/v1/executions", response, 400).json()["error"]
    assert error["code"] == "UNIMPLEMENTED"
    assert "icebergs" in error["message"]
    batch = await harness.client.post("/v1/executions/batch", json={"requests": [iceberg]})
    [result] = check(DOCUMENT, "/v1/executions/batch", batch, 200).json()["results"]
    assert result["error"]["code"] == "UNIMPLEMENTED"


@pytest.mark.parametrize("wrong", [-1, 2.5, "2", True, None, 2**53])
@pytest.mark.parametrize("name", ["n", "part"])
async def test_a_count_is_a_whole_number(harness: Harness, name: str, wrong: object) -> None:
    """What was measured is not rounded, and not negative."""
    path = "/v1/go-no-go/measurements/{row}"
    [body] = bodies(path, "put")
    response = await harness.client.put(
        path.format(row="post_only_rejects"), json=body | {name: wrong}
    )
    check(DOCUMENT, path, response, 400)
    assert f'"{name}: ' in response.text


async def test_a_rearm_that_names_two_generations_names_a_stale_one(harness: Harness) -> None:
    """Header and body have to agree: 409 with the present one, and nothing is changed."""
    path = "/v1/rollout/rearm"
    await harness.client.post("/v1/rollout/rollback", json={"reason": "bad fills"})
    for header, named in ((1, 2), (2, 1), (7, 8)):
        response = await harness.client.post(
            path,
            json={"reason": "fixed", "expected_generation": named},
            headers={"If-Match": f'"{header}"'},
        )
        error = check(DOCUMENT, path, response, 409).json()["error"]
        assert (error["code"], error["generation"]) == ("STALE_GENERATION", 2)
    for wrong in (-1, 1.5, "2", True, 10**16):
        body = {"reason": "fixed", "expected_generation": wrong}
        check(DOCUMENT, path, await harness.client.post(path, json=body), 400)
    right = await harness.client.post(
        path, json={"reason": "fixed", "expected_generation": 2.0}, headers={"If-Match": '"2"'}
    )
    check(DOCUMENT, path, right, 200)


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({"order": {"type": "LIMIT"}}, False),
        ({"order": {"type": "LIMIT", "limit_price": "1"}}, True),
        ({"order": {"limit_price": "1"}}, False),
        ({"order": {"type": "STOP", "stop_price": "1"}}, True),
        ({"order": {"type": "STOP", "stop_price": "1"}, "market": {"last_price": None}}, False),
        ({"order": {"quantity": "0"}}, False),
        ({"order": {"quantity": "0.10"}}, True),
        ({"order": {"quantity": 0}}, False),
        ({"order": {"quantity": "1e3"}}, True),
        ({"order": {"quantity": "1" * 22}}, False),
        ({"market": {"bids": [], "last_price": None}}, False),
        ({"market": {"bids": [], "asks": []}}, True),
        ({"market": {"last_price": None}}, True),
        ({"bar": {"volume": "0"}}, True),
        ({"bar": {"low": "0"}}, False),
    ],
)
async def test_the_schema_of_a_request_says_what_the_router_takes(
    harness: Harness, changes: dict[str, Any], right: bool
) -> None:
    """Prices by the order's type, a last price where it is needed, numbers within their bounds."""
    body = bodies("/v1/executions")[0]
    body = body | {part: body[part] | change for part, change in changes.items()}
    schema = DOCUMENT["components"]["schemas"]["ExecutionRequest"]
    assert validator(DOCUMENT, schema).is_valid(body) is right
    response = await harness.client.post("/v1/executions", json=body)
    check(DOCUMENT, "/v1/executions", response, 200 if right else 400)


@pytest.mark.parametrize(
    "path", ["/v1/assignments/%FF%FE", "/v1/assignments/%00", "/v1/assignments/a%C2%A0b"]
)
async def test_a_path_that_is_no_utf_8_is_taken_as_text(harness: Harness, path: str) -> None:
    """An answer or a refusal, both documented."""
    response = await harness.client.get(path)
    assert response.status_code in {200, 400}
    check(DOCUMENT, "/v1/assignments/{symbol}", response, response.status_code)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/rollout", "GET, PUT"),
        ("/v1/executions", "POST"),
        ("/v1/assignments/AAPL", "GET"),
        ("/v1/rollout/dossiers/x.html", "GET"),
        ("/readyz", "GET"),
    ],
)
@pytest.mark.parametrize("method", ["DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD", "QUERY"])
async def test_a_method_that_a_path_has_not_is_405_with_all_that_it_has(
    harness: Harness, path: str, allowed: str, method: str
) -> None:
    """Also for a path with several methods."""
    response = await harness.client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "path", ["/console", "/v1", "/v1/executions/", "/v1//rollout", "/v1/rollout/", "/v1/nothing"]
)
async def test_a_path_that_is_none_is_404_and_leads_nowhere(harness: Harness, path: str) -> None:
    """No redirect that a Host header could lead away."""
    response = await harness.client.get(path)
    assert response.status_code == 404
    validator(DOCUMENT, DOCUMENT["components"]["schemas"]["Error"]).validate(response.json())


async def test_without_redis_a_change_is_503_and_a_rollback_202(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """What loosens waits for Redis; what tightens is done here and now."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", f"redis://127.0.0.1:{own_redis.port}/0")
    async with running_router() as harness:
        await eventually(lambda: harness.decides)
        own_redis.stop()
        response = await harness.put(1, phase="OFF")
        check(DOCUMENT, "/v1/rollout", response, response.status_code)
        assert response.status_code in {503, 504}
        audit = await harness.client.get("/v1/rollout/audit")
        check(DOCUMENT, "/v1/rollout/audit", audit, audit.status_code)
        assert audit.status_code in {503, 504}
        path = "/v1/rollout/rollback"
        check(DOCUMENT, path, await harness.client.post(path, json={"reason": "now"}), 202)


def test_what_needs_the_token_says_so() -> None:
    """All under /v1 but executions and assignments, and what a later version adds."""
    for path, method, operation in described():
        open_to_all = not needs_token(method, path.replace("{symbol}", "AAPL"))
        assert ("security" in operation) is not open_to_all, path
        assert ("401" in operation["responses"]) is not open_to_all, path
    assert needs_token("GET", "/v1/whatever")
    assert needs_token("GET", "/v1/executions/other")


@pytest.fixture
async def guarded(router_environment: str, eventually: Eventually) -> AsyncIterator[Harness]:
    """A router beyond loopback with a token."""
    async with running_router(host="0.0.0.0", api_token=TOKEN) as running:
        await eventually(lambda: running.decides)
        yield running


async def test_beyond_loopback_control_needs_the_token(guarded: Harness) -> None:
    """Each operation that is documented to need it is 401 without, and none changed anything."""
    for path, method, operation in described():
        url = (
            path.replace("{name}", "x")
            .replace("{symbol}", "AAPL")
            .replace("{row}", "x")
            .replace("{identity}", "x")
        )
        response = await guarded.client.request(method, url, json={})
        if "security" in operation:
            check(DOCUMENT, path, response, 401)
        else:
            assert response.status_code != 401
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    shown = await guarded.client.get("/v1/rollout", headers=bearer)
    assert check(DOCUMENT, "/v1/rollout", shown, 200).json()["generation"] == 1


async def test_a_page_elsewhere_cannot_rearm(harness: Harness) -> None:
    """Without a token on loopback: by its origin, its fetch metadata, its type, its name for us."""
    await harness.client.post("/v1/rollout/rollback", json={"reason": "bad fills"})
    body = b'{"reason": "from a page", "expected_generation": 2}'
    json_type = {"Content-Type": "application/json"}
    for headers, expected in (
        ({"Origin": "http://evil.example"} | json_type, 403),
        ({"Origin": "null"} | json_type, 403),
        ({"Sec-Fetch-Site": "cross-site"} | json_type, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
        ({"Host": "evil.example", "Origin": "http://evil.example"} | json_type, 403),
    ):
        response = await harness.client.post("/v1/rollout/rearm", content=body, headers=headers)
        check(DOCUMENT, "/v1/rollout/rearm", response, expected)
    assert (await harness.client.get("/v1/rollout")).json()["phase"] == "ROLLED_BACK"


async def test_two_routers_race_and_one_change_is_made(
    harness: Harness, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The other is 409 STALE_GENERATION, with the present generation in body and ETag."""
    monkeypatch.setenv("TOUCHSTONE_DATA_DIR", str(tmp_path / "second"))
    async with running_router() as second:
        await eventually(lambda: second.decides)
        for generation in range(1, 21):
            answers = await asyncio.gather(
                harness.put(generation, basis_points=100 + generation, reason="first"),
                second.put(generation, basis_points=200 + generation, reason="second"),
            )
            by_status: dict[int, httpx.Response] = {a.status_code: a for a in answers}
            assert set(by_status) == {200, 409}
            late = check(DOCUMENT, "/v1/rollout", by_status[409], 409)
            error = late.json()["error"]
            assert (error["code"], error["generation"]) == ("STALE_GENERATION", generation + 1)
            assert late.headers["etag"] == f'"{generation + 1}"'
            made = by_status[200].json()
            present = (await second.client.get("/v1/rollout")).json()
            assert present["document"] == made["document"]
