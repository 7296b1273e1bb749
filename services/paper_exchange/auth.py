"""Who is calling: Coinbase's JWTs, checked as Coinbase checks them.

REST: `Authorization: Bearer <JWT>` with the request's method, host and path in the `uri` (or
`uris`) claim. WebSocket: the same without a uri, in the subscribe message. The key id names the
key, and the key's own type decides the algorithm, whatever the header says. Expiry is judged by
the wall clock, also where the exchange's own clock runs faster.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from lob.errors import PermissionDenied, Unauthenticated
from services.paper_exchange.keys import ApiKey

ISSUERS: Final = frozenset({"cdp", "coinbase-cloud"})
LEEWAY_SECONDS: Final = 5
LIFETIME_SECONDS_MAX: Final = 120
_PRODUCTION_HOST: Final = "api.coinbase.com"
_SCHEMES: Final = ("", "http://", "https://")
_REQUIRED: Final = ["exp", "nbf", "sub", "iss"]
_JWT_LENGTH_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    key_name: str
    account: str
    permissions: frozenset[str]

    def require(self, permission: str) -> None:
        """Raise `PermissionDenied` in Coinbase's words where the key lacks a permission."""
        if permission not in self.permissions:
            raise PermissionDenied("Missing required scopes")


class Authenticator:
    """Check JWTs against the known keys."""

    def __init__(self, keys: Mapping[str, ApiKey]) -> None:
        self._keys = keys

    @property
    def accounts(self) -> set[str]:
        """Return the accounts that the keys trade for."""
        return {key.account for key in self._keys.values()}

    def rest(self, authorization: str, method: str, host: str, path: str) -> Caller:
        """Return the caller of a REST request; `path` is without the query.

        Raises:
            Unauthenticated: whatever is wrong; the answer never says which part it was.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Unauthorized")
        key, claims = self._verify(token.strip())
        allowed = expected_uris(method, host, path)
        if not allowed & set(_claimed_uris(claims)):
            raise Unauthenticated("Unauthorized")
        return Caller(key.name, key.account, key.permissions)

    def websocket(self, token: str) -> Caller:
        """Return the caller of a WebSocket subscription; raises `Unauthenticated`."""
        key, _ = self._verify(token)
        return Caller(key.name, key.account, key.permissions)

    def _verify(self, token: str) -> tuple[ApiKey, dict[str, Any]]:
        if len(token) > _JWT_LENGTH_MAX:
            raise Unauthenticated("Unauthorized")
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise Unauthenticated("Unauthorized")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public_key,
                algorithms=[key.algorithm],
                leeway=LEEWAY_SECONDS,
                # ccxt sends audiences of its own, which mean nothing here.
                options={"require": _REQUIRED, "verify_aud": False},
            )
            lifetime = int(claims["exp"]) - int(claims["nbf"])
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            # Beyond PyJWT's own: an infinite exp, or claims nested a thousand deep.
            raise Unauthenticated("Unauthorized") from None
        if claims["sub"] != key.name or claims["iss"] not in ISSUERS:
            raise Unauthenticated("Unauthorized")
        if lifetime > LIFETIME_SECONDS_MAX + LEEWAY_SECONDS:
            raise Unauthenticated("Unauthorized")
        return key, claims


def expected_uris(method: str, host: str, path: str) -> set[str]:
    """Return every uri claim that names this request: our host or Coinbase's, any scheme or none.

    >>> sorted(expected_uris("GET", "h:1", "/x"))[:2]
    ['GET api.coinbase.com/x', 'GET h:1/x']
    """
    hosts = (host, _PRODUCTION_HOST)
    return {f"{method} {scheme}{name}{path}" for name in hosts for scheme in _SCHEMES}


def _claimed_uris(claims: Mapping[str, Any]) -> Iterable[str]:
    claimed = claims.get("uris", [])
    uris = claimed if isinstance(claimed, list) else []
    return [uri for uri in (claims.get("uri"), *uris) if isinstance(uri, str)]
