"""A venue's whole state: one hash of it, and a form in which it can be kept and restored.

Nothing is listed here by hand: whatever an object of the venue holds is state, unless its class
names it in `TRANSIENT` (what only waits to be drained, what is remembered only to be quick). State
that a new rule brings is hashed and kept without being thought of.
"""

import copyreg
import io
import pickle
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache, cached_property, partial
from hashlib import blake2b
from importlib import import_module
from itertools import chain
from pathlib import PurePath
from re import Pattern
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from lob.books import available_books
from lob.errors import Conflict, InvariantViolation

if TYPE_CHECKING:
    from touchstone.exchange.engine import Exchange

STATE_VERSION: Final = 1
"""To be raised where the same attributes come to mean something else."""

Layout = dict[str, list[str]]
"""The attributes of a state's objects by class, `module:name`."""

_PLAIN: Final = frozenset({int, float, str, bytes, bool, type(None), Decimal})
_UNSET: Final = object()
_NAMED: Final = (type, FunctionType, BuiltinFunctionType)
_BOOKS: Final[tuple[type, ...]] = available_books()
_UNREADABLE: Final = (
    *(AttributeError, ImportError, TypeError, ValueError, LookupError, EOFError),
    pickle.UnpicklingError,
)


def state_hash(exchange: "Exchange") -> str:
    """Return 32 hex digits that two venues share exactly when they will go on alike. O(state).

    Accounts, positions, orders, fills, fees, funding, books, the flow's random numbers: all.
    """
    return _Walk().digest(exchange).hex()


def survey(exchange: "Exchange") -> tuple[str, Layout]:
    """Return the state's hash and which attributes its objects have. O(state)."""
    walk = _Walk()
    digest = walk.digest(exchange).hex()
    return digest, {name: sorted(found) for name, found in sorted(walk.layout.items())}


def outcome(exchange: "Exchange") -> int:
    """Return 32 bits that tell after each command whether a replay still goes the same way.

    It is made of a few counters, so that it can be had with every command. O(accounts + products).
    """
    seen = [
        exchange.now_ns,
        exchange.fees_collected,
        *(account.balance for account in exchange.accounts.values()),
        *(market.book.trade_count for market in exchange.markets.values()),
        *(len(market.book) for market in exchange.markets.values()),
    ]
    return zlib.crc32(repr(seen).encode())


def dump(exchange: "Exchange") -> bytes:
    """Return the whole state as bytes for `load`. O(state)."""
    kept = io.BytesIO()
    pickler = pickle.Pickler(kept, protocol=pickle.HIGHEST_PROTOCOL)
    reductions: dict[type, Callable[[Any], Any]] = dict(copyreg.dispatch_table)
    pickler.dispatch_table = reductions | dict.fromkeys(_BOOKS, _reduce_book)
    pickler.dump(exchange)
    return kept.getvalue()


def load(kept: bytes) -> "Exchange":
    """Return the venue that `dump` was given. The bytes are trusted: to `pickle` they are code.

    Raises:
        Conflict: they were written by code whose classes are not those of today.
    """
    try:
        exchange = pickle.loads(kept)  # noqa: S301 - a file of our own, whose checksum was right
    except _UNREADABLE as error:
        raise Conflict(f"state: {type(error).__name__}: {error}") from None
    return cast("Exchange", exchange)


def layout_difference(kept: Layout, present: Layout) -> str:
    """Return how the first class differs whose attributes are not those of today; "" for none.

    `present` is the layout of a venue made anew: it says what classes have that do not declare it.
    """
    for name, attributes in kept.items():
        cls = _found(name)
        if cls is None:
            return f"{name}: is no more"
        today = _declared(cls) or present.get(name, attributes)
        changed = set(today) ^ set(attributes)
        if changed:
            return f"{name}: {', '.join(sorted(changed))}"
    return ""


def _reduce_book(book: Any) -> tuple[Callable[..., Any], tuple[object]]:
    return type(book).restore, (book.snapshot(),)


def _found(name: str) -> type | None:
    module, _, qualified = name.partition(":")
    try:
        found: Any = import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return cast("type", found)


def _declared(cls: type) -> list[str] | None:
    """Return the attributes that a class says its objects have; None where it does not say."""
    if is_dataclass(cls):
        declared = [field.name for field in fields(cls)]
    elif "__slots__" in vars(cls):
        declared = [str(name) for name in _slots(cls)]
    else:
        return None
    return [name for name in declared if name not in _transient(cls)]


def _slots(cls: type) -> Iterable[str]:
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def _transient(cls: type) -> frozenset[str]:
    names: frozenset[str] = getattr(cls, "TRANSIENT", frozenset())
    return names


