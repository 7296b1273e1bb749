"""Who is calling: Coinbase's JWTs and its legacy HMAC signatures, checked as Coinbase checks them.

A JWT is `Authorization: Bearer <JWT>` on REST, with the request's method, host and path in its
`uri` (or `uris`) claim, and `jwt` in a subscribe message, without a uri. The key id names the key,
and the key's own type decides the algorithm, whatever the header says. A legacy key signs with its
secret: `CB-ACCESS-KEY`, `-SIGN` and `-TIMESTAMP` on REST, `api_key`, `signature` and `timestamp`
in a subscribe message. Expiry is judged by the wall clock, also where the exchange's own clock
runs faster.

A REST token is good for one request: a second one with the same token is refused. On the feed a
token may be used until it expires, because ccxt does so. Signatures of legacy keys repeat within a
second when the request repeats, so that they are only bounded by their time.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lob.errors import PermissionDenied, Unauthenticated
from services.paper_exchange import jws
from services.paper_exchange.keys import ApiKey

ISSUERS: Final = frozenset({"cdp", "coinbase-cloud"})
AUDIENCES: Final = frozenset({"cdp_service", "retail_rest_api_proxy"})
LEEWAY_SECONDS: Final = 5
LIFETIME_SECONDS_MAX: Final = 120
HMAC_WINDOW_SECONDS: Final = 30
_PRODUCTION_HOST: Final = "api.coinbase.com"
_SCHEMES: Final = ("", "http://", "https://")
_UNSIGNED_QUERY_PREFIX: Final = "/api/v3/"
_TIMESTAMP: Final = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_BEARER: Final = "bearer "
_SECONDS_MAX: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    key_name: str
    account: str
    permissions: frozenset[str]
    rate_limit_per_second: float | None = None

    def require(self, permission: str) -> None:
        """Raise `PermissionDenied` in Coinbase's words where the key lacks a permission."""
        if permission not in self.permissions:
            raise PermissionDenied("Missing required scopes")


@dataclass(frozen=True, slots=True)
class LegacySignature:
    """What a client with a legacy key sends: its key, when it signed, and the signature in hex."""

    key_name: str
    timestamp: str
    signature: str


class UsedTokens:
    """Remember tokens for as long as they could be sent again; each may be used once.

    Two generations of hashes: one lasts as long as a token lives, and then becomes the older one.
    """

    def __init__(self, lifetime_seconds: float) -> None:
        self._lifetime_seconds = lifetime_seconds
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._turned_at = 0.0

    def use(self, token: bytes, now: float) -> bool:
        """Say whether this is the token's first use. O(1)."""
        if not 0 <= now - self._turned_at < self._lifetime_seconds:
            self._old, self._young, self._turned_at = self._young, set(), now
        mark = hash(token)
        if mark in self._young or mark in self._old:
            return False
        self._young.add(mark)
        return True


