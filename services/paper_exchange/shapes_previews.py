"""What an order or an edit would do, in Coinbase's shapes."""

from typing import Any

from services.paper_exchange.shapes_orders import edit_error_shape
from services.paper_exchange.wire import rounded_text, text
from touchstone.exchange import EditPreview, Preview, Refusal
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.money import ZERO


def refused_preview(refusal: Refusal) -> Preview:
    """Return the preview of an order that is refused before the venue looks at it."""
    return Preview(preview_id=derived_uuid("no-preview"), errors=(refusal,))


def preview_shape(preview: Preview) -> dict[str, Any]:
    """Return the answer to `POST /orders/preview`; what would refuse the order is in `errs`."""
    liquidation = preview.predicted_liquidation_price
    leverage = text(preview.leverage)
    return {
        "order_total": rounded_text(preview.order_total),
        "commission_total": rounded_text(preview.commission_total),
        "errs": [refusal.preview for refusal in preview.errors],
        "warning": list(preview.warnings),
        "quote_size": rounded_text(preview.quote_size),
        "base_size": text(preview.base_size),
        "best_bid": text(preview.best_bid),
        "best_ask": text(preview.best_ask),
        "is_max": preview.is_max,
        "order_margin_total": rounded_text(preview.order_margin_total),
        "leverage": leverage,
        "long_leverage": leverage,
        "short_leverage": leverage,
        "slippage": rounded_text(preview.slippage),
        "preview_id": preview.preview_id,
        "current_liquidation_buffer": rounded_text(preview.current_liquidation_buffer),
        "projected_liquidation_buffer": rounded_text(preview.projected_liquidation_buffer),
        "max_leverage": text(preview.max_leverage),
        "pnl_configuration": None,
        "est_average_filled_price": rounded_text(preview.average_price),
        "predicted_liquidation_price": rounded_text(ZERO if liquidation is None else liquidation),
    }


def edit_preview_shape(preview: EditPreview) -> dict[str, Any]:
    """Return the answer to `POST /orders/edit_preview`."""
    return {
        "errors": [edit_error_shape(refusal) for refusal in preview.errors],
        "slippage": rounded_text(preview.slippage),
        "order_total": rounded_text(preview.order_total),
        "commission_total": rounded_text(preview.commission_total),
        "quote_size": rounded_text(preview.quote_size),
        "base_size": text(preview.base_size),
        "best_bid": text(preview.best_bid),
        "best_ask": text(preview.best_ask),
        "average_filled_price": rounded_text(preview.average_price),
    }
