"""Hostile and careless callers: replays, forged signatures, odd frames and odd HTTP: no 5xx."""

import contextlib
import hashlib
import hmac
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from lob.errors import Unauthenticated
from services.paper_exchange import jws
from services.paper_exchange.auth import Authenticator, LegacySignature, UsedTokens
from services.paper_exchange.keys import ApiKey, load_keys
from tests.services.paper_exchange import (
    API,
    BIP,
    Key,
    RunningExchange,
    running_exchange,
    write_ed25519_key,
)

SECRET = "a-legacy-secret-of-more-than-32-bytes"
LEGACY = "legacy-key"
PATH = f"{API}/accounts"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A venue with its own ES256 key, an Ed25519 key, a legacy key and a slow one."""
    data_dir = tmp_path_factory.mktemp("exchange")
    keys = data_dir / "exchange" / "keys"
    write_ed25519_key(keys, "edwards", account="other")
    write_ed25519_key(keys, "slow", rate_limit_per_second=1)
    legacy = {"name": LEGACY, "secret": SECRET, "account": "third"}
    (keys / "legacy.json").write_text(json.dumps(legacy))
    with running_exchange(
        data_dir, rate_limit_per_second=1000, public_rate_limit_per_second=1000
    ) as running:
        yield running


def legacy_headers(
    method: str, path: str, body: str = "", *, at: float | None = None, secret: str = SECRET
) -> dict[str, str]:
    """Return the headers of a legacy key, as ccxt makes them."""
    timestamp = str(int(time.time() if at is None else at))
    signed = f"{timestamp}{method}{path}{body}".encode()
    return {
        "CB-ACCESS-KEY": LEGACY,
        "CB-ACCESS-SIGN": hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest(),
        "CB-ACCESS-TIMESTAMP": timestamp,
    }


def status(venue: RunningExchange, method: str, path: str, **sent: Any) -> int:
    """Return the status of a request without a JWT."""
    return venue.client.request(method, f"http://{venue.host}{path}", **sent).status_code


# ------------------------------------------------------------------ replays and clocks


def test_a_rest_token_is_good_for_one_request(venue: RunningExchange) -> None:
    """The same token a second time is refused, whatever its signature is rewritten to."""
    token = venue.key.token(f"GET {venue.host}{PATH}")
    assert [200, 401] == [venue.call("GET", "/accounts", token=token).status_code for _ in "ab"]
    head, claims, signature = token.split(".")
    rewritten = f"{head}.{claims}.{mirrored(signature)}"
    assert jws.parse(rewritten) is not None
    assert 401 == venue.call("GET", "/accounts", token=rewritten).status_code


def mirrored(signature: str) -> str:
    """Return the other signature that ES256 accepts for the same message: (r, n - s)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    raw = jwt.utils.base64url_decode(signature)
    s = order - int.from_bytes(raw[32:])
    return jwt.utils.base64url_encode(raw[:32] + s.to_bytes(32)).decode()


def test_the_mirrored_signature_is_valid_in_itself(venue: RunningExchange) -> None:
    """What the replay test rewrites would be accepted the first time: it tests the replay."""
    head, claims, signature = venue.key.token(f"GET {venue.host}{PATH}").split(".")
    token = f"{head}.{claims}.{mirrored(signature)}"
    assert 200 == venue.call("GET", "/accounts", token=token).status_code


def test_reuse_can_be_allowed(tmp_path: Path) -> None:
    """A setting lets tokens be used until they expire, as Coinbase does."""
    with running_exchange(tmp_path, token_reuse=True) as venue:
        token = venue.key.token(f"GET {venue.host}{PATH}")
        codes = [venue.call("GET", "/accounts", token=token).status_code for _ in "ab"]
    assert [200, 200] == codes


def test_used_tokens_are_remembered_for_as_long_as_they_live() -> None:
    """Two generations turn; a token is known for at least one lifetime, and then forgotten."""
    used = UsedTokens(100)
    assert used.use(b"a", 1_000)
    assert used.use(b"b", 1_099)
    assert not used.use(b"a", 1_099)
    assert not used.use(b"b", 1_198)
    assert used.use(b"a", 1_300)


