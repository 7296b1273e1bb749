"""Open the decision log for as long as the router runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from prometheus_client import CollectorRegistry

from services.router.decision_log import DecisionLog, DecisionMetrics
from services.router.decision_segments import Segments
from services.router.settings import RouterSettings
from touchstone.kit.build import build_id

FOLDER = "decisions"


@contextlib.asynccontextmanager
async def open_decision_log(
    settings: RouterSettings, registry: CollectorRegistry
) -> AsyncIterator[DecisionLog]:
    """Yield the log below `<data_dir>/router/decisions`; what is queued is written at the end.

    Where the settings switch it off, what it is given goes nowhere.
    """
    metrics = DecisionMetrics(registry)
    segments = Segments(
        settings.data_dir / "router" / FOLDER,
        bytes_max=settings.decision_log_bytes_max,
        segment_bytes=settings.decision_log_segment_bytes,
        age_seconds_max=settings.decision_log_age_seconds_max,
        on_dropped=metrics.on_segment_dropped,
    )
    # Some hundred files are read for it, which is nothing for an event loop to wait for.
    build = await asyncio.to_thread(build_id)
    log = DecisionLog(
        segments,
        metrics,
        build,
        queue_size=settings.decision_log_queue_size,
        enabled=settings.decision_log_enabled,
    )
    log.start()
    try:
        yield log
    finally:
        await asyncio.to_thread(log.close)