class Authenticator:
    """Check signatures against the known keys.

    Args:
        keys: by name.
        wall: seconds since the epoch.
        reuse: whether a REST token may be used until it expires, as it may on Coinbase.
    """

    def __init__(
        self,
        keys: Mapping[str, ApiKey],
        wall: Callable[[], float] = time.time,
        *,
        reuse: bool = False,
    ) -> None:
        self._keys = keys
        self._callers = {
            name: Caller(name, key.account, key.permissions, key.rate_limit_per_second)
            for name, key in keys.items()
        }
        self._wall = wall
        self._reuse = reuse
        self._used = UsedTokens(LIFETIME_SECONDS_MAX + 3 * LEEWAY_SECONDS)

    @property
    def accounts(self) -> set[str]:
        """Return the accounts that the keys trade for."""
        return {key.account for key in self._keys.values()}

    def claimed_account(self, headers: Mapping[str, str]) -> str | None:
        """Return the account whose key a request names; nothing is checked."""
        authorization = headers.get("authorization", "")
        token = jws.parse(authorization[len(_BEARER) :].strip())
        name = headers.get("cb-access-key") if token is None else token.key_name
        key = self._keys.get(str(name))
        return None if key is None else key.account

    def rest(self, authorization: str, method: str, host: str, path: str) -> Caller:
        """Return the caller of a REST request with a JWT; `path` is without the query.

        Raises:
            Unauthenticated: whatever is wrong; the answer never says which part it was.
        """
        if authorization[: len(_BEARER)].lower() != _BEARER:
            raise _unauthorized()
        token = self._verified(authorization[len(_BEARER) :].strip())
        if not any(
            is_uri_of(claimed, method, host, path) for claimed in _claimed_uris(token.claims)
        ):
            raise _unauthorized()
        if not self._reuse and not self._used.use(token.signed, self._wall()):
            raise _unauthorized()
        return self._callers[token.claims["sub"]]

    def legacy_rest(
        self, signature: LegacySignature, method: str, path: str, query: str, body: bytes
    ) -> Caller:
        """Return the caller of a REST request with the `CB-ACCESS-*` headers.

        Raises:
            Unauthenticated: whatever is wrong.
        """
        if query and not path.startswith(_UNSIGNED_QUERY_PREFIX):
            path = f"{path}?{query}"
        return self._legacy(signature, f"{method}{path}".encode() + body)

    def subscriber(self, message: Mapping[str, Any]) -> Caller | None:
        """Return who signed a message to the feed; None where nobody did.

        Raises:
            Unauthenticated: whatever is wrong.
        """
        token = message.get("jwt")
        if token is not None:
            verified = self._verified(str(token))
            if next(iter(_claimed_uris(verified.claims)), None) is not None:
                raise _unauthorized()  # a REST request's token, sent again
            return self._callers[verified.claims["sub"]]
        if message.get("signature") is None:
            return None
        signature = LegacySignature(
            str(message.get("api_key")), str(message.get("timestamp")), str(message["signature"])
        )
        product_ids = message.get("product_ids") or []
        if not isinstance(product_ids, list):
            raise _unauthorized()
        signed = f"{message.get('channel')}{','.join(str(name) for name in product_ids)}"
        return self._legacy(signature, signed.encode(errors="replace"))

    def _verified(self, text: str) -> jws.Token:
        """Return a token whose signature, times, subject, issuer and audience are right."""
        token = jws.parse(text)
        key = None if token is None else self._keys.get(str(token.key_name))
        if token is None or key is None or key.public_key is None:
            raise _unauthorized()
        if not token.is_signed_by(key.public_key, key.algorithm):
            raise _unauthorized()
        claims = token.claims
        if claims.get("sub") != key.name or claims.get("iss") not in ISSUERS:
            raise _unauthorized()
        if not _is_present(claims, self._wall()) or not _is_for_us(claims.get("aud")):
            raise _unauthorized()
        return token

    def _legacy(self, sent: LegacySignature, signed: bytes) -> Caller:
        key = self._keys.get(sent.key_name)
        if key is None or not key.secret or not _TIMESTAMP.fullmatch(sent.timestamp):
            raise _unauthorized()
        if abs(self._wall() - float(sent.timestamp)) > HMAC_WINDOW_SECONDS:
            raise _unauthorized()
        ours = hmac.new(key.secret, sent.timestamp.encode() + signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(ours.encode(), sent.signature.lower().encode(errors="replace")):
            raise _unauthorized()
        return self._callers[key.name]


def is_uri_of(claimed: str, method: str, host: str, path: str) -> bool:
    """Say whether a uri claim names this request: our host or Coinbase's, any scheme or none.

    >>> is_uri_of("GET https://api.coinbase.com/x", "GET", "h:1", "/x")
    True
    >>> is_uri_of("GET h:1/x?limit=5", "GET", "h:1", "/x")
    False
    """
    named, _, address = claimed.partition(" ")
    if named != method:
        return False
    for scheme in _SCHEMES[1:]:
        address = address.removeprefix(scheme)
    return address in (f"{host}{path}", f"{_PRODUCTION_HOST}{path}")


def _claimed_uris(claims: Mapping[str, Any]) -> Iterable[str]:
    claimed = claims.get("uris", [])
    uris = claimed if isinstance(claimed, list) else []
    return [uri for uri in (claims.get("uri"), *uris) if isinstance(uri, str)]


def _is_present(claims: Mapping[str, Any], now: float) -> bool:
    """Say whether `now` lies within the token's time, which is not too long."""
    begins, ends = _moment(claims.get("nbf")), _moment(claims.get("exp"))
    issued = _moment(claims.get("iat", 0))
    if begins is None or ends is None or issued is None:
        return False
    if ends - begins > LIFETIME_SECONDS_MAX + LEEWAY_SECONDS:
        return False
    return max(begins, issued) - LEEWAY_SECONDS <= now < ends + LEEWAY_SECONDS


def _moment(value: object) -> float | None:
    """Return a time claim; None for anything but a number of sane size."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < _SECONDS_MAX else None


def _is_for_us(audience: object) -> bool:
    """Say whether an audience is one that Coinbase's clients name; the SDK names none."""
    if audience is None:
        return True
    named = audience if isinstance(audience, list) else [audience]
    return any(isinstance(name, str) and name in AUDIENCES for name in named)


def _unauthorized() -> Unauthenticated:
    return Unauthenticated("Unauthorized")
