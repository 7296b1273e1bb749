"""L3 with its models on: each does what it says, alone and with the others, and can be seen."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution_providers import BarData, Fill, MarketState, Order, create_execution_provider
from execution_providers.l3 import L3Provider
from execution_providers.l3_dark import DarkVenues
from execution_providers.l3_plan import Plan
from lob.config import DarkPoolsConfig, create_l3_config
from lob.dark import DarkFill
from lob.errors import Fault, InvalidInput, NotSupported
from tests.execution_providers.drawn import requests
from tests.execution_providers.scenes import bar, bars, ladder, markets, orders
from touchstone.kit.codec import fill_to_json

PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
SECTIONS = ("fill_probability", "queue_value", "market_impact", "hidden_liquidity", "dark_pools")
SURE = {"name": "A", "base_fill_probability": 1.0, "size_penalty": 0.0}


def provider(preset: str = "minimal", **sections: Any) -> L3Provider:
    """Return an L3 provider for shares."""
    config = create_l3_config(preset, **sections)
    made = create_execution_provider("EQUITY", "L3", config=config, seed=7)
    assert isinstance(made, L3Provider)
    return made


def run(
    made: L3Provider,
    order: Order,
    market: MarketState | None = None,
    during: BarData | None = None,
    seed: int = 1,
) -> Fill:
    """Execute one order, in the ladder where no market is given."""
    fill = made.execute(order, ladder() if market is None else market, during, seed=seed)
    assert fill is not None
    return fill


def order(side: str, quantity: int, limit: str | None = None, **fields: Any) -> Order:
    """Return an order of ABC."""
    kind = "MARKET" if limit is None else "LIMIT"
    return Order("ABC", side, quantity, kind, limit, **fields)  # type: ignore[arg-type]


def liquid(market: MarketState | None = None) -> MarketState:
    """Return a market that tells a day's volume of a million shares, and 2 % volatility."""
    told = {"adv_notional": Decimal(100_000_000), "volatility": Decimal("0.02")}
    return replace(ladder() if market is None else market, **told)  # type: ignore[arg-type]


# ---------------------------------------------------------------- all together


@given(data=st.data(), seed=st.integers(0, 2**32))
@PROPERTY
def test_every_fill_keeps_the_rules_with_all_models_on(data: st.DataObject, seed: int) -> None:
    """Limits hold, in the dark too; quantities and slippage add up; the same seed is the same."""
    market = liquid(data.draw(markets()))
    asked = data.draw(orders(market))
    during = data.draw(st.none() | bars(market))
    act = data.draw(st.booleans())
    impact = {"eta": data.draw(st.floats(0, 20)), "gamma": data.draw(st.floats(0, 20))}
    venues = [SURE | {"leakage_bps": 30.0}, {"name": "B", "leakage_bps": 5.0}]
    made = provider(
        "full",
        queue_value={"act": act},
        market_impact=impact,
        dark_pools={"venues": venues},
        hidden_liquidity={"probability": 0.9, "iceberg_probability": 0.5},
    )
    try:
        fill = run(made, asked, market, during, seed)
    except InvalidInput as error:
        if "allowed: at most 10000" not in str(error):
            raise
        return  # an impact of more than 10,000 bps
    again = run(made, asked, market, during, seed)
    assert json.dumps(fill_to_json(fill)) == json.dumps(fill_to_json(again))
    assert sum((part.quantity for part in fill.fills), Decimal(0)) == fill.filled_quantity
    assert fill.filled_quantity <= asked.quantity
    for part in fill.fills:
        assert part.price > 0
        if asked.limit_price is not None:
            assert (asked.limit_price - part.price) * asked.side.sign >= 0
        if asked.post_only:
            assert "MAKER" == part.liquidity
    if asked.time_in_force == "FOK":
        assert fill.filled_quantity in {0, asked.quantity}
    if fill.average_price is None:
        assert fill.slippage_bps is None
        return
    parts = {name: Decimal(part) for name, part in fill.attribution["slippage"].items()}
    assert fill.slippage_bps == sum(parts.values())
    reference = Decimal(fill.attribution["reference_price"])
    direct = (fill.average_price - reference) * asked.side.sign / reference * 10_000
    assert abs(direct - fill.slippage_bps) < Decimal("1E-8")


