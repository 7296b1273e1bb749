"""Which texts are taken: the code and the pattern that schemas say agree on every character."""

import re
import sys

import pytest

from lob.texts import KEY, PRINTABLE, is_printable


def test_code_and_pattern_agree_on_every_character() -> None:
    """Half pairs of surrogates are no characters: no pattern speaks of them, and none is taken."""
    pattern = re.compile(PRINTABLE.replace("$", r"\Z")).search
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        if 0xD800 <= number <= 0xDFFF:
            assert not is_printable(character)
        else:
            assert is_printable(character) == (pattern(character) is not None), hex(number)


def test_whatever_python_prints_is_taken() -> None:
    """What Unicode has not assigned is taken besides."""
    assert all(is_printable(chr(n)) for n in range(sys.maxunicode + 1) if chr(n).isprintable())
    assert not "\u0378".isprintable()
    assert is_printable("\u0378")


@pytest.mark.parametrize("text", ["", " ", "   ", "a\tb", "\u3000", "a\u200b", "\U000e0020x"])
def test_a_key_is_neither_blank_nor_odd(text: str) -> None:
    """Nor empty."""
    assert re.search(KEY, text) is None


@pytest.mark.parametrize("text", ["a", " a", "a b ", "BRK.B", "\u00e9", "\U0001f600"])
def test_a_key_is_any_other_text(text: str) -> None:
    """Blanks around it are the reader's to take off."""
    assert re.search(KEY, text)
