"""`touchstone rehearse`: a short one of the sandbox, and the criteria on records made here."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.processes import ROOT
from touchstone.cli.rehearsal import criteria
from touchstone.cli.rehearsal.lines import PHASES
from touchstone.cli.rehearsal.records import Records, logged_errors
from touchstone.cli.rehearsal.verdicts import Finding, Findings, NotHeldError, require

ORDER_TESTS = 6


def rehearse(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "touchstone.cli", "rehearse", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_short_rehearsal_of_the_sandbox_holds_its_tests(tmp_path: Path) -> None:
    """All six tests of the plan over REST, the dry run sends nothing, no unexpected error."""
    done = rehearse(
        "sandbox", "--hours", "0.3", "--speed", "240", "--json", "--keep", str(tmp_path)
    )
    assert "Traceback" not in done.stderr, done.stderr
    [phase] = json.loads(done.stdout)["phases"]
    held = {one["name"]: (one["held"], one["detail"]) for one in phase["findings"]}
    tests = [one for one in phase["findings"] if one["kind"] == "test"]
    assert len(tests) == ORDER_TESTS
    assert [] == [one for one in tests if not one["held"]]
    for name in ("Metrics properly logged to EventStore", "No unexpected errors in 0.3 h"):
        assert held[name][0], held[name][1]
    assert {row["name"] for row in phase["go_no_go"]["rows"]} >= {"slippage", "error_rate"}
    # What a quarter of an hour's bot decides is the market's; the exit code says whether all held.
    assert done.returncode == (0 if phase["passed"] else 1)
    assert (tmp_path / "sandbox" / "run-1" / "logs" / "health.json").exists()


def test_an_unknown_phase_is_wrong_usage() -> None:
    """With what is allowed."""
    done = rehearse("production")
    assert (2, "") == (done.returncode, done.stdout)
    assert "sandbox, demo, canary, all" in " ".join(done.stderr.replace("│", " ").split())


class Written(Records):
    """An event store that the test has written."""

    @classmethod
    def at(cls, folder: Path, *events: tuple[str, dict[str, Any]]) -> "Written":
        """Write events into a new one."""
        path = folder / "events.db"
        with sqlite3.connect(path) as database:
            database.executescript(
                """
                CREATE TABLE events (sequence INTEGER PRIMARY KEY, bot_id, type, ts_event_ns,
                  payload);
                CREATE TABLE orders (client_order_id, status, type, reduce_only, post_only,
                  filled_quantity);
                CREATE TABLE fills (client_order_id, liquidity);
                CREATE TABLE positions (symbol, quantity, cost, realized_pnl, fees, funding_paid);
                CREATE TABLE funding_payments (funding_time_ns, amount);
                CREATE TABLE daily_metrics (day, equity_close);
                """
            )
            for number, (kind, payload) in enumerate(events):
                database.execute(
                    "INSERT INTO events (bot_id, type, ts_event_ns, payload) VALUES (?, ?, ?, ?)",
                    ("bot", kind, number * 60_000_000_000, json.dumps(payload)),
                )
        return cls(path)

    def add(self, table: str, *values: Any) -> None:
        """Add a row to a table."""
        marks = ",".join("?" * len(values))
        with sqlite3.connect(self.path) as database:
            database.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608


def outcome(**fields: Any) -> tuple[str, dict[str, Any]]:
    """Return the record of a filled order, with fields changed."""
    usual = {"sent": True, "error": False, "post_only": False, "crossed": False}
    return "order_outcome", {**usual, "slippage_bps": 1.0, **fields}


def found(told: Findings) -> dict[str, bool]:
    """Return whether each finding held, by its name."""
    return {one.name: one.held for one in told.found}


@pytest.fixture
def told() -> Findings:
    """Findings that are told to nobody."""
    return Findings(lambda _finding: None)


def test_an_order_beyond_the_slippage_limit_is_seen(tmp_path: Path, told: Findings) -> None:
    """One of twenty may, two may not, a resting entry may not; no order at all is no proof."""
    phase = PHASES["canary"]
    good, bad = outcome(slippage_bps=9.9), outcome(slippage_bps=10.1)
    resting = outcome(slippage_bps=10.1, post_only=True)
    cases: tuple[list[tuple[str, dict[str, Any]]], ...] = (
        [bad, *[good] * 19],
        [bad, bad, *[good] * 18],
        [resting, *[good] * 19],
        [],
    )
    for number, case in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        criteria._slippage(told, Written.at(folder, *case), phase)
    assert [True, False, False, False] == [one.held for one in told.found]


def test_what_should_not_happen_is_an_unexpected_error(tmp_path: Path, told: Findings) -> None:
    """A defect, a tripped guard, a lost order, a line in the log, an exit code, a torn venue."""
    log, whole = tmp_path / "log", {"conserved": True}
    log.write_text('{"level": "info", "event": "fine"}\n')
    cases: list[tuple[str, dict[str, Any]]] = [
        ("order_defect", {}),
        ("risk_guard", {"guard": "daily_loss", "level": "TRIPPED"}),
        outcome(error=True),
    ]
    for number, case in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        criteria.no_errors(told, Written.at(folder, case), log, 0, hours=1, whole=whole)
    clean = Written.at(tmp_path, outcome(), ("risk_guard", {"guard": "daily_loss", "level": "OK"}))
    criteria.no_errors(told, clean, log, 1, hours=1, whole=whole)
    criteria.no_errors(told, clean, log, 0, hours=1, whole={"conserved": False})
    criteria.no_errors(told, clean, log, 0, hours=1, whole=whole)
    log.write_text('{"level": "error", "event": "feed_lost", "why": "gone"}\nTraceback\n')
    assert ["feed_lost: gone", "Traceback"] == logged_errors(log)
    criteria.no_errors(told, clean, log, 0, hours=1, whole=whole)
    assert [False] * 5 + [True, False] == [one.held for one in told.found]


def test_profit_and_funding_are_held_to_the_exchanges_own(tmp_path: Path, told: Findings) -> None:
    """To the cent, at full hours, and no drift beyond 0.1 %."""
    records = Written.at(tmp_path, ("pnl_drift", {"drift": 0.0002}))
    records.add("positions", "ETH-PERP", "0.1", "400", "3", "1", "0.5")
    records.add("funding_payments", 2 * 3_600_000_000_000, "0.5")
    paid = [{"lots": 1000, "paid": "0.5"}, {"lots": 0, "paid": "0"}]
    venue = {"book_value": "99601.5", "deposits": "100000", "funding": paid}
    criteria._pnl(told, records, venue)
    criteria._funding(told, records, venue)
    assert {True} == set(found(told).values()), told.found
    criteria._pnl(told, records, {**venue, "book_value": "99601.6"})
    criteria._funding(told, records, {**venue, "funding": [{"lots": 1000, "paid": "0.6"}]})
    criteria._funding(told, records, {**venue, "funding": []})
    records.add("funding_payments", 2 * 3_600_000_000_000 + 1, "0")
    criteria._funding(told, records, venue)
    assert [False] * 4 == [one.held for one in told.found[2:]]


def test_drawdown_is_from_the_highest_equity(tmp_path: Path, told: Findings) -> None:
    """Two percent of the peak, not of the start; no equity at all is no proof."""
    cases: tuple[list[str | None], ...] = (["100", "110", "107.9"], ["100", "110", "107.7"], [None])
    for number, equities in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        events = [("metrics", {"pnl": {"equity": one}}) for one in equities]
        criteria._drawdown(told, Written.at(folder, *events))
    assert [True, False, False] == [one.held for one in told.found]


def test_a_test_that_fails_says_where_and_the_others_go_on() -> None:
    """The steps before it are kept beside what went wrong."""
    shown: list[Finding] = []
    told = Findings(shown.append)
    with told.test("one") as steps:
        steps.append("first step")
        require(held=False, what="the second is wrong")
    with told.test("two"):
        require(held=True, what="never said")
    assert ["first step; NOT: the second is wrong", ""] == [one.detail for one in shown]
    assert ([False, True], False) == ([one.held for one in shown], told.all_held)
    with pytest.raises(NotHeldError, match="alone"):
        require(held=False, what="alone")
