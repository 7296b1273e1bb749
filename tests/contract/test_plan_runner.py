"""The rollout plan's command lines for the bot, word for word, and what can go wrong."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.fakes.processes import ROOT, free_port
from touchstone.cli.perps_bot import advanced
from touchstone.cli.rehearsal.lines import PHASES

PRINTED = """\
COINBASE_SANDBOX=1 python scripts/run_perps_bot_v2_week3.py \\
  --profile dev \\
  --symbols BTC-PERP ETH-PERP \\
  --dry-run \\
  --max-spread-bps 10 \\
  --min-depth-l1 50000 \\
  --rsi-confirm"""
REDUCE_ONLY = "python scripts/run_perps_bot_v2_week3.py --reduce-only"
FALLBACK = "python scripts/run_perps_bot_v2.py --profile prod"
CURL = "curl -X POST localhost:8080/reduce-only"
START_SECONDS_MAX = 150.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class Place:
    """Ports and a folder of a test's own, instead of the usual ones."""

    folder: Path
    gateway: int
    exchange: int
    redis: int

    @classmethod
    def at(cls, folder: Path) -> "Place":
        """Return a place below a folder, on free ports."""
        return cls(folder, free_port(), free_port(), free_port())

    @property
    def base(self) -> str:
        """Return the gateway's address."""
        return f"http://127.0.0.1:{self.gateway}"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment that says so; a quarter of the usual flow is enough here."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TOUCHSTONE_")}
        return {
            **kept,
            "TOUCHSTONE_DATA_DIR": str(self.folder),
            "TOUCHSTONE_GATEWAY_PORT": str(self.gateway),
            "TOUCHSTONE_EXCHANGE_PORT": str(self.exchange),
            "TOUCHSTONE_REDIS_PORT": str(self.redis),
            "TOUCHSTONE_EXCHANGE_FLOW_RATE": "0.25",
            **more,
        }

    def health(self) -> dict[str, Any]:
        """Return the health file."""
        found: dict[str, Any] = json.loads((self.folder / "logs" / "health.json").read_text())
        return found


def words_of(line: str) -> tuple[dict[str, str], list[str]]:
    """Return the environment and the words of a printed command line."""
    words = line.replace("\\\n", " ").split()
    split = next(i for i, word in enumerate(words) if word == "python")
    return dict(word.split("=", 1) for word in words[:split]), [sys.executable, *words[split + 1 :]]


