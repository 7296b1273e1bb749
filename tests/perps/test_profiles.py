"""The profiles hold the numbers that were agreed, and flags that are left out fall back to them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.types import TimeInForce
from touchstone.perps.orders import OrderType
from touchstone.perps.profiles import CANARY_FORCED, PROFILES, profile_table, resolve
from touchstone.perps.sizing import SizingMode


@pytest.mark.parametrize(
    ("name", "spread", "l1", "l10", "volume", "rsi", "position"),
    [
        ("dev", 20, 10_000, 50_000, 10_000, False, 100),
        ("demo", 15, 25_000, 100_000, 50_000, False, 500),
        ("prod", 10, 50_000, 200_000, 100_000, True, 5_000),
        ("canary", 10, 50_000, 200_000, 100_000, True, 500),
    ],
)
def test_defaults_by_profile(
    name: str, spread: int, l1: int, l10: int, volume: int, rsi: bool, position: int
) -> None:
    """Every default that differs by profile is the agreed one."""
    profile = resolve(name)
    assert (rsi, Decimal(position)) == (profile.rsi_confirm, profile.max_position_notional)
    assert [Decimal(value) for value in (spread, l1, l10, volume)] == [
        profile.max_spread_bps,
        profile.min_depth_l1,
        profile.min_depth_l10,
        profile.min_vol_1m,
    ]


@pytest.mark.parametrize("name", PROFILES)
def test_defaults_that_all_share(name: str) -> None:
    """Averages, buffer and slippage are the same under every profile."""
    profile = resolve(name)
    assert (5, 20, Decimal(20), Decimal(15)) == (
        profile.short_ma,
        profile.long_ma,
        profile.liq_buffer_pct,
        profile.max_slippage_bps,
    )
    parameters = profile.parameters()
    assert (Decimal("0.2"), Decimal(1), Decimal("0.01"), Decimal("0.1")) == (
        parameters.liquidation_buffer,
        parameters.epsilon_bps,
        parameters.trailing_stop,
        parameters.equity_share,
    )


def test_the_canary_is_small_whatever_is_asked_for() -> None:
    """Leverage 1, 500 dollars, 10 dollars a day, two orders a minute, fifty a day; forced."""
    asked = {
        "leverage": 5,
        "max_position_notional": 5000,
        "max_daily_loss": 1000,
        "orders_per_minute": 60,
        "orders_per_day": 1000,
        "max_spread_bps": 3,
    }
    profile = resolve("canary", asked)
    assert (Decimal(1), Decimal(500), Decimal(10), 2, 50) == (
        profile.leverage,
        profile.max_position_notional,
        profile.max_daily_loss,
        profile.orders_per_minute,
        profile.orders_per_day,
    )
    assert set(CANARY_FORCED) == set(profile.forced)
    assert Decimal(3) == profile.max_spread_bps


def test_flags_have_three_states() -> None:
    """Given true or false wins over the profile; left out, or None, is the profile's."""
    assert resolve("prod", {"rsi_confirm": False}).rsi_confirm is False
    assert resolve("prod", {"rsi_confirm": None}).rsi_confirm is True
    assert resolve("dev", {"rsi_confirm": True}).rsi_confirm is True
    assert resolve("dev", {"min_vol_1m": 0}).min_vol_1m == 0


def test_the_flags_of_the_command_lines_are_read() -> None:
    """Words in the command line's spelling, numbers as texts, become their types."""
    profile = resolve(
        "demo",
        {
            "order_type": "limit",
            "post_only": True,
            "sizing_mode": "strict",
            "tif": "gtc",
            "max_impact_bps": "10",
            "min_depth_l10": "200000",
            "long_ma": "30",
        },
    )
    assert (OrderType.LIMIT, True, SizingMode.STRICT, TimeInForce.GTC, Decimal(10), 30) == (
        profile.order_type,
        profile.post_only,
        profile.sizing_mode,
        profile.tif,
        profile.max_impact_bps,
        profile.long_ma,
    )


@pytest.mark.parametrize(
    ("name", "flags", "said"),
    [
        ("test", {}, "profile: 'test'; allowed: dev, demo, prod, canary"),
        ("dev", {"leverage": 6}, "leverage: 6; allowed: above 0 to 5"),
        ("dev", {"max_spread_bps": "x"}, "max_spread_bps: 'x'"),
        ("dev", {"max_spread_bps": float("nan")}, "max_spread_bps"),
        ("dev", {"max_spread_bps": True}, "max_spread_bps"),
        ("dev", {"short_ma": 20}, "short_ma: 20; allowed: below long_ma 20"),
        ("dev", {"short_ma": 2.5}, "a whole number"),
        ("dev", {"min_depth_l1": 60_000}, "min_depth_l1: 60000; allowed: at most min_depth_l10"),
        ("dev", {"rsi_confirm": "yes"}, "allowed: true, false"),
        ("dev", {"sizing_mode": "bold"}, "allowed: conservative, strict, aggressive"),
        ("dev", {"post_only": True}, "allowed: with order_type limit, not market"),
        ("dev", {"spread": 3}, "spread: unknown flag"),
    ],
)
def test_what_is_not_allowed_is_named(name: str, flags: dict[str, object], said: str) -> None:
    """A wrong value is one line with field, value and what is allowed."""
    with pytest.raises(InvalidInput) as caught:
        resolve(name, flags)
    assert said in str(caught.value)


@given(
    name=st.sampled_from([*PROFILES]),
    flags=st.dictionaries(
        st.sampled_from(["max_spread_bps", "min_vol_1m", "max_slippage_bps", "leverage"]),
        st.none() | st.integers(1, 5),
    ),
)
def test_only_given_flags_differ(name: str, flags: dict[str, int | None]) -> None:
    """Whatever is given is there, all else is the profile's; the canary's forced part never is."""
    profile, base = resolve(name, flags), PROFILES[name]
    for field in ("max_spread_bps", "min_vol_1m", "max_slippage_bps", "leverage"):
        value = flags.get(field)
        forced = name == "canary" and field in CANARY_FORCED
        expected = getattr(base, field) if value is None or forced else Decimal(value)
        assert expected == getattr(profile, field)


def test_the_table_has_every_profile() -> None:
    """The docs' table names each profile and marks what is forced."""
    table = profile_table()
    assert "| | dev | demo | prod | canary |" in table
    assert "| `leverage` | 1 | 1 | 1 | 1 (forced) |" in table
    assert "| `rsi_confirm` | off | off | on | on |" in table