@pytest.mark.parametrize("preset", ["minimal", "equity_retail"])
def test_models_that_do_nothing_change_no_fill(preset: str) -> None:
    """A model that only tells, and models at zero, leave every fill as it is without them."""
    off = provider(preset)
    idle = provider(
        preset,
        fill_probability={"enabled": True},
        queue_value={"enabled": True},
        market_impact={"enabled": True, "eta": 0.0, "gamma": 0.0, "reaction": "none"},
        hidden_liquidity={
            "enabled": True,
            "probability": 0.0,
            "iceberg_probability": 0.0,
        },
        dark_pools={"enabled": True, "max_dark_fill_pct": 0.0},
    )
    compared = 0
    for request, seed in requests(seed=4, count=150):
        market = liquid(request.market) if request.market.bids else request.market
        answers: list[object] = []
        for made in (off, idle):
            try:
                fill = made.execute(request.order, market, request.bar, seed=seed)
            except Fault as fault:
                answers.append(str(fault))
                continue
            assert fill is not None
            told = fill_to_json(fill)
            kept = ("slippage", "latency_ns", "queue_ahead", "events_while_resting", "reason")
            for name in set(told["attribution"]) - set(kept):
                del told["attribution"][name]
            told["attribution"]["slippage"] = {
                name: Decimal(part) for name, part in told["attribution"]["slippage"].items()
            }
            answers.append(told)
        if "adv_notional" in str(answers[1]):
            continue  # a one-sided market was not given a volume
        assert answers[0] == answers[1]
        compared += 1
    assert compared > 100


def test_each_model_draws_from_a_stream_of_its_own() -> None:
    """Switching one model off moves no other's draws: not the latency's, the dark's, the hidden."""
    asked = order("BUY", 1200)
    alone = run(provider("equity"), asked)
    dark = run(provider("equity", dark_pools={"enabled": True}), asked)
    both = run(
        provider("equity", dark_pools={"enabled": True}, hidden_liquidity={"enabled": True}), asked
    )
    dark_ns = dark.attribution["dark"]["latency_ns"]
    assert alone.attribution["latency_ns"] + dark_ns == dark.attribution["latency_ns"]
    assert dark.attribution["dark"] == both.attribution["dark"]


def test_the_explanation_names_what_took_part() -> None:
    """Models, seed, latency, dark and hidden share, impact, forecast and advice are all told."""
    fill = run(provider("full"), order("BUY", 900, "100.02"), liquid(), bar())
    told = fill.attribution
    assert {"seed", "latency_ns", "events_in_flight", "dark", "impact", "hidden"} <= set(told)
    assert set(SECTIONS) <= set(told["models"])
    rests = run(provider("full"), order("SELL", 50, "100.03"), liquid(), bar())
    told = rests.attribution
    assert {"queue_ahead", "fill_forecast", "queue_value", "events_while_resting"} <= set(told)
    assert json.dumps(told)


def test_stats_say_what_is_on() -> None:
    """Each section has its state, latency its percentiles, and the dark its fill rates."""
    made = provider("full", dark_pools={"venues": [SURE], "max_history_size": 2})
    for seed in range(5):
        run(made, order("BUY", 100), liquid(), seed=seed)
    stats = made.stats()
    assert {"enabled"} == {stats["models"][name] for name in SECTIONS}
    assert {"visits": 2, "fill_rates": {"A": 1.0}} == stats["dark_pools"]
    assert stats["latency_us"]["order"]["p50"] < stats["latency_us"]["order"]["p99"]
    assert {"disabled"} == {provider().stats()["models"][name] for name in SECTIONS}


# ---------------------------------------------------------------- dark pools


def test_the_dark_comes_first_and_the_rest_goes_on() -> None:
    """Half of 200 fill at the mid, the other half at the ask; only the latter pay the spread."""
    fill = run(provider(dark_pools={"enabled": True, "venues": [SURE]}), order("BUY", 200))
    assert [("100.00", "100"), ("100.01", "100")] == [
        (str(round(part.price, 2)), str(part.quantity)) for part in fill.fills
    ]
    assert "0.5" == fill.attribution["slippage"]["spread"]
    assert ("100", 0.5) == (fill.attribution["dark"]["filled"], fill.attribution["dark"]["share"])


@pytest.mark.parametrize(
    "asked",
    [
        order("BUY", 100, "99.99"),
        order("BUY", 100, "100.05", time_in_force="FOK"),
        order("SELL", 100, "100.01", post_only=True),
    ],
)
def test_what_may_not_go_dark_does_not(asked: Order) -> None:
    """A limit below the mid, fill-or-kill and post-only orders go to the book alone."""
    fill = run(provider(dark_pools={"enabled": True, "venues": [SURE]}), asked)
    assert "dark" not in fill.attribution


