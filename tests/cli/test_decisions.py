"""`touchstone decisions`: exit codes, what it prints, and what it refuses in one line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.rollout.recorded import L3_RECORD, candidate_of, decide, edited, request, routing
from touchstone.cli.app import app
from touchstone.rollout.decisions import encode_config
from touchstone.rollout.state import Phase

SYMBOLS = ("AAPL", "MSFT", "S1", "S2", "S3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of five decisions in the shadow phase, one with its candidate, one in the canary's."""
    lines = [encode_config(L3_RECORD)]
    for number, symbol in enumerate(SYMBOLS):
        line, shared = decide(request(symbol), routing(Phase.SHADOW), number=number)
        lines += [encode_config(shared), line]
    lines.append(candidate_of(request("AAPL"), number=0))
    line, shared = decide(request("AAPL"), routing(), number=9, account="fund")
    lines += [encode_config(shared), line]
    path = tmp_path / "decisions-1700000000000-0123abcd.jsonl"
    path.write_bytes(b"".join(lines))
    return tmp_path


def run(*words: str, folder: Path) -> tuple[int, str, str]:
    """Run one command; return exit code, stdout, stderr."""
    done = CliRunner().invoke(app, ["decisions", *words, "--dir", str(folder)])
    return done.exit_code, done.stdout, done.stderr


def run_json(*words: str, folder: Path) -> dict[str, Any]:
    """Run one command that succeeds; return its JSON."""
    code, stdout, stderr = run(*words, "--json", folder=folder)
    assert code == 0, stderr
    found: dict[str, Any] = json.loads(stdout)
    return found


def test_a_replay_that_finds_nothing_is_exit_code_0(folder: Path) -> None:
    """Six decisions and a candidate, all the same."""
    report = run_json("replay", "--all", folder=folder)
    assert (True, 6, 1, 7, 0) == tuple(
        report[name] for name in ("same", "decisions", "candidates", "identical", "different")
    )
    assert {"shadow": 5, "allow_list": 1} == report["rules"]
    assert {"a build": 7} == report["recorded_by_other_builds"]
    code, stdout, _ = run("replay", "--all", folder=folder)
    assert code == 0
    first, *_ = stdout.splitlines()
    assert (
        "6 decisions (L2 5, L3 1) and 1 candidates: 7 byte for byte the same, 0 different" == first
    )


def test_one_decision_is_replayed_with_its_candidate(folder: Path) -> None:
    """By its id."""
    report = run_json("replay", f"{0:032x}", folder=folder)
    assert (1, 1, 2) == (report["decisions"], report["candidates"], report["identical"])


def test_a_changed_lot_is_exit_code_1_and_named(folder: Path) -> None:
    """The id, the field, and both values."""
    (path,) = folder.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-1] = edited(lines[-1], fill__filled_quantity="149")
    path.write_bytes(b"".join(lines))
    code, stdout, _ = run("replay", "--all", folder=folder)
    assert code == 1
    assert f"{9:032x} (decision)" in stdout
    assert '  fill.filled_quantity: recorded "149", replayed "150"' in stdout.splitlines()


def test_a_damaged_line_is_exit_code_1_and_a_torn_end_is_not(folder: Path) -> None:
    """A torn end is what a kill leaves."""
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"deci')
    code, stdout, _ = run("replay", "--all", folder=folder)
    assert (0, True) == (code, "unfinished last lines: 1" in stdout)
    path.write_bytes(whole + b'{"kind":"deci\n')
    code, stdout, _ = run("replay", "--all", folder=folder)
    assert (1, True) == (code, "damaged lines: 1" in stdout)


def test_decisions_are_listed_and_shown(folder: Path) -> None:
    """The newest first; one with everything that it depends on."""
    listed = run_json("list", "--limit", "2", folder=folder)["decisions"]
    assert [9, 4] == [int(each["id"], 16) for each in listed]
    listed = run_json("list", "--symbol", "aapl", folder=folder)["decisions"]
    assert [9, 0] == [int(each["id"], 16) for each in listed]
    code, stdout, _ = run("show", f"{9:032x}", folder=folder)
    assert code == 0
    assert "AAPL       L3 by allow_list: FILLED 150 at" in stdout
    assert "account       fund" in stdout


