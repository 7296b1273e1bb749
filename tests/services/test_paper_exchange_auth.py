"""Who gets in: keys, JWTs of the SDK's and of ccxt's shape, and everything that must not."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lob.errors import ConfigError, PermissionDenied
from services.paper_exchange.auth import Caller
from services.paper_exchange.keys import KEY_FILE, ensure_key_file, load_keys
from tests.services.paper_exchange import (
    API,
    Key,
    RunningExchange,
    running_exchange,
    write_ed25519_key,
)

PATH = f"{API}/accounts"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A venue with its own ES256 key, an Ed25519 key, and one that may only view."""
    data_dir = tmp_path_factory.mktemp("exchange")
    keys = data_dir / "exchange" / "keys"
    write_ed25519_key(keys, "edwards")
    write_ed25519_key(keys, "viewer", permissions=["view"])
    with running_exchange(data_dir, rate_limit_per_second=1000) as running:
        yield running


def edwards(venue: RunningExchange) -> Key:
    """Return the Ed25519 key."""
    document = json.loads(venue.key_file.with_name("edwards.json").read_text())
    return Key(document["name"], document["privateKey"], "EdDSA")


def status(venue: RunningExchange, token: str) -> int:
    """Return the status of a read with this token."""
    return venue.call("GET", "/accounts", token=token).status_code


@pytest.mark.parametrize("scheme", ["", "http://", "https://"])
@pytest.mark.parametrize("production", [True, False])
def test_every_client_s_uri_is_accepted(
    venue: RunningExchange, scheme: str, production: bool
) -> None:
    """Own host or Coinbase's, with or without scheme, in `uri` or in `uris`."""
    host = "api.coinbase.com" if production else venue.host
    uri = f"GET {scheme}{host}{PATH}"
    assert 200 == status(venue, venue.key.token(uri))
    assert 200 == status(venue, edwards(venue).token(None, uris=[uri], aud=["cdp_service"]))


def test_ccxt_claims_are_accepted(venue: RunningExchange) -> None:
    """The issuer, audience and iat of ccxt do no harm."""
    token = venue.key.token(
        f"GET http://{venue.host}{PATH}",
        iss="coinbase-cloud",
        aud=["retail_rest_api_proxy"],
        iat=int(time.time()),
    )
    assert 200 == status(venue, token)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 60, "nbf": int(time.time()) - 180},
        {"nbf": int(time.time()) + 86_400, "exp": int(time.time()) + 86_500},  # the suite is long
        {"exp": int(time.time()) + 10_000},
        {"exp": None},
        {"nbf": None},
        {"sub": "somebody"},
        {"sub": None},
        {"iss": "me"},
        {"iss": None},
        {"uri": None},
        {"uri": "GET example.com/api/v3/brokerage/accounts"},
        {"uri": "POST api.coinbase.com/api/v3/brokerage/accounts"},
        {"uri": "GET api.coinbase.com/api/v3/brokerage/orders"},
        {"exp": float("inf")},
        {"uris": {"a": 1}, "uri": None},
    ],
)
def test_wrong_claims_are_refused(venue: RunningExchange, claims: dict[str, Any]) -> None:
    """Expiry, start, subject, issuer and uri are all checked."""
    token = venue.key.token(**{"uri": f"GET {venue.host}{PATH}", **claims})
    assert 401 == status(venue, token)


def test_the_answer_is_coinbase_s_plain_text(venue: RunningExchange) -> None:
    """A refused caller reads `Unauthorized` and nothing else."""
    answer = httpx.get(f"http://{venue.host}{PATH}", timeout=5)
    assert (401, "Unauthorized") == (answer.status_code, answer.text)
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("token", ["-", "x", "a.b.c", "e30.e30.", "." * 50, "x" * 10_000])
def test_junk_is_refused(venue: RunningExchange, token: str) -> None:
    """Nothing that is not a JWT gets further than the door."""
    assert 401 == status(venue, token)


