"""Which texts are taken as names and keys: one rule, which a schema can say too."""

import re
from typing import Final

UNPRINTABLE: Final = (
    r"\x00-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff\ufff9-\ufffb"
    # A pattern of a schema has no common way to write these but as they are.
    "\U000110bd\U000110cd\U00013430-\U00013438\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001\U000e0020-\U000e007f"
)
"""The inside of a character class: control and format characters, and blanks but the plain one.

`str.isprintable` refuses what Unicode has not assigned as well, and Unicode grows.
"""
PRINTABLE: Final = f"^[^{UNPRINTABLE}]*$"
"""A pattern for any reader of regular expressions: none of these in it."""
KEY: Final = f"^ *[^ {UNPRINTABLE}][^{UNPRINTABLE}]*$"
"""As `PRINTABLE`, and not blank. One pattern: whoever draws from two throws most away."""

_odd = re.compile(f"[{UNPRINTABLE}\ud800-\udfff]").search


def is_printable(value: str) -> bool:
    r"""Return whether a text matches `PRINTABLE` and has no half of a surrogate pair. O(n).

    >>> [is_printable(text) for text in ("BRK.B", "", "a\nb", "a\u200bb", "\u0378")]
    [True, True, False, False, True]
    """
    return value.isprintable() or _odd(value) is None
