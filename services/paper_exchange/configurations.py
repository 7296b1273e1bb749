"""The twelve order configurations of Coinbase: their fields, and the terms each stands for."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from lob.errors import InvalidInput
from lob.types import TimeInForce
from services.paper_exchange.bodies import Body
from services.paper_exchange.wire import parse_rfc3339
from touchstone.exchange import FailureReason, Refusal
from touchstone.exchange.requests import Distribution, Scaled, StopDirection, Twap

_DECIMAL: Final = re.compile(r"\d{1,15}(\.\d{1,15})?", re.ASCII)
_DURATION: Final = re.compile(r"(\d{1,7})s", re.ASCII)
_COUNT: Final = re.compile(r"\d{1,6}", re.ASCII)
_NANOSECONDS: Final = 1_000_000_000

Terms = dict[str, Any]
"""Fields of an `OrderRequest`."""

Count = Annotated[int, Meta(ge=0, le=999_999)] | Annotated[str, Meta(max_length=9)]
"""Protobuf's JSON writes whole numbers as numbers or as texts."""


class Configuration(Body):
    """What every configuration may have; `rfq_disabled` has no meaning on one venue."""

    base_size: str | None = None
    quote_size: str | None = None
    reduce_only: bool = False
    rfq_disabled: bool = False

    def terms(self) -> Terms | Refusal:
        """Return what is asked for; `InvalidInput` names a field that is malformed."""
        raise NotImplementedError

    def size(self) -> Terms:
        """Return the size: in coins or contracts, or in money."""
        if self.base_size and self.quote_size:
            raise InvalidInput("base_size, quote_size: both given; allowed: one of them")
        if self.quote_size:
            return {
                "quote_size": parse_decimal("quote_size", self.quote_size),
                "reduce_only": self.reduce_only,
            }
        return {
            "size": parse_decimal("base_size", self.base_size or ""),
            "reduce_only": self.reduce_only,
        }


class _Market(Configuration):
    def terms(self) -> Terms | Refusal:
        return self.size() | {"time_in_force": TimeInForce.IOC}


class _MarketFok(Configuration):
    def terms(self) -> Terms | Refusal:
        return self.size() | {"time_in_force": TimeInForce.FOK}


class _Limit(Configuration, kw_only=True):
    limit_price: str
    post_only: bool = False

    def limit(self, time_in_force: TimeInForce) -> Terms:
        """Return the size with the limit it has."""
        terms = self.size()
        terms["limit_price"] = parse_decimal("limit_price", self.limit_price)
        terms["post_only"] = self.post_only
        terms["time_in_force"] = time_in_force
        return terms

    def terms(self) -> Terms | Refusal:
        return self.limit(TimeInForce.GTC)


class _LimitIoc(_Limit, kw_only=True):
    def terms(self) -> Terms | Refusal:
        if self.post_only:
            return Refusal(
                FailureReason.UNSUPPORTED_ORDER_CONFIGURATION, "post_only: not with sor_limit_ioc"
            )
        return self.limit(TimeInForce.IOC)


class _LimitFok(_Limit, kw_only=True):
    def terms(self) -> Terms | Refusal:
        if self.post_only:
            return Refusal(
                FailureReason.POST_ONLY_NOT_ALLOWED_WITH_FOK, "post_only: not with limit_limit_fok"
            )
        return self.limit(TimeInForce.FOK)


class _LimitGtd(_Limit, kw_only=True):
    end_time: str | None = None

    def terms(self) -> Terms | Refusal:
        return self.limit(TimeInForce.GTD) | _until(self.end_time)


class _StopLimit(_Limit, kw_only=True):
    stop_price: str
    stop_direction: Literal[
        "STOP_DIRECTION_STOP_UP", "STOP_DIRECTION_STOP_DOWN", "UNKNOWN_STOP_DIRECTION", ""
    ] = "UNKNOWN_STOP_DIRECTION"

    def stop(self, time_in_force: TimeInForce) -> Terms:
        """Return the limit with the price that triggers it."""
        known = self.stop_direction.startswith("STOP_")
        return self.limit(time_in_force) | {
            "stop_price": parse_decimal("stop_price", self.stop_price),
            "stop_direction": StopDirection(self.stop_direction) if known else None,
        }

    def terms(self) -> Terms | Refusal:
        return self.stop(TimeInForce.GTC)


class _StopLimitGtd(_StopLimit, kw_only=True):
    end_time: str | None = None

    def terms(self) -> Terms | Refusal:
        return self.stop(TimeInForce.GTD) | _until(self.end_time)


class TriggerBracket(_Limit, kw_only=True):
    """A bracket: a take-profit limit and the price that triggers its stop leg."""

    stop_trigger_price: str

    def bracket(self, time_in_force: TimeInForce) -> Terms:
        """Return both legs."""
        return self.limit(time_in_force) | {
            "stop_trigger_price": parse_decimal("stop_trigger_price", self.stop_trigger_price)
        }

    def terms(self) -> Terms | Refusal:
        """Return a bracket that works until it is cancelled."""
        return self.bracket(TimeInForce.GTC)


