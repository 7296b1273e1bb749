"""Money over real HTTP: balances, positions in both shapes, portfolios, fees; two customers."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tests.services.paper_exchange import (
    BIP,
    BTC,
    Key,
    RunningExchange,
    gtc,
    running_exchange,
    write_ed25519_key,
)


@dataclass
class Bank:
    """A venue without background flow, with three keys of two accounts."""

    venue: RunningExchange
    other: Key
    viewer: Key

    @property
    def portfolio(self) -> str:
        """Return the id of the first account's own portfolio."""
        found: str = self.get("/key_permissions")["portfolio_uuid"]
        return found

    def get(self, path: str, key: Key | None = None) -> Any:
        """Return the answer of a GET that is understood."""
        answer = self.venue.call("GET", path, key=key)
        assert 200 == answer.status_code, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any], key: Key | None = None) -> Any:
        """Return the answer of a POST that is understood."""
        answer = self.venue.call("POST", path, body, key=key)
        assert 200 == answer.status_code, answer.text
        return answer.json()

    def trade(self, product_id: str, size: str, price: str, **fields: Any) -> None:
        """Let the first account buy from the second."""
        number = len(self.venue.components.venue.exchange.orders("other"))
        for key, side, more in ((self.other, "SELL", {}), (None, "BUY", fields)):
            body = {
                "client_order_id": f"{side}-{number}",
                "product_id": product_id,
                "side": side,
                "order_configuration": gtc(size, price),
                **more,
            }
            answer = self.post("/orders", body, key)
            assert answer["success"], answer


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """One venue for all of these tests: marks stand still at 100,000 and 4,000."""
    data_dir = tmp_path_factory.mktemp("exchange")
    keys = data_dir / "exchange" / "keys"
    other = write_ed25519_key(keys, "other", account="other")
    viewer = write_ed25519_key(keys, "viewer", permissions=["view"])
    with running_exchange(
        data_dir,
        rate_limit_per_second=10_000,
        public_rate_limit_per_second=10_000,
        starting_balance=100_000,
        maker_fee_rate=0,
        taker_fee_rate="0.0003",
        flow="none",
        index_volatility={"BTC": 0, "ETH": 0},
    ) as venue:
        bank = Bank(venue, other, viewer)
        bank.trade(BTC, "0.5", "100000", leverage="5")
        bank.trade(BIP, "20", "100000", leverage="4")
        bank.trade("ETH-PERP-INTX", "2", "4000", leverage="8", margin_type="ISOLATED")
        yield bank
        venue.components.venue.exchange.check()


def value(money: dict[str, str]) -> Decimal:
    """Return an amount of money."""
    return Decimal(money["value"])


FEES = Decimal("23.4")
"""What the first account has paid: 3 basis points of 50,000, of 20,000 and of 8,000."""


def test_the_balance_is_free_or_held(bank: Bank) -> None:
    """What is free and what is held sum to the equity; the one account is found by its id."""
    listed = bank.get("/accounts?limit=10")
    (account,) = listed["accounts"]
    assert (False, "", 1) == (listed["has_next"], listed["cursor"], listed["size"])
    total = value(account["available_balance"]) + value(account["hold"])
    assert Decimal(100_000) - FEES == total
    again = bank.get(f"/accounts/{account['uuid']}")["account"]
    assert account["hold"] == again["hold"]
    assert [] == bank.get("/accounts?retail_portfolio_id=other")["accounts"]
    assert 404 == bank.venue.call("GET", "/accounts/nope").status_code