def test_leaks_move_the_market_against_the_order() -> None:
    """An order that fills nowhere in the dark but leaks 3 bps pays three cents more, as impact."""
    leaking = {"name": "A", "base_fill_probability": 0.0, "max_quantity": 100, "leakage_bps": 3.0}
    made = provider(dark_pools={"enabled": True, "max_dark_fill_pct": 100, "venues": [leaking]})
    fill = run(made, order("BUY", 100))
    assert Decimal("100.04") == fill.average_price
    assert ("1", "3") == (
        fill.attribution["slippage"]["spread"],
        fill.attribution["slippage"]["impact"],
    )


def test_venues_fill_as_often_as_they_say() -> None:
    """Over a thousand seeds a venue of 30 % fills about 300 orders."""
    venue = {"name": "A", "base_fill_probability": 0.3, "size_penalty": 0.0}
    made = provider(dark_pools={"enabled": True, "venues": [venue]})
    filled = sum(
        run(made, order("BUY", 10), seed=seed).attribution["dark"]["filled"] == "5"
        for seed in range(1_000)
    )
    assert 250 < filled < 350


def test_counts_can_be_asked_for_while_others_execute() -> None:
    """A visit that another thread adds in the middle does not break the summary."""
    venues = DarkVenues(DarkPoolsConfig(enabled=True))

    class Busy:
        """An instrument whose every question comes with another visit."""

        def quantity(self, lots: int) -> Decimal:
            """Return the lots, and add a visit as another thread would."""
            venues._history.append((visit, Busy()))  # type: ignore[arg-type]
            return Decimal(lots)

    visit = DarkFill("midpoint", 10, 5, 100.0, 500.0)
    venues._history.append((visit, Busy()))  # type: ignore[arg-type]
    assert {"visits": 1, "fill_rates": {"midpoint": 0.5}} == venues.summary()


# ---------------------------------------------------------------- hidden liquidity


def test_hidden_orders_inside_the_spread_improve_the_price() -> None:
    """With one nearly always there, a better price than the ask trades first."""
    wide = MarketState(1, bids=(("99.95", 500),), asks=(("100.05", 500),))  # type: ignore[arg-type]
    hidden = {"enabled": True, "probability": 0.999999, "size_ratio": 1.0}
    fill = run(provider(hidden_liquidity=hidden), order("BUY", 10), wide)
    assert fill.average_price is not None
    assert fill.average_price < Decimal("100.05")
    assert Decimal(fill.attribution["slippage"]["depth"]) < 0
    assert {"filled": "10", "share": 1.0} == fill.attribution["hidden"]


def test_a_part_of_the_market_hides_what_the_whole_hides() -> None:
    """An order that rests below the touch makes no difference to what an aggressor finds."""
    made = provider(hidden_liquidity={"enabled": True, "probability": 0.9999})
    for seed in range(20):
        few = run(made, order("SELL", 150), seed=seed)
        many = run(made, order("SELL", 150), ladder(9), seed=seed)
        assert few.fills == many.fills


def test_fill_or_kill_counts_what_is_hidden() -> None:
    """1,500 show on five levels; with something hidden at most of them, 1,501 can fill."""
    hidden = {"enabled": True, "probability": 0.9999, "size_ratio": 100.0}
    asked = order("BUY", 1_501, time_in_force="FOK")
    assert "REJECTED" == run(provider(), asked).status
    assert "FILLED" == run(provider(hidden_liquidity=hidden), asked).status


def test_icebergs_that_refill_are_found() -> None:
    """Where every level has one of many refills, a busy bar gives some away."""
    hidden = {"enabled": True, "iceberg_probability": 1.0, "prior_a": 500.0, "prior_b": 1.0}
    made = provider(hidden_liquidity=hidden)
    found = 0
    for seed in range(12):
        fill = run(made, order("SELL", 5, "100.01"), liquid(), bar(volume=400_000), seed=seed)
        found += sum(fill.attribution["hidden"]["icebergs_detected"].values())
    assert found > 0


# ---------------------------------------------------------------- market impact


def test_the_check_value_is_told() -> None:
    """A thousandth of the day's volume at 2 %: temporary .316 and permanent .300 bps."""
    made = provider(market_impact={"enabled": True})
    fill = run(made, order("BUY", 1_000), liquid())
    told = fill.attribution["impact"]
    assert ("0.316", "0.300") == (
        f"{told['temporary_bps']:.3f}",
        f"{told['permanent_bps']:.3f}",
    )