class _TriggerBracketGtd(TriggerBracket, kw_only=True):
    end_time: str | None = None

    def terms(self) -> Terms | Refusal:
        return self.bracket(TimeInForce.GTD) | _until(self.end_time)


class _Twap(_Limit, kw_only=True):
    start_time: str
    end_time: str | None = None
    number_buckets: Count
    bucket_size: str
    bucket_duration: str

    def terms(self) -> Terms | Refusal:
        count = _count("number_buckets", self.number_buckets)
        bucket = parse_decimal("bucket_size", self.bucket_size)
        duration = _DURATION.fullmatch(self.bucket_duration)
        if duration is None:
            raise InvalidInput(
                f"bucket_duration: {self.bucket_duration!r}; allowed: seconds such as '300s'"
            )
        size = (
            self.size()
            if self.base_size or self.quote_size
            else {"size": bucket * count, "reduce_only": self.reduce_only}
        )
        return (
            size
            | {
                "limit_price": parse_decimal("limit_price", self.limit_price),
                "time_in_force": TimeInForce.GTD,
                "twap": Twap(
                    parse_rfc3339("start_time", self.start_time),
                    count,
                    bucket,
                    int(duration[1]) * _NANOSECONDS,
                ),
            }
            | _until(self.end_time)
        )


class _Rung(Body):
    base_size: str | None = None
    quote_size: str | None = None
    limit_price: str | None = None
    post_only: bool = False
    rfq_disabled: bool = False


class _Scaled(Configuration, kw_only=True):
    num_orders: Count
    min_price: str
    max_price: str
    limit_price: str | None = None
    price_distribution: str | None = None
    size_distribution: str | None = None
    orders: list[_Rung] | None = None
    size_diff: str | None = None
    size_ratio: str | None = None

    def terms(self) -> Terms | Refusal:
        for name in ("orders", "size_diff", "size_ratio", "limit_price"):
            if getattr(self, name):
                return Refusal(
                    FailureReason.UNSUPPORTED_ORDER_CONFIGURATION,
                    f"{name}: not implemented; give num_orders, min_price, max_price and the"
                    " distributions",
                )
        return self.size() | {
            "time_in_force": TimeInForce.GTC,
            "limit_price": None,
            "scaled": Scaled(
                _count("num_orders", self.num_orders),
                parse_decimal("min_price", self.min_price),
                parse_decimal("max_price", self.max_price),
                _distribution("price_distribution", self.price_distribution),
                _distribution("size_distribution", self.size_distribution),
            ),
        }


CONFIGURATIONS: Final[Mapping[str, type[Configuration]]] = {
    "market_market_ioc": _Market,
    "market_market_fok": _MarketFok,
    "sor_limit_ioc": _LimitIoc,
    "limit_limit_gtc": _Limit,
    "limit_limit_gtd": _LimitGtd,
    "limit_limit_fok": _LimitFok,
    "stop_limit_stop_limit_gtc": _StopLimit,
    "stop_limit_stop_limit_gtd": _StopLimitGtd,
    "trigger_bracket_gtc": TriggerBracket,
    "trigger_bracket_gtd": _TriggerBracketGtd,
    "twap_limit_gtd": _Twap,
    "scaled_limit_gtc": _Scaled,
}
"""Every configuration by its name on the wire."""

_DISTRIBUTIONS: Final[Mapping[str, Distribution]] = {
    # Coinbase calls an even spread FLAT of prices and EVENLY_SPLIT of sizes, and grows prices
    # LINEAR_INCREASING but sizes INCREASING; either word is taken for either.
    "": Distribution.EVENLY_SPLIT,
    "UNKNOWN_DISTRIBUTION": Distribution.EVENLY_SPLIT,
    "FLAT": Distribution.EVENLY_SPLIT,
    "EVENLY_SPLIT": Distribution.EVENLY_SPLIT,
    "INCREASING": Distribution.LINEAR_INCREASING,
    "LINEAR_INCREASING": Distribution.LINEAR_INCREASING,
    "DECREASING": Distribution.LINEAR_DECREASING,
    "LINEAR_DECREASING": Distribution.LINEAR_DECREASING,
}


def parse_decimal(name: str, value: str) -> Decimal:
    """Return a plain non-negative decimal; `InvalidInput` for anything else."""
    if not _DECIMAL.fullmatch(value):
        raise InvalidInput(
            f"{name}: {value[:80]!r}; allowed: a plain decimal with at most 15 digits on either"
            " side"
        )
    return Decimal(value)


def _until(end_time: str | None) -> Terms:
    return {"end_time_ns": parse_rfc3339("end_time", end_time) if end_time else None}


def _count(name: str, value: int | str) -> int:
    if not _COUNT.fullmatch(str(value)):
        raise InvalidInput(f"{name}: {value!r}; allowed: a whole number of at most 6 digits")
    return int(value)


def _distribution(name: str, value: str | None) -> Distribution:
    found = _DISTRIBUTIONS.get(value or "")
    if found is None:
        raise InvalidInput(
            f"{name}: {value!r:.80}; allowed: {', '.join(filter(None, _DISTRIBUTIONS))}"
        )
    return found