def test_an_intx_position_in_all_its_fields(bank: Bank) -> None:
    """Margins follow from the mark and the leverage; maintenance is two thirds of initial."""
    listed = bank.get(f"/intx/positions/{bank.portfolio}")
    position = next(row for row in listed["positions"] if row["symbol"] == BTC)
    one = bank.get(f"/intx/positions/{bank.portfolio}/{BTC}")["position"]
    assert position == one
    assert ("POSITION_SIDE_LONG", "MARGIN_TYPE_CROSS", "0.5", "5", "0", "0") == (
        one["position_side"],
        one["margin_type"],
        one["net_size"],
        one["leverage"],
        one["buy_order_size"],
        one["sell_order_size"],
    )
    amounts = {
        "entry_vwap": "100000",
        "mark_price": "100000",
        "position_notional": "50000",
        "im_notional": "10000",
        "unrealized_pnl": "0",
        "aggregated_pnl": "0",
    }
    assert {name: {"value": text, "currency": "USDC"} for name, text in amounts.items()} == {
        name: one[name] for name in amounts
    }
    assert abs(value(one["mm_notional"]) - Decimal(20_000) / 3) < Decimal("0.0001")
    assert 0 == value(one["liquidation_price"]), "at no price: its equity is worth more than it"
    other = bank.get(
        f"/intx/positions/{bank.get('/key_permissions', bank.other)['portfolio_uuid']}/{BTC}",
        bank.other,
    )["position"]
    assert ("POSITION_SIDE_SHORT", "-0.5") == (other["position_side"], other["net_size"])
    assert 100_000 < value(other["liquidation_price"])


def test_the_intx_portfolio_and_its_balance(bank: Bank) -> None:
    """The portfolio's margin is the positions' and its balance the account's cash."""
    found = bank.get(f"/intx/portfolio/{bank.portfolio}")
    (portfolio,) = found["portfolios"]
    equity = Decimal(100_000) - FEES
    assert equity == value(portfolio["total_balance"]) == value(found["summary"]["total_balance"])
    assert Decimal(16_000) == Decimal(portfolio["portfolio_initial_margin"])
    maintenance = Decimal(portfolio["portfolio_maintenance_margin"])
    assert abs(maintenance - Decimal(32_000) / 3) < Decimal("0.0001")
    # The isolated position's 1,000 and its maintenance margin do not count.
    buffer = Decimal(portfolio["liquidation_buffer"])
    assert equity - 1_000 - Decimal(10_000) == buffer
    assert "PORTFOLIO_LIQUIDATION_STATUS_NOT_LIQUIDATING" == portfolio["liquidation_status"]
    (balances,) = bank.get(f"/intx/balances/{bank.portfolio}")["portfolio_balances"]
    assert not balances["is_margin_limit_reached"]
    (asset,) = balances["balances"]
    assert (str(equity), "1") == (asset["quantity"], asset["collateral_weight"])


def test_money_is_allocated_to_an_isolated_position_and_back(bank: Bank) -> None:
    """More collateral moves the liquidation price away; what is not there cannot be moved."""
    path = f"/intx/positions/{bank.portfolio}/ETH-PERP-INTX"
    body = {
        "portfolio_uuid": bank.portfolio,
        "symbol": "ETH-PERP-INTX",
        "amount": "400",
        "currency": "USDC",
    }
    before = bank.get(path)["position"]
    assert "MARGIN_TYPE_ISOLATED" == before["margin_type"]
    assert {} == bank.post("/intx/allocate", body)
    after = bank.get(path)["position"]
    assert value(after["liquidation_price"]) < value(before["liquidation_price"])
    assert {} == bank.post("/intx/allocate", {**body, "amount": "-400"})
    assert before == bank.get(path)["position"]
    for changes, status in (
        ({"amount": "1000000"}, 400),
        ({"amount": "-1000000"}, 400),
        ({"symbol": BTC}, 400),
        ({"currency": "EUR"}, 400),
        ({"symbol": "NOPE"}, 404),
        ({"portfolio_uuid": "nope"}, 404),
    ):
        answer = bank.venue.call("POST", "/intx/allocate", {**body, **changes})
        assert status == answer.status_code, changes


def test_the_cfm_shape(bank: Bank) -> None:
    """Contracts and plain prices; the balance's figures agree with one another."""
    (position,) = bank.get("/cfm/positions")["positions"]
    assert position == bank.get(f"/cfm/positions/{BIP}")["position"]
    assert ("LONG", "20", "100000", "100000", "0", "0") == (
        position["side"],
        position["number_of_contracts"],
        position["avg_entry_price"],
        position["current_price"],
        position["unrealized_pnl"],
        position["daily_realized_pnl"],
    )
    summary = bank.get("/cfm/balance_summary")["balance_summary"]
    initial = value(summary["initial_margin"])
    assert Decimal(10_000 + 5_000 + 1_000) == initial
    equity = value(summary["total_usd_balance"]) + value(summary["unrealized_pnl"])
    threshold = value(summary["liquidation_threshold"])
    assert Decimal(10_000) == threshold, "two thirds of what is on cross margin"
    assert equity - 1_000 == threshold + value(summary["liquidation_buffer_amount"])
    windows = [summary[f"{kind}_margin_window_measure"] for kind in ("intraday", "overnight")]
    assert [str(initial)] * 2 == [window["initial_margin"] for window in windows]
    assert {"MARGIN_LEVEL_TYPE_BASE"} == {window["margin_level"] for window in windows}
    assert 404 == bank.venue.call("GET", f"/cfm/positions/{BTC}").status_code