def run(place: Place, line: str, *more: str, **environment: str) -> tuple[int, str, str]:
    """Run a printed command line to its end; return exit code and what it said."""
    printed, words = words_of(line)
    done = subprocess.run(
        [*words, *more],
        cwd=ROOT,
        env=place.environment(**printed, **environment),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@contextlib.contextmanager
def started(place: Place, words: Sequence[str], **environment: str) -> Iterator[Any]:
    """Start a command line; whatever still runs at the end is ended."""
    place.folder.mkdir(parents=True, exist_ok=True)
    output = place.folder / "said.txt"
    with output.open("wb") as target:
        process = subprocess.Popen(
            words, cwd=ROOT, env=place.environment(**environment), stdout=target, stderr=target
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


def said(place: Place) -> str:
    """Return what a started command line has said."""
    return (place.folder / "said.txt").read_text()


def wait_for(place: Place, process: Any, text: str) -> None:
    """Wait until a command line has said something."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while text not in said(place):
        assert process.poll() is None, said(place)
        assert time.monotonic() < deadline, said(place)
        time.sleep(0.05)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Where the printed line runs."""
    return Place.at(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def bot(place: Place) -> Iterator[Any]:
    """The printed line of phase 1, with its exchange and Redis as children, looking at markets."""
    printed, words = words_of(PRINTED)
    with started(place, words, **printed) as process:
        wait_for(place, process, "ETH-PERP  HOLD: 0 of 20 bars")
        yield process


def test_the_printed_line_says_what_it_goes_by_and_reports(place: Place, bot: Any) -> None:
    """Resolved flags at the start; a health file that is whole; nothing was sent."""
    told = said(place)
    for line in (
        "paper exchange: starting",
        "profile    dev (dry run: nothing is sent)",
        "products   BTC-PERP = BTC-PERP-INTX, ETH-PERP = ETH-PERP-INTX",
        f"REST on {place.base}",
    ):
        assert line in told
    health = place.health()
    assert (bot.pid, "dev", "paper", True) == (
        health["pid"],
        health["mode"]["profile"],
        health["mode"]["venue"],
        health["mode"]["dry_run"],
    )
    assert health["orders"]["placed"] == 0
    assert httpx.get(f"{place.base}/v1/go-no-go").json()["decision"] == "HOLD"


def test_nothing_leaves_while_it_is_a_dry_run(place: Place, bot: Any) -> None:
    """An order over REST passes every check and stops at the last gate."""
    assert bot.poll() is None
    order = {"symbol": "BTC-PERP", "side": "BUY", "quantity": "0.0003", "type": "MARKET"}
    answer = httpx.post(f"{place.base}/v1/orders", json=order)
    assert (422, "DRY_RUN") == (answer.status_code, answer.json()["error"]["code"]) or (
        answer.json()["error"]["code"] == "DRY_RUN"
    )
    taken = httpx.get(f"http://127.0.0.1:{place.exchange}/metrics").text
    counts = [line for line in taken.splitlines() if line.startswith("exchange_orders_total{")]
    assert all(line.endswith(" 0.0") for line in counts)


def test_a_second_one_is_told_that_one_runs(place: Place, bot: Any) -> None:
    """One clear line and exit code 2; with --reduce-only it tells the one that runs."""
    assert bot.poll() is None
    code, out, err = run(place, PRINTED)
    assert (2, "") == (code, out)
    assert f"a gateway (ACTIVE) answers at {place.base} already; stop it, or say" in err
    code, out, err = run(place, REDUCE_ONLY)
    assert (0, "") == (code, err)
    assert f"told the gateway at {place.base}: REDUCE_ONLY (generation 2)" in out
    assert "acked: 2 in" in out
    state = httpx.get(f"{place.base}/v1/kill-switch").json()
    assert state["state"] == "REDUCE_ONLY"
    wait_for(place, bot, "no entries: the kill switch is REDUCE_ONLY: ")


def test_the_printed_curl_works_against_the_runner(place: Place, bot: Any) -> None:
    """Word for word but for the port."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on PATH")
    assert bot.poll() is None
    words = CURL.replace("8080", str(place.gateway)).split()
    done = subprocess.run(
        [words[0], "-sS", "--noproxy", "*", *words[1:]], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["state"] == "REDUCE_ONLY"


def test_the_printed_fallback_runs_beside_on_the_same_exchange(place: Place, bot: Any) -> None:
    """Market orders only; one look, which finds nothing to go by yet, and a clean end."""
    assert bot.poll() is None
    beside = Place(place.folder / "fallback", free_port(), place.exchange, place.redis)
    key = place.folder / "exchange" / "keys" / "cdp_api_key.json"
    code, out, err = run(
        beside,
        FALLBACK,
        "--run-once",
        COINBASE_SANDBOX="1",
        TOUCHSTONE_REDIS_URL=f"redis://127.0.0.1:{place.redis}/1",
        TOUCHSTONE_GATEWAY_API_KEY_FILE=str(key),
    )
    assert (0, "") == (code, err)
    assert "entries    market, impact <= 10 bps" in out
    assert "HOLD: 0 of 20 bars" in out
    assert out.strip().endswith("HOLD")
    assert ("stopped", "fallback") == (
        beside.health()["status"],
        beside.health()["mode"]["runner"],
    )


def test_sigterm_drains_and_takes_the_children_along(place: Place, bot: Any) -> None:
    """Exit code 0, the matrix at the end, no exchange and no Redis left behind."""
    bot.send_signal(signal.SIGTERM)
    assert bot.wait(30) == 0
    told = said(place)
    assert "stopping: no more entries; resting entries are cancelled, stops stay" in told
    assert "pnl_drift" in told
    assert told.strip().endswith("HOLD")
    assert place.health()["status"] == "stopped"
    for port in (place.exchange, place.redis, place.gateway):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_lines_that_are_rehearsed_are_the_plans() -> None:
    """The rehearsal has the printed line of phase 1, and of the others the same words."""
    assert PHASES["sandbox"].line == PRINTED.removeprefix("COINBASE_SANDBOX=1 ")
    demo, canary = PHASES["demo"].words(), PHASES["canary"].words()
    assert demo[:6] == ["--profile", "demo", "--symbols", "BTC-PERP", "--order-type", "limit"]
    assert canary[-4:] == ["--liq-buffer-pct", "25", "--max-slippage-bps", "10"]


def test_the_guide_prints_the_same_lines() -> None:
    """docs/perps-rollout.md has the three lines word for word, and the rehearsal's command."""
    page = (ROOT / "docs" / "perps-rollout.md").read_text()
    for phase in PHASES.values():
        assert phase.line in page
    assert PRINTED in page
    assert "./touchstone rehearse sandbox" in page
    assert "touchstone go-no-go --gateway" in page


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place for command lines that end before anything runs: in this process, for speed."""
    place = Place.at(tmp_path)
    for name in [name for name in os.environ if name.startswith("TOUCHSTONE_")]:
        monkeypatch.delenv(name)
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    return place


@pytest.mark.parametrize("name", ["demo", "canary"])
def test_without_a_key_the_lines_for_coinbase_say_what_is_missing(
    name: str, here: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 2, nothing started."""
    assert advanced(PHASES[name].words()) == 2
    told = capsys.readouterr()
    assert ("", 1) == (told.out, told.err.count("\n"))
    assert "needs an API key: set TOUCHSTONE_GATEWAY_API_KEY_FILE" in told.err
    assert not list(here.folder.iterdir())


def test_reduce_only_says_where_there_is_nobody_to_tell(
    here: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever meant a gateway that runs sees that none was closed."""
    assert advanced(["--profile", "demo", "--reduce-only"]) == 2
    told = capsys.readouterr().out
    assert f"no gateway answers at {here.base}: nothing was closed" in told


def test_a_redis_that_is_named_and_does_not_answer_ends_the_start(
    here: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 1; nothing was started."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", "redis://127.0.0.1:1/0")
    assert advanced(PHASES["sandbox"].words()) == 1
    told = capsys.readouterr()
    assert ("", 1) == (told.out, told.err.count("\n"))
    assert "no Redis answers at redis://127.0.0.1:1/0" in told.err
    assert not list(here.folder.iterdir())


def test_a_venue_that_is_down_at_the_start_is_waited_for(tmp_path: Path) -> None:
    """It says what it waits for, keeps its REST up, and ends cleanly when told to."""
    place = Place.at(tmp_path)
    printed, words = words_of(PRINTED)
    dead = f"http://127.0.0.1:{free_port()}"
    feed = dead.replace("http", "ws")
    venue = {"TOUCHSTONE_GATEWAY_VENUE_URL": dead, "TOUCHSTONE_GATEWAY_VENUE_WS_URL": feed}
    with started(place, words, **printed, **venue) as process:
        wait_for(place, process, "waiting: ")
        assert httpx.get(f"{place.base}/readyz").status_code == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "venue" in said(place).split("waiting: ")[1].splitlines()[0]
    assert "Traceback" not in said(place)


def test_one_look_at_a_venue_that_is_down_ends_with_one_line(tmp_path: Path) -> None:
    """Exit code 1 and what was missing, without a traceback."""
    place = Place.at(tmp_path)
    dead = f"http://127.0.0.1:{free_port()}"
    impatient = (
        "import sys; from services.order_gateway import bot_process as bot;"
        "bot.RUN_ONCE_WAITS_SECONDS = 1.0;"
        "from touchstone.cli.perps_bot import advanced;"
        "sys.exit(advanced(['--profile', 'dev', '--run-once']))"
    )
    venue = {
        "TOUCHSTONE_GATEWAY_VENUE_URL": dead,
        "TOUCHSTONE_GATEWAY_VENUE_WS_URL": dead.replace("http", "ws"),
    }
    done = subprocess.run(
        [sys.executable, "-c", impatient],
        cwd=ROOT,
        env=place.environment(COINBASE_SANDBOX="1", **venue),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert "not ready after 1 s: venue: " in done.stderr


def launcher() -> ModuleType:
    """Return the scripts' launcher as a module."""
    path = ROOT / "scripts" / "launcher.py"
    spec = importlib.util.spec_from_file_location("scripts_launcher", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_plain_python_goes_on_in_the_projects_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the dependencies the same process becomes `./touchstone perps-bot` and its flags."""
    module, called = launcher(), []

    def nothing_there() -> Any:
        raise ModuleNotFoundError("No module named 'touchstone'")

    monkeypatch.setattr(module.os, "execv", lambda path, words: called.append((path, words)))
    monkeypatch.setattr(sys, "argv", ["run_perps_bot_v2_week3.py", "--profile", "dev"])
    module.run("perps-bot", nothing_there)
    launched = [sys.executable, str(ROOT / "touchstone"), "perps-bot", "--profile", "dev"]
    assert [(sys.executable, launched)] == called
