"""What the shadow process says is believed only where it can be true; its bounds are programs."""

import copy
import json
import pickle
import struct
from dataclasses import FrozenInstanceError
from decimal import Decimal
from typing import Any

import pytest

from execution_providers import Fill, FillStatus
from services.router.shadow_confine import filter_program
from services.router.shadow_frames import (
    FRAME_BYTES_MAX,
    Garbage,
    LateFill,
    Outcome,
    kept,
    message_frame,
    one_line,
    order_frame,
    order_header,
    outcome_message,
    outcome_of,
    take_message,
)
from services.router.shadow_work import frame_of
from touchstone.kit.codec import encode_fill

QUANTITY = Decimal(10)
DIGEST = "0123456789abcdef" * 2
FILL = Fill(
    status=FillStatus.FILLED,
    filled_quantity=QUANTITY,
    average_price=Decimal("100.02"),
    fees=Decimal("0.1"),
    slippage_bps=Decimal("2.5"),
    attribution={"provider": "L3", "text": "é\n"},
)


def said() -> list[Any]:
    """Return a good message, to be spoilt."""
    buffer = bytearray(outcome_message(7, Outcome(FILL, None, 0.01, DIGEST, FILL), QUANTITY))
    message = take_message(buffer)
    assert message is not None
    assert bytearray() == buffer
    return message


def test_an_outcome_survives_the_way() -> None:
    """Figures, attribution and parts are the same, and so are the bytes of the fill."""
    outcome = outcome_of(said(), QUANTITY)
    assert (None, 0.01, DIGEST) == (outcome.error, outcome.seconds, outcome.digest)
    assert outcome.fill is not None
    assert FILL == outcome.fill
    assert FILL == outcome.repeat
    assert "é\n" == outcome.fill.attribution["text"]
    assert encode_fill(FILL) == encode_fill(outcome.fill)


def test_a_kept_fill_is_the_fill() -> None:
    """Equal, immutable, and whole after a pickle and a copy."""
    late = kept(FILL)
    assert isinstance(late, LateFill)
    assert FILL == late
    assert FILL == pickle.loads(pickle.dumps(late))  # noqa: S301 - our own
    assert FILL == copy.deepcopy(late)
    with pytest.raises(FrozenInstanceError):
        late.fees = Decimal(1)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        late.nothing  # noqa: B018 - looking is what is tested


def with_fill(**changes: Any) -> str:
    """Return the text of a fill with other values."""
    return json.dumps(json.loads(encode_fill(FILL)) | changes)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (2, "0.1"),
        (2, -1.0),
        (2, float("nan")),
        (2, 1e9),
        (2, 1),
        (3, "g" * 32),
        (3, None),
        (4, "ERROR"),
        (4, 5),
        (5, None),
        (5, []),
        (5, "{}"),
        (5, "[" * 100_000),
        (5, "x" * 200_000),
        (5, with_fill() + "\n"),
        (5, with_fill(status="DONE")),
        (5, with_fill(status="UNFILLED")),
        (5, with_fill(filled_quantity="11")),
        (5, with_fill(filled_quantity="-10")),
        (5, with_fill(filled_quantity="NaN")),
        (5, with_fill(filled_quantity=None)),
        (5, with_fill(average_price=None)),
        (5, with_fill(average_price="0")),
        (5, with_fill(average_price="Infinity")),
        (5, with_fill(fees="9" * 70)),
        (5, with_fill(slippage_bps="1e99")),
        (5, with_fill(slippage_bps="")),
        (5, with_fill(attribution=[])),
        (5, with_fill(more=1)),
        (5, with_fill(fills=[{}])),
        (
            5,
            with_fill(
                fills=[{"price": "1", "quantity": "11", "liquidity": "TAKER", "offset_ns": 0}]
            ),
        ),
        (
            5,
            with_fill(
                fills=[{"price": "1", "quantity": "1", "liquidity": "TAKER", "offset_ns": -1}]
            ),
        ),
        (6, with_fill(filled_quantity="11")),
    ],
)
def test_what_cannot_be_is_garbage(place: int, value: object) -> None:
    """One value of a good message is spoilt, and none of it is taken."""
    message = said()
    message[place] = value
    with pytest.raises(Garbage):
        outcome_of(message, QUANTITY)


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack("<I", FRAME_BYTES_MAX + 1),
        b"\x05\x00\x00\x00[NaN]",
        b"\x01\x00\x00\x00\xff",
        b"\x02\x00\x00\x00{}",
        b"\x02\x00\x00\x00[]",
        b"\x03\x00\x00\x00[1]",
        struct.pack("<I", 100_000) + b"[" * 100_000,
        struct.pack("<I", 12) + b'["x\\ud800"]\x20',
    ],
)
def test_what_is_no_message_is_garbage(sent: bytes) -> None:
    """Too long, no JSON, no list, no kind, half a character."""
    with pytest.raises(Garbage):
        take_message(bytearray(sent))


def test_half_a_message_waits_for_the_rest() -> None:
    """Byte by byte the same message comes, once, when it is whole."""
    frame = message_frame(["ready", []])
    buffer, found = bytearray(), []
    for byte in frame:
        buffer.append(byte)
        found.append(take_message(buffer))
    assert [*[None] * (len(frame) - 1), ["ready", []]] == found


def test_the_header_of_an_order_is_read_back() -> None:
    """Length, number and seed."""
    frame = order_frame(2**63, 2**63 - 1, b"{}")
    assert (2, 2**63, 2**63 - 1) == order_header(frame[:20])


@pytest.mark.parametrize("fill", [None, "x", object()])
def test_what_is_no_fill_becomes_an_error_of_its_own(fill: Any) -> None:
    """The candidate's nonsense is a pair that failed, never one that is missing."""
    message = take_message(bytearray(frame_of(1, Outcome(fill, None, 0.1, DIGEST), QUANTITY)))
    assert message is not None
    assert ("GARBAGE", None) == (message[4], message[5])


def test_one_line_is_printable_and_short() -> None:
    """Whatever a candidate's exception says fits into a log line."""
    assert "a b ?" == one_line("a\n b \x1b")
    assert 500 == len(one_line("x" * 1_000_000))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_has_whole_instructions_and_ends_in_a_verdict(machine: str) -> None:
    """Fewer than the kernel's 4,096, no jump beyond the end; without a network it is longer."""
    program = filter_program(machine, 4711, network=True)
    codes = [struct.unpack("=HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
    assert 0 == len(program) % 8
    assert len(codes) < 4_096
    assert all(at + 1 + max(then, other) < len(codes) for at, (_, then, other, _) in
               enumerate(codes) if then or other)  # fmt: skip
    assert (0x06, 0x7FFF0000) == (codes[-1][0], codes[-1][3])
    assert len(program) < len(filter_program(machine, 4711, network=False))
    with pytest.raises(KeyError):
        filter_program("vax", 1, network=True)
