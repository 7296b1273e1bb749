"""Portfolios beside an account, and settings that move no money."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.errors import InvalidInput, NotFound
from touchstone.exchange import Exchange, ExchangeConfig, portfolios
from touchstone.exchange.background import FlowKind
from touchstone.exchange.commands import apply
from touchstone.exchange.options import (
    INTRADAY,
    STANDARD,
    CancelSweep,
    ScheduleSweep,
    SetIntradayMargin,
    SetMultiAsset,
)
from touchstone.exchange.portfolios import (
    PORTFOLIOS_MAX,
    CreatePortfolio,
    DeletePortfolio,
    MoveFunds,
    Portfolio,
    RenamePortfolio,
)

CONFIG = ExchangeConfig(flow=FlowKind.NONE)


@pytest.fixture
def exchange() -> Exchange:
    """A venue with two accounts."""
    made = Exchange(CONFIG)
    for name in ("a", "b"):
        made.open_account(name)
    return made


def create(exchange: Exchange, name: str, account: str = "a") -> Portfolio:
    """Create a portfolio beside an account."""
    made = apply(exchange, CreatePortfolio(account=account, name=name))
    assert isinstance(made, Portfolio)
    return made


def move(exchange: Exchange, source: Portfolio, target: Portfolio, amount: str) -> None:
    """Move money between two portfolios of account a."""
    command = MoveFunds(
        account="a",
        source_id=source.portfolio_id,
        target_id=target.portfolio_id,
        amount=Decimal(amount),
    )
    apply(exchange, command)


def test_a_portfolio_is_an_account_without_money(exchange: Exchange) -> None:
    """It holds what is moved to it, and all money is still there."""
    made = create(exchange, "spare")
    own = exchange.portfolios.listed("a")[0]
    assert (Decimal(0), True, False) == (exchange.accounts[made.account].balance, own.own, made.own)
    move(exchange, own, made, "100.25")
    assert Decimal("100.25") == exchange.equity(made.account)
    assert CONFIG.starting_balance - Decimal("100.25") == exchange.equity("a")
    exchange.check()


def test_names_and_ids_belong_to_one_account(exchange: Exchange) -> None:
    """Two accounts may use the same name, and neither finds the other's portfolio."""
    first, second = create(exchange, "spare"), create(exchange, "spare", "b")
    assert first.portfolio_id != second.portfolio_id
    with pytest.raises(NotFound):
        exchange.portfolios.find("a", second.portfolio_id)
    with pytest.raises(InvalidInput, match="one that no portfolio has"):
        create(exchange, "spare")


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_names_have_bounds(exchange: Exchange, name: str) -> None:
    """A name is 1 to 64 characters that can be printed."""
    with pytest.raises(InvalidInput, match=r"1\.\.64"):
        create(exchange, name)


def test_a_deleted_name_is_free_and_its_portfolio_gone(exchange: Exchange) -> None:
    """Only an empty portfolio can be deleted; one of the same name starts anew."""
    made = create(exchange, "spare")
    own = exchange.portfolios.listed("a")[0]
    move(exchange, own, made, "1")
    gone = DeletePortfolio(account="a", portfolio_id=made.portfolio_id)
    with pytest.raises(InvalidInput, match="an empty one"):
        apply(exchange, gone)
    move(exchange, made, own, "1")
    apply(exchange, gone)
    with pytest.raises(NotFound):
        apply(exchange, gone)
    again = create(exchange, "spare")
    assert (True, Decimal(0)) == (
        again.portfolio_id != made.portfolio_id,
        exchange.accounts[again.account].balance,
    )


def test_the_own_portfolio_stays(exchange: Exchange) -> None:
    """It can neither be renamed nor deleted; a created one keeps its id under a new name."""
    own = exchange.portfolios.listed("a")[0].portfolio_id
    for command in (
        DeletePortfolio(account="a", portfolio_id=own),
        RenamePortfolio(account="a", portfolio_id=own, name="x"),
    ):
        with pytest.raises(InvalidInput, match="the key's own"):
            apply(exchange, command)
    made = create(exchange, "spare").portfolio_id
    apply(exchange, RenamePortfolio(account="a", portfolio_id=made, name="reserve"))
    assert "reserve" == exchange.portfolios.find("a", made).name


def test_there_are_at_most_a_hundred(exchange: Exchange) -> None:
    """One key cannot fill the venue with portfolios."""
    for number in range(PORTFOLIOS_MAX):
        create(exchange, str(number))
    with pytest.raises(InvalidInput, match="at most 100"):
        create(exchange, "one more")


def test_deleting_does_not_make_room_for_ever(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was created and deleted counts, because its account stays in the books."""
    monkeypatch.setattr(portfolios, "CREATED_MAX", 3)
    for number in range(3):
        made = create(exchange, str(number))
        apply(exchange, DeletePortfolio(account="a", portfolio_id=made.portfolio_id))
    with pytest.raises(InvalidInput, match="at most 3"):
        create(exchange, "again")
    create(exchange, "another's", "b")


@settings(max_examples=40, deadline=None)
@given(
    moves=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.decimals(-10, 200_000, places=8)),
        max_size=12,
    )
)
def test_moving_money_neither_makes_nor_loses_any(
    moves: list[tuple[int, int, Decimal]],
) -> None:
    """Over any moves no balance falls below zero and the sum stays, refused ones included."""
    exchange = Exchange(CONFIG)
    exchange.open_account("a")
    for name in ("x", "y"):
        create(exchange, name)
    listed = exchange.portfolios.listed("a")
    for source, target, amount in moves:
        before = [exchange.equity(portfolio.account) for portfolio in listed]
        allowed = source != target and 0 < amount <= before[source]
        try:
            move(exchange, listed[source], listed[target], str(amount))
        except InvalidInput:
            assert not allowed
            assert before == [exchange.equity(portfolio.account) for portfolio in listed]
        else:
            assert allowed
    balances = [exchange.accounts[portfolio.account].balance for portfolio in listed]
    assert (CONFIG.starting_balance, True) == (sum(balances), min(balances) >= 0)
    exchange.check()


def test_settings_are_of_one_account(exchange: Exchange) -> None:
    """A sweep waits until it is cancelled; settings are told back; others keep theirs."""
    sweep = ScheduleSweep(account="a", amount=Decimal(5))
    assert [True, False] == [apply(exchange, sweep) for _ in range(2)]
    with pytest.raises(InvalidInput, match="above 0"):
        apply(exchange, ScheduleSweep(account="b", amount=Decimal(0)))
    assert [True, False] == [apply(exchange, CancelSweep(account="a")) for _ in range(2)]
    apply(exchange, SetIntradayMargin(account="a", setting=INTRADAY))
    apply(exchange, SetMultiAsset(account="a", enabled=True))
    mine, others = exchange.options.of("a"), exchange.options.of("b")
    assert (INTRADAY, True, None) == (mine.intraday, mine.multi_asset, mine.sweep)
    assert (STANDARD, False, None) == (others.intraday, others.multi_asset, others.sweep)