def test_settings_are_kept(bank: Bank) -> None:
    """The margin setting, the sweep and the collateral setting can be set and read back."""
    assert {"setting": "INTRADAY_MARGIN_SETTING_STANDARD"} == bank.get(
        "/cfm/intraday/margin_setting"
    )
    setting = {"setting": "INTRADAY_MARGIN_SETTING_INTRADAY"}
    assert {} == bank.post("/cfm/intraday/margin_setting", setting)
    assert setting == bank.get("/cfm/intraday/margin_setting")
    window = bank.get("/cfm/intraday/current_margin_window")["margin_window"]
    assert "FCM_MARGIN_WINDOW_TYPE_INTRADAY" == window["margin_window_type"]
    wrong = bank.venue.call("POST", "/cfm/intraday/margin_setting", {"setting": "MORE"})
    assert 400 == wrong.status_code
    assert {"success": True} == bank.post("/cfm/sweeps/schedule", {"usd_amount": "12.5"})
    assert {"success": False} == bank.post("/cfm/sweeps/schedule", {})
    (sweep,) = bank.get("/cfm/sweeps")["sweeps"]
    assert ("12.5", False, "PENDING") == (
        sweep["requested_amount"]["value"],
        sweep["should_sweep_all"],
        sweep["status"],
    )
    gone = [bank.venue.call("DELETE", "/cfm/sweeps").json()["success"] for _ in range(2)]
    assert [True, False] == gone
    asked = {"portfolio_uuid": bank.portfolio, "multi_asset_collateral_enabled": True}
    answer = bank.post("/intx/multi_asset_collateral", asked)
    assert {"cross_collateral_enabled": True} == answer


def test_a_portfolio_from_birth_to_death(bank: Bank) -> None:
    """Created, listed, renamed, given money, emptied, deleted; its money is never lost."""
    created = bank.post("/portfolios", {"name": "spare"})["portfolio"]
    assert ("spare", "CONSUMER") == (created["name"], created["type"])
    listed = bank.get("/portfolios")["portfolios"]
    assert ["DEFAULT", "INTX", "CONSUMER"] == [row["type"] for row in listed]
    assert [created] == bank.get("/portfolios?portfolio_type=CONSUMER")["portfolios"]
    path = f"/portfolios/{created['uuid']}"
    renamed = bank.venue.call("PUT", path, {"name": "reserve"}).json()["portfolio"]
    assert "reserve" == renamed["name"]
    move = {
        "funds": {"value": "250.5", "currency": "USD"},
        "source_portfolio_uuid": bank.portfolio,
        "target_portfolio_uuid": created["uuid"],
    }
    assert bank.portfolio == bank.post("/portfolios/move_funds", move)["source_portfolio_uuid"]
    breakdown = bank.get(path)["breakdown"]
    assert "250.5" == breakdown["portfolio_balances"]["total_balance"]["value"]
    assert [] == breakdown["perp_positions"]
    assert 400 == bank.venue.call("DELETE", path).status_code
    back = {
        **move,
        "source_portfolio_uuid": created["uuid"],
        "target_portfolio_uuid": bank.portfolio,
    }
    bank.post("/portfolios/move_funds", back)
    assert {} == bank.venue.call("DELETE", path).json()
    assert 404 == bank.venue.call("GET", path).status_code


