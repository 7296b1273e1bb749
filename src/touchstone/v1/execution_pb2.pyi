from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Side(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIDE_UNSPECIFIED: _ClassVar[Side]
    SIDE_BUY: _ClassVar[Side]
    SIDE_SELL: _ClassVar[Side]

class OrderType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_TYPE_UNSPECIFIED: _ClassVar[OrderType]
    ORDER_TYPE_MARKET: _ClassVar[OrderType]
    ORDER_TYPE_LIMIT: _ClassVar[OrderType]
    ORDER_TYPE_STOP: _ClassVar[OrderType]
    ORDER_TYPE_STOP_LIMIT: _ClassVar[OrderType]

class TimeInForce(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIME_IN_FORCE_UNSPECIFIED: _ClassVar[TimeInForce]
    TIME_IN_FORCE_GTC: _ClassVar[TimeInForce]
    TIME_IN_FORCE_DAY: _ClassVar[TimeInForce]
    TIME_IN_FORCE_IOC: _ClassVar[TimeInForce]
    TIME_IN_FORCE_FOK: _ClassVar[TimeInForce]
    TIME_IN_FORCE_GTD: _ClassVar[TimeInForce]

class AssetClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ASSET_CLASS_UNSPECIFIED: _ClassVar[AssetClass]
    ASSET_CLASS_EQUITY: _ClassVar[AssetClass]
    ASSET_CLASS_CRYPTO: _ClassVar[AssetClass]
    ASSET_CLASS_FUTURES: _ClassVar[AssetClass]

class FillStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILL_STATUS_UNSPECIFIED: _ClassVar[FillStatus]
    FILL_STATUS_FILLED: _ClassVar[FillStatus]
    FILL_STATUS_PARTIALLY_FILLED: _ClassVar[FillStatus]
    FILL_STATUS_UNFILLED: _ClassVar[FillStatus]
    FILL_STATUS_REJECTED: _ClassVar[FillStatus]

class Liquidity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIQUIDITY_UNSPECIFIED: _ClassVar[Liquidity]
    LIQUIDITY_MAKER: _ClassVar[Liquidity]
    LIQUIDITY_TAKER: _ClassVar[Liquidity]
SIDE_UNSPECIFIED: Side
SIDE_BUY: Side
SIDE_SELL: Side
ORDER_TYPE_UNSPECIFIED: OrderType
ORDER_TYPE_MARKET: OrderType
ORDER_TYPE_LIMIT: OrderType
ORDER_TYPE_STOP: OrderType
ORDER_TYPE_STOP_LIMIT: OrderType
TIME_IN_FORCE_UNSPECIFIED: TimeInForce
TIME_IN_FORCE_GTC: TimeInForce
TIME_IN_FORCE_DAY: TimeInForce
TIME_IN_FORCE_IOC: TimeInForce
TIME_IN_FORCE_FOK: TimeInForce
TIME_IN_FORCE_GTD: TimeInForce
ASSET_CLASS_UNSPECIFIED: AssetClass
ASSET_CLASS_EQUITY: AssetClass
ASSET_CLASS_CRYPTO: AssetClass
ASSET_CLASS_FUTURES: AssetClass
FILL_STATUS_UNSPECIFIED: FillStatus
FILL_STATUS_FILLED: FillStatus
FILL_STATUS_PARTIALLY_FILLED: FillStatus
FILL_STATUS_UNFILLED: FillStatus
FILL_STATUS_REJECTED: FillStatus
LIQUIDITY_UNSPECIFIED: Liquidity
LIQUIDITY_MAKER: Liquidity
LIQUIDITY_TAKER: Liquidity

class Order(_message.Message):
    __slots__ = ("symbol", "side", "quantity", "type", "limit_price", "stop_price", "time_in_force", "post_only", "display_quantity", "client_order_id")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    side: Side
    quantity: str
    type: OrderType
    limit_price: str
    stop_price: str
    time_in_force: TimeInForce
    post_only: bool
    display_quantity: str
    client_order_id: str
    def __init__(self, symbol: _Optional[str] = ..., side: _Optional[_Union[Side, str]] = ..., quantity: _Optional[str] = ..., type: _Optional[_Union[OrderType, str]] = ..., limit_price: _Optional[str] = ..., stop_price: _Optional[str] = ..., time_in_force: _Optional[_Union[TimeInForce, str]] = ..., post_only: _Optional[bool] = ..., display_quantity: _Optional[str] = ..., client_order_id: _Optional[str] = ...) -> None: ...

class PriceLevel(_message.Message):
    __slots__ = ("price", "size")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    price: str
    size: str
    def __init__(self, price: _Optional[str] = ..., size: _Optional[str] = ...) -> None: ...

class MarketState(_message.Message):
    __slots__ = ("timestamp_ms", "bids", "asks", "last_price", "adv_notional", "volatility")
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    ADV_NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    VOLATILITY_FIELD_NUMBER: _ClassVar[int]
    timestamp_ms: int
    bids: _containers.RepeatedCompositeFieldContainer[PriceLevel]
    asks: _containers.RepeatedCompositeFieldContainer[PriceLevel]
    last_price: str
    adv_notional: str
    volatility: str
    def __init__(self, timestamp_ms: _Optional[int] = ..., bids: _Optional[_Iterable[_Union[PriceLevel, _Mapping]]] = ..., asks: _Optional[_Iterable[_Union[PriceLevel, _Mapping]]] = ..., last_price: _Optional[str] = ..., adv_notional: _Optional[str] = ..., volatility: _Optional[str] = ...) -> None: ...

class Bar(_message.Message):
    __slots__ = ("open", "high", "low", "close", "volume", "duration_ms")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    open: str
    high: str
    low: str
    close: str
    volume: str
    duration_ms: int
    def __init__(self, open: _Optional[str] = ..., high: _Optional[str] = ..., low: _Optional[str] = ..., close: _Optional[str] = ..., volume: _Optional[str] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class ExecuteRequest(_message.Message):
    __slots__ = ("order", "market", "bar", "asset_class", "seed", "session_id")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    MARKET_FIELD_NUMBER: _ClassVar[int]
    BAR_FIELD_NUMBER: _ClassVar[int]
    ASSET_CLASS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    order: Order
    market: MarketState
    bar: Bar
    asset_class: AssetClass
    seed: int
    session_id: str
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ..., market: _Optional[_Union[MarketState, _Mapping]] = ..., bar: _Optional[_Union[Bar, _Mapping]] = ..., asset_class: _Optional[_Union[AssetClass, str]] = ..., seed: _Optional[int] = ..., session_id: _Optional[str] = ...) -> None: ...

class PartialFill(_message.Message):
    __slots__ = ("price", "quantity", "liquidity", "offset_ns")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    LIQUIDITY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_NS_FIELD_NUMBER: _ClassVar[int]
    price: str
    quantity: str
    liquidity: Liquidity
    offset_ns: int
    def __init__(self, price: _Optional[str] = ..., quantity: _Optional[str] = ..., liquidity: _Optional[_Union[Liquidity, str]] = ..., offset_ns: _Optional[int] = ...) -> None: ...

class Slippage(_message.Message):
    __slots__ = ("spread", "depth", "latency_drift", "impact")
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    LATENCY_DRIFT_FIELD_NUMBER: _ClassVar[int]
    IMPACT_FIELD_NUMBER: _ClassVar[int]
    spread: str
    depth: str
    latency_drift: str
    impact: str
    def __init__(self, spread: _Optional[str] = ..., depth: _Optional[str] = ..., latency_drift: _Optional[str] = ..., impact: _Optional[str] = ...) -> None: ...

class FlowCounts(_message.Message):
    __slots__ = ("trades", "cancels", "adds", "quote_moves")
    TRADES_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    ADDS_FIELD_NUMBER: _ClassVar[int]
    QUOTE_MOVES_FIELD_NUMBER: _ClassVar[int]
    trades: int
    cancels: int
    adds: int
    quote_moves: int
    def __init__(self, trades: _Optional[int] = ..., cancels: _Optional[int] = ..., adds: _Optional[int] = ..., quote_moves: _Optional[int] = ...) -> None: ...

class Attribution(_message.Message):
    __slots__ = ("provider", "reference_price", "reference", "slippage", "fees_bps", "seed", "models", "reason", "queue_ahead", "latency_ns", "events_in_flight", "events_while_resting", "explained", "session_id")
    class ModelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ExplainedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PRICE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    SLIPPAGE_FIELD_NUMBER: _ClassVar[int]
    FEES_BPS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    QUEUE_AHEAD_FIELD_NUMBER: _ClassVar[int]
    LATENCY_NS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_WHILE_RESTING_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    provider: str
    reference_price: str
    reference: str
    slippage: Slippage
    fees_bps: str
    seed: int
    models: _containers.ScalarMap[str, str]
    reason: str
    queue_ahead: str
    latency_ns: int
    events_in_flight: FlowCounts
    events_while_resting: FlowCounts
    explained: _containers.ScalarMap[str, str]
    session_id: str
    def __init__(self, provider: _Optional[str] = ..., reference_price: _Optional[str] = ..., reference: _Optional[str] = ..., slippage: _Optional[_Union[Slippage, _Mapping]] = ..., fees_bps: _Optional[str] = ..., seed: _Optional[int] = ..., models: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ..., queue_ahead: _Optional[str] = ..., latency_ns: _Optional[int] = ..., events_in_flight: _Optional[_Union[FlowCounts, _Mapping]] = ..., events_while_resting: _Optional[_Union[FlowCounts, _Mapping]] = ..., explained: _Optional[_Mapping[str, str]] = ..., session_id: _Optional[str] = ...) -> None: ...

class Fill(_message.Message):
    __slots__ = ("status", "filled_quantity", "average_price", "fees", "slippage_bps", "attribution", "fills")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FILLED_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_FIELD_NUMBER: _ClassVar[int]
    FEES_FIELD_NUMBER: _ClassVar[int]
    SLIPPAGE_BPS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    FILLS_FIELD_NUMBER: _ClassVar[int]
    status: FillStatus
    filled_quantity: str
    average_price: str
    fees: str
    slippage_bps: str
    attribution: Attribution
    fills: _containers.RepeatedCompositeFieldContainer[PartialFill]
    def __init__(self, status: _Optional[_Union[FillStatus, str]] = ..., filled_quantity: _Optional[str] = ..., average_price: _Optional[str] = ..., fees: _Optional[str] = ..., slippage_bps: _Optional[str] = ..., attribution: _Optional[_Union[Attribution, _Mapping]] = ..., fills: _Optional[_Iterable[_Union[PartialFill, _Mapping]]] = ...) -> None: ...

class ExecuteResponse(_message.Message):
    __slots__ = ("fill",)
    FILL_FIELD_NUMBER: _ClassVar[int]
    fill: Fill
    def __init__(self, fill: _Optional[_Union[Fill, _Mapping]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "message", "retryable", "field")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    retryable: bool
    field: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., retryable: _Optional[bool] = ..., field: _Optional[str] = ...) -> None: ...

class ExecuteResult(_message.Message):
    __slots__ = ("fill", "failure")
    FILL_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    fill: Fill
    failure: Failure
    def __init__(self, fill: _Optional[_Union[Fill, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class ExecuteStreamRequest(_message.Message):
    __slots__ = ("request_id", "request")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    request: ExecuteRequest
    def __init__(self, request_id: _Optional[int] = ..., request: _Optional[_Union[ExecuteRequest, _Mapping]] = ...) -> None: ...

class ExecuteStreamResponse(_message.Message):
    __slots__ = ("request_id", "result")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    result: ExecuteResult
    def __init__(self, request_id: _Optional[int] = ..., result: _Optional[_Union[ExecuteResult, _Mapping]] = ...) -> None: ...

class ExecuteBatchRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[ExecuteRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[ExecuteRequest, _Mapping]]] = ...) -> None: ...

class ExecuteBatchResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ExecuteResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ExecuteResult, _Mapping]]] = ...) -> None: ...