def test_quotes_give_way_by_what_the_walk_has_not_cost() -> None:
    """100 at the touch walk nothing, so that 4 bps of impact are four ticks, and are impact."""
    kyle = {"enabled": True, "model": "kyle", "kyle_lambda": 0.0004, "permanent_share": 0.0}
    fill = run(provider(market_impact=kyle), order("BUY", 100))
    assert (Decimal("100.05"), 4) == (
        fill.average_price,
        fill.attribution["impact"]["moved_ticks"],
    )
    parts = fill.attribution["slippage"]
    assert ("1", "4", "0") == (parts["spread"], parts["impact"], parts["depth"])
    sold = run(provider(market_impact=kyle), order("SELL", 100))
    assert Decimal("99.95") == sold.average_price
    told_only = run(provider(market_impact=kyle | {"apply_to_lob": False}), order("BUY", 100))
    assert Decimal("100.01") == told_only.average_price
    assert told_only.attribution["impact"]["conceded_bps"] == pytest.approx(4.0)


def test_a_limit_holds_when_the_quotes_give_way() -> None:
    """The order does not follow the market beyond its limit; it rests as the new best bid."""
    kyle = {"enabled": True, "model": "kyle", "kyle_lambda": 0.0004}
    fill = run(provider(market_impact=kyle), order("BUY", 100, "100.02"))
    assert ("UNFILLED", "0") == (fill.status, fill.attribution["queue_ahead"])


@pytest.mark.parametrize("limit", ["100.01", "100.02"])
@pytest.mark.parametrize("during", [None, bar(high="100", low="100", close="100", volume=0)])
def test_a_post_only_order_that_would_cross_pushes_nothing(
    limit: str, during: BarData | None
) -> None:
    """It takes nothing, so that the quotes do not make room for it: it is refused, as without."""
    kyle = {"enabled": True, "model": "kyle", "kyle_lambda": 0.0004}
    fill = run(
        provider(market_impact=kyle), order("BUY", 100, limit, post_only=True), during=during
    )
    assert ("REJECTED", "POST_ONLY_WOULD_CROSS") == (fill.status, fill.attribution["reason"])
    assert 0 == fill.attribution["impact"]["moved_ticks"]


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ({}, "market.adv_notional"),
        ({"adv_quantity": 1e6, "sigma": None}, "market.volatility"),
    ],
)
def test_what_an_impact_model_needs_is_asked_for(section: dict[str, Any], field: str) -> None:
    """A missing volume or volatility is refused by name, never taken to be 1."""
    made = provider(market_impact={"enabled": True} | section)
    with pytest.raises(InvalidInput, match=f"^{field}: nothing; allowed with the impact model"):
        run(made, order("BUY", 100))


def test_the_configurations_volume_stands_in_for_the_markets() -> None:
    """`adv_quantity` is in units and `adv_notional` in money: at a price of 100 they agree."""
    units = provider(market_impact={"enabled": True, "adv_quantity": 1e6})
    money = provider(market_impact={"enabled": True, "adv_notional": 1e8})
    first, second = (run(made, order("BUY", 1_000)) for made in (units, money))
    assert first.attribution["impact"] == second.attribution["impact"]


def test_the_permanent_part_takes_the_path_along() -> None:
    """After a large purchase that stays in the price, fewer come down to a bid left behind."""
    asked = order("BUY", 500, "100.03", client_order_id="x")
    calm = bar(high="100.04", low="99.96", close="100", volume="30000")
    base = {"enabled": True, "eta": 0.0, "reaction": "none", "adv_quantity": 1e6}
    filled = {}
    for gamma in (0.0, 4.0):
        made = provider(market_impact=base | {"gamma": gamma})
        filled[gamma] = sum(
            run(made, asked, during=calm, seed=seed).filled_quantity for seed in range(60)
        )
    assert filled[4.0] < filled[0.0]


def test_replenishing_sellers_meet_the_order_that_waits() -> None:
    """Half of the 100 that were taken come back at once and trade with what rests at that price."""
    base = {"enabled": True, "eta": 0.0, "gamma": 0.0, "adv_quantity": 1e6}
    dead = bar(high="100", low="100", open="100", close="100", volume="0")
    asked = order("BUY", 500, "100.01")
    back = run(provider(market_impact=base), asked, during=dead)
    away = run(provider(market_impact=base | {"reaction": "none"}), asked, during=dead)
    assert (Decimal(150), Decimal(100)) == (back.filled_quantity, away.filled_quantity)
    assert ["TAKER", "MAKER"] == [part.liquidity for part in back.fills]