def test_clocks_may_differ_by_five_seconds(tmp_path: Path) -> None:
    """A token counts from five seconds before its start to five seconds after its end."""
    key = write_ed25519_key(tmp_path, "edwards")
    moment = 1_800_000_000
    uri = "GET h/x"
    for offset, accepted in ((-6, False), (-5, True), (0, True), (124, True), (125, False)):
        authenticator = Authenticator(load_keys(tmp_path), lambda o=offset: moment + o)  # type: ignore[misc]
        token = key.token(uri, nbf=moment, exp=moment + 120, iat=moment)
        try:
            authenticator.rest(f"Bearer {token}", "GET", "h", "/x")
        except Unauthenticated:
            assert not accepted, offset
        else:
            assert accepted, offset


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["somebody_else"]},
        {"aud": {"cdp_service": 1}},
        {"iat": int(time.time()) + 86_400},
        {"nbf": True},
        {"exp": "soon"},
        {"exp": 10**400, "nbf": 10**400 - 60},
        {"nbf": -(10**30)},
        {"sub": ["organizations"]},
        {"uri": None, "uris": [1, None, {}]},
        {"uri": f"GET evil.example.com{PATH}"},
        {"uri": f"get 127.0.0.1{PATH}"},
    ],
)
def test_odd_claims_are_refused(venue: RunningExchange, claims: dict[str, Any]) -> None:
    """Claims of the wrong kind, size or meaning are a 401."""
    token = venue.key.token(**{"uri": f"GET {venue.host}{PATH}", **claims})
    assert 401 == venue.call("GET", "/accounts", token=token).status_code


@pytest.mark.parametrize(
    "headers", [{"alg": "ES256", "crit": ["exp"]}, {"kid": None}, {"kid": "nobody"}, {"kid": ["x"]}]
)
def test_odd_token_headers_are_refused(venue: RunningExchange, headers: dict[str, Any]) -> None:
    """A critical extension, or a key id that names nobody, is a 401."""
    claims = jwt.decode(venue.key.token("GET x"), options={"verify_signature": False})
    claims["uri"] = f"GET {venue.host}{PATH}"
    wanted = {"kid": venue.key.name, **headers}
    if not isinstance(wanted["kid"], str):
        wanted.pop("kid")
    token = jwt.encode(claims, venue.key.private_key, algorithm="ES256", headers=wanted)
    assert 401 == venue.call("GET", "/accounts", token=token).status_code


@pytest.mark.parametrize(
    "text",
    ["", "..", "a.b", "e30.e30.e30.e30", "W10.e30.e30", "e30.bnVsbA.e30", "e30=.e30.e30", "é.é.é"],
)
def test_what_is_no_token_is_none(text: str) -> None:
    """Only three base64url segments, of which two are JSON objects, are a token."""
    assert jws.parse(text) is None
    assert jws.parse("." * 5_000) is None


# ------------------------------------------------------------------ legacy keys


def test_a_legacy_key_reads_and_trades(venue: RunningExchange) -> None:
    """The signature covers the body, but no query below /api/v3."""
    path = f"{API}/orders/historical/batch"
    assert 200 == status(venue, "GET", f"{path}?limit=5", headers=legacy_headers("GET", path))
    order = {
        "client_order_id": "legacy",
        "product_id": BIP,
        "side": "BUY",
        "order_configuration": {"limit_limit_gtc": {"base_size": "1", "limit_price": "50000"}},
    }
    body, path = json.dumps(order), f"{API}/orders"
    headers = legacy_headers("POST", path, body)
    answer = venue.client.post(f"http://{venue.host}{path}", content=body, headers=headers)
    assert (200, True) == (answer.status_code, answer.json()["success"])
    other = body.replace('"1"', '"2"')
    assert 401 == status(venue, "POST", path, content=other, headers=headers)


def test_the_query_counts_outside_api_v3() -> None:
    """Below /v2 the signature covers the query."""
    keys = {"k": legacy_key()}
    signed = hmac.new(b"s" * 16, b"1000GET/v2/accounts?limit=1", hashlib.sha256).hexdigest()
    signature = LegacySignature("k", "1000", signed)
    authenticator = Authenticator(keys, lambda: 1_000)
    assert (
        "a" == authenticator.legacy_rest(signature, "GET", "/v2/accounts", "limit=1", b"").account
    )
    with pytest.raises(Unauthenticated):
        authenticator.legacy_rest(signature, "GET", "/v2/accounts", "limit=2", b"")


def legacy_key() -> ApiKey:
    """Return a legacy key of account `a`."""
    return ApiKey("k", None, "HMAC", "a", frozenset({"view"}), b"s" * 16)


@pytest.mark.parametrize(
    "changed",
    [
        {"CB-ACCESS-SIGN": "00" * 32},
        {"CB-ACCESS-SIGN": "é"},
        {"CB-ACCESS-KEY": "nobody"},
        {"CB-ACCESS-TIMESTAMP": "soon"},
        {"CB-ACCESS-TIMESTAMP": "1e9"},
        {"CB-ACCESS-TIMESTAMP": "9" * 400},
    ],
)
def test_wrong_legacy_headers_are_refused(venue: RunningExchange, changed: dict[str, str]) -> None:
    """Key, time and signature are all checked."""
    headers = {**legacy_headers("GET", PATH), **changed}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert 401 == status(venue, "GET", PATH, headers=encoded)