class JsonRequest(_message.Message):
    __slots__ = ("request_id", "request", "seed", "seconds_left", "more", "traceparent", "baggage")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SECONDS_LEFT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    BAGGAGE_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    request: bytes
    seed: int
    seconds_left: float
    more: _containers.RepeatedScalarFieldContainer[bytes]
    traceparent: str
    baggage: str
    def __init__(self, request_id: _Optional[int] = ..., request: _Optional[bytes] = ..., seed: _Optional[int] = ..., seconds_left: _Optional[float] = ..., more: _Optional[_Iterable[bytes]] = ..., traceparent: _Optional[str] = ..., baggage: _Optional[str] = ...) -> None: ...

class JsonResult(_message.Message):
    __slots__ = ("request_id", "fill", "failure", "provider_seconds", "more")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FILL_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    fill: bytes
    failure: Failure
    provider_seconds: float
    more: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, request_id: _Optional[int] = ..., fill: _Optional[bytes] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., provider_seconds: _Optional[float] = ..., more: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ExecuteManyRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[JsonRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[JsonRequest, _Mapping]]] = ...) -> None: ...

class ExecuteManyResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[JsonResult]
    def __init__(self, results: _Optional[_Iterable[_Union[JsonResult, _Mapping]]] = ...) -> None: ...