def test_an_algorithm_other_than_the_key_s_is_refused(venue: RunningExchange) -> None:
    """Neither `none` nor an HMAC with the public key passes for a signature."""
    key = venue.key
    uri = f"GET {venue.host}{PATH}"
    claims = jwt.decode(key.token(uri), options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": key.name})
    assert 401 == status(venue, unsigned)
    public_pem = (
        serialization.load_pem_private_key(key.private_key.encode(), None)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    raw = base64.urlsafe_b64encode(public_pem)
    hmac = jwt.encode(claims, raw, algorithm="HS256", headers={"kid": key.name})
    assert 401 == status(venue, hmac)
    other = Key(key.name, edwards(venue).private_key, "EdDSA")
    assert 401 == status(venue, other.token(uri))


def test_a_key_that_may_only_view_cannot_trade(venue: RunningExchange) -> None:
    """The answer carries the very bytes the SDK looks for."""
    document = json.loads(venue.key_file.with_name("viewer.json").read_text())
    viewer = Key(document["name"], document["privateKey"], "EdDSA")
    assert 200 == venue.call("GET", "/accounts", key=viewer).status_code
    answer = venue.call("POST", "/orders/batch_cancel", {"order_ids": ["x"]}, key=viewer)
    assert 403 == answer.status_code
    assert '"error_details":"Missing required scopes"' in answer.text
    permissions = venue.call("GET", "/key_permissions", key=viewer).json()
    assert (True, False) == (permissions["can_view"], permissions["can_trade"])
    with pytest.raises(PermissionDenied):
        Caller("k", "a", frozenset()).require("view")


def test_the_first_start_makes_a_key_and_the_next_keeps_it(tmp_path: Path) -> None:
    """The key file is written once, for the owner only, in the portal's form."""
    path = ensure_key_file(tmp_path / "keys")
    document = json.loads(path.read_text())
    assert (["name", "privateKey"], KEY_FILE) == (sorted(document), path.name)
    assert document["name"].startswith("organizations/paper/apiKeys/")
    assert 0o600 == path.stat().st_mode & 0o777
    before = path.read_bytes()
    assert before == ensure_key_file(tmp_path / "keys").read_bytes()
    assert [path] == list(path.parent.iterdir())


def test_every_kind_of_key_loads(tmp_path: Path) -> None:
    """EC and Ed25519 PEM, base64 Ed25519 and a public key alone are all keys."""
    raw = ed25519.Ed25519PrivateKey.generate().private_bytes_raw()
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    ensure_key_file(tmp_path)
    write_ed25519_key(tmp_path, "pem")
    files = {
        "raw": {"id": "raw", "privateKey": base64.b64encode(raw).decode()},
        "long": {"name": "long", "privateKey": base64.b64encode(raw * 2).decode()},
        "public": {"name": "public", "publicKey": pem, "account": "other"},
    }
    for name, document in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    keys = load_keys(tmp_path)
    assert 5 == len(keys)
    assert ("EdDSA", "EdDSA", "ES256") == tuple(keys[name].algorithm for name in files)
    assert ("other", "default") == (keys["public"].account, keys["raw"].account)


def rsa_pem() -> str:
    """Return a kind of key that Coinbase does not use."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a readable JSON key file"),
        ("[]", "not a JSON object"),
        ('{"privateKey": "x"}', "name: None"),
        ('{"name": "k"}', "not a usable key"),
        ('{"name": "k", "privateKey": "x"}', "not a usable key"),
        ('{"name": "k", "privateKey": 5}', "not a usable key"),
        ('{"name": "k", "privateKey": "AAAA"}', "3 bytes; allowed: 32 or 64"),
        ('{"name": "k", "secret": "short"}', "secret: allowed: a text of 16 or more"),
        ('{"name": "k", "secret": 5}', "secret: allowed: a text of 16 or more"),
        (
            '{"name": "k", "secret": "0123456789abcdef", "privateKey": "x"}',
            "privateKey, secret: allowed: one of them",
        ),
        (
            '{"name": "k", "secret": "0123456789abcdef", "rate_limit_per_second": 0}',
            "rate_limit_per_second: 0; allowed: above 0",
        ),
        (
            '{"name": "k", "secret": "0123456789abcdef", "rate_limit_per_second": true}',
            "rate_limit_per_second: True",
        ),
        ('{"name": "k", "privatekey": "x"}', "privatekey: no such field"),
        ('{"name": "k", "privateKey": "x", "permissions": ["all"]}', "permissions: "),
        ('{"name": "k", "privateKey": "x", "permissions": [["view"]]}', "permissions: "),
        ('{"name": "k", "privateKey": "x", "account": ""}', "account: ''"),
        (json.dumps({"name": "k", "privateKey": rsa_pem()}), "allowed: EC P-256 or Ed25519"),
    ],
)
def test_a_wrong_key_file_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    """The fault names the file and what is wrong with it."""
    (tmp_path / "k.json").write_text(text)
    with pytest.raises(ConfigError, match=r"k\.json") as caught:
        load_keys(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_named_twice_is_refused(tmp_path: Path) -> None:
    """Two files with one name would make it a matter of luck which one counts."""
    write_ed25519_key(tmp_path, "a", name="same")
    write_ed25519_key(tmp_path, "b", name="same")
    with pytest.raises(ConfigError, match="'same' is in another file"):
        load_keys(tmp_path)
