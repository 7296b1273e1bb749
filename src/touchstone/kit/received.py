"""Requests and fills that came over a wire and still know the bytes they came in.

Handing such a one on costs nothing: neither are its numbers read nor are they written again.
"""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

from execution_providers.types import AssetClass, ExecutionRequest, Fill, Order

_put = object.__setattr__


class ReceivedRequest(ExecutionRequest):
    """A request whose order is read; market and bar are read when somebody looks at them.

    `received` is JSON, as it came. Looking raises `InvalidInput` where the market or the bar is
    wrong: `touchstone.kit.codec.complete` is the place to find out.
    """

    __slots__ = ("_read", "received")

    received: bytes
    _read: Callable[[bytes], ExecutionRequest]

    def __init__(
        self,
        order: Order,
        asset_class: AssetClass,
        received: bytes,
        read: Callable[[bytes], ExecutionRequest],
    ) -> None:
        _put(self, "order", order)
        _put(self, "asset_class", asset_class)
        _put(self, "received", received)
        _put(self, "_read", read)

    def __getattr__(self, name: str) -> Any:
        """Read what is not read yet; called only for attributes that are not there."""
        if name not in {"market", "bar"}:
            raise AttributeError(name)
        self.read_all()
        return getattr(self, name)

    def read_all(self) -> None:
        """Read every part; `InvalidInput` where one is wrong."""
        whole = self._read(self.received)
        _put(self, "market", whole.market)
        _put(self, "bar", whole.bar)

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExecutionRequest):
            return NotImplemented
        return _parts(self) == _parts(other)

    def __hash__(self) -> int:
        return hash(_parts(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return ExecutionRequest, _parts(self)


class ReceivedFill(Fill):
    """A fill, checked, with the JSON that it came in as `encoded`.

    `provider_seconds` is what its provider took to execute, where that came along.
    """

    __slots__ = ("encoded", "provider_seconds")

    encoded: bytes
    provider_seconds: float | None

    def __init__(self, encoded: bytes, *fields: Any) -> None:
        super().__init__(*fields)
        _put(self, "encoded", encoded)
        _put(self, "provider_seconds", None)

    def timed(self, provider_seconds: float) -> None:
        """Note what the provider took."""
        _put(self, "provider_seconds", provider_seconds)

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fill):
            return NotImplemented
        return _fields(self) == _fields(other)

    __hash__ = None  # type: ignore[assignment] # as a Fill: it has a mapping

    def __reduce__(self) -> tuple[Any, ...]:
        return Fill, _fields(self)


def _parts(request: ExecutionRequest) -> tuple[Any, ...]:
    return request.order, request.market, request.bar, request.asset_class


def _fields(fill: Fill) -> tuple[Any, ...]:
    return (
        fill.status,
        fill.filled_quantity,
        fill.average_price,
        fill.fees,
        fill.slippage_bps,
        fill.attribution,
        fill.fills,
    )
