"""Read and write our Parquet files: one row a message, the instrument in the file's metadata.

Columns: `ts_event_ns, ts_recv_ns, action, side, price_ticks, quantity_lots, order_id, seq`, and
`display_lots, time_in_force, flags`, which may be missing. Actions and sides are words ("FEED_ADD",
"BUY"; null where an action has no side) or their numbers. The metadata key `touchstone.instrument`
holds the instrument as JSON. Needs pyarrow.
"""

import importlib
import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lob.errors import ConfigError, InvalidInput
from lob.feeds.arrays import count_messages, require_messages
from lob.feeds.base import Feed, FeedBlock
from lob.messages import MESSAGE_DTYPE, Action
from lob.types import Allocation, AssetClass, Instrument, Side

_MAGIC: Final = b"PAR1"
_INSTRUMENT_KEY: Final = b"touchstone.instrument"
_REQUIRED: Final = ("ts_event_ns", "action", "side", "price_ticks", "quantity_lots", "order_id")
_OPTIONAL: Final = ("ts_recv_ns", "seq", "display_lots", "time_in_force", "flags")
_ACTION_WORDS: Final = {action.name: action.value for action in Action}
_SIDE_WORDS: Final = {side.value: side.sign for side in Side}
_SIDES: Final = (None, Side.BUY.value, Side.SELL.value)
_INT8_MAX: Final = 127
_UINT8_MAX: Final = 255
_RANGES: Final = {
    "action": (0, _UINT8_MAX),
    "side": (-1, 1),
    "time_in_force": (0, _UINT8_MAX),
    "flags": (0, _UINT8_MAX),
}


class ParquetFeed(Feed):
    """Read a Parquet file of our columns.

    A missing column, one of another type, and a value that is null or out of range are
    `InvalidInput` with the file and, where there is one, the row (from 1).
    """

    format = "parquet"

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> bool:  # noqa: ARG003 - the content decides
        """Say whether the file begins as Parquet files do."""
        return head.startswith(_MAGIC)

    @classmethod
    def default_instrument(cls, path: Path) -> Instrument | None:
        """Return the instrument of the file's metadata, or None where it has none."""
        with _parquet_file(path) as file:
            text = (file.schema_arrow.metadata or {}).get(_INSTRUMENT_KEY)
        return None if text is None else instrument_from_json(path, text)

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the file's rows, a batch at a time."""
        self.restart()
        pa, _ = _pyarrow()
        with _parquet_file(self.path) as file:
            rows, names = file.metadata.num_rows, set(file.schema_arrow.names)
            missing = [name for name in _REQUIRED if name not in names]
            if missing:
                raise InvalidInput(
                    f"{self.path}: no column {missing[0]!r}; allowed: {', '.join(_REQUIRED)}"
                )
            columns = [name for name in _REQUIRED + _OPTIONAL if name in names]
            batches = file.iter_batches(self.block_rows, columns=columns)
            first = 1
            while True:
                try:
                    batch = next(batches, None)
                except (pa.ArrowException, OSError, ValueError) as error:
                    raise InvalidInput(f"{self.path}:{first}: {error}") from error
                if batch is None:
                    break
                if batch.num_rows:
                    yield self._block(batch, first)
                first += batch.num_rows
                self.bytes_done = self.bytes_total * (first - 1) // max(1, rows)

    def _block(self, batch: Any, first: int) -> FeedBlock:
        pa, _ = _pyarrow()
        count = batch.num_rows
        try:
            # Reading does not look at indices beyond their dictionary, and texts that are none.
            batch.validate(full=True)
        except pa.ArrowException as error:
            raise InvalidInput(f"{self.path}:{first}: {str(error)[:200]}") from error
        positions = np.arange(first, first + count, dtype=np.int64)
        messages = np.zeros(count, MESSAGE_DTYPE)
        others = {name: np.zeros(count, np.int64) for name in ("ts_recv_ns", "seq")}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            values = self._integers(name, column, first)
            low, high = _RANGES.get(name, (None, None))
            if low is not None and high is not None:
                wrong = (values < low) | (values > high)
                if wrong.any():
                    row = int(np.argmax(wrong))
                    raise self._bad(name, first + row, int(values[row]), f"{low}..{high}")
            if name in others:
                others[name] = values
            else:
                messages[name] = values
        require_messages(self.path, messages, positions)
        count_messages(self, messages)
        return FeedBlock(messages, positions, others["ts_recv_ns"], others["seq"])

    def _integers(self, name: str, column: Any, first: int) -> NDArray[np.int64]:
        """Return a column as int64; words become their numbers."""
        pa, _ = _pyarrow()
        words = {"action": _ACTION_WORDS, "side": _SIDE_WORDS}.get(name)
        kind = column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        try:
            if words is not None and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                return self._numbers_of_words(name, column, words, first)
            if name == "side" and pa.types.is_null(kind):
                return np.zeros(len(column), np.int64)
            if not pa.types.is_integer(kind):
                raise InvalidInput(f"{self.path}: {name}: column of {kind}; allowed: int64")
            if name == "side":
                column = column.fill_null(0)
            if column.null_count:
                row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
                raise self._bad(name, first + row, None, "a whole number")
            values: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
        except (pa.ArrowException, ValueError) as error:
            raise InvalidInput(f"{self.path}:{first}: {name}: {error}") from error
        return values

    def _numbers_of_words(
        self, name: str, column: Any, words: dict[str, int], first: int
    ) -> NDArray[np.int64]:
        coded = column if hasattr(column, "dictionary") else column.dictionary_encode()
        numbers = np.zeros(len(coded.dictionary) + 1, np.int64)
        unknown = np.zeros(len(coded.dictionary) + 1, bool)
        for index, word in enumerate(coded.dictionary.to_pylist()):
            numbers[index] = words.get(word, 0)
            unknown[index] = word not in words
        # A null comes last: no side, and no action either.
        unknown[-1] = name == "action"
        indices = coded.indices.fill_null(len(coded.dictionary)).to_numpy(zero_copy_only=False)
        wrong = unknown[indices]
        if wrong.any():
            row = int(np.argmax(wrong))
            raise self._bad(name, first + row, column[row].as_py(), ", ".join(words))
        found: NDArray[np.int64] = numbers[indices]
        return found

    def _bad(self, name: str, row: int, value: object, allowed: str) -> InvalidInput:
        return InvalidInput(f"{self.path}:{row}: {name}: {value!r}; allowed: {allowed}")