@pytest.mark.parametrize("offset", [-31, 31])
def test_a_legacy_signature_is_good_for_half_a_minute(venue: RunningExchange, offset: int) -> None:
    """Older and future signatures are refused."""
    headers = legacy_headers("GET", PATH, at=time.time() + offset)
    assert 401 == status(venue, "GET", PATH, headers=headers)


def test_a_legacy_secret_signs_no_jwt_and_a_public_key_no_legacy_request(
    venue: RunningExchange,
) -> None:
    """The kind of a key is the kind of its signature."""
    claims = jwt.decode(venue.key.token("GET x"), options={"verify_signature": False})
    claims |= {"sub": LEGACY, "uri": f"GET {venue.host}{PATH}"}
    token = jwt.encode(claims, SECRET, algorithm="HS256", headers={"kid": LEGACY})
    assert 401 == venue.call("GET", "/accounts", token=token).status_code
    headers = {**legacy_headers("GET", PATH, secret=""), "CB-ACCESS-KEY": venue.key.name}
    assert 401 == status(venue, "GET", PATH, headers=headers)


# ------------------------------------------------------------------ rates


def test_a_key_can_have_a_rate_of_its_own(venue: RunningExchange) -> None:
    """The slow key is turned away after a burst of two seconds' requests; others go on."""
    document = json.loads(venue.key_file.with_name("slow.json").read_text())
    slow = Key(document["name"], document["privateKey"], "EdDSA")
    answers = [venue.call("GET", "/accounts", key=slow) for _ in range(4)]
    assert [200, 200, 429, 429] == [answer.status_code for answer in answers]
    assert ("2", "0") == (
        answers[2].headers["x-ratelimit-limit"],
        answers[2].headers["x-ratelimit-remaining"],
    )
    assert "rate_limit_exceeded" == answers[2].json()["errors"][0]["id"]
    assert 200 == venue.call("GET", "/accounts").status_code


# ------------------------------------------------------------------ the feed


@pytest.fixture
def peer(venue: RunningExchange) -> Iterator[Connection]:
    """A connection to the feed."""
    with connect(f"ws://{venue.host}", close_timeout=0.2) as connection:
        yield connection


def ask(peer: Connection, **fields: Any) -> dict[str, Any]:
    """Subscribe to the user channel with these credentials; return the answer."""
    message = {"type": "subscribe", "channel": "user", "product_ids": [BIP], **fields}
    peer.send(json.dumps(message))
    answer: dict[str, Any] = json.loads(peer.recv(timeout=5))
    return answer


def legacy_fields(channel: str = "user", product_ids: str = BIP, skew: int = 0) -> dict[str, str]:
    """Return the credentials of a legacy key in a message."""
    timestamp = str(int(time.time()) + skew)
    signed = f"{timestamp}{channel}{product_ids}".encode()
    signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    return {"api_key": LEGACY, "timestamp": timestamp, "signature": signature}


def test_a_legacy_key_opens_the_user_channel(peer: Connection) -> None:
    """The signature covers channel and products."""
    assert "subscriptions" == ask(peer, **legacy_fields())["channel"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"jwt": "x.y.z"},
        {"jwt": {"a": 1}},
        legacy_fields(channel="ticker"),
        legacy_fields(product_ids="ETP-20DEC30-CDE"),
        {"api_key": 5, "timestamp": [], "signature": {}},
        {"api_key": LEGACY, "timestamp": "0", "signature": "0" * 64},
    ],
)
def test_a_wrong_credential_is_an_authentication_failure(
    peer: Connection, fields: dict[str, Any]
) -> None:
    """Whatever is wrong, the message is the same, and it is of type error."""
    answer = ask(peer, **fields)
    assert ("error", "authentication failure") == (answer["type"], answer["message"])


