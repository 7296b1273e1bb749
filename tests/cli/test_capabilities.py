"""`touchstone capabilities` against a real paper exchange, as JSON and by its exit code."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.services.paper_exchange import running_exchange
from touchstone.cli.app import app
from touchstone.perps.capabilities import Capability


def test_previews_and_orders_against_the_paper_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0 and every feature; previews leave the client ids to be assumed."""
    monkeypatch.setenv("TOUCHSTONE_DATA_DIR", str(tmp_path))
    with running_exchange(tmp_path, rate_limit_per_second=1_000, durable=False) as exchange:
        address = f"http://{exchange.host}"
        asked = ["capabilities", "--url", address, "--json"]
        done = CliRunner().invoke(app, asked)
        assert 0 == done.exit_code, done.output
        found = json.loads(done.stdout)
        assert set(Capability) == set(found["features"])
        assert "not asked" == found["features"]["CLIENT_IDS"]["finding"]
        assert found["features"]["FOK"]["used"]
        done = CliRunner().invoke(app, [*asked, "--orders"])
        assert "supported" == json.loads(done.stdout)["features"]["CLIENT_IDS"]["finding"]
        shown = CliRunner().invoke(app, asked[:-1])
        assert "usable" in shown.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--url", "http://127.0.0.1:1"], 1, "venue"),
        (["--symbol", "DOGE-PERP"], 2, "--symbol"),
        (["--url", "https://api.coinbase.com", "--orders"], 2, "no paper exchange"),
    ],
)
def test_what_cannot_be_asked(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A venue that does not answer is 1, wrong usage is 2; orders never go to a real venue."""
    monkeypatch.setenv("TOUCHSTONE_DATA_DIR", str(tmp_path))
    done = CliRunner().invoke(app, ["capabilities", *arguments])
    assert code == done.exit_code, done.output
    assert said in done.output + capsys.readouterr().err