def test_what_if_says_who_moves(folder: Path) -> None:
    """Everything to L3: the five that L2 answered."""
    found = run_json("what-if", "--phase", "full", folder=folder)
    assert (6, 5) == (found["decisions"]["orders"], found["moves"]["orders"])
    assert set(SYMBOLS) == {each["symbol"] for each in found["symbols"]}
    # What is not given is as in the newest decision: AAPL is a canary there, and stays one.
    found = run_json("what-if", "--percentage", "0", folder=folder)
    assert ["AAPL"] == [each["symbol"] for each in found["symbols"]]
    found = run_json("what-if", "--deny-symbols", "aapl", folder=folder)
    assert [("AAPL", "L3 -> L2")] == [(e["symbol"], e["moves"]) for e in found["symbols"]]
    code, stdout, _ = run("what-if", "--phase", "full", folder=folder)
    assert code == 0
    assert "6 decisions, notional 90,000.00; 5 move, notional 75,000.00" in stdout


def test_what_if_reads_a_rollout_file_and_an_l3_configuration(root: Path, folder: Path) -> None:
    """The file's phase as it stands: nothing takes it back to shadow here."""
    file = folder.parent / "proposal.yaml"
    text = (root / "configs" / "l3_rollout.yaml").read_text().replace("shadow  ", "canary  ")
    file.write_text(text)
    found = run_json("what-if", "--config", str(file), folder=folder)
    assert "CANARY" == found["proposal"]["document"]["phase"]
    assert {"AAPL", "MSFT"} <= {each["symbol"] for each in found["symbols"]}
    l3 = str(root / "configs" / "execution_l3.yaml")
    found = run_json("what-if", "--l3-config", l3, folder=folder)
    assert L3_RECORD.hash == found["proposal"]["l3_config"]
    # Recorded in the shadow phase, and a canary in the newest document.
    assert ["AAPL"] == [each["symbol"] for each in found["symbols"]]


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("replay",), 2, "give either an ID or --all"),
        (("replay", "--all", "00"), 2, "give either an ID or --all"),
        (("replay", "--all", "--day", "yesterday"), 2, "--day: 'yesterday'; allowed: YYYY-MM-DD"),
        (("replay", "--all", "--day", "2001-01-01"), 1, "no decision of 2001-01-01"),
        (("replay", "ff" * 16), 1, "no such decision"),
        (("show", 'x"}'), 1, "no such decision"),
        (("what-if",), 2, "nothing proposed"),
        (("what-if", "--phase", "half"), 2, "phase: 'HALF'"),
        (("what-if", "--phase", "canary", "--percentage", "0.5"), 2, "basis_points: 5000"),
        (("what-if", "--percentage", "2"), 2, "percentage: '2'"),
        (("what-if", "--config", "absent.yaml"), 2, "absent.yaml: No such file"),
        (("what-if", "--phase", "full", "--day", "2001-01-01"), 1, "no decision of 2001-01-01"),
    ],
)
def test_what_is_wrong_is_one_line(
    folder: Path, words: tuple[str, ...], code: int, named: str
) -> None:
    """Exit code 2 for what the caller wrote, 1 for what is not there."""
    found, stdout, stderr = run(*words, folder=folder)
    assert (code, "", 1) == (found, stdout, len(stderr.splitlines()))
    assert named in stderr


def test_a_folder_without_a_log_is_one_line(tmp_path: Path) -> None:
    """And exit code 1."""
    code, _, stderr = run("replay", "--all", folder=tmp_path / "none")
    assert code == 1
    assert f"{tmp_path / 'none'}: no decisions are recorded there" in stderr


def test_a_day_is_a_day_in_utc(folder: Path) -> None:
    """Its decisions and no others."""
    report = run_json("replay", "--all", "--day", "2023-11-14", folder=folder)
    assert 6 == report["decisions"]


def test_one_decision_is_one_json_document(folder: Path) -> None:
    """Both records of it, as the router's own answer has them."""
    found = run_json("show", f"{0:032x}", folder=folder)
    assert ("decision", "candidate") == tuple(found)
    assert {f"{0:032x}"} == {found["decision"]["id"], found["candidate"]["id"]}
    assert run_json("show", f"{9:032x}", folder=folder)["candidate"] is None


def test_a_log_without_decisions_is_not_a_replay_that_went_well(folder: Path) -> None:
    """Nothing was compared, so nothing is the same."""
    (path,) = folder.iterdir()
    for content in (b"", encode_config(L3_RECORD)):
        path.write_bytes(content)
        code, stdout, stderr = run("replay", "--all", folder=folder)
        assert (1, "", f"touchstone: {folder}: no decision\n") == (code, stdout, stderr)


