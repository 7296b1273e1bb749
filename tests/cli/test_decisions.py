"""`touchstone decisions`: exit codes, what it prints, and what it refuses in one line."""

import json
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
