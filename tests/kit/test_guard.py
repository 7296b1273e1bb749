"""Who may ask: by host, origin, token and content type, whatever a proxy says."""

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from lob.errors import ConfigError
from touchstone.kit.guard import ControlGuard, is_loopback, require_token_beyond_loopback

TOKEN = "a-token-of-24-characters"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def reached(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what the guard let through."""
    await PlainTextResponse("reached")(scope, receive, send)


def client(
    token: str | None = None, *, loopback_only: bool = True, allowed_hosts: tuple[str, ...] = ()
) -> httpx.AsyncClient:
    """Return a client of a guarded app whose control paths begin with /control."""
    app = ControlGuard(
        reached,
        token=token,
        loopback_only=loopback_only,
        allowed_hosts=allowed_hosts,
        needs_token=lambda _method, path: path.startswith("/control"),
    )
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


async def status(asker: httpx.AsyncClient, method: str, path: str, **options: object) -> int:
    """Return the status of one request; one that passes is 200."""
    async with asker:
        response = await asker.request(method, path, **options)  # type: ignore[arg-type]
    assert response.status_code != 200 or response.text == "reached"
    return response.status_code


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"]
)
async def test_loopback_names_pass(host: str) -> None:
    """Each way to say this machine is right."""
    assert 200 == await status(client(), "POST", "/data", headers={"Host": host})


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8000",
        "",
        "[::1",
        "localhost.",
        "a b",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_rebound_name_is_refused(host: str, method: str) -> None:
    """A page whose name was made to resolve to this machine reads and changes nothing."""
    assert 403 == await status(client(), method, "/data", headers={"Host": host})


async def test_health_is_open_under_any_name() -> None:
    """A probe may call it what it likes."""
    assert 200 == await status(client(), "GET", "/healthz", headers={"Host": "evil.example"})


async def test_a_host_found_wrong_stays_wrong() -> None:
    """Only right names are kept, and asking again does not help."""
    async with client() as asker:
        for host, expected in (("a.example", 403), ("localhost", 200), ("a.example", 403)):
            assert expected == (await asker.get("/data", headers={"Host": host})).status_code


async def test_given_names_are_right_besides_those_of_loopback() -> None:
    """A service name on a container network has to be listed."""
    asked = [
        await status(
            client(TOKEN, loopback_only=False, allowed_hosts=("router",)),
            "GET",
            "/data",
            headers={"Host": host},
        )
        for host in ("router:8000", "ROUTER", "127.0.0.1", "other")
    ]
    assert [200, 200, 200, 403] == asked


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/data", "/control"])
async def test_a_page_of_another_origin_changes_nothing(headers: dict[str, str], path: str) -> None:
    """Not even with the token: a browser that has it was made to send it."""
    more = headers | BEARER | {"Content-Type": "application/json"}
    assert 403 == await status(client(TOKEN), "POST", path, headers=more, content=b"{}")


async def test_our_own_page_may_ask() -> None:
    """The documentation page sends its own origin."""
    headers = {
        "Origin": "http://127.0.0.1:8000",
        "Sec-Fetch-Site": "same-origin",
        "Content-Type": "application/json",
    }
    assert 200 == await status(client(), "POST", "/control", headers=headers, content=b"{}")


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
)
async def test_control_is_json(kind: str | None) -> None:
    """What a form or a page can send without asking first is not taken for control."""
    headers = {} if kind is None else {"Content-Type": kind}
    assert 415 == await status(client(), "POST", "/control", headers=headers, content=b"{}")
    assert 200 == await status(client(), "POST", "/data", headers=headers, content=b"{}")


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        (None, 'Bearer realm="touchstone"'),
        ("Bearer wrong", 'Bearer realm="touchstone", error="invalid_token"'),
        (f"Bearer {TOKEN[:-1]}", 'Bearer realm="touchstone", error="invalid_token"'),
        (f"Bearer {TOKEN}x", 'Bearer realm="touchstone", error="invalid_token"'),
        (f"Basic {TOKEN}", 'Bearer realm="touchstone", error="invalid_token"'),
        ("Bearer", 'Bearer realm="touchstone", error="invalid_token"'),
        (TOKEN, 'Bearer realm="touchstone", error="invalid_token"'),
    ],
)
async def test_control_without_the_token_is_401_with_a_challenge(
    authorization: str | None, challenge: str
) -> None:
    """Reading as well as changing; the token is not in the answer."""
    headers = {} if authorization is None else {"Authorization": authorization}
    for method in ("GET", "POST"):
        async with client(TOKEN) as asker:
            response = await asker.request(method, "/control", headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, challenge)
        assert response.json()["error"]["code"] == "UNAUTHENTICATED"
        assert TOKEN not in response.text


async def test_the_token_opens_control_and_the_rest_needs_none() -> None:
    """The scheme's case does not matter."""
    headers = {
        "Authorization": f"bearer {TOKEN}",
        "Content-Type": "application/json; charset=utf-8",
    }
    assert 200 == await status(client(TOKEN), "POST", "/control", headers=headers, content=b"{}")
    assert 200 == await status(client(TOKEN), "GET", "/control", headers=BEARER)
    assert 200 == await status(client(TOKEN), "POST", "/data", content=b"{}")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1;host=localhost"},
        {"X-Forwarded-Host": "localhost"},
    ],
)
async def test_a_proxy_is_not_believed(headers: dict[str, str]) -> None:
    """What somebody says about who asked opens nothing."""
    assert 401 == await status(client(TOKEN), "GET", "/control", headers=headers)
    rebound = headers | {"Host": "evil.example"}
    assert 403 == await status(client(), "GET", "/data", headers=rebound)


@pytest.mark.parametrize("name", ["Host", "Authorization", "Origin", "Content-Type"])
async def test_a_header_that_decides_is_given_once(name: str) -> None:
    """Of two, a proxy in front may have judged the other."""
    twice = [(name, "127.0.0.1"), (name, "localhost")]
    assert 400 == await status(client(), "POST", "/data", headers=twice)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "router", "", "127.0.0.1.evil"])
def test_beyond_loopback_a_token_is_needed(host: str) -> None:
    """One line names the variable; with a token, or on loopback, nothing is said."""
    with pytest.raises(ConfigError, match="environment SOME_TOKEN: not set; a service that"):
        require_token_beyond_loopback(host, None, "SOME_TOKEN")
    require_token_beyond_loopback(host, TOKEN, "SOME_TOKEN")
    require_token_beyond_loopback("127.0.0.1", None, "SOME_TOKEN")
    assert is_loopback("127.0.0.2")
