"""What changes a venue from outside, as plain values that can be written down and given again.

The same commands at the same times make the same venue: a journal of them is all it takes.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, get_args

from touchstone.exchange.grid import SECOND_NS
from touchstone.exchange.options import OptionCommand
from touchstone.exchange.portfolios import PortfolioCommand
from touchstone.exchange.requests import CloseRequest, EditRequest, OrderRequest

if TYPE_CHECKING:
    from touchstone.exchange.engine import Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAccount:
    """Open an account, where it is not open."""

    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOrder:
    """Enter an order of an account."""

    account: str
    request: OrderRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class EditOrder:
    """Give an order of an account new terms."""

    account: str
    request: EditRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosePosition:
    """Close a position of an account at market."""

    account: str
    request: CloseRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrders:
    """Cancel orders of an account, by the venue's ids."""

    account: str
    order_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocate:
    """Move money to an isolated position, or with an amount below 0 back from it."""

    account: str
    product_id: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseFlow:
    """Stop the background flow, or let it go on from where it stopped."""

    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveIndex:
    """Let a coin's index jump, as news would."""

    coin: str
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Go on at `until_ns` after nobody was there: the flow stood still meanwhile, time did not."""

    until_ns: int


OrderCommand = CreateOrder | EditOrder | ClosePosition | CancelOrders

INDEX: Final = "index"
"""The timer of the indices, which moves nothing while the flow stands still."""

Command = (
    OpenAccount
    | OrderCommand
    | Allocate
    | PauseFlow
    | MoveIndex
    | Resume
    | PortfolioCommand
    | OptionCommand
)

COMMANDS: Final[tuple[type[Command], ...]] = get_args(Command)


def apply(exchange: "Exchange", command: Command) -> object:
    """Carry a command out at the venue's present moment; return what the engine answers."""
    answer: object = None
    match command:
        case _ if isinstance(command, OrderCommand):
            answer = _trade(exchange, command)
        case Allocate(account=account, product_id=product_id, amount=amount):
            answer = exchange.clearing.allocate(account, product_id, amount)
        case OpenAccount(account=account):
            answer = exchange.open_account(account)
        case PauseFlow(paused=paused):
            exchange.flow_paused = paused
        case MoveIndex(coin=coin, price=price):
            exchange.marketplace.move_index(coin, price)
        case Resume(until_ns=until_ns):
            _resume(exchange, until_ns)
        case _ if isinstance(command, PortfolioCommand):
            answer = exchange.portfolios.apply(command)
        case _ if isinstance(command, OptionCommand):
            answer = exchange.options.apply(command, exchange.now_ns)
    return answer


def _trade(exchange: "Exchange", command: OrderCommand) -> object:
    match command:
        case CreateOrder(account=account, request=request):
            return exchange.create(account, request)
        case EditOrder(account=account, request=edit):
            return exchange.edit(account, edit)
        case ClosePosition(account=account, request=close):
            return exchange.close_position(account, close)
        case CancelOrders(account=account, order_ids=order_ids):
            return exchange.cancel(account, order_ids)


def _resume(exchange: "Exchange", until_ns: int) -> None:
    """Let time pass without anybody: flow and indices stand still, so marks need no seconds."""
    paused = exchange.flow_paused
    exchange.flow_paused = True
    exchange.grid.stride(exchange.now_ns)
    exchange.schedule.at((until_ns // SECOND_NS + 1) * SECOND_NS, INDEX)
    while exchange.now_ns < until_ns:
        exchange.advance(until_ns)
    exchange.grid.step(exchange.now_ns)
    if not paused:
        exchange.flow_paused = False