class EstimateCostRequest(_message.Message):
    __slots__ = ("order", "market", "bar", "asset_class")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    MARKET_FIELD_NUMBER: _ClassVar[int]
    BAR_FIELD_NUMBER: _ClassVar[int]
    ASSET_CLASS_FIELD_NUMBER: _ClassVar[int]
    order: Order
    market: MarketState
    bar: Bar
    asset_class: AssetClass
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ..., market: _Optional[_Union[MarketState, _Mapping]] = ..., bar: _Optional[_Union[Bar, _Mapping]] = ..., asset_class: _Optional[_Union[AssetClass, str]] = ...) -> None: ...

class EstimateCostResponse(_message.Message):
    __slots__ = ("fillable_quantity", "average_price", "slippage_bps", "fees", "fees_bps", "model", "config_hash")
    FILLABLE_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_FIELD_NUMBER: _ClassVar[int]
    SLIPPAGE_BPS_FIELD_NUMBER: _ClassVar[int]
    FEES_FIELD_NUMBER: _ClassVar[int]
    FEES_BPS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONFIG_HASH_FIELD_NUMBER: _ClassVar[int]
    fillable_quantity: str
    average_price: str
    slippage_bps: str
    fees: str
    fees_bps: str
    model: str
    config_hash: str
    def __init__(self, fillable_quantity: _Optional[str] = ..., average_price: _Optional[str] = ..., slippage_bps: _Optional[str] = ..., fees: _Optional[str] = ..., fees_bps: _Optional[str] = ..., model: _Optional[str] = ..., config_hash: _Optional[str] = ...) -> None: ...