def write(path: Path, feed: Feed) -> Counter[str]:
    """Write every message of a feed, with times of receipt and sequences; nothing is left out."""
    pa, pq = _pyarrow()
    schema = pa.schema(
        [
            ("ts_event_ns", pa.int64()),
            ("ts_recv_ns", pa.int64()),
            ("action", pa.dictionary(pa.int8(), pa.string())),
            ("side", pa.dictionary(pa.int8(), pa.string())),
            ("price_ticks", pa.int64()),
            ("quantity_lots", pa.int64()),
            ("order_id", pa.int64()),
            ("seq", pa.int64()),
            ("display_lots", pa.int64()),
            ("time_in_force", pa.uint8()),
            ("flags", pa.uint8()),
        ],
        metadata={_INSTRUMENT_KEY: instrument_to_json(feed.instrument)},
    )
    actions = pa.array([action.name for action in Action])
    sides = pa.array([side.value for side in Side])
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for block in feed.blocks():
            messages = block.messages
            sign = messages["side"]
            code = (sign < 0).astype(np.int8)
            columns = [
                messages["ts_event_ns"],
                block.ts_recv_ns,
                pa.DictionaryArray.from_arrays(messages["action"].astype(np.int8), actions),
                pa.DictionaryArray.from_arrays(pa.array(code, mask=sign == 0), sides),
                messages["price_ticks"],
                messages["quantity_lots"],
                messages["order_id"],
                block.sequences,
                messages["display_lots"],
                messages["time_in_force"],
                messages["flags"],
            ]
            arrays = [
                pa.array(np.ascontiguousarray(column)) if isinstance(column, np.ndarray) else column
                for column in columns
            ]
            file.write_batch(pa.record_batch(arrays, schema=schema))
    return Counter()


def instrument_to_json(instrument: Instrument) -> str:
    """Return an instrument as JSON, its decimals as text."""
    return json.dumps(
        {
            "symbol": instrument.symbol,
            "asset_class": instrument.asset_class.value,
            "tick_size": str(instrument.tick_size),
            "lot_size": str(instrument.lot_size),
            "contract_size": str(instrument.contract_size),
            "allocation": instrument.allocation.value,
            "minimum_allocation_lots": instrument.minimum_allocation_lots,
            "day_close_ns": instrument.day_close_ns,
        }
    )


def instrument_from_json(path: Path, text: bytes) -> Instrument:
    """Return the instrument of a file's metadata; `InvalidInput` names the file."""
    try:
        told = json.loads(text)
        return Instrument(
            symbol=str(told["symbol"]),
            asset_class=AssetClass(told["asset_class"]),
            tick_size=Decimal(told["tick_size"]),
            lot_size=Decimal(told["lot_size"]),
            contract_size=Decimal(told.get("contract_size", "1")),
            allocation=Allocation(told.get("allocation", Allocation.PRICE_TIME)),
            minimum_allocation_lots=told.get("minimum_allocation_lots", 1),
            day_close_ns=told.get("day_close_ns", 0),
        )
    except (
        InvalidInput,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        InvalidOperation,
    ) as error:
        raise InvalidInput(
            f"{path}: {_INSTRUMENT_KEY.decode()}: {error!s} in {text[:200]!r}"
        ) from error


def _parquet_file(path: Path) -> Any:
    pa, pq = _pyarrow()
    try:
        return pq.ParquetFile(path, memory_map=True)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error
    except (pa.ArrowException, ValueError) as error:
        raise InvalidInput(f"{path}: {error}") from error


def _pyarrow() -> tuple[Any, Any]:
    try:
        # Imported only where a Parquet file is.
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError("pyarrow: not installed; Parquet files need it") from error
