"""Ways in which a file of a venue can be broken: each is a name and the broken bytes."""

import gzip
import random
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

ABSURD: Final = (
    b"",
    b"x",
    b"-1",
    b"0",
    b"1.5",
    b"-0.0",
    b"9223372036854775807",
    b"9223372036854775808",
    b"99999999999999999999999999",
    b"1e400",
    b"1e-400",
    b"NaN",
    b"null",
    b"true",
    b"[]",
    b'"',
    b"\xff",
    b"\x00",
    "\u0661".encode(),
)
"""What stands where a number was."""

_WORDS: Final = (
    b"\xff" * 8,
    b"\x00" * 8,
    b"\x7f" + b"\xff" * 7,
    b"\xff" * 7 + b"\x7f",
    b"\x80" * 8,
)
PREFIXED: Final = -1
"""Instead of a length of records: each has its length before it, two bytes, big-endian."""

_TOKEN: Final = re.compile(rb"[0-9][0-9.]*")
_HUGE: Final = 1 << 20


class Broken(NamedTuple):
    """A broken file: how it was broken, so that it can be broken again, and its bytes."""

    how: str
    content: bytes


def broken(content: bytes, record_bytes: int | None, seed: int, rounds: int) -> Iterator[Broken]:
    """Yield broken versions of a file.

    `record_bytes` is the length of its records: None for lines, 0 for a file without records,
    `PREFIXED` where each has its own.
    `rounds` scales the number of random ones. Where the file is a gzip, what is in it is broken,
    and packed again; and the gzip itself.
    """
    packed = content.startswith(b"\x1f\x8b")
    plain = gzip.decompress(content) if packed else content
    draw = random.Random(seed)
    for how, changed in _all(plain, record_bytes, draw, rounds):
        yield Broken(how, gzip.compress(changed, 1) if packed else changed)
    if packed:
        yield from (Broken(f"gzip {how}", raw) for how, raw in _cut(content, 10 * rounds))
        yield from (Broken(f"gzip {how}", raw) for how, raw in _flipped(content, draw, 10 * rounds))
        yield Broken("gzip with a tail", content + b"tail")


def _all(
    plain: bytes, record_bytes: int | None, draw: random.Random, rounds: int
) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "one byte", plain[:1]
    yield "nothing but zeros", bytes(len(plain))
    yield "a byte order mark", b"\xef\xbb\xbf" + plain
    yield "utf-16", plain.decode("latin-1").encode("utf-16")
    yield from _cut(plain, 25 * rounds)
    yield from _flipped(plain, draw, 25 * rounds)
    if record_bytes != 0:
        yield from _shuffled(plain, record_bytes, draw, 8 * rounds)
    if record_bytes is None:
        yield from _replaced(plain, draw, 25 * rounds)
        yield from _huge_lines(plain, draw)
    else:
        yield from _overwritten(plain, draw, 25 * rounds)
    middle = len(plain) // 2
    yield "a megabyte of zeros", plain[:middle] + bytes(_HUGE) + plain[middle:]


def _cut(plain: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    for end in range(1, len(plain), max(1, len(plain) // count)):
        yield f"cut at {end}", plain[:end]


def _flipped(plain: bytes, draw: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    for _ in range(count):
        changed = bytearray(plain)
        places = [draw.randrange(len(plain)) for _ in range(draw.choice((1, 1, 2, 8)))]
        for place in places:
            changed[place] ^= 1 << draw.randrange(8)
        yield f"bits flipped at {places}", bytes(changed)


def _records(plain: bytes, record_bytes: int | None) -> list[bytes]:
    if record_bytes is None:
        return plain.splitlines(keepends=True)
    if record_bytes == PREFIXED:
        records, at = [], 0
        while at < len(plain):
            end = at + 2 + int.from_bytes(plain[at : at + 2], "big")
            records.append(plain[at:end])
            at = end
        return records
    # The head's length is not ours to know: records are counted from the end.
    head = len(plain) % record_bytes
    records = [plain[:head]] if head else []
    return records + [plain[at : at + record_bytes] for at in range(head, len(plain), record_bytes)]


def _shuffled(
    plain: bytes, record_bytes: int | None, draw: random.Random, count: int
) -> Iterator[tuple[str, bytes]]:
    records = _records(plain, record_bytes)
    for _ in range(count):
        changed = list(records)
        one, other = draw.randrange(len(records)), draw.randrange(len(records))
        changed[one], changed[other] = changed[other], changed[one]
        yield f"records {one} and {other} exchanged", b"".join(changed)
        yield f"record {one} twice", b"".join(records[: one + 1] + records[one:])
        yield f"record {one} missing", b"".join(records[:one] + records[one + 1 :])
    draw.shuffle(records)
    yield "records in any order", b"".join(records)


def _replaced(plain: bytes, draw: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    tokens = list(_TOKEN.finditer(plain))
    for _ in range(count):
        token, absurd = draw.choice(tokens), draw.choice(ABSURD)
        changed = plain[: token.start()] + absurd + plain[token.end() :]
        yield f"{absurd!r} at {token.start()}", changed


def _huge_lines(plain: bytes, draw: random.Random) -> Iterator[tuple[str, bytes]]:
    lines = plain.splitlines(keepends=True)
    at = draw.randrange(len(lines))
    for filler in (b"9", b"[", b'{"a":', b"a,", b" "):
        huge = filler * (_HUGE // len(filler)) + b"\n"
        yield f"a huge line of {filler!r} at {at}", b"".join([*lines[:at], huge, *lines[at:]])


def _overwritten(plain: bytes, draw: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    for _ in range(count):
        at, word = draw.randrange(0, len(plain), 4), draw.choice(_WORDS)
        word = word[: draw.choice((1, 2, 4, 8))]
        yield f"{word!r} at {at}", plain[:at] + word + plain[at + len(word) :]
