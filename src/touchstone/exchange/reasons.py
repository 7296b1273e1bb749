"""Why things are refused and why they end, in Coinbase's words.

Refusals are values: a refused order leaves no trace, and its client_order_id may be used again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class FailureReason(StrEnum):
    """Why a new order was refused (`new_order_failure_reason`)."""

    UNKNOWN_FAILURE_REASON = "UNKNOWN_FAILURE_REASON"
    UNSUPPORTED_ORDER_CONFIGURATION = "UNSUPPORTED_ORDER_CONFIGURATION"
    INVALID_SIDE = "INVALID_SIDE"
    INVALID_PRODUCT_ID = "INVALID_PRODUCT_ID"
    INVALID_SIZE_PRECISION = "INVALID_SIZE_PRECISION"
    INVALID_PRICE_PRECISION = "INVALID_PRICE_PRECISION"
    INSUFFICIENT_FUND = "INSUFFICIENT_FUND"
    ORDER_ENTRY_DISABLED = "ORDER_ENTRY_DISABLED"
    INVALID_LIMIT_PRICE = "INVALID_LIMIT_PRICE"
    INVALID_LIMIT_PRICE_POST_ONLY = "INVALID_LIMIT_PRICE_POST_ONLY"
    INVALID_NO_LIQUIDITY = "INVALID_NO_LIQUIDITY"
    INVALID_REQUEST = "INVALID_REQUEST"
    COMMANDER_REJECTED_NEW_ORDER = "COMMANDER_REJECTED_NEW_ORDER"
    IN_LIQUIDATION = "IN_LIQUIDATION"
    INVALID_MARGIN_TYPE = "INVALID_MARGIN_TYPE"
    INVALID_LEVERAGE = "INVALID_LEVERAGE"
    UNTRADABLE_PRODUCT = "UNTRADABLE_PRODUCT"
    LIMIT_PRICE_TOO_FAR_FROM_MARKET = "LIMIT_PRICE_TOO_FAR_FROM_MARKET"
    OPEN_BRACKET_ORDERS = "OPEN_BRACKET_ORDERS"
    POST_ONLY_NOT_ALLOWED_WITH_FOK = "POST_ONLY_NOT_ALLOWED_WITH_FOK"
    GTD_ORDERS_MUST_HAVE_END_TIME = "GTD_ORDERS_MUST_HAVE_END_TIME"
    END_TIME_IS_IN_THE_PAST = "END_TIME_IS_IN_THE_PAST"
    REDUCE_ONLY_INCREASED_POSITION_SIZE = "REDUCE_ONLY_INCREASED_POSITION_SIZE"
    CANNOT_CLOSE_ZERO_POSITION = "CANNOT_CLOSE_ZERO_POSITION"
    BREACHED_RISK_LIMIT = "BREACHED_RISK_LIMIT"
    TRADING_DISABLED = "TRADING_DISABLED"
    PRODUCT_TRADING_HALTED = "PRODUCT_TRADING_HALTED"


class EditFailure(StrEnum):
    """Why an edit was refused (`edit_failure_reason`)."""

    UNKNOWN_EDIT_ORDER_FAILURE_REASON = "UNKNOWN_EDIT_ORDER_FAILURE_REASON"
    COMMANDER_REJECTED_EDIT_ORDER = "COMMANDER_REJECTED_EDIT_ORDER"
    CANNOT_EDIT_TO_BELOW_FILLED_SIZE = "CANNOT_EDIT_TO_BELOW_FILLED_SIZE"
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
    ONLY_LIMIT_ORDER_EDITS_SUPPORTED = "ONLY_LIMIT_ORDER_EDITS_SUPPORTED"
    INVALID_EDITED_SIZE = "INVALID_EDITED_SIZE"
    INVALID_EDITED_PRICE = "INVALID_EDITED_PRICE"
    EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST = "EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST"
    ONLY_OPEN_ORDERS_CAN_BE_EDITED = "ONLY_OPEN_ORDERS_CAN_BE_EDITED"
    SIZE_IN_QUOTE_EDITS_NOT_ALLOWED = "SIZE_IN_QUOTE_EDITS_NOT_ALLOWED"
    EXCEEDED_MAX_ALLOWED_EDIT_REQUEST_COUNT = "EXCEEDED_MAX_ALLOWED_EDIT_REQUEST_COUNT"


class CancelFailure(StrEnum):
    """What a cancel result says; Coinbase sends the UNKNOWN one on success, too."""

    UNKNOWN_CANCEL_FAILURE_REASON = "UNKNOWN_CANCEL_FAILURE_REASON"
    INVALID_CANCEL_REQUEST = "INVALID_CANCEL_REQUEST"
    UNKNOWN_CANCEL_ORDER = "UNKNOWN_CANCEL_ORDER"
    COMMANDER_REJECTED_CANCEL_ORDER = "COMMANDER_REJECTED_CANCEL_ORDER"
    DUPLICATE_CANCEL_REQUEST = "DUPLICATE_CANCEL_REQUEST"
    NOT_ALLOWED_TO_CANCEL = "NOT_ALLOWED_TO_CANCEL"
    ORDER_IS_FULLY_FILLED = "ORDER_IS_FULLY_FILLED"


class EndReason(StrEnum):
    """Why an order ended without being filled (`cancel_message`)."""

    USER_REQUESTED = "User requested cancel"
    IOC_REMAINDER = "Immediate or cancel: remainder not fillable"
    FOK_NOT_FILLABLE = "Fill or kill: not fillable in full"
    SELF_TRADE = "Self-trade prevented"
    REDUCE_ONLY = "Reduce only: would have opened a position"
    UNFUNDED = "Insufficient funds: the position that covered it was closed"
    EXPIRED = "The order's end time has come"
    NOTHING_TO_BRACKET = "The order it was attached to ended without a fill"
    PARENT_ENDED = "The order it belongs to has ended"
    CHILDREN_ENDED = "Orders that belong to it have ended"
    LIQUIDATION = "The position is being liquidated"
    REFUSED_BY_BOOK = "The book refused the order when it was to start working"


_UNKNOWN_PREVIEW: Final = "UNKNOWN_PREVIEW_FAILURE_REASON"
_PREVIEW_TWINS: Final[Mapping[FailureReason, str]] = {
    # Those that Coinbase's enum of previews has under another name, or has not.
    FailureReason.UNKNOWN_FAILURE_REASON: _UNKNOWN_PREVIEW,
    FailureReason.COMMANDER_REJECTED_NEW_ORDER: _UNKNOWN_PREVIEW,
    FailureReason.CANNOT_CLOSE_ZERO_POSITION: _UNKNOWN_PREVIEW,
    FailureReason.UNSUPPORTED_ORDER_CONFIGURATION: "PREVIEW_INVALID_ORDER_CONFIG",
    FailureReason.INVALID_REQUEST: "PREVIEW_INVALID_ORDER_CONFIG",
    FailureReason.ORDER_ENTRY_DISABLED: "PREVIEW_TRADING_DISABLED",
    FailureReason.OPEN_BRACKET_ORDERS: "PREVIEW_ORDER_SIZE_EXCEEDS_BRACKETED_POSITION",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Say why an order was turned down: the reason, one clear line, and Coinbase's preview twin."""

    reason: FailureReason
    message: str
    preview_reason: str = ""

    @property
    def preview(self) -> str:
        """Return the `preview_failure_reason`: the reason's twin there unless one is given."""
        return self.preview_reason or _PREVIEW_TWINS.get(self.reason, f"PREVIEW_{self.reason}")


class Refused(Exception):  # noqa: N818 - no error: a refusal on its way through the rules
    """Carry a refusal from the rule that was broken to the command, which returns it as a value.

    The rules stand several calls deep; it never leaves the package.
    """

    def __init__(self, reason: FailureReason, message: str, preview_reason: str = "") -> None:
        super().__init__(message)
        self.refusal = Refusal(reason, message, preview_reason)


@dataclass(frozen=True, slots=True)
class EditRefusal:
    """Say why an edit was turned down; `preview_reason` where the rules of new orders say so."""

    reason: EditFailure
    message: str
    preview_reason: str = ""