def test_the_own_portfolio_s_breakdown_has_positions_of_both_shapes(bank: Bank) -> None:
    """Cash, perpetuals and futures stand in their three lists."""
    found = bank.get(f"/portfolios/{bank.portfolio}?currency=USD")["breakdown"]
    assert "DEFAULT" == found["portfolio"]["type"]
    (cash,) = found["spot_positions"]
    assert ("USD", True) == (cash["asset"], cash["is_cash"])
    assert {BTC, "ETH-PERP-INTX"} == {row["product_id"] for row in found["perp_positions"]}
    assert [BIP] == [row["product_id"] for row in found["futures_positions"]]


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"funds": {"value": "99999", "currency": "USD"}}, 400, "Insufficient balance in source"),
        ({"funds": {"value": "0", "currency": "USD"}}, 400, "above 0"),
        ({"funds": {"value": "1", "currency": "BTC"}}, 400, "funds.currency"),
        ({"funds": {"value": "0.000000001", "currency": "USD"}}, 400, "8 decimals"),
        ({"target_portfolio_uuid": "nope"}, 404, "not found"),
    ],
)
def test_funds_that_cannot_be_moved(
    bank: Bank, changes: dict[str, Any], status: int, message: str
) -> None:
    """Margin stays where positions need it, and every refusal says why."""
    listed = bank.get("/portfolios?portfolio_type=CONSUMER")["portfolios"]
    target = listed[0] if listed else bank.post("/portfolios", {"name": "target"})["portfolio"]
    body = {
        "funds": {"value": "1", "currency": "USD"},
        "source_portfolio_uuid": bank.portfolio,
        "target_portfolio_uuid": target["uuid"],
        **changes,
    }
    answer = bank.venue.call("POST", "/portfolios/move_funds", body)
    assert (status, True) == (answer.status_code, message in answer.json()["message"])


def test_portfolios_of_others_do_not_exist(bank: Bank) -> None:
    """Every path that takes a portfolio answers 404 for one of another account."""
    foreign = bank.get("/key_permissions", bank.other)["portfolio_uuid"]
    for method, path in (
        ("GET", f"/portfolios/{foreign}"),
        ("PUT", f"/portfolios/{foreign}"),
        ("DELETE", f"/portfolios/{foreign}"),
        ("GET", f"/intx/portfolio/{foreign}"),
        ("GET", f"/intx/positions/{foreign}"),
        ("GET", f"/intx/positions/{foreign}/{BTC}"),
        ("GET", f"/intx/balances/{foreign}"),
    ):
        assert 404 == bank.venue.call(method, path, {"name": "x"}).status_code, path
    move = {
        "funds": {"value": "1", "currency": "USD"},
        "source_portfolio_uuid": foreign,
        "target_portfolio_uuid": bank.portfolio,
    }
    assert 404 == bank.venue.call("POST", "/portfolios/move_funds", move).status_code


def test_a_key_that_may_only_look_moves_nothing(bank: Bank) -> None:
    """Everything that changes something is a 403 for it; looking and previewing is not."""
    for method, path in (
        ("POST", "/portfolios"),
        ("POST", "/portfolios/move_funds"),
        ("POST", "/intx/allocate"),
        ("POST", "/cfm/sweeps/schedule"),
        ("DELETE", "/cfm/sweeps"),
        ("POST", "/orders/edit"),
        ("POST", "/orders/close_position"),
    ):
        assert 403 == bank.venue.call(method, path, {}, key=bank.viewer).status_code, path
    permissions = bank.get("/key_permissions", bank.viewer)
    assert (True, False, False) == tuple(
        permissions[f"can_{what}"] for what in ("view", "trade", "transfer")
    )
    body = {"product_id": BIP, "side": "BUY", "order_configuration": gtc("1", "50000")}
    assert [] == bank.post("/orders/preview", body, bank.viewer)["errs"]


def test_fees_follow_the_family_that_is_asked_for(bank: Bank) -> None:
    """Volume and fees are numbers; the tier is that of the products named; SPOT has none."""
    found = bank.get("/transaction_summary?product_type=FUTURE&contract_expiry_type=EXPIRING")
    assert (78_000.0, float(FEES)) == (found["total_volume"], found["total_fees"])
    assert "0.0003" == found["fee_tier"]["taker_fee_rate"]
    spot = bank.get("/transaction_summary?product_type=SPOT")
    assert 0 == spot["total_volume"]
    assert 400 == bank.venue.call("GET", "/transaction_summary?product_venue=X").status_code
