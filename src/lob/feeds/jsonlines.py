"""Parse venues' JSON strictly, and find the scale that the head of a file shows."""

import json
import re
from decimal import Decimal
from typing import Any, Final, NoReturn

from lob.errors import InvalidInput

_COARSEST_PLACES: Final = 2
_FINEST_PLACES: Final = 12
_PRODUCT: Final = re.compile(rb'"product(?:_id)?"\s*:\s*"([A-Za-z0-9]+-[A-Za-z0-9]+)"')
_COMPACT_PRODUCT: Final = re.compile(
    rb'\[\s*"(?:open|change|match|done|noop)"\s*,\s*"([A-Za-z0-9]+-[A-Za-z0-9]+)"'
)
_PRICES: Final = (
    re.compile(rb'"(?:new_|old_)?price(?:_str)?"\s*:\s*"?[0-9]+\.([0-9]+)'),
    re.compile(rb'\[\s*"[0-9]+\.([0-9]+)"\s*,\s*"[0-9.]+"\s*,\s*"'),
    re.compile(rb'"(?:buy|sell)"\s*,\s*"[0-9]+\.([0-9]+)"'),
)


def load_json(text: bytes) -> Any:
    """Return what a JSON text says, fractions as `Decimal`; what is no JSON is `InvalidInput`."""
    try:
        said = text.decode().strip()
        value, end = _DECODER.raw_decode(said)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"not UTF-8 text at byte {error.start}") from error
    except RecursionError as error:
        raise InvalidInput("not JSON of this format: nested too deep") from error
    except (ValueError, ArithmeticError) as error:
        raise InvalidInput(f"not JSON: {str(error)[:80]}") from error
    if end != len(said):
        raise InvalidInput(f"not JSON: something after its end, at character {end + 1}")
    return value


def products_of(head: bytes) -> list[str]:
    """Return the Coinbase products named in a file's first bytes, in order."""
    found = _PRODUCT.findall(head) or _COMPACT_PRODUCT.findall(head)
    return [name.decode() for name in dict.fromkeys(found)]


def scale_of(head: bytes) -> Decimal:
    """Return the tick that the prices in a file's first bytes are whole multiples of.

    It is 0.01, or as fine as the finest of them (trailing zeros do not count).
    """
    places = _COARSEST_PLACES
    for pattern in _PRICES:
        for fraction in pattern.findall(head):
            places = max(places, min(len(fraction.rstrip(b"0")), _FINEST_PLACES))
    return Decimal(1).scaleb(-places)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)
