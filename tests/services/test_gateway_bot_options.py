"""The runners' flags: the plan's lines, what contradicts itself, what falls to the profile."""

from decimal import Decimal
from pathlib import Path

import pytest

from lob.errors import ConfigError
from services.order_gateway.bot_options import PROFILED, BotOptions, parse
from services.order_gateway.bot_plan import BotPlan, plan
from touchstone.cli.rehearsal.lines import PHASES
from touchstone.perps.orders import OrderType
from touchstone.perps.profiles import _FLAGS

PROG = "run_perps_bot_v2_week3.py"
SANDBOX = {"COINBASE_SANDBOX": "1"}


def read(line: str, *, fallback: bool = False) -> BotOptions:
    """Parse a command line's flags."""
    return parse(line.split(), prog=PROG, fallback=fallback)


def complaint(line: str, capsys: pytest.CaptureFixture[str], *, fallback: bool = False) -> str:
    """Return what a wrong command line is answered; it is one line, and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        read(line, fallback=fallback)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1, told
    return told


def resolved(line: str, **environment: str) -> BotPlan:
    """Resolve a command line in the sandbox."""
    return plan(read(line), {**SANDBOX, **environment})


@pytest.mark.parametrize("name", PHASES)
def test_the_plans_lines_are_understood(name: str) -> None:
    """Every flag of the three printed command lines, with the profile's values for the rest."""
    phase = PHASES[name]
    made = plan(parse(phase.words(), prog=PROG), SANDBOX)
    profile = made.profile
    assert phase.symbols == made.options.symbols
    assert profile.max_spread_bps == Decimal(int(phase.max_spread_bps))
    assert profile.rsi_confirm
    wanted = {
        "sandbox": (OrderType.MARKET, True, Decimal(50_000), Decimal(15)),
        "demo": (OrderType.LIMIT, False, Decimal(25_000), Decimal(15)),
        "canary": (OrderType.MARKET, False, Decimal(100_000), Decimal(10)),
    }[name]
    found = (profile.order_type, profile.dry_run, profile.min_depth_l1, profile.max_slippage_bps)
    assert wanted == found


def test_a_flag_that_is_left_out_is_the_profiles_and_one_that_is_written_wins() -> None:
    """Tri-state: on, off and not said are three things."""
    assert not resolved("--profile dev").profile.rsi_confirm
    assert resolved("--profile dev --rsi-confirm").profile.rsi_confirm
    assert resolved("--profile prod").profile.rsi_confirm
    assert not resolved("--profile prod --no-rsi-confirm").profile.rsi_confirm


