"""Name an L3 configuration by what is in it, so that a fill can say which one made it."""

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    # Its types take a quarter of a second to make, and a shadow process needs only the digests.
    from lob.config import L3ExecutionConfig

DIGEST_BYTES: Final = 8


def config_digest(config: "L3ExecutionConfig") -> str:
    """Return 16 hexadecimal digits of BLAKE2b over the configuration's JSON, keys sorted."""
    return document_digest(config.model_dump(mode="json"))


def document_digest(document: Any, digest_bytes: int = DIGEST_BYTES) -> str:
    """Return the hexadecimal digest of a JSON document, whatever the order of its keys.

    >>> document_digest({"a": 1, "b": 2}) == document_digest({"b": 2, "a": 1})
    True
    """
    encoded = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return blake2b(encoded.encode(), digest_size=digest_bytes).hexdigest()
