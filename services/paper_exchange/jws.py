"""Signed JSON tokens in the compact form (RFC 7515), for the two algorithms that Coinbase uses.

The key decides the algorithm and the header has to agree; the general libraries' parsing costs as
much again as an ES256 signature, which is why this reads tokens itself, strictly.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_LENGTH_MAX: Final = 4_096
_SEGMENTS: Final = 3
_COORDINATE_BYTES: Final = 32
_ES256: Final = ec.ECDSA(SHA256())
_object: Final = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it was sent: nothing in it is to be believed before `is_signed_by`."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @property
    def key_name(self) -> object:
        """Return the key id of the header; None where there is none."""
        return self.header.get("kid")

    def is_signed_by(self, key: PublicKey, algorithm: str) -> bool:
        """Say whether the signature is the key's. About 70 microseconds."""
        if self.header.get("alg") != algorithm or "crit" in self.header:
            return False
        try:
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(self.signature, self.signed)
                return True
            if len(self.signature) != 2 * _COORDINATE_BYTES:
                return False
            r, s = self.signature[:_COORDINATE_BYTES], self.signature[_COORDINATE_BYTES:]
            whole = encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
            key.verify(whole, self.signed, _ES256)
        except InvalidSignature:
            return False
        return True


def parse(text: str) -> Token | None:
    """Return the token that a text is; None for anything that is not one. O(length)."""
    segments = text.split(".")
    if len(text) > _LENGTH_MAX or len(segments) != _SEGMENTS or not text.isascii():
        return None
    try:
        header, claims, signature = (_decoded(segment) for segment in segments)
        return Token(
            header=_object.decode(header),
            claims=_object.decode(claims),
            signed=text.rpartition(".")[0].encode(),
            signature=signature,
        )
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def _decoded(segment: str) -> bytes:
    """Return what base64url says without padding; `ValueError` for other letters."""
    if "+" in segment or "/" in segment or "=" in segment:
        raise binascii.Error("not base64url")
    standard = segment.replace("-", "+").replace("_", "/") + "=" * (-len(segment) % 4)
    return base64.b64decode(standard, validate=True)
