"""Coinbase's JWTs: ES256 or EdDSA, one per request, bound to method and path by the `uri` claim.

Made here from the parts that do not change, because a token is made for every order: half of what
a general JWT library takes, most of which is the signature itself.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from lob.errors import ConfigError, Unavailable

LIFETIME_SECONDS_MAX: Final = 120
AHEAD_SECONDS: Final = 0.001
READY_SECONDS_MAX: Final = 1.0
"""An older token would leave the venue less time to take it."""
_NONCE_BYTES: Final = 16
_COORDINATE_BYTES: Final = 32
_SEED_BYTES: Final = 32
_SEED_AND_PUBLIC_BYTES: Final = 64
_ECDSA: Final = ec.ECDSA(hashes.SHA256())

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class _Key:
    """A key, and the parts of its tokens that never change."""

    sign: Callable[[bytes], bytes]
    head: str
    """The JOSE header up to the nonce's value."""
    claims: str
    """The claims up to the value of `nbf`."""


class ApiKeySigner:
    """Sign with the key in a Coinbase key file (`name`, `privateKey`).

    The key is EC P-256 as PEM (ES256), or Ed25519 as PEM or as base64 of 32 or 64 bytes (EdDSA).
    The file is read at first use and again after `forget`, because the paper exchange writes it at
    its own first start, which may come after ours.
    """

    def __init__(
        self,
        path: Path,
        *,
        lifetime_seconds: int,
        wall_clock: Callable[[], float] = time.time,
        nonce: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._path = path
        self._lifetime_seconds = lifetime_seconds
        self._wall_clock = wall_clock
        self._nonce = nonce
        self._key: _Key | None = None
        self._ready: tuple[tuple[str, str, str], float, str] | None = None
        self._refill: asyncio.TimerHandle | None = None

    def check(self) -> None:
        """Read the key where its file is there already.

        Raises:
            ConfigError: it holds no key that Coinbase gives out.
        """
        if not self._path.exists():
            return
        try:
            self._load()
        except Unavailable as error:
            raise ConfigError(f"TOUCHSTONE_GATEWAY_API_KEY_FILE: {error}") from None

    def token(self, method: str = "", host: str = "", path: str = "") -> str:
        """Return a fresh JWT: for one REST request, or without arguments for the WebSocket.

        About 30 us with ES256 and 45 us with Ed25519.

        Raises:
            Unavailable: the key file is not there yet, or holds no key that Coinbase gives out.
        """
        key = self._key or self._load()
        now = int(self._wall_clock())
        uri = f',"uri":{_text(f"{method} {host}{path}")}' if method else ""
        head = f'{key.head}"{self._nonce(_NONCE_BYTES)}"}}'
        claims = f'{key.claims}{now},"exp":{now + self._lifetime_seconds}{uri}}}'
        signed = _base64(head.encode()) + b"." + _base64(claims.encode())
        return (signed + b"." + _base64(key.sign(signed))).decode()

    def token_ahead(self, method: str, host: str, path: str) -> str:
        """Return a JWT as `token` does, made beforehand if the last one was taken lately.

        The next one is made a moment after this is taken, when its order has left: an order must
        not wait for a signature that was possible before it. Called on the event loop.
        """
        loop, request = asyncio.get_running_loop(), (method, host, path)
        ready, self._ready = self._ready, None
        if self._refill is None:
            self._refill = loop.call_later(AHEAD_SECONDS, self._make_ready, request)
        if ready is None or ready[0] != request or loop.time() - ready[1] > READY_SECONDS_MAX:
            return self.token(*request)
        return ready[2]

    def forget(self) -> None:
        """Read the key file again next time: the venue did not know the key."""
        self._key = self._ready = None

    def _make_ready(self, request: tuple[str, str, str]) -> None:
        self._refill = None
        with contextlib.suppress(Unavailable):
            self._ready = (request, asyncio.get_running_loop().time(), self.token(*request))

    def _load(self) -> _Key:
        try:
            document = json.loads(self._path.read_text("utf-8"))
            name, written = document["name"], document["privateKey"]
            private_key = _read_key(written)
        except OSError as error:
            raise Unavailable(f"API key file {self._path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
            # The file holds a secret: say what is wrong with it, never what is in it.
            problem = type(error).__name__
            raise Unavailable(f"API key file {self._path}: no key file ({problem})") from None
        if private_key is None or not isinstance(name, str):
            raise Unavailable(
                f"API key file {self._path}: allowed: keys for ES256 (EC P-256) and Ed25519"
            )
        self._key = _prepared(name, private_key)
        return self._key


def _read_key(written: str) -> PrivateKey | None:
    """Return the private key in PEM or base64; None where it is of another kind."""
    if not written.lstrip().startswith("-----"):
        raw = base64.b64decode(written, validate=True)
        if len(raw) not in (_SEED_BYTES, _SEED_AND_PUBLIC_BYTES):
            raise binascii.Error
        return ed25519.Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES])
    key = serialization.load_pem_private_key(written.encode(), password=None)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return key
    return None


def _prepared(name: str, key: PrivateKey) -> _Key:
    who = _text(name)
    claims = f'{{"sub":{who},"iss":"cdp","nbf":'
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _Key(key.sign, f'{{"alg":"EdDSA","typ":"JWT","kid":{who},"nonce":', claims)

    def sign(signed: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(signed, _ECDSA))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")

    return _Key(sign, f'{{"alg":"ES256","typ":"JWT","kid":{who},"nonce":', claims)


def _base64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _text(value: str) -> str:
    return json.dumps(value)
