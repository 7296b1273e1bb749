"""What the venue remembers of one account: open orders, a bounded past, fills."""

from collections import deque
from collections.abc import Collection, Iterator

from touchstone.exchange.orders import Fill, Order


class OrderHistory:
    """Keep an account's orders by id and by client_order_id, and its fills.

    Open orders are always kept; of ended orders and of fills the latest `limit` each. What has been
    forgotten is unknown again, its client_order_id included.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._orders: dict[str, Order] = {}
        self._by_client_id: dict[str, str] = {}
        self._open: dict[int, str] = {}
        self._ended: deque[str] = deque()
        self.fills: deque[Fill] = deque(maxlen=limit)

    def put(self, order: Order) -> None:
        """Store an order's present state; an ended one starts to age."""
        known = self._orders.get(order.order_id)
        self._orders[order.order_id] = order
        # Who has an id first keeps it: children are named after themselves, and a customer may have
        # used that name before.
        self._by_client_id.setdefault(order.request.client_order_id, order.order_id)
        if order.live:
            self._open[order.number] = order.order_id
            return
        self._open.pop(order.number, None)
        if known is None or known.live:
            self._ended.append(order.order_id)
        while len(self._ended) > self._limit:
            gone = self._orders.pop(self._ended.popleft())
            name = gone.request.client_order_id
            if self._by_client_id.get(name) == gone.order_id:
                del self._by_client_id[name]

    def order(self, order_id: str) -> Order | None:
        """Return an order by the venue's id. O(1)."""
        return self._orders.get(order_id)

    def by_client_id(self, client_order_id: str) -> Order | None:
        """Return an order by the customer's id. O(1)."""
        order_id = self._by_client_id.get(client_order_id)
        return None if order_id is None else self._orders[order_id]

    def by_number(self, number: int) -> Order | None:
        """Return an open order by its number in the book. O(1)."""
        order_id = self._open.get(number)
        return None if order_id is None else self._orders[order_id]

    def open_orders(self, product_id: str | None = None) -> Iterator[Order]:
        """Yield open orders, oldest first, of one product or of all."""
        for order_id in list(self._open.values()):
            order = self._orders[order_id]
            if product_id is None or order.product.product_id == product_id:
                yield order

    def open_count(self) -> int:
        """Return how many orders are open."""
        return len(self._open)

    def fills_of(self, order_ids: Collection[str]) -> list[Fill]:
        """Return the fills of these orders, newest first; of all orders where none is named.

        Orders know how many fills they have, so that the search ends with the last of them: it is
        O(fills remembered) for an order that is forgotten or has only its children's fills.
        """
        if not order_ids:
            return list(reversed(self.fills))
        orders = [self._orders.get(order_id) for order_id in order_ids]
        most = sum(len(self.fills) if order is None else order.fill_count for order in orders)
        found: list[Fill] = []
        for fill in reversed(self.fills):
            if len(found) >= most:
                break
            if fill.order_id in order_ids:
                found.append(fill)
        return found

    def orders(self) -> list[Order]:
        """Return every remembered order, newest first: they came in by number. O(n)."""
        return list(reversed(self._orders.values()))
