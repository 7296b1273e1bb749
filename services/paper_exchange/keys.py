"""API key files in the form Coinbase's portal gives them out, and the public keys they hold.

A file is JSON: `name` (the key id of every JWT) and `privateKey` (PEM EC P-256, PEM Ed25519, or
base64 Ed25519), or `publicKey` (PEM) where the private half lives elsewhere, or `secret` for a
legacy key that signs with HMAC-SHA256. Three optional fields are ours: `account`, the paper account
the key trades for (default `default`), `permissions`, a list of `view`, `trade` and `transfer`
(default all), and `rate_limit_per_second` where this key's differs from the service's.
"""

import base64
import binascii
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from lob.errors import ConfigError
from services.paper_exchange.jws import PublicKey
from touchstone.kit.rate_limit import RATE_MAX

KEY_FILE: Final = "cdp_api_key.json"
PERMISSIONS: Final = frozenset({"view", "trade", "transfer"})
_FIELDS: Final = frozenset(
    {
        "name",
        "id",
        "privateKey",
        "publicKey",
        "secret",
        "principal",
        "account",
        "permissions",
        "rate_limit_per_second",
    }
)
_KEY_FIELDS: Final = ("privateKey", "publicKey", "secret")
_RAW_KEY_LENGTHS: Final = (32, 64)
_SECRET_LENGTH_MIN: Final = 16


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key: what signs with it, for which paper account, and what it may do."""

    name: str
    public_key: PublicKey | None
    algorithm: str
    account: str
    permissions: frozenset[str]
    secret: bytes = b""
    rate_limit_per_second: float | None = None


def ensure_key_file(folder: Path, name: str = KEY_FILE) -> Path:
    """Return a key file of the folder; make an ES256 pair where there is none yet (mode 0600)."""
    path = folder / name
    if path.exists():
        return path
    private_key = ec.generate_private_key(ec.SECP256R1())
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    document = {"name": f"organizations/paper/apiKeys/{uuid.uuid4()}", "privateKey": pem}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(document, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write the API key file {path}: {error.strerror}") from None
    return path


def load_keys(folder: Path) -> dict[str, ApiKey]:
    """Return every key of the folder by name.

    Raises:
        ConfigError: a file is not readable, not a key, or names a key twice.
    """
    keys: dict[str, ApiKey] = {}
    for path in sorted(folder.glob("*.json")):
        key = _load(path)
        if key.name in keys:
            raise ConfigError(f"{path}: name: {key.name!r} is in another file, too")
        keys[key.name] = key
    return keys


def _load(path: Path) -> ApiKey:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a readable JSON key file: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: not a JSON object")
    unknown = sorted(set(document) - _FIELDS)
    if unknown:
        raise ConfigError(f"{path}: {unknown[0]}: no such field; allowed: {sorted(_FIELDS)}")
    name = document.get("name") or document.get("id")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{path}: name: {name!r}; allowed: a non-empty text")
    permissions = document.get("permissions", sorted(PERMISSIONS))
    if not isinstance(permissions, list) or not all(
        isinstance(permission, str) and permission in PERMISSIONS for permission in permissions
    ):
        raise ConfigError(f"{path}: permissions: {permissions!r}; allowed: {sorted(PERMISSIONS)}")
    account = document.get("account", "default")
    if not isinstance(account, str) or not account:
        raise ConfigError(f"{path}: account: {account!r}; allowed: a non-empty text")
    rate = document.get("rate_limit_per_second")
    if rate is not None and (type(rate) not in (int, float) or not 0 < rate <= RATE_MAX):
        raise ConfigError(
            f"{path}: rate_limit_per_second: {rate!r}; allowed: above 0, at most {RATE_MAX:g}"
        )
    given = [field for field in _KEY_FIELDS if document.get(field) is not None]
    if "secret" in given:
        if len(given) > 1:
            raise ConfigError(f"{path}: {', '.join(given)}: allowed: one of them")
        public_key, algorithm, secret = None, "HMAC", _secret(path, document["secret"])
    else:
        public_key, algorithm = _public_key(path, document)
        secret = b""
    return ApiKey(name, public_key, algorithm, account, frozenset(permissions), secret, rate)


def _secret(path: Path, secret: object) -> bytes:
    if not isinstance(secret, str) or len(secret) < _SECRET_LENGTH_MIN:
        raise ConfigError(
            f"{path}: secret: allowed: a text of {_SECRET_LENGTH_MIN} or more characters"
        )
    return secret.encode()


def _public_key(path: Path, document: dict[str, Any]) -> tuple[PublicKey, str]:
    try:
        key = _parse(document)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error) as error:
        raise ConfigError(f"{path}: not a usable key: {error}") from None
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key, "EdDSA"
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key, "ES256"
    raise ConfigError(f"{path}: {type(key).__name__}; allowed: EC P-256 or Ed25519")


def _parse(document: dict[str, Any]) -> object:
    text = document.get("privateKey")
    if text is None:
        return serialization.load_pem_public_key(str(document.get("publicKey")).encode())
    if not isinstance(text, str):
        raise TypeError("privateKey: allowed: a text")
    if text.lstrip().startswith("-----BEGIN"):
        private_key = serialization.load_pem_private_key(text.encode(), password=None)
        return private_key.public_key()
    raw = base64.b64decode("".join(text.split()), validate=True)
    if len(raw) not in _RAW_KEY_LENGTHS:
        raise ValueError(f"privateKey: {len(raw)} bytes; allowed: 32 or 64")
    return ed25519.Ed25519PrivateKey.from_private_bytes(raw[:32]).public_key()