def _class_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _hashed(text: str | bytes) -> bytes:
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return blake2b(content, digest_size=16).digest()


@cache
def _kept_slots(cls: type) -> tuple[str, ...]:
    return tuple(sorted({*_slots(cls)} - _left_out(cls)))


@cache
def _left_out(cls: type) -> frozenset[str]:
    """Return the names that are no state: transient ones, and values that properties remember."""
    remembered = (
        name
        for base in cls.__mro__
        for name, attribute in vars(base).items()
        if isinstance(attribute, cached_property)
    )
    return _transient(cls) | {"__dict__", "__weakref__", *remembered}


class _Walk:
    """Digest a graph of objects, each of them once."""

    def __init__(self) -> None:
        self.layout: dict[str, set[str]] = {}
        self._seen: dict[int, bytes] = {}
        self._path: dict[int, int] = {}

    def digest(self, value: Any) -> bytes:
        """Return 16 bytes that stand for a value and all that it holds."""
        if type(value) in _PLAIN or isinstance(value, Enum):
            return _hashed(repr(value))
        key = id(value)
        known = self._seen.get(key)
        if known is not None:
            return known
        if key in self._path:
            # An object that is being digested: its distance from the root stands for it.
            return _hashed(f"above: {self._path[key]}")
        self._path[key] = len(self._path)
        found = _hashed(b"".join((_class_name(type(value)).encode(), *self._parts(value))))
        del self._path[key]
        self._seen[key] = found
        return found

    def _parts(self, value: Any) -> Iterable[bytes]:
        parts: Iterable[bytes]
        if isinstance(value, range | Pattern | PurePath):
            parts = (repr(value).encode(),)
        elif isinstance(value, Sequence):
            parts = self._sequence(value)
        elif isinstance(value, Mapping):
            parts = (*self._sequence(list(value)), b":", *self._sequence(list(value.values())))
        elif isinstance(value, set | frozenset):
            parts = sorted(map(self.digest, value))
        elif isinstance(value, _BOOKS):
            parts = (value.state_hash().encode(),)  # type: ignore[attr-defined]
        else:
            parts = self._callable(value) or self._from_numpy(value) or self._attributes(value)
        return parts

    def _callable(self, value: Any) -> tuple[bytes, ...]:
        if isinstance(value, _NAMED):
            return (f"{value.__module__}:{value.__qualname__}".encode(),)
        if isinstance(value, MethodType):
            return (value.__func__.__qualname__.encode(), self.digest(value.__self__))
        if isinstance(value, partial):
            return tuple(map(self.digest, (value.func, value.args, value.keywords)))
        return ()

    def _sequence(self, values: Any) -> Iterable[bytes]:
        """Return what stands for the values in their order; plain ones are taken all at once."""
        kinds = set(map(type, values))
        if kinds <= _PLAIN:
            return (repr(list(values)).encode("utf-8", "surrogatepass"),)
        if len(kinds) == 1 and issubclass(next(iter(kinds)), tuple):
            rows = list(map(tuple, values))
            if set(map(type, chain.from_iterable(rows))) <= _PLAIN:
                return (_class_name(kinds.pop()).encode(), repr(rows).encode())
        return map(self.digest, values)

    def _from_numpy(self, value: Any) -> tuple[bytes, ...]:
        if isinstance(value, np.random.Generator):
            return (repr(value.bit_generator.state).encode(),)
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                return (repr(value.shape).encode(), *map(self.digest, value.flat))
            return (f"{value.dtype.str} {value.shape}".encode(), value.tobytes())
        return (repr(value.item()).encode(),) if isinstance(value, np.generic) else ()

    def _attributes(self, value: Any) -> tuple[bytes, ...]:
        """Return what stands for an object's attributes, of which the plain ones are most."""
        cls: type = type(value)
        held = getattr(value, "__dict__", None)
        declared = _kept_slots(cls)
        if held is None:
            if not any("__slots__" in vars(base) for base in cls.__mro__):
                raise InvariantViolation(f"state: a {cls.__name__} cannot be kept")
            names: Iterable[str] = declared
        else:
            left_out = _left_out(cls)
            names = sorted(name for name in {*declared, *held} if name not in left_out)
        known = self.layout.setdefault(_class_name(cls), set())
        parts: list[object] = []
        for name in names:
            attribute = getattr(value, name, _UNSET)
            if attribute is not _UNSET:
                known.add(name)
                plain = type(attribute) in _PLAIN
                parts += (name, attribute if plain else self.digest(attribute))
        return (repr(parts).encode("utf-8", "surrogatepass"),)