@pytest.mark.parametrize("preset", ["equity", "full"])
def test_an_execution_keeps_the_configuration_it_began_with(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks once: what another thread assigns meanwhile is for the next one."""
    made, asked = provider(preset), []
    plan = made._plan

    def counted() -> Plan:
        asked.append(1)
        return plan()

    monkeypatch.setattr(made, "_plan", counted)
    run(made, order("BUY", 10, "99.99"), liquid(), bar())
    assert [1] == asked


# ---------------------------------------------------------------- latency, forecasts, advice


def test_latency_minds_the_volatility() -> None:
    """Twice the normal volatility at sensitivity .5 makes each draw half as long again."""
    minding = {"volatility_sensitivity": 0.5, "normal_volatility": 0.01}
    calm = run(provider("equity"), order("BUY", 1), liquid())
    wild = run(provider("equity", latency=minding), order("BUY", 1), liquid())
    ratio = wild.attribution["latency_ns"] / calm.attribution["latency_ns"]
    assert ratio == pytest.approx(1.5, rel=1e-4)


def test_a_fill_probability_depends_on_queue_size_and_time() -> None:
    """More ahead, more to fill or less time make it less; what fills at once is certain."""
    made = provider("full")
    chances = [
        made.get_fill_probability(order("BUY", 10, price), liquid(), seconds)
        for price, seconds in (("100.01", 1.0), ("99.99", 9.0), ("99.99", 1.0), ("99.98", 1.0))
    ]
    assert 1.0 == chances[0]
    assert chances == sorted(chances, reverse=True)
    assert len(set(chances)) == 4
    small, large = (
        made.get_fill_probability(order("BUY", size, "100.00"), liquid(), 3.0) for size in (10, 900)
    )
    assert small > large
    assert 0.0 == made.get_fill_probability(
        order("BUY", 9, "99.99", time_in_force="IOC"), liquid(), 1.0
    )
    with pytest.raises(InvalidInput, match="horizon_seconds: -1"):
        made.get_fill_probability(order("BUY", 9, "99.99"), liquid(), -1.0)
    with pytest.raises(NotSupported, match="enabled: false"):
        provider().get_fill_probability(order("BUY", 9, "99.99"), liquid(), 1.0)


def test_an_order_that_has_waited_is_told_its_own_queue() -> None:
    """Less ahead than is displayed makes a fill likelier; as much is what a joiner is told."""
    made = provider("full")
    asked = order("BUY", 10, "99.99")
    joining = made.fill_outlook(asked, liquid(), 3.0)
    assert joining == made.fill_outlook(asked, liquid(), 3.0, queue_ahead=100)
    waiting = made.fill_outlook(asked, liquid(), 3.0, queue_ahead=30.0)
    assert Decimal(30) == waiting.queue_ahead
    assert joining.probability < waiting.probability
    with pytest.raises(InvalidInput, match="queue_ahead: -1; allowed: 0 or more"):
        made.fill_outlook(asked, liquid(), 3.0, queue_ahead=-1)


def test_advice_is_followed_only_where_the_configuration_says_so() -> None:
    """A place that is worth less than nothing is told to be given up, and is, with `act`."""
    costly = {"enabled": True, "impact_half_spreads": 50.0, "reprice_cost_bps": 100.0}
    asked = order("BUY", 10, "99.99")
    told = run(provider(queue_value=costly), asked, during=bar())
    done = run(provider(queue_value=costly | {"act": True}), asked, during=bar())
    assert ("CANCEL", False) == (
        told.attribution["queue_value"]["action"],
        told.attribution["queue_value"]["acted"],
    )
    assert ("UNFILLED", True) == (done.status, done.attribution["queue_value"]["acted"])
    assert told.filled_quantity > 0


def test_a_repriced_order_joins_the_next_price() -> None:
    """Where the next price away is worth more, it waits behind the 200 that rest there."""
    asked = order("BUY", 10, "99.99")
    made = provider(queue_value={"enabled": True, "act": True, "away_per_trade": 0.0})
    fill = run(made, asked)
    assert "REPRICE" == fill.attribution["queue_value"]["action"]
    assert "200" == fill.attribution["queue_ahead"]


def test_an_estimate_counts_impact_and_draws_nothing() -> None:
    """The cost of an order now is that of the depth and of its own impact; it is no draw."""
    kyle = {"model": "kyle", "kyle_lambda": 0.0004, "permanent_share": 0.0}
    made = provider("full", market_impact=kyle)
    estimates = {made.estimate_execution_cost(order("BUY", 100), liquid()) for _ in range(3)}
    (estimate,) = estimates
    assert Decimal("100.05") == estimate.average_price
