"""The emergency close as a program of its own, at a real paper exchange."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.order_gateway.venue_account import LiveOrder, protective
from tests.fakes.processes import ROOT, Service, free_port, paper_exchange
from tests.fakes.venue_client import VenueHand, make_key
from touchstone.cli.emergency_close import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

BTC, ETH, INTX = "BIP-20DEC30-CDE", "ETP-20DEC30-CDE", "BTC-PERP-INTX"
DEAD = f"redis://127.0.0.1:{free_port()}/0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exchange's data folder, with a key for the emergency beside its own."""
    made = tmp_path_factory.mktemp("house")
    make_key(made, "emergency")
    return made


@pytest.fixture(scope="module")
def exchange(folder: Path) -> Iterator[Service]:
    """One paper exchange for the module."""
    with paper_exchange(folder, flow_rate="0.2") as made:
        yield made


@pytest.fixture
def hand(exchange: Service, folder: Path) -> VenueHand:
    """A hand at the account."""
    return VenueHand(exchange.url, folder / "exchange" / "keys" / "emergency.json")


def close_all(
    folder: Path, venue: str, *options: str, redis: str = DEAD, gateway: str | None = None
) -> tuple[int, dict[str, Any], str]:
    """Run the script; return exit code, its JSON and what it complained of."""
    key = folder / "exchange" / "keys" / "emergency.json"
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "scripts" / "emergency_close_all.py"),
            "--json",
            *("--redis-url", redis, "--venue-url", venue),
            *("--url", gateway or f"http://127.0.0.1:{free_port()}"),
            *options,
        ],
        env={
            **os.environ,
            "TOUCHSTONE_DATA_DIR": str(folder),
            "TOUCHSTONE_EMERGENCY_API_KEY_FILE": str(key),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_it_closes_everything_with_nothing_else_alive(
    exchange: Service, folder: Path, hand: VenueHand, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both families, entries, a stop: shown first, then gone; and again does no harm."""
    hand.market(BTC, "BUY", "3")
    hand.market(INTX, "SELL", "0.02")
    hand.rest(ETH, "BUY", "2", "0.8")
    hand.stop(BTC, "SELL", "3", "0.8")
    code, shown, told = close_all(folder, exchange.url)
    assert (code, shown["orders"], shown["confirmed"]) == (2, 2, False)
    assert {name: float(size) for name, size in shown["positions"].items()} == {
        BTC: 3.0,
        INTX: -0.02,
    }
    assert "say --confirm to do it" in told
    assert len(hand.orders()) == 2
    code, done, _ = close_all(folder, exchange.url, "--confirm", "--reason", "test")
    assert (code, done["flat"], done["orders_left"]) == (0, True, 0)
    assert (set(done["closes_taken"]), done["positions_left"]) == ({BTC, INTX}, {})
    assert all(answer.startswith("no: ") for answer in done["halted"].values())
    assert (hand.orders(), hand.positions()) == ([], {})
    key = str(folder / "exchange" / "keys" / "emergency.json")
    dead = f"http://127.0.0.1:{free_port()}"
    words = ["--confirm", "--json", "--key-file", key, "--redis-url", DEAD, "--url", dead]
    capsys.readouterr()
    assert main([*words, "--venue-url", exchange.url]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["rounds"], again["closes_taken"]) == (1, {})


def test_a_venue_that_does_not_answer_is_not_flat(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown is never flat: exit code 1, and the JSON says that nothing is known."""
    key = str(folder / "exchange" / "keys" / "emergency.json")
    dead = f"http://127.0.0.1:{free_port()}"
    words = ["--confirm", "--json", "--seconds", "1", "--key-file", key, "--redis-url", DEAD]
    code = main([*words, "--venue-url", dead, "--url", dead])
    done = json.loads(capsys.readouterr().out)
    assert (code, done["flat"], done["positions_left"]) == (1, False, None)
    assert done["problems"]
    words.remove("--json")
    assert main([*words, "--venue-url", dead, "--url", dead]) == 1
    assert "NOT FLAT: orders unknown, positions unknown" in capsys.readouterr().out


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing key file, and an option that does not exist."""
    assert main(["--confirm", "--key-file", "/none.json"]) == 2
    assert "'/none.json': no such file" in capsys.readouterr().err
    assert main(["--now"]) == 2


def test_stops_protect_only_as_far_as_the_position_goes() -> None:
    """The reducing side, flagged first, then the oldest, together no more than the position."""
    from decimal import Decimal  # noqa: PLC0415 - only here

    def order(key: str, side: str, leaves: int, kind: str, *, flag: bool = False) -> LiveOrder:
        return LiveOrder(key, key, BTC, side, kind, Decimal(leaves), flag, key)

    stop, limit = "stop_limit_stop_limit_gtc", "limit_limit_gtc"
    orders = [
        order("1", "SELL", 2, stop),
        order("2", "SELL", 2, stop, flag=True),
        order("3", "SELL", 1, limit, flag=True),
        order("4", "BUY", 1, stop, flag=True),
        order("5", "SELL", 1, "trigger_bracket_gtc"),
    ]
    assert protective(orders, {BTC: Decimal(3)}) == {"2", "5"}
    assert protective(orders, {BTC: Decimal(-1)}) == {"4"}
    assert protective(orders, {}) == frozenset()
    assert protective(orders, None) == {"2", "4", "5"}
