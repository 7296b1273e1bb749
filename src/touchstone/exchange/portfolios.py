"""Portfolios: an account's own, and purses that it opens beside it and moves money to and from.

A purse is an account of the venue like any other, opened without money, so that conservation and
everything else hold for it, too; a key whose file names it trades for it. The commands are plain
values, as all others.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from lob.errors import InvalidInput, NotFound
from touchstone.exchange.clearing import Clearing
from touchstone.exchange.desk import OrderDesk
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.money import ATOM, ZERO

CURRENCIES: Final = ("USD", "USDC")
"""Both names of the one currency that accounts hold."""

PORTFOLIOS_MAX: Final = 100
CREATED_MAX: Final = 1_000
"""Purses an account may ever open: the account behind a deleted one stays in the books."""

_NAME_LENGTH_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePortfolio:
    """Open a purse beside an account."""

    account: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenamePortfolio:
    """Give a purse another name."""

    account: str
    portfolio_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePortfolio:
    """Close an empty purse for good."""

    account: str
    portfolio_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveFunds:
    """Move money between two portfolios of an account."""

    account: str
    source_id: str
    target_id: str
    amount: Decimal


PortfolioCommand = CreatePortfolio | RenamePortfolio | DeletePortfolio | MoveFunds


@dataclass(frozen=True, slots=True)
class Portfolio:
    """One portfolio: its id, the name it shows, and the venue's account that holds its money."""

    portfolio_id: str
    name: str
    account: str
    own: bool


def portfolio_id(account: str) -> str:
    """Return the id of the portfolio that an account is: the same in every run."""
    return derived_uuid("portfolio", account)


class Portfolios:
    """Keep the purses of all accounts."""

    def __init__(self, clearing: Clearing, desk: OrderDesk) -> None:
        self._clearing = clearing
        self._desk = desk
        self._purses: dict[str, dict[str, Portfolio]] = {}

    def listed(self, account: str) -> list[Portfolio]:
        """Return an account's own portfolio and then its purses, oldest first."""
        own = Portfolio(portfolio_id(account), account, account, own=True)
        return [own, *self._purses.get(account, {}).values()]

    def find(self, account: str, wanted: str) -> Portfolio:
        """Return one of an account's portfolios; raises `NotFound`."""
        for portfolio in self.listed(account):
            if portfolio.portfolio_id == wanted:
                return portfolio
        raise NotFound("portfolio: not found among those of this key")

    def apply(self, command: PortfolioCommand) -> Portfolio:
        """Carry a command out and return the portfolio it was about (the target of funds).

        Raises:
            NotFound: the account has no such portfolio.
            InvalidInput: the name, or the amount, cannot be; nothing has changed.
        """
        match command:
            case CreatePortfolio():
                return self._create(command.account, command.name)
            case RenamePortfolio():
                return self._rename(command.account, command.portfolio_id, command.name)
            case DeletePortfolio():
                return self._delete(command.account, command.portfolio_id)
            case MoveFunds():
                return self._move(command)

    def _create(self, account: str, name: str) -> Portfolio:
        self._check_name(account, name)
        purses = self._purses.setdefault(account, {})
        if len(purses) >= PORTFOLIOS_MAX:
            raise InvalidInput(f"portfolios: {len(purses)}; allowed: at most {PORTFOLIOS_MAX}")
        created = sum(held.startswith(f"{account}/") for held in self._clearing.accounts)
        if created >= CREATED_MAX:
            raise InvalidInput(f"portfolios: {created} created; allowed: at most {CREATED_MAX}")
        # The number keeps the name of a deleted purse, whose account stays, from coming back.
        holder = f"{account}/{len(self._clearing.accounts)}-{name}"
        if holder in self._clearing.accounts:
            raise InvalidInput(f"name: {name!r}; allowed: a name that is free")
        self._clearing.open_account(holder, ZERO)
        self._desk.open_account(holder)
        portfolio = Portfolio(portfolio_id(holder), name, holder, own=False)
        purses[portfolio.portfolio_id] = portfolio
        return portfolio

    def _rename(self, account: str, wanted: str, name: str) -> Portfolio:
        before = self._purse(account, wanted)
        self._check_name(account, name)
        after = Portfolio(before.portfolio_id, name, before.account, own=False)
        self._purses[account][wanted] = after
        return after

    def _delete(self, account: str, wanted: str) -> Portfolio:
        purse = self._purse(account, wanted)
        held = self._clearing.account(purse.account)
        if held.balance or any(position.lots for position in held.positions.values()):
            raise InvalidInput("portfolio: holds money or positions; allowed: an empty one")
        return self._purses[account].pop(wanted)

    def _move(self, command: MoveFunds) -> Portfolio:
        source = self.find(command.account, command.source_id)
        target = self.find(command.account, command.target_id)
        amount = command.amount
        if source == target:
            raise InvalidInput("target_portfolio_uuid: the source; allowed: another portfolio")
        if amount <= 0 or amount % ATOM:
            raise InvalidInput(f"funds.value: {amount}; allowed: above 0, at most 8 decimals")
        if amount > self._clearing.withdrawable(source.account):
            raise InvalidInput("Insufficient balance in source account")
        for holder, signed in ((source.account, -amount), (target.account, amount)):
            held = self._clearing.account(holder)
            held.balance += signed
            held.deposits += signed
        return target

    def _purse(self, account: str, wanted: str) -> Portfolio:
        portfolio = self.find(account, wanted)
        if portfolio.own:
            raise InvalidInput("portfolio: the key's own; allowed: one that was created beside it")
        return portfolio

    def _check_name(self, account: str, name: str) -> None:
        if not 1 <= len(name) <= _NAME_LENGTH_MAX or not name.isprintable():
            raise InvalidInput(f"name: {name!r:.80}; allowed: 1..{_NAME_LENGTH_MAX} characters")
        if any(portfolio.name == name for portfolio in self.listed(account)):
            raise InvalidInput(f"name: {name!r}; allowed: one that no portfolio has")
