"""Coinbase's JWTs: ES256, one per request, bound to method and path by the `uri` claim."""

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lob.errors import Unavailable

LIFETIME_SECONDS_MAX = 120


class ApiKeySigner:
    """Sign with the key in a Coinbase key file (`name`, `privateKey` as PEM EC P-256).

    The file is read at first use and again after `forget`, because the paper exchange writes it at
    its own first start, which may come after ours.
    """

    def __init__(
        self,
        path: Path,
        *,
        lifetime_seconds: int,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._lifetime_seconds = lifetime_seconds
        self._wall_clock = wall_clock
        self._key: tuple[str, ec.EllipticCurvePrivateKey] | None = None

    def token(self, method: str = "", host: str = "", path: str = "") -> str:
        """Return a fresh JWT: for one REST request, or without arguments for the WebSocket.

        Raises:
            Unavailable: the key file is not there yet, or holds no ES256 key.
        """
        name, key = self._load()
        now = int(self._wall_clock())
        claims: dict[str, str | int] = {
            "sub": name,
            "iss": "cdp",
            "nbf": now,
            "exp": now + self._lifetime_seconds,
        }
        if method:
            claims["uri"] = f"{method} {host}{path}"
        headers = {"kid": name, "nonce": secrets.token_hex()}
        return jwt.encode(claims, key, algorithm="ES256", headers=headers)

    def forget(self) -> None:
        """Read the key file again next time: the venue did not know the key."""
        self._key = None

    def _load(self) -> tuple[str, ec.EllipticCurvePrivateKey]:
        if self._key is not None:
            return self._key
        try:
            document = json.loads(self._path.read_text())
            name, pem = document["name"], document["privateKey"]
            key = serialization.load_pem_private_key(pem.encode(), password=None)
        except OSError as error:
            raise Unavailable(f"API key file {self._path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
            # The file holds a secret: say what is wrong with it, never what is in it.
            problem = type(error).__name__
            raise Unavailable(f"API key file {self._path}: no key file ({problem})") from None
        problem = f"API key file {self._path}: only ES256 (EC P-256) keys are supported"
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(name, str):
            raise Unavailable(problem)
        if key.curve.name != "secp256r1":
            raise Unavailable(problem)
        self._key = (name, key)
        return self._key