def test_the_feed_takes_a_token_again_but_none_of_a_rest_request(
    venue: RunningExchange, peer: Connection
) -> None:
    """As ccxt needs it; a token with a uri has been signed for something else."""
    token = venue.key.token()
    for channel in ("user", "futures_balance_summary"):
        assert "subscriptions" == ask(peer, jwt=token, channel=channel)["channel"]
        assert channel == json.loads(peer.recv(timeout=5))["channel"]
    with connect(f"ws://{venue.host}", close_timeout=0.2) as other:
        answer = ask(other, jwt=venue.key.token(f"GET {venue.host}{PATH}"))
        assert "error" == answer["type"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "1e999",
        '{"type": 5}',
        '{"a":' * 5_000,
        "\x00",
        '{"type":"subscribe"}',
        "{}",
    ],
)
def test_malformed_frames_are_answered(peer: Connection, text: str) -> None:
    """Nothing a text frame holds ends the service or goes unanswered."""
    peer.send(text)
    assert "error" == json.loads(peer.recv(timeout=5))["type"]


MASK = b"\0\0\0\0"


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x02{}",  # not masked
        b"\x83\x80" + MASK,  # an opcode that does not exist
        b"\xc1\x80" + MASK,  # a reserved bit
        b"\x81\x82" + MASK + b"\xff\xfe",  # no UTF-8
        b"\x80\x80" + MASK,  # goes on with nothing
        b"\x09\x80" + MASK,  # a ping in parts
        b"\x89\xfe\x01\x00" + MASK + b"a" * 256,  # a ping that is too long
        b"\x88\x81" + MASK + b"\x03",  # half a close code
        b"\x88\x82" + MASK + b"\x03\xed",  # a close code that nobody may send
        b"\x81\xff" + b"\xff" * 8 + MASK,  # 2^64 - 1 bytes to come
        b"\x81\xfe\xff\xff" + MASK + b"a" * 100,  # and then nothing
    ],
)
def test_broken_frames_end_their_own_connection(venue: RunningExchange, frame: bytes) -> None:
    """Whatever breaks the framing, that client is closed, and the next one is served."""
    request = (
        f"GET / HTTP/1.1\r\nHost: {venue.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", venue.port), timeout=5) as sock:
        sock.sendall(request)
        assert sock.recv(65_536).startswith(b"HTTP/1.1 101 ")
        sock.sendall(frame)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65_536):
            pass
    with connect(f"ws://{venue.host}", close_timeout=0.2) as other:
        other.send('{"type": "subscribe", "channel": "heartbeats"}')
        assert "subscriptions" in str(other.recv(timeout=5))


# ------------------------------------------------------------------ odd HTTP


def raw(venue: RunningExchange, request: bytes) -> int:
    """Send bytes as they are; return the status of the first answer, or 0 where there is none."""
    with socket.create_connection(("127.0.0.1", venue.port), timeout=5) as sock:
        answer = b""
        with contextlib.suppress(OSError):  # who sends too much is cut off while it sends
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while chunk := sock.recv(65_536):
                answer += chunk
    found = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    return int(found[1]) if found else 0


ORDERS = f"POST {API}/orders HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()


@pytest.mark.parametrize(
    "request_bytes",
    [
        ORDERS
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ORDERS + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        ORDERS + b"Content-Length: -1\r\n\r\n",
        ORDERS + b"Content-Length: 99999999999999999999\r\n\r\n",
        ORDERS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        ORDERS + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        ORDERS + b"Authorization: Bearer " + b"a" * 60_000 + b"\r\nContent-Length: 0\r\n\r\n",
        ORDERS + b"Authorization: Bearer\r\nAuthorization: Bearer x\r\nContent-Length: 0\r\n\r\n",
        ORDERS + b"Content-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
        f"POST {API}//orders/../orders HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode(),
        f"BREW {API}/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode(),
        f"GET {API}/accounts%00 HTTP/1.1\r\nHost: \xff\r\n\r\n".encode("latin-1"),
        f"GET {API}/accounts HTTP/9.9\r\n\r\n".encode(),
        f"GET http://elsewhere{API}/accounts HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\r\n\r\n\r\n",
    ],
)
def test_odd_http_is_no_fault_of_ours(venue: RunningExchange, request_bytes: bytes) -> None:
    """Smuggling attempts, oversized headers and nonsense end with a 4xx or without an answer."""
    code = raw(venue, request_bytes)
    assert code == 0 or 400 <= code < 500, code
    assert 200 == venue.call("GET", "/accounts").status_code


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_the_content_type_does_not_matter(venue: RunningExchange, content_type: str) -> None:
    """A body is read as JSON whatever it is called, as ccxt and the SDK rely on."""
    answer = venue.call(
        "POST", "/orders/batch_cancel", {"order_ids": ["x"]}, headers={"Content-Type": content_type}
    )
    assert 200 == answer.status_code
    form = venue.call(
        "POST", "/orders/batch_cancel", content=b"a=b", headers={"Content-Type": content_type}
    )
    assert 400 == form.status_code
