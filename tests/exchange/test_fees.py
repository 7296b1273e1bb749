"""Fees by volume: which tier, when it changes, and what is forgotten after thirty days."""

from decimal import Decimal

import pytest

from lob.errors import ConfigError
from touchstone.exchange.fees import (
    HOUR_NS,
    PAPER_TIERS,
    FeeSchedule,
    FeeTier,
    VolumeWindow,
    flat_schedule,
)

DAY_NS = 24 * HOUR_NS


def test_the_tier_starts_at_its_volume() -> None:
    """A tier holds from its volume on, to the cent; the last one has no upper end."""
    names = [
        PAPER_TIERS.tier(Decimal(volume)).name
        for volume in ("-5", "0", "9999999.99", "10000000", "50000000", "1E+12")
    ]
    assert ["Paper 1", "Paper 1", "Paper 1", "Paper 2", "Paper 3", "Paper 4"] == names
    assert Decimal(10_000_000) == PAPER_TIERS.usd_to(PAPER_TIERS.tiers[0])
    assert PAPER_TIERS.usd_to(PAPER_TIERS.tiers[-1]) is None


def test_the_tier_is_recalculated_each_hour() -> None:
    """What is traded in an hour decides the tier from the next hour on."""
    window = VolumeWindow()
    window.add(5 * HOUR_NS + 1, Decimal(100))
    window.add(6 * HOUR_NS - 1, Decimal(11))
    assert (Decimal(111), Decimal(0)) == (
        window.total(6 * HOUR_NS - 1),
        window.tier_volume(6 * HOUR_NS - 1),
    )
    assert Decimal(111) == window.tier_volume(6 * HOUR_NS)


def test_volume_is_forgotten_after_thirty_days() -> None:
    """An hour's volume counts for the 720 hours after it, and then no more."""
    window = VolumeWindow()
    window.add(0, Decimal(7))
    window.add(DAY_NS, Decimal(5))
    assert Decimal(12) == window.tier_volume(30 * DAY_NS)
    assert Decimal(5) == window.tier_volume(30 * DAY_NS + HOUR_NS)
    assert Decimal(0) == window.total(32 * DAY_NS)


def test_asking_changes_nothing() -> None:
    """A look at the volume a month later leaves the window as it was."""
    window, unseen = VolumeWindow(), VolumeWindow()
    for each in (window, unseen):
        each.add(0, Decimal(7))
        each.add(DAY_NS, Decimal(5))
    assert Decimal(0) == window.tier_volume(60 * DAY_NS)
    assert unseen == window
    window.add(60 * DAY_NS, Decimal(3))
    assert Decimal(3) == window.total(60 * DAY_NS)


@pytest.mark.parametrize("starts", [(), (1,), (0, 5, 5), (0, 9, 3)])
def test_a_table_has_to_ascend_from_zero(starts: tuple[int, ...]) -> None:
    """Tables with a gap at the start or out of order are refused."""
    tiers = tuple(FeeTier("x", Decimal(s), Decimal(0), Decimal(0)) for s in starts)
    with pytest.raises(ConfigError, match="fee tiers"):
        FeeSchedule(tiers)


def test_a_flat_table_has_one_tier() -> None:
    """One pair of rates holds at any volume."""
    schedule = flat_schedule(Decimal("0.0001"), Decimal("0.0002"))
    assert schedule.tier(Decimal(0)) == schedule.tier(Decimal("1E+15"))
