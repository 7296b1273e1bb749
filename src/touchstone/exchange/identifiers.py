"""Ids that look like Coinbase's and can be reproduced: UUIDs derived from named parts."""

from hashlib import blake2b


def derived_uuid(*parts: object) -> str:
    """Return the UUID (version 8, RFC 9562) that these parts always give.

    >>> derived_uuid("order", 1) == derived_uuid("order", 1) != derived_uuid("order", 2)
    True
    """
    digest = bytearray(_digest(*parts, size=16))
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    shown = digest.hex()
    return f"{shown[:8]}-{shown[8:12]}-{shown[12:16]}-{shown[16:20]}-{shown[20:]}"


def derived_seed(*parts: object) -> int:
    """Return the 63-bit seed that these parts always give."""
    return int.from_bytes(_digest(*parts, size=8), "big") >> 1


def _digest(*parts: object, size: int) -> bytes:
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=size).digest()
