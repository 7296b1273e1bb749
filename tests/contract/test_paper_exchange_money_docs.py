"""What docs/paper-exchange.md says of money: its fee table is the code's, its commands exist."""

import re
from decimal import Decimal
from fractions import Fraction

from tests.conftest import ROOT
from touchstone.exchange import ExchangeConfig, Family
from touchstone.exchange.funding import SAMPLES
from touchstone.exchange.liquidator import FUND_REACH

PAGE = (ROOT / "docs" / "paper-exchange.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## Margin, funding, liquidation\n")[1].split("\n## ")[0]


def test_the_fee_table_is_the_one_that_holds() -> None:
    """Volumes, maker and taker rates of the CDE table, row by row; the promotion in words."""
    rows = re.findall(r"^\| ([\d,]+) \| (-?[\d.]+)(?: %)? \| ([\d.]+) % \|$", SECTION, re.MULTILINE)
    told = [
        (Decimal(start.replace(",", "")), Decimal(maker) / 100, Decimal(taker) / 100)
        for start, maker, taker in rows
    ]
    schedules = ExchangeConfig().schedules()
    tiers = schedules[Family.CDE].tiers
    assert told == [(tier.usd_from, tier.maker_rate, tier.taker_rate) for tier in tiers]
    (promotion,) = schedules[Family.INTX].tiers
    assert "maker 0, taker 3 basis points" in SECTION
    assert (Decimal(0), Decimal("0.0003")) == (promotion.maker_rate, promotion.taker_rate)


def test_the_figures_of_margin_and_funding_are_the_defaults() -> None:
    """Weights, samples, ratios and bounds that the text names are those of a venue by default."""
    config = ExchangeConfig()
    assert "twenty samples an hour" in SECTION
    assert SAMPLES == 20 == config.funding.interval_ns // config.funding.sample_ns
    assert "F = 0.75 x their mean + 0.25 x F of the hour before" in SECTION
    weights = (config.funding.premium_weight, config.funding.previous_weight)
    assert (Decimal("0.75"), Decimal("0.25")) == weights
    assert "maintenance margin = 2/3 of it" in SECTION
    assert "half of maintenance" in SECTION
    assert (Fraction(2, 3), Fraction(1, 2)) == (config.margin.maintenance, config.margin.close_out)
    assert "within ten times its equity" in SECTION
    assert Decimal(10) == config.margin.fund_leverage_max
    assert "within 0.5 % of the mark" in SECTION
    assert Decimal("0.005") == FUND_REACH
    assert "every five minutes" in SECTION
    assert 300 * 10**9 == config.settlement_ns


def test_the_tests_it_names_exist() -> None:
    """Each command of the section runs files that are there."""
    named = re.findall(r"tests/exchange/test_\w+\.py", SECTION)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).is_file()] == []
