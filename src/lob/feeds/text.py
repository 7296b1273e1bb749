"""Numbers out of lines of text, a block of lines at a time, exactly: no float, no copy per line.

A block of bytes is looked at as an array; each field is a stretch of it. What is not plain digits
is not read here: the caller is told, and reads that block line by line, which names the line.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput

MAX_LINE_BYTES: Final = 65_536
_BLOCK_BYTES: Final = 1 << 20
_COMMA: Final = ord(",")
_LINE_FEED: Final = ord("\n")
_RETURN: Final = ord("\r")
_MINUS: Final = ord("-")
_ZERO: Final = ord("0")
_DIGITS_MAX: Final = 18
"""As many digits as any int64 can hold, whatever they are."""

Ints = NDArray[np.int64]


class TextBlock(NamedTuple):
    """Whole lines of a file, the number of the first, and how far the file has been read."""

    raw: bytes
    first_line: int
    line_count: int
    bytes_done: int


class Fields(NamedTuple):
    """Where each field of each line begins and ends: arrays of shape (lines, fields)."""

    begins: Ints
    ends: Ints


def text_blocks(path: Path, *, block_lines: int) -> Iterator[TextBlock]:
    """Yield a file in blocks of at most `block_lines` whole lines.

    Raises:
        InvalidInput: the file cannot be read, or a line is longer than `MAX_LINE_BYTES`.
    """
    try:
        with path.open("rb") as file:
            number, rest, done = 1, b"", 0
            while chunk := file.read(_BLOCK_BYTES):
                done += len(chunk)
                whole, feed, rest = (rest + chunk).rpartition(b"\n")
                if feed:
                    yield from _pieces(whole + feed, number, block_lines, done)
                    number += whole.count(b"\n") + 1
                if len(rest) > MAX_LINE_BYTES:
                    raise InvalidInput(f"{path}:{number}: longer than {MAX_LINE_BYTES} bytes")
            if rest:
                yield TextBlock(rest + b"\n", number, 1, done)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error


def _pieces(whole: bytes, number: int, block_lines: int, done: int) -> Iterator[TextBlock]:
    ends = np.flatnonzero(np.frombuffer(whole, np.uint8) == _LINE_FEED) + 1
    begin = 0
    for first in range(0, len(ends), block_lines):
        last = min(first + block_lines, len(ends))
        end = int(ends[last - 1])
        raw = whole if end - begin == len(whole) else whole[begin:end]
        yield TextBlock(raw, number + first, last - first, done)
        begin = end


def split_fields(raw: bytes, lines: int, fields: int) -> Fields | None:
    """Return where the fields are, or None where a line has another number of them."""
    values = np.frombuffer(raw, np.uint8)
    ends = np.flatnonzero((values == _COMMA) | (values == _LINE_FEED))
    if len(ends) != lines * fields:
        return None
    table = ends.reshape(lines, fields).astype(np.int64)
    feeds = values[table] == _LINE_FEED
    if feeds[:, :-1].any() or not feeds[:, -1].all():
        return None
    begins = np.empty_like(table)
    begins.ravel()[0] = 0
    begins.ravel()[1:] = table.ravel()[:-1] + 1
    last = table[:, -1]
    table[:, -1] = last - ((last > begins[:, -1]) & (values[last - 1] == _RETURN))
    return Fields(begins, table)


def whole_numbers(raw: bytes, begins: Ints, ends: Ints, *, signed: bool = False) -> Ints | None:
    """Return the whole numbers in these stretches, or None where one is not plain digits."""
    values = np.frombuffer(raw, np.uint8)
    negative = np.zeros(len(begins), bool)
    if signed:
        negative = values[begins] == _MINUS
        begins = begins + negative
    lengths = ends - begins
    if not len(lengths):
        return np.zeros(0, np.int64)
    if lengths.min() < 1 or lengths.max() > _DIGITS_MAX:
        return None
    numbers = np.zeros(len(begins), np.int64)
    for place in range(int(lengths.max())):
        there = lengths > place
        # Beyond a field's end anything stands; it is not looked at, but must be inside the block.
        digits = values[np.minimum(begins + place, ends - 1)].astype(np.int64) - _ZERO
        if ((digits < 0) | (digits > 9))[there].any():  # noqa: PLR2004 - a decimal digit
            return None
        numbers = np.where(there, numbers * 10 + digits, numbers)
    return np.where(negative, -numbers, numbers)


def decimals(raw: bytes, begins: Ints, ends: Ints, places: int) -> Ints | None:
    """Return decimal numbers as whole multiples of 10**-places, or None where one is not plain.

    Places beyond those are cut off.
    """
    values = np.frombuffer(raw, np.uint8)
    points = np.flatnonzero(values == ord("."))
    if not len(begins):
        return np.zeros(0, np.int64)
    index = np.searchsorted(points, begins)
    found = points[np.minimum(index, len(points) - 1)] if len(points) else np.zeros_like(begins)
    has_point = (index < len(points)) & (found < ends)
    whole_ends = np.where(has_point, found, ends)
    whole = whole_numbers(raw, begins, whole_ends)
    if whole is None or (whole >= 10 ** (_DIGITS_MAX - places)).any():
        return None
    numbers: Ints = whole * 10**places
    if has_point.any():
        starts, stops = found[has_point] + 1, ends[has_point]
        lengths = stops - starts
        fraction = whole_numbers(raw, starts, stops)
        if fraction is None:
            return None
        missing = np.power(np.int64(10), np.maximum(0, places - lengths))
        beyond = np.power(np.int64(10), np.maximum(0, lengths - places))
        numbers[has_point] += fraction * missing // beyond
    return numbers
