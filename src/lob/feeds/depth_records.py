"""Read the depth that a venue publishes itself: Databento's mbp-1 and mbp-10, DBN and CSV.

A record says the first levels of both sides as they stand when it is published, whichever of them
changed; a level that is not there has no price and no size. Records are looked at as arrays.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.feeds import dbn
from lob.feeds.databento import RecordFile, Schema
from lob.feeds.databento_csv import is_header, mbp_columns
from lob.feeds.databento_orders import TRADE
from lob.feeds.streams import open_stream
from lob.messages import Array
from lob.types import INT64_MAX, Instrument

SCHEMAS: Final = {
    levels: Schema(f"mbp-{levels}", dbn.mbp_dtype(levels), rtype, mbp_columns(levels))
    for levels, rtype in dbn.MBP_RTYPES.items()
}
"""What this module reads, by the number of levels."""

_BLOCK_ROWS: Final = 8_192
_HEAD_BYTES: Final = 65_536

Key = tuple[int, int, int]
"""Receive time, sequence, event time: what a depth record shares with its event."""

Levels = tuple[tuple[int, int, int], ...]


class DepthRecord(NamedTuple):
    """One record: best levels first as (price in ticks, lots, orders); `position` as in feeds.

    `is_last` says that the venue's event ends here; `moves` that it is no mere trade.
    """

    key: Key
    bids: Levels
    asks: Levels
    is_last: bool
    moves: bool
    position: int


class DepthBlock(NamedTuple):
    """Some records in order, in columns.

    `levels` is an int64 array by record, side (bids, then asks), level (best first) and price in
    ticks, lots, orders; zeros where there is no level. The others are of one element a record.
    """

    keys: list[Key]
    levels: NDArray[np.int64]
    is_last: list[bool]
    moves: list[bool]
    positions: NDArray[np.int64]


class DepthFile:
    """Read the depth records of one instrument of a mbp-1 or mbp-10 file, DBN or CSV.

    `levels` says how many a side. Choose among instruments as with `DatabentoFeed`.

    Raises:
        InvalidInput: no such file, or none of these schemas.
    """

    def __init__(
        self,
        path: str | Path,
        instrument: Instrument,
        *,
        symbol: str | None = None,
        instrument_id: int | None = None,
        publisher_id: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.levels = _levels_of(self.path)
        self.unusable: Counter[str] = Counter()
        units, lot = instrument.tick_size * dbn.PRICE_UNITS, instrument.lot_size
        if units != int(units) or lot != int(lot):
            raise InvalidInput(
                f"tick_size: {instrument.tick_size} and lot_size: {lot}; "
                "allowed: multiples of 0.000000001 and of 1"
            )
        self._units, self._lot = int(units), int(lot)
        self._choice: dict[str, Any] = {
            "symbol": symbol,
            "instrument_id": instrument_id,
            "publisher_id": publisher_id,
        }

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Say whether a file is one of these schemas."""
        try:
            _levels_of(path)
        except InvalidInput:
            return False
        return True

    def __iter__(self) -> Iterator[DepthRecord]:
        """Yield the records in order; `unusable` counts, by reason, those that are left out."""
        for block in self.blocks():
            pairs = zip(*(map(present, block.levels[:, side]) for side in (0, 1)), strict=True)
            rest = (block.is_last, block.moves, block.positions.tolist())
            for key, (bids, asks), *others in zip(block.keys, pairs, *rest, strict=True):
                yield DepthRecord(key, bids, asks, *others)

    def blocks(self) -> Iterator[DepthBlock]:
        """Yield the records, some thousands at a time; `unusable` counts as above.

        Raises:
            InvalidInput: what cannot be a record, or an instrument that is not there.
        """
        self.unusable.clear()
        with ExitStack() as stack:
            stream = stack.enter_context(open_stream(self.path))
            file = RecordFile(stream, SCHEMAS[self.levels], **self._choice)
            for rows, positions in file.read(_BLOCK_ROWS):
                yield self._block(rows, positions)
            self.unusable.update(file.others)

    def _block(self, rows: Array, positions: NDArray[np.int64]) -> DepthBlock:
        usable = np.ones(len(rows), bool)
        levels = np.zeros((len(rows), 2, self.levels, 3), np.int64)
        for side, name in enumerate(("bid", "ask")):
            price = rows["levels"][f"{name}_px"]
            size = rows["levels"][f"{name}_sz"].astype(np.int64)
            there = (price != dbn.UNDEF_PRICE) & (size != 0)
            ticks, off_tick = np.divmod(price, self._units)
            lots, off_lot = np.divmod(size, self._lot)
            for reason, wrong in (
                ("price not above 0", price <= 0),
                ("price off the tick", off_tick != 0),
                ("size off the lot", off_lot != 0),
            ):
                found = usable & (there & wrong).any(axis=1)
                if found.any():
                    self.unusable[reason] += int(found.sum())
                    usable &= ~found
            count = rows["levels"][f"{name}_ct"]
            for field, values in enumerate((ticks, lots, count)):
                np.copyto(levels[:, side, :, field], values, where=there)
            if (there[:, 1:] & ~there[:, :-1]).any():  # a level that is not there, before others
                order = np.argsort(~there, axis=1, kind="stable")
                levels[:, side] = np.take_along_axis(levels[:, side], order[:, :, None], axis=1)
        if not usable.all():
            rows, positions, levels = rows[usable], positions[usable], levels[usable]
        keys = zip(
            *(_int64(rows[name]) for name in ("ts_recv", "sequence", "ts_event")), strict=True
        )
        return DepthBlock(
            list(keys),
            levels,
            ((rows["flags"] & dbn.F_LAST) != 0).tolist(),
            (rows["action"] != TRADE).tolist(),
            positions,
        )


def present(levels: NDArray[np.int64]) -> Levels:
    """Return the levels of one side that are there."""
    return tuple((price, lots, count) for price, lots, count in levels.tolist() if price)


def _int64(values: NDArray[Any]) -> list[int]:
    wide = np.where(values > INT64_MAX, 0, values) if values.dtype == np.uint64 else values
    numbers: list[int] = wide.astype(np.int64).tolist()
    return numbers


def _levels_of(path: Path) -> int:
    """Return how many levels the records of a file have, by its metadata or header line."""
    with open_stream(path) as stream:
        begin = stream.peek(_HEAD_BYTES)
        if begin.startswith(dbn.MAGIC):
            schema = dbn.read_metadata(stream).schema
            found = [levels for levels, known in SCHEMAS.items() if known.name == schema]
        else:
            header = begin.partition(b"\n")[0]
            found = [n for n, known in SCHEMAS.items() if is_header(header, known.columns)]
            schema = "unknown"
    if not found:
        names = ", ".join(known.name for known in SCHEMAS.values())
        raise InvalidInput(f"{path}: schema {schema}; allowed: {names}")
    return max(found)
