"""The paper exchange's benchmark: its arithmetic, its clients, and one short run of all of it."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from bench.exchange import (
    BARS,
    FEED,
    REST,
    Options,
    bars_of,
    feed_summary,
    held,
    lines_of,
    measure,
    rest_summary,
    write,
)
from bench.exchange_feed import Client
from bench.exchange_load import CREATE, Signer, order
from bench.exchange_stack import write_keys
from bench.router import RESULTS_BEGIN, RESULTS_END
from services.paper_exchange.auth import Authenticator
from services.paper_exchange.keys import load_keys
from services.paper_exchange.requests import parse_create
from touchstone.exchange import Refusal


def rest_block(**changes: Any) -> dict[str, Any]:
    """Return one block's figures of orders."""
    return {
        "orders": 4_000,
        "cancels": 200,
        "seconds": 2.0,
        "latency_us": [900.0] * 99 + [4_000.0],
        "exchange_cpu_seconds": 1.0,
        "cpu_seconds": 0.5,
    } | changes


def feed_block(**changes: Any) -> dict[str, Any]:
    """Return one block's figures of the feed."""
    return {
        "seconds": 2.0,
        "bytes": 80_000_000,
        "frames": 3_000,
        "levels": [50_000] * 20,
        "pauses_us": [10_000.0] * 100,
        "exchange_cpu_seconds": 1.0,
        "cpu_seconds": 0.5,
        "slow": 4,
        "slow_cut_off": 4,
    } | changes


def document(slow_left: int = 0, slowest: int = 50_000) -> dict[str, Any]:
    """Return a document of like blocks; the long way takes twice the CPU."""
    cases = {name: rest_summary([rest_block(), rest_block()]) for name in REST}
    cases[list(REST)[2]] = rest_summary([rest_block(exchange_cpu_seconds=2.0)])
    cases |= {name: feed_summary([feed_block()]) for name in FEED}
    beside = feed_block(slow_cut_off=4 - slow_left, levels=[50_000] * 19 + [slowest])
    cases[list(FEED)[2]] = feed_summary([beside])
    found: dict[str, Any] = {
        "machine": {"processors": 2, "python": "3", "system": "S", "load_average": (1, 1, 1)},
        "seconds": 2.0,
        "rounds": 2,
        "cases": cases,
    }
    found["bars"] = bars_of(found)
    return found


def test_every_bar_holds_or_is_missed() -> None:
    """A slow client that stays, or one that slows the others down, is a bar missed."""
    good = document()
    assert held(good)
    assert len(BARS) == len(good["bars"])
    assert 0.5 == good["bars"][4]["measured"]
    assert not held(document(slow_left=1))
    assert not held(document(slowest=30_000))
    assert any("MISSED" in line for line in lines_of(document(slow_left=1)))


def test_results_go_between_their_marks(tmp_path: Path) -> None:
    """The rest of the page stays as it was."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{RESULTS_BEGIN}STALE\n{RESULTS_END}after\n")
    write(document(), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{RESULTS_END}after\n")
    assert "STALE" not in text
    assert "level2 updates/s to 20 clients" in text


def test_requests_are_signed_as_the_exchange_wants_them(tmp_path: Path) -> None:
    """Both kinds of keys pass the exchange's own check, and every order is well formed."""
    folder = tmp_path / "keys"
    keys = write_keys(folder)
    authenticator = Authenticator(load_keys(folder))
    for algorithm, (first, _) in keys.items():
        head = Signer(first["name"], first["private_key"], algorithm, "h:1").head(CREATE).decode()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-1])
        caller = authenticator.rest(fields["Authorization"], "POST", "h:1", CREATE)
        assert f"{algorithm}-0".lower() == caller.account
    for number in range(4):
        assert not isinstance(parse_create(order("x", number), "portfolio").wanted, Refusal)


class Pipe:
    """A socket whose bytes are given beforehand, piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def recv(self, _count: int) -> bytes:
        """Return the next piece."""
        return self._pieces.pop(0)


def frame(sequence: int, levels: int) -> bytes:
    """Return a text frame with so many levels."""
    payload = json.dumps({"sequence_num": sequence, "u": [{"new_quantity": "1"}] * levels})
    body = payload.replace(" ", "").encode()
    if len(body) < 126:
        return bytes((0x81, len(body))) + body
    if len(body) < 65_536:
        return struct.pack("!BBH", 0x81, 126, len(body)) + body
    return struct.pack("!BBQ", 0x81, 127, len(body)) + body


@pytest.mark.parametrize("cut", [1, 2, 3, 9, 50, 10_000])
def test_frames_are_counted_however_they_come(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short, middle and long frames, cut anywhere; a number that is left out is a gap."""
    sent = frame(0, 1) + frame(1, 30) + frame(3, 6_000)
    pieces = [sent[at : at + cut] for at in range(0, 300, cut)]
    pieces.append(sent[len(b"".join(pieces)) :])
    monkeypatch.setattr("bench.exchange_feed.connected", lambda _port: Pipe(*pieces))
    client = Client(0)
    for _ in pieces:
        client.read()
        if client.bytes == len(sent):
            break
    assert (3, 6_031, 1) == (client.frames, client.levels, client.gaps)


@pytest.mark.slow
def test_a_short_run_measures_every_case(root: Path) -> None:
    """Real processes: orders are taken, levels delivered without a gap, in every case."""
    found = measure(Options(seconds=0.5, rounds=1), root, lambda _text: None)
    assert {*REST, *FEED} == set(found["cases"])
    for name in REST:
        assert found["cases"][name]["orders"] > 0, name
    for name in FEED:
        assert found["cases"][name]["levels_per_second"] > 0, name