def test_candidates_of_another_day_are_not_counted(folder: Path) -> None:
    """A candidate goes with its decision."""
    (path,) = folder.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], edited(lines[-1], at=1_700_100_000.0)]))
    report = run_json("replay", "--all", "--day", "2023-11-16", folder=folder)
    assert (1, 0, 0) == tuple(
        report[name] for name in ("decisions", "candidates", "candidates_without_decision")
    )


def test_the_newest_of_several_routers_are_listed_by_their_time(folder: Path) -> None:
    """Whichever segment they are in, and without reading those that are too old."""
    for number in range(1, 4):
        line, shared = decide(request("S9"), routing(Phase.SHADOW), number=100 + number)
        line = edited(line, at=1_700_000_000.5 - 100 * number + 200)
        path = folder / f"decisions-{1_700_000_000_000 + number}-0123abcd.jsonl"
        path.write_bytes(encode_config(shared) + line)
        os.utime(path, (1_700_000_000.5 - 100 * number + 200,) * 2)
    damaged = folder / "decisions-1700000000003-0123abcd.jsonl"
    damaged.write_bytes(b'{"kind":"decision"\n')
    os.utime(damaged, (1_699_999_900.0,) * 2)
    os.utime(folder / "decisions-1700000000000-0123abcd.jsonl", (1_700_000_000.5,) * 2)
    code, stdout, stderr = run("list", "--limit", "2", "--json", folder=folder)
    assert (0, "") == (code, stderr)
    assert [101, 102] == [int(e["id"], 16) for e in json.loads(stdout)["decisions"]]
    code, stdout, stderr = run("list", "--limit", "50", folder=folder)
    assert (0, 8) == (code, len(stdout.splitlines()))
    assert "left out:" in stderr


@pytest.mark.parametrize(
    "value", [b"1e999", b"1e300", b"9" * 400, b"-1", b'"inf"', b"253402300800", b"true"]
)
def test_a_time_that_is_none_is_damage(folder: Path, value: bytes) -> None:
    """Never a traceback, whichever command reads it."""
    (path,) = folder.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b'"at":1700000000.5', b'"at":' + value)
    path.write_bytes(b"".join(lines))
    for words in (("list",), ("replay", "--all"), ("what-if", "--phase", "off")):
        done = CliRunner().invoke(app, ["decisions", *words, "--dir", str(folder)])
        assert isinstance(done.exception, SystemExit | None), done.exception
    code, stdout, _ = run("replay", "--all", folder=folder)
    assert (1, True) == (code, "damaged lines: 1" in stdout)


def test_what_if_goes_on_without_a_configuration_that_is_damaged(folder: Path) -> None:
    """Its decisions are said to be not possible; the others are run."""
    (path,) = folder.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    routing_lines = [n for n, line in enumerate(lines) if b'"what":"routing"' in line]
    lines[routing_lines[-1]] = b"\x00\n"
    path.write_bytes(b"".join(lines))
    found = run_json("what-if", "--phase", "full", folder=folder)
    assert (6, 5) == (found["decisions"]["orders"], found["moves"]["orders"])


def test_a_log_without_l3_is_enough_for_a_phase_without_it(folder: Path) -> None:
    """Whatever the lists say: nobody is sent there in the phase OFF."""
    (path,) = folder.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"what":"l3"' not in line))
    found = run_json("what-if", "--phase", "off", folder=folder)
    assert 1 == found["moves"]["orders"]
    code, _, stderr = run("what-if", "--phase", "full", folder=folder)
    assert (1, True) == (code, "no configuration of L3" in stderr)


def test_a_candidate_of_a_configuration_that_nobody_told_is_counted(folder: Path) -> None:
    """It names what it likes; the decisions are the same for all that."""
    (path,) = folder.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    changed = [
        edited(line, l3_config="00ff") if b'"kind":"candidate"' in line else line for line in lines
    ]
    path.write_bytes(b"".join(changed))
    report = run_json("replay", "--all", folder=folder)
    assert (True, 6, 1, 6, 1) == tuple(
        report[name]
        for name in ("same", "decisions", "candidates", "identical", "candidates_of_other_models")
    )
