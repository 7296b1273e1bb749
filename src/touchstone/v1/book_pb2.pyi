from touchstone.v1 import execution_pb2 as _execution_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BookOrderType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BOOK_ORDER_TYPE_UNSPECIFIED: _ClassVar[BookOrderType]
    BOOK_ORDER_TYPE_LIMIT: _ClassVar[BookOrderType]
    BOOK_ORDER_TYPE_MARKET: _ClassVar[BookOrderType]
    BOOK_ORDER_TYPE_STOP: _ClassVar[BookOrderType]
    BOOK_ORDER_TYPE_STOP_LIMIT: _ClassVar[BookOrderType]

class Allocation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALLOCATION_UNSPECIFIED: _ClassVar[Allocation]
    ALLOCATION_PRICE_TIME: _ClassVar[Allocation]
    ALLOCATION_PRO_RATA: _ClassVar[Allocation]

class SelfTradePrevention(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SELF_TRADE_PREVENTION_UNSPECIFIED: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_NONE: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_CANCEL_NEWEST: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_CANCEL_OLDEST: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_CANCEL_BOTH: _ClassVar[SelfTradePrevention]
    SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL: _ClassVar[SelfTradePrevention]
BOOK_ORDER_TYPE_UNSPECIFIED: BookOrderType
BOOK_ORDER_TYPE_LIMIT: BookOrderType
BOOK_ORDER_TYPE_MARKET: BookOrderType
BOOK_ORDER_TYPE_STOP: BookOrderType
BOOK_ORDER_TYPE_STOP_LIMIT: BookOrderType
ALLOCATION_UNSPECIFIED: Allocation
ALLOCATION_PRICE_TIME: Allocation
ALLOCATION_PRO_RATA: Allocation
SELF_TRADE_PREVENTION_UNSPECIFIED: SelfTradePrevention
SELF_TRADE_PREVENTION_NONE: SelfTradePrevention
SELF_TRADE_PREVENTION_CANCEL_NEWEST: SelfTradePrevention
SELF_TRADE_PREVENTION_CANCEL_OLDEST: SelfTradePrevention
SELF_TRADE_PREVENTION_CANCEL_BOTH: SelfTradePrevention
SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL: SelfTradePrevention

class OpenSessionRequest(_message.Message):
    __slots__ = ("symbol", "allocation", "minimum_allocation_lots", "day_close_ns", "file", "generator", "tick_size", "lot_size", "asset_class", "live")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_ALLOCATION_LOTS_FIELD_NUMBER: _ClassVar[int]
    DAY_CLOSE_NS_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    TICK_SIZE_FIELD_NUMBER: _ClassVar[int]
    LOT_SIZE_FIELD_NUMBER: _ClassVar[int]
    ASSET_CLASS_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    allocation: Allocation
    minimum_allocation_lots: int
    day_close_ns: int
    file: FileSource
    generator: GeneratorSource
    tick_size: str
    lot_size: str
    asset_class: _execution_pb2.AssetClass
    live: bool
    def __init__(self, symbol: _Optional[str] = ..., allocation: _Optional[_Union[Allocation, str]] = ..., minimum_allocation_lots: _Optional[int] = ..., day_close_ns: _Optional[int] = ..., file: _Optional[_Union[FileSource, _Mapping]] = ..., generator: _Optional[_Union[GeneratorSource, _Mapping]] = ..., tick_size: _Optional[str] = ..., lot_size: _Optional[str] = ..., asset_class: _Optional[_Union[_execution_pb2.AssetClass, str]] = ..., live: _Optional[bool] = ...) -> None: ...

class FileSource(_message.Message):
    __slots__ = ("path", "format", "symbol")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    path: str
    format: str
    symbol: str
    def __init__(self, path: _Optional[str] = ..., format: _Optional[str] = ..., symbol: _Optional[str] = ...) -> None: ...

class GeneratorSource(_message.Message):
    __slots__ = ("seed", "model", "rate", "mid_ticks")
    SEED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    MID_TICKS_FIELD_NUMBER: _ClassVar[int]
    seed: int
    model: str
    rate: float
    mid_ticks: int
    def __init__(self, seed: _Optional[int] = ..., model: _Optional[str] = ..., rate: _Optional[float] = ..., mid_ticks: _Optional[int] = ...) -> None: ...

class OpenSessionResponse(_message.Message):
    __slots__ = ("session_id", "idle_timeout_seconds", "first_own_order_id", "now_ns", "tick_size", "lot_size", "source")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FIRST_OWN_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    NOW_NS_FIELD_NUMBER: _ClassVar[int]
    TICK_SIZE_FIELD_NUMBER: _ClassVar[int]
    LOT_SIZE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    idle_timeout_seconds: float
    first_own_order_id: int
    now_ns: int
    tick_size: str
    lot_size: str
    source: str
    def __init__(self, session_id: _Optional[str] = ..., idle_timeout_seconds: _Optional[float] = ..., first_own_order_id: _Optional[int] = ..., now_ns: _Optional[int] = ..., tick_size: _Optional[str] = ..., lot_size: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class CloseSessionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("session_id", "order_id", "side", "quantity_lots", "price_ticks", "order_type", "time_in_force", "post_only", "participant_id", "self_trade_prevention", "stop_ticks", "display_lots", "hidden", "expire_ns")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    ORDER_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_ID_FIELD_NUMBER: _ClassVar[int]
    SELF_TRADE_PREVENTION_FIELD_NUMBER: _ClassVar[int]
    STOP_TICKS_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_LOTS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_NS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    order_id: int
    side: _execution_pb2.Side
    quantity_lots: int
    price_ticks: int
    order_type: BookOrderType
    time_in_force: _execution_pb2.TimeInForce
    post_only: bool
    participant_id: int
    self_trade_prevention: SelfTradePrevention
    stop_ticks: int
    display_lots: int
    hidden: bool
    expire_ns: int
    def __init__(self, session_id: _Optional[str] = ..., order_id: _Optional[int] = ..., side: _Optional[_Union[_execution_pb2.Side, str]] = ..., quantity_lots: _Optional[int] = ..., price_ticks: _Optional[int] = ..., order_type: _Optional[_Union[BookOrderType, str]] = ..., time_in_force: _Optional[_Union[_execution_pb2.TimeInForce, str]] = ..., post_only: _Optional[bool] = ..., participant_id: _Optional[int] = ..., self_trade_prevention: _Optional[_Union[SelfTradePrevention, str]] = ..., stop_ticks: _Optional[int] = ..., display_lots: _Optional[int] = ..., hidden: _Optional[bool] = ..., expire_ns: _Optional[int] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("session_id", "order_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    order_id: int
    def __init__(self, session_id: _Optional[str] = ..., order_id: _Optional[int] = ...) -> None: ...

class ReduceRequest(_message.Message):
    __slots__ = ("session_id", "order_id", "quantity_lots")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    order_id: int
    quantity_lots: int
    def __init__(self, session_id: _Optional[str] = ..., order_id: _Optional[int] = ..., quantity_lots: _Optional[int] = ...) -> None: ...

class AdvanceRequest(_message.Message):
    __slots__ = ("session_id", "now_ns")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    NOW_NS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    now_ns: int
    def __init__(self, session_id: _Optional[str] = ..., now_ns: _Optional[int] = ...) -> None: ...

class ReplaceRequest(_message.Message):
    __slots__ = ("session_id", "order_id", "price_ticks", "quantity_lots")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    order_id: int
    price_ticks: int
    quantity_lots: int
    def __init__(self, session_id: _Optional[str] = ..., order_id: _Optional[int] = ..., price_ticks: _Optional[int] = ..., quantity_lots: _Optional[int] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("order_id", "side", "price_ticks", "quantity_lots")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    side: _execution_pb2.Side
    price_ticks: int
    quantity_lots: int
    def __init__(self, order_id: _Optional[int] = ..., side: _Optional[_Union[_execution_pb2.Side, str]] = ..., price_ticks: _Optional[int] = ..., quantity_lots: _Optional[int] = ...) -> None: ...

class Rejected(_message.Message):
    __slots__ = ("order_id", "reason")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    reason: str
    def __init__(self, order_id: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Traded(_message.Message):
    __slots__ = ("sequence", "maker_order_id", "taker_order_id", "price_ticks", "quantity_lots", "aggressor_side", "maker_leaves", "taker_leaves")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MAKER_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    TAKER_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    AGGRESSOR_SIDE_FIELD_NUMBER: _ClassVar[int]
    MAKER_LEAVES_FIELD_NUMBER: _ClassVar[int]
    TAKER_LEAVES_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    maker_order_id: int
    taker_order_id: int
    price_ticks: int
    quantity_lots: int
    aggressor_side: _execution_pb2.Side
    maker_leaves: int
    taker_leaves: int
    def __init__(self, sequence: _Optional[int] = ..., maker_order_id: _Optional[int] = ..., taker_order_id: _Optional[int] = ..., price_ticks: _Optional[int] = ..., quantity_lots: _Optional[int] = ..., aggressor_side: _Optional[_Union[_execution_pb2.Side, str]] = ..., maker_leaves: _Optional[int] = ..., taker_leaves: _Optional[int] = ...) -> None: ...

class Reduced(_message.Message):
    __slots__ = ("order_id", "quantity_lots", "leaves")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    quantity_lots: int
    leaves: int
    def __init__(self, order_id: _Optional[int] = ..., quantity_lots: _Optional[int] = ..., leaves: _Optional[int] = ...) -> None: ...

class Replaced(_message.Message):
    __slots__ = ("order_id", "price_ticks", "leaves", "kept_priority")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    KEPT_PRIORITY_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    price_ticks: int
    leaves: int
    kept_priority: bool
    def __init__(self, order_id: _Optional[int] = ..., price_ticks: _Optional[int] = ..., leaves: _Optional[int] = ..., kept_priority: _Optional[bool] = ...) -> None: ...

class Cancelled(_message.Message):
    __slots__ = ("order_id", "quantity_lots", "reason")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    quantity_lots: int
    reason: str
    def __init__(self, order_id: _Optional[int] = ..., quantity_lots: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Refilled(_message.Message):
    __slots__ = ("order_id", "displayed_lots", "leaves")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAYED_LOTS_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    displayed_lots: int
    leaves: int
    def __init__(self, order_id: _Optional[int] = ..., displayed_lots: _Optional[int] = ..., leaves: _Optional[int] = ...) -> None: ...

class Expired(_message.Message):
    __slots__ = ("order_id", "quantity_lots")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    quantity_lots: int
    def __init__(self, order_id: _Optional[int] = ..., quantity_lots: _Optional[int] = ...) -> None: ...

class Triggered(_message.Message):
    __slots__ = ("order_id", "stop_ticks")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STOP_TICKS_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    stop_ticks: int
    def __init__(self, order_id: _Optional[int] = ..., stop_ticks: _Optional[int] = ...) -> None: ...

class BookEvent(_message.Message):
    __slots__ = ("sequence", "accepted", "rejected", "traded", "reduced", "replaced", "cancelled", "refilled", "expired", "triggered", "source_ended", "now_ns")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    TRADED_FIELD_NUMBER: _ClassVar[int]
    REDUCED_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    REFILLED_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    TRIGGERED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ENDED_FIELD_NUMBER: _ClassVar[int]
    NOW_NS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    accepted: Accepted
    rejected: Rejected
    traded: Traded
    reduced: Reduced
    replaced: Replaced
    cancelled: Cancelled
    refilled: Refilled
    expired: Expired
    triggered: Triggered
    source_ended: SourceEnded
    now_ns: int
    def __init__(self, sequence: _Optional[int] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., rejected: _Optional[_Union[Rejected, _Mapping]] = ..., traded: _Optional[_Union[Traded, _Mapping]] = ..., reduced: _Optional[_Union[Reduced, _Mapping]] = ..., replaced: _Optional[_Union[Replaced, _Mapping]] = ..., cancelled: _Optional[_Union[Cancelled, _Mapping]] = ..., refilled: _Optional[_Union[Refilled, _Mapping]] = ..., expired: _Optional[_Union[Expired, _Mapping]] = ..., triggered: _Optional[_Union[Triggered, _Mapping]] = ..., source_ended: _Optional[_Union[SourceEnded, _Mapping]] = ..., now_ns: _Optional[int] = ...) -> None: ...

class SourceEnded(_message.Message):
    __slots__ = ("unfitting",)
    UNFITTING_FIELD_NUMBER: _ClassVar[int]
    unfitting: int
    def __init__(self, unfitting: _Optional[int] = ...) -> None: ...

class CommandResponse(_message.Message):
    __slots__ = ("events", "now_ns", "source_events", "source_ended")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NOW_NS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_EVENTS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ENDED_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[BookEvent]
    now_ns: int
    source_events: int
    source_ended: bool
    def __init__(self, events: _Optional[_Iterable[_Union[BookEvent, _Mapping]]] = ..., now_ns: _Optional[int] = ..., source_events: _Optional[int] = ..., source_ended: _Optional[bool] = ...) -> None: ...

class GetBookRequest(_message.Message):
    __slots__ = ("session_id", "levels", "orders", "state_hash")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    levels: int
    orders: bool
    state_hash: bool
    def __init__(self, session_id: _Optional[str] = ..., levels: _Optional[int] = ..., orders: _Optional[bool] = ..., state_hash: _Optional[bool] = ...) -> None: ...

class BookOrder(_message.Message):
    __slots__ = ("order_id", "leaves", "participant_id", "displayed_lots", "hidden", "expire_ns")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAYED_LOTS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_NS_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    leaves: int
    participant_id: int
    displayed_lots: int
    hidden: bool
    expire_ns: int
    def __init__(self, order_id: _Optional[int] = ..., leaves: _Optional[int] = ..., participant_id: _Optional[int] = ..., displayed_lots: _Optional[int] = ..., hidden: _Optional[bool] = ..., expire_ns: _Optional[int] = ...) -> None: ...

class WaitingStop(_message.Message):
    __slots__ = ("order_id", "side", "stop_ticks", "price_ticks", "quantity_lots", "participant_id")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    STOP_TICKS_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    side: _execution_pb2.Side
    stop_ticks: int
    price_ticks: int
    quantity_lots: int
    participant_id: int
    def __init__(self, order_id: _Optional[int] = ..., side: _Optional[_Union[_execution_pb2.Side, str]] = ..., stop_ticks: _Optional[int] = ..., price_ticks: _Optional[int] = ..., quantity_lots: _Optional[int] = ..., participant_id: _Optional[int] = ...) -> None: ...

class BookLevel(_message.Message):
    __slots__ = ("price_ticks", "quantity_lots", "order_count", "orders")
    PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    ORDER_COUNT_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    price_ticks: int
    quantity_lots: int
    order_count: int
    orders: _containers.RepeatedCompositeFieldContainer[BookOrder]
    def __init__(self, price_ticks: _Optional[int] = ..., quantity_lots: _Optional[int] = ..., order_count: _Optional[int] = ..., orders: _Optional[_Iterable[_Union[BookOrder, _Mapping]]] = ...) -> None: ...

class GetBookResponse(_message.Message):
    __slots__ = ("bids", "asks", "sequence", "state_hash", "stops", "now_ns", "source_ended")
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    STOPS_FIELD_NUMBER: _ClassVar[int]
    NOW_NS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ENDED_FIELD_NUMBER: _ClassVar[int]
    bids: _containers.RepeatedCompositeFieldContainer[BookLevel]
    asks: _containers.RepeatedCompositeFieldContainer[BookLevel]
    sequence: int
    state_hash: str
    stops: _containers.RepeatedCompositeFieldContainer[WaitingStop]
    now_ns: int
    source_ended: bool
    def __init__(self, bids: _Optional[_Iterable[_Union[BookLevel, _Mapping]]] = ..., asks: _Optional[_Iterable[_Union[BookLevel, _Mapping]]] = ..., sequence: _Optional[int] = ..., state_hash: _Optional[str] = ..., stops: _Optional[_Iterable[_Union[WaitingStop, _Mapping]]] = ..., now_ns: _Optional[int] = ..., source_ended: _Optional[bool] = ...) -> None: ...

class StreamEventsRequest(_message.Message):
    __slots__ = ("session_id", "own_only")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    OWN_ONLY_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    own_only: bool
    def __init__(self, session_id: _Optional[str] = ..., own_only: _Optional[bool] = ...) -> None: ...

class ReplayRequest(_message.Message):
    __slots__ = ("path", "format", "symbol", "tick_size", "lot_size")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TICK_SIZE_FIELD_NUMBER: _ClassVar[int]
    LOT_SIZE_FIELD_NUMBER: _ClassVar[int]
    path: str
    format: str
    symbol: str
    tick_size: str
    lot_size: str
    def __init__(self, path: _Optional[str] = ..., format: _Optional[str] = ..., symbol: _Optional[str] = ..., tick_size: _Optional[str] = ..., lot_size: _Optional[str] = ...) -> None: ...

class ReplayProgress(_message.Message):
    __slots__ = ("messages", "messages_total", "done", "summary", "state_hash")
    class SummaryEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    messages: int
    messages_total: int
    done: bool
    summary: _containers.ScalarMap[str, int]
    state_hash: str
    def __init__(self, messages: _Optional[int] = ..., messages_total: _Optional[int] = ..., done: _Optional[bool] = ..., summary: _Optional[_Mapping[str, int]] = ..., state_hash: _Optional[str] = ...) -> None: ...