class FillProbabilityRequest(_message.Message):
    __slots__ = ("order", "market", "asset_class", "horizon_seconds")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    MARKET_FIELD_NUMBER: _ClassVar[int]
    ASSET_CLASS_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    order: Order
    market: MarketState
    asset_class: AssetClass
    horizon_seconds: float
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ..., market: _Optional[_Union[MarketState, _Mapping]] = ..., asset_class: _Optional[_Union[AssetClass, str]] = ..., horizon_seconds: _Optional[float] = ...) -> None: ...

class FillProbabilityResponse(_message.Message):
    __slots__ = ("probability", "model", "any_fill_probability", "expected_quantity", "expected_wait_seconds", "wait_if_filled_seconds", "horizon_seconds", "confidence", "config_hash", "queue_ahead", "filled_at_once", "inputs")
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ANY_FILL_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WAIT_IF_FILLED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_HASH_FIELD_NUMBER: _ClassVar[int]
    QUEUE_AHEAD_FIELD_NUMBER: _ClassVar[int]
    FILLED_AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    probability: float
    model: str
    any_fill_probability: float
    expected_quantity: float
    expected_wait_seconds: float
    wait_if_filled_seconds: float
    horizon_seconds: float
    confidence: float
    config_hash: str
    queue_ahead: str
    filled_at_once: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, probability: _Optional[float] = ..., model: _Optional[str] = ..., any_fill_probability: _Optional[float] = ..., expected_quantity: _Optional[float] = ..., expected_wait_seconds: _Optional[float] = ..., wait_if_filled_seconds: _Optional[float] = ..., horizon_seconds: _Optional[float] = ..., confidence: _Optional[float] = ..., config_hash: _Optional[str] = ..., queue_ahead: _Optional[str] = ..., filled_at_once: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("build", "config_hash", "config_json", "config_version")
    BUILD_FIELD_NUMBER: _ClassVar[int]
    CONFIG_HASH_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    build: str
    config_hash: str
    config_json: str
    config_version: int
    def __init__(self, build: _Optional[str] = ..., config_hash: _Optional[str] = ..., config_json: _Optional[str] = ..., config_version: _Optional[int] = ...) -> None: ...
