"""What the bot sees of the gateway that it lives in."""

from collections.abc import Callable
from decimal import Decimal

from lob.types import Side
from services.order_gateway.engine import Engine, Submitted
from touchstone.kit.event_store import Record
from touchstone.perps.checks import Refusal
from touchstone.perps.filters import MarketView
from touchstone.perps.kill import Action
from touchstone.perps.orders import Intent, Order
from touchstone.perps.products import ProductRules
from touchstone.perps.strategy import AccountView


class GatewayDesk:
    """The engine, the feed and the account, as a `Desk`."""

    def __init__(
        self,
        engine: Engine,
        venue_now_ns: Callable[[], int | None],
        *,
        strategy: str,
        equity: Callable[[], Decimal | None],
        liquidation_price: Callable[[str], Decimal | None],
    ) -> None:
        """Look at these.

        Args:
            engine: takes the orders; its ledger has the positions, its quotes the market.
            venue_now_ns: the venue's time.
            strategy: whose kill scope counts.
            equity: of the account, in dollars.
            liquidation_price: the venue's own, of the position in a symbol.
        """
        self._engine = engine
        self._venue_now_ns = venue_now_ns
        self._strategy = strategy
        self._equity = equity
        self._liquidation_price = liquidation_price

    def now_ns(self) -> int | None:
        """Return the venue's time; None before it is known."""
        return self._venue_now_ns()

    def market(self, symbol: str) -> MarketView:
        """Return the market as the feed last told it; what it has not told is None."""
        quotes = self._engine.quotes
        quote = quotes.quote(symbol)
        depths = {side: quotes.depth(symbol, side) for side in Side}
        return MarketView(
            age_seconds=None if quote is None else quote.age_seconds,
            mark=quotes.mark(symbol),
            bid=None if quote is None else quote.bid,
            ask=None if quote is None else quote.ask,
            depth_l1={side: depth.l1 for side, depth in depths.items() if depth is not None},
            depth_l10={side: depth.l10 for side, depth in depths.items() if depth is not None},
            volume_1m_usd=quotes.volume_1m(symbol),
        )

    def account(self, symbol: str) -> AccountView:
        """Return position, equity and whether anything may be entered."""
        engine = self._engine
        position = engine.ledger.position(symbol)
        gate = engine.kill_switch.gate(symbol, self._strategy)
        return AccountView(
            equity=self._equity(),
            quantity=position.quantity if engine.reconciled else None,
            entry_price=position.average_entry_price,
            liquidation_price=self._liquidation_price(symbol),
            reduce_only=engine.draining or not gate.permits(Action.INCREASE),
        )

    def rules(self, symbol: str) -> ProductRules | None:
        """Return the product's rules; None before they are known."""
        return self._engine.rules.get(symbol)

    def working(self, symbol: str) -> list[Order]:
        """Return the orders of the symbol that are not over."""
        return self._engine.ledger.working(symbol)

    async def submit(self, intent: Intent) -> Submitted | Refusal:
        """Ask the engine for an order."""
        return await self._engine.submit(intent)

    async def cancel(self, client_order_id: str) -> None:
        """Ask the engine for a cancel."""
        await self._engine.cancel(client_order_id)

    def note(self, record: Record) -> None:
        """Append an event to the journal."""
        self._engine.ledger.note(record)