def test_every_flag_that_falls_back_is_one_of_the_profile() -> None:
    """A flag that the profile does not know would be refused when it is written."""
    assert set(PROFILED) <= set(_FLAGS)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--bogus", "unrecognized arguments: --bogus"),
        ("--prof dev", "unrecognized arguments: --prof dev"),
        ("--profile live", "invalid choice: 'live'"),
        ("--leverage 9", "'9'; allowed: 1 to 5"),
        ("--max-spread-bps nan", "'nan'; allowed: 0 to 10000"),
        ("--stop-pct 0", "'0'; allowed: above 0 to 100"),
        ("--update-interval -1", "'-1'; allowed: seconds, above 0"),
        ("--short-ma 20 --long-ma 20", "--short-ma: 20 with --long-ma 20"),
        ("--order-type market --post-only", "--post-only: a market order takes"),
        ("--order-type stop --limit-offset-bps 5", "--limit-offset-bps: a stop order has no limit"),
        ("--order-type market --tif GTD", "--tif: GTD with a market order; allowed: IOC, FOK"),
        ("--order-type limit --post-only --tif IOC", "--tif IOC never rests"),
        ("--run-once --duration 5", "say one of them"),
        ("--symbols BTC-PERP BTC-PERP", "one is named twice"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_two(
    line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown, out of range, or against one another."""
    assert told in complaint(line, capsys)


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """It names every flag of the specification."""
    with pytest.raises(SystemExit) as ended:
        read("--help")
    told = capsys.readouterr().out
    assert ended.value.code == 0
    for flag in ("--max-impact-bps", "--enable-shorts", "--no-post-only", "--metrics-interval"):
        assert flag in told


def test_the_fallback_runner_has_market_orders_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Its few flags; the others are unknown to it."""
    options = read("--profile prod", fallback=True)
    assert ("market", True, "prod") == (options.order_type, options.fallback, options.profile)
    assert "unrecognized arguments: --post-only" in complaint("--post-only", capsys, fallback=True)


@pytest.mark.parametrize(
    ("fallback", "said"), [(True, "no stops"), (False, "protective stop 2 % away")]
)
def test_the_lines_say_whether_stops_are_placed(fallback: bool, said: str) -> None:
    """The fallback runner places none, and says so."""
    lines = list(plan(read("--profile prod", fallback=fallback), SANDBOX).lines())
    entries = next(line for line in lines if line.startswith("entries"))
    assert entries.endswith(f", {said}")


def test_what_goes_against_the_profile_is_refused_with_its_value() -> None:
    """The profile dev enters at market: post-only needs the type with it."""
    with pytest.raises(ConfigError, match="post_only: true; allowed: with order_type limit"):
        resolved("--profile dev --post-only")
    with pytest.raises(ConfigError, match="--tif: GTD with a market order"):
        resolved("--profile dev --tif GTD")


def test_coinbase_needs_a_key_and_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """A missing key is one line that says what to set; the journal is not the paper one's."""
    demo = read("--profile demo")
    with pytest.raises(ConfigError, match=r"needs an API key: set .*API_KEY_FILE .* or COINBASE"):
        plan(demo, {})
    with pytest.raises(ConfigError, match=r"API_KEY_FILE: 'nowhere.json': no such file"):
        plan(demo, {"TOUCHSTONE_GATEWAY_API_KEY_FILE": "nowhere.json"})
    key = tmp_path / "key.json"
    key.write_text("{}")
    made = plan(
        demo,
        {"TOUCHSTONE_GATEWAY_API_KEY_FILE": str(key), "TOUCHSTONE_DATA_DIR": str(tmp_path)},
    )
    assert (False, "https://api.coinbase.com") == (made.paper, made.settings.venue_url)
    assert made.settings.symbol_map["BTC-PERP"] == "BIP-20DEC30-CDE"
    assert tmp_path / "coinbase" == made.settings.data_dir


def test_a_paper_run_never_goes_to_another_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dev runs and the sandbox are for the paper exchange, whatever address is left behind."""
    monkeypatch.setenv("TOUCHSTONE_GATEWAY_VENUE_URL", "https://api.coinbase.com")
    environment = {"TOUCHSTONE_GATEWAY_VENUE_URL": "https://api.coinbase.com"}
    with pytest.raises(ConfigError, match="no paper exchange, and this run is for one"):
        plan(read("--profile dev"), environment)
    with pytest.raises(ConfigError, match="COINBASE_SANDBOX: 'yes'; allowed: 1, 0"):
        plan(read("--profile dev"), {"COINBASE_SANDBOX": "yes"})


def test_the_profiles_limits_are_the_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment may say otherwise, but not of the canary."""
    settings = resolved("--profile prod --dry-run").settings
    assert (Decimal(5_000), Decimal(1), True) == (
        settings.max_position_notional,
        settings.max_leverage,
        settings.dry_run,
    )
    monkeypatch.setenv("TOUCHSTONE_GATEWAY_MAX_POSITION_NOTIONAL", "7000")
    raised = {"TOUCHSTONE_GATEWAY_MAX_POSITION_NOTIONAL": "7000"}
    assert resolved("--profile prod", **raised).settings.max_position_notional == Decimal(7_000)
    canary = resolved("--profile canary --leverage 3", **raised)
    assert canary.settings.max_position_notional == Decimal(500)
    assert "--leverage is overruled: 1" in "\n".join(canary.lines())


def test_a_symbol_that_nobody_has_is_refused() -> None:
    """With what is allowed."""
    with pytest.raises(ConfigError, match="--symbols: 'DOGE-PERP': unknown; allowed: BTC-PERP"):
        resolved("--symbols DOGE-PERP")
