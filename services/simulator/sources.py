"""What drives a session's book: nothing, a file below the data folder, or a generator."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

from execution_providers.decimals import positive
from lob.errors import InvalidInput, NotFound
from lob.live_feed import FeedMarket
from lob.live_market import FLOWS, FlowMarket, LiveMarket, make_flow
from lob.types import Instrument
from services.simulator.book_messages import instrument_from_proto
from services.simulator.replays import ReplayAsked, file_below, open_below
from touchstone.kit.errors import field_of
from touchstone.v1 import book_pb2 as pb

USUAL_MID_TICKS: Final = 10_000
MAX_RATE: Final = 1e6
_USUAL_TICK: Final = Decimal("0.01")


def scale_from_proto(
    message: pb.OpenSessionRequest | pb.ReplayRequest,
) -> tuple[Decimal | None, Decimal | None]:
    """Return tick and lot size as the request says them; None where it does not."""
    tick = positive("tick_size", message.tick_size) if message.HasField("tick_size") else None
    lot = positive("lot_size", message.lot_size) if message.HasField("lot_size") else None
    return tick, lot


async def market_of(message: pb.OpenSessionRequest, folder: Path | None) -> LiveMarket | None:
    """Return who acts in the session that a request asks for; None where nobody does.

    Making one may take a while, and is done in a thread.

    Raises:
        Fault: a field that is not right, a file that is not there or not what it should be.
    """
    instrument = instrument_from_proto(message)
    kind = message.WhichOneof("source")
    if kind == "file":
        try:
            file = file_below(folder, message.file.path)
        except (InvalidInput, NotFound) as fault:
            raise type(fault)(f"file.{fault}") from None
        return await asyncio.to_thread(_of_file, file, message, instrument)
    if kind == "generator":
        asked = message.generator
        rate = asked.rate or 1.0
        if not 0 < rate <= MAX_RATE:
            raise InvalidInput(
                f"generator.rate: {asked.rate}; allowed: above 0, at most {MAX_RATE}"
            )
        name = asked.model or next(iter(FLOWS))
        mid_ticks = asked.mid_ticks or USUAL_MID_TICKS
        tick, lot = scale_from_proto(message)
        scaled = replace(instrument, tick_size=tick or _USUAL_TICK, lot_size=lot or Decimal(1))
        return await asyncio.to_thread(_of_generator, name, scaled, asked.seed, mid_ticks, rate)
    return None


def _of_file(file: Path, message: pb.OpenSessionRequest, wanted: Instrument) -> LiveMarket:
    source = message.file
    asked = ReplayAsked(source.path, source.format, source.symbol, *scale_from_proto(message))
    try:
        feed = open_below(file, asked)
    except InvalidInput as fault:
        if field_of(fault) in {"tick_size", "lot_size"}:
            raise
        raise InvalidInput(f"file.{fault}") from None
    own = feed.instrument
    feed.instrument = replace(
        own,
        symbol=wanted.symbol,
        asset_class=wanted.asset_class,
        allocation=wanted.allocation,
        minimum_allocation_lots=wanted.minimum_allocation_lots,
        day_close_ns=wanted.day_close_ns,
    )
    return FeedMarket(feed)


def _of_generator(
    name: str, instrument: Instrument, seed: int, mid_ticks: int, rate: float
) -> LiveMarket:
    try:
        return FlowMarket(name, make_flow(name, instrument, seed, mid_ticks), rate)
    except InvalidInput as fault:
        raise InvalidInput(f"generator.{fault}") from None
