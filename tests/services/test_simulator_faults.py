"""Every call says what is wrong with a request: status, code, field, google.rpc.BadRequest."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from lob.errors import Conflict, Fault, InvalidInput, NotFound, Overloaded
from services.simulator.executions import Executions
from tests.services.simulator_harness import Running, request, running_simulator
from tests.services.test_simulator_books import lobster_file, open_session, status_of, submit
from tests.services.test_simulator_sources import SECOND, open_flow
from touchstone.kit.codec import request_bytes
from touchstone.kit.errors import field_of
from touchstone.kit.rpc import (
    DETAILS_KEY,
    FAULT_CODE_KEY,
    FAULT_FIELD_KEY,
    outlook_request_to_proto,
    request_to_proto,
)
from touchstone.v1 import book_pb2, errors_pb2, execution_pb2

Eventually = Callable[..., Awaitable[float]]
Call = Callable[[Running, str], Awaitable[Any]]


def execution(**changes: Any) -> execution_pb2.ExecuteRequest:
    """Return a good request with fields of its order changed."""
    message = request_to_proto(request(), 1)
    for name, value in changes.items():
        setattr(message.order, name, value)
    return message


def execution_json(**changes: Any) -> bytes:
    """Return the same request in the JSON of the contract."""
    document = json.loads(request_bytes(request()))
    document["order"] |= changes
    return json.dumps(document).encode()


def estimate() -> execution_pb2.EstimateCostRequest:
    """Return a request for an estimate whose second ask is not above the first."""
    message = execution()
    message.market.asks[1].price = "1"
    return execution_pb2.EstimateCostRequest(
        order=message.order, market=message.market, asset_class=message.asset_class
    )


async def first_of(stream: Any) -> Any:
    """Read one message of a stream."""
    return await stream.read()


ASKED: dict[str, tuple[Call, str, str]] = {
    "Execute": (
        lambda s, _: s.executions.Execute(execution(quantity="-1"), timeout=5),
        "INVALID_ARGUMENT",
        "order.quantity",
    ),
    "Execute in a session": (
        lambda s, _: s.executions.Execute(
            execution_pb2.ExecuteRequest(
                order=execution().order,
                asset_class=execution_pb2.ASSET_CLASS_EQUITY,
                session_id="no",
            ),
            timeout=5,
        ),
        "NOT_FOUND",
        "session_id",
    ),
    "Execute an iceberg": (
        lambda s, _: s.executions.Execute(execution(display_quantity="1"), timeout=5),
        "UNIMPLEMENTED",
        "order.display_quantity",
    ),
    "ExecuteBatch": (
        lambda s, _: s.executions.ExecuteBatch(
            execution_pb2.ExecuteBatchRequest(requests=[execution()] * 4), timeout=5
        ),
        "INVALID_ARGUMENT",
        "requests",
    ),
    "EstimateCost": (
        lambda s, _: s.executions.EstimateCost(estimate(), timeout=5),
        "INVALID_ARGUMENT",
        "market.asks[1].price",
    ),
    "FillProbability": (
        lambda s, _: s.executions.FillProbability(
            outlook_request_to_proto(request(), -1.0), timeout=5
        ),
        "INVALID_ARGUMENT",
        "horizon_seconds",
    ),
    "OpenSession": (
        lambda s, _: s.books.OpenSession(book_pb2.OpenSessionRequest(symbol=""), timeout=5),
        "INVALID_ARGUMENT",
        "symbol",
    ),
    "OpenSession of a scale": (
        lambda s, _: s.books.OpenSession(
            book_pb2.OpenSessionRequest(symbol="A", tick_size="0"), timeout=5
        ),
        "INVALID_ARGUMENT",
        "tick_size",
    ),
    "OpenSession of a generator": (
        lambda s, _: s.books.OpenSession(
            book_pb2.OpenSessionRequest(
                symbol="A", generator=book_pb2.GeneratorSource(model="magic")
            ),
            timeout=5,
        ),
        "INVALID_ARGUMENT",
        "generator.model",
    ),
    "OpenSession at a rate": (
        lambda s, _: s.books.OpenSession(
            book_pb2.OpenSessionRequest(symbol="A", generator=book_pb2.GeneratorSource(rate=-1.0)),
            timeout=5,
        ),
        "INVALID_ARGUMENT",
        "generator.rate",
    ),
    "OpenSession of no file": (
        lambda s, _: s.books.OpenSession(
            book_pb2.OpenSessionRequest(symbol="A", file=book_pb2.FileSource(path="none.csv")),
            timeout=5,
        ),
        "NOT_FOUND",
        "file.path",
    ),
    "OpenSession of a format": (
        lambda s, _: s.books.OpenSession(
            book_pb2.OpenSessionRequest(
                symbol="A", file=book_pb2.FileSource(path="day.csv", format="magic")
            ),
            timeout=5,
        ),
        "INVALID_ARGUMENT",
        "file.format",
    ),
    "OpenSession of another scale": (
        lambda s, _: s.books.OpenSession(
            book_pb2.OpenSessionRequest(
                symbol="A", file=book_pb2.FileSource(path="day.csv"), tick_size="0.05"
            ),
            timeout=5,
        ),
        "INVALID_ARGUMENT",
        "tick_size",
    ),
    "CloseSession": (
        lambda s, _: s.books.CloseSession(book_pb2.CloseSessionRequest(session_id="no"), timeout=5),
        "NOT_FOUND",
        "session_id",
    ),
    "Submit": (
        lambda s, session: submit(s, session, 1, side=9, quantity_lots=1, price_ticks=1),
        "INVALID_ARGUMENT",
        "side",
    ),
    "Submit elsewhere": (
        lambda s, _: submit(s, "no", 1, side=1, quantity_lots=1, price_ticks=1),
        "NOT_FOUND",
        "session_id",
    ),
    "Cancel": (
        lambda s, _: s.books.Cancel(book_pb2.CancelRequest(session_id="no", order_id=1), timeout=5),
        "NOT_FOUND",
        "session_id",
    ),
    "Reduce": (
        lambda s, _: s.books.Reduce(book_pb2.ReduceRequest(session_id="no", order_id=1), timeout=5),
        "NOT_FOUND",
        "session_id",
    ),
    "Replace": (
        lambda s, _: s.books.Replace(
            book_pb2.ReplaceRequest(session_id="no", order_id=1), timeout=5
        ),
        "NOT_FOUND",
        "session_id",
    ),
    "Advance": (
        lambda s, session: s.books.Advance(
            book_pb2.AdvanceRequest(session_id=session, now_ns=-5), timeout=5
        ),
        "INVALID_ARGUMENT",
        "now_ns",
    ),
    "GetBook": (
        lambda s, session: s.books.GetBook(
            book_pb2.GetBookRequest(session_id=session, levels=-1), timeout=5
        ),
        "INVALID_ARGUMENT",
        "levels",
    ),
    "StreamEvents": (
        lambda s, session: first_of(
            s.books.StreamEvents(
                book_pb2.StreamEventsRequest(session_id=session, own_only=True), timeout=5
            )
        ),
        "INVALID_ARGUMENT",
        "own_only",
    ),
    "StreamEvents elsewhere": (
        lambda s, _: first_of(
            s.books.StreamEvents(book_pb2.StreamEventsRequest(session_id="no"), timeout=5)
        ),
        "NOT_FOUND",
        "session_id",
    ),
    "Replay": (
        lambda s, _: first_of(s.books.Replay(book_pb2.ReplayRequest(path="../day.csv"), timeout=5)),
        "INVALID_ARGUMENT",
        "path",
    ),
    "Replay of a format": (
        lambda s, _: first_of(
            s.books.Replay(book_pb2.ReplayRequest(path="day.csv", format="magic"), timeout=5)
        ),
        "INVALID_ARGUMENT",
        "format",
    ),
}


@pytest.mark.parametrize("name", ASKED)
async def test_a_wrong_field_is_named(name: str, tmp_path: Path) -> None:
    """Status, code and field agree, in the text, in our metadata and in the standard details."""
    call, status, field = ASKED[name]
    lobster_file(tmp_path / "day.csv", 3)
    config = tmp_path / "l3.yaml"
    config.write_text("fill_probability: {enabled: true}\n")
    async with running_simulator(
        replay_dir=tmp_path, max_batch=3, l3_config_path=config
    ) as running:
        session = await open_session(running)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(running, session)
    error = caught.value
    metadata: dict[str, Any] = dict(error.trailing_metadata() or ())
    assert (status, status, field) == (
        error.code().name,
        metadata[FAULT_CODE_KEY],
        metadata[FAULT_FIELD_KEY],
    )
    assert str(error.details()).startswith(f"{field}: ")
    details = errors_pb2.RichStatus.FromString(metadata[DETAILS_KEY])
    assert (error.code().value[0], error.details()) == (details.code, details.message)
    (detail,) = details.details
    assert "type.googleapis.com/google.rpc.BadRequest" == detail.type_url
    (violation,) = errors_pb2.BadRequest.FromString(detail.value).field_violations
    assert (field, error.details()) == (violation.field, violation.description)
    assert isinstance(detail, AnyMessage)


def test_every_call_of_both_services_is_asked_wrongly() -> None:
    """No call is left out, but those whose answers carry a failure each, and Describe's nothing."""
    asked = {name.partition(" ")[0] for name in ASKED}
    services = [
        execution_pb2.DESCRIPTOR.services_by_name["ExecutionService"],
        book_pb2.DESCRIPTOR.services_by_name["BookService"],
    ]
    calls = {method.name for service in services for method in service.methods}
    assert calls == asked | {"ExecuteStream", "ExecuteMany", "Describe"}


async def test_one_of_several_names_its_own_field() -> None:
    """In a stream, a batch and JSON the failure of one has code, field and text."""
    bad = execution(quantity="x")

    async def asking() -> AsyncIterator[execution_pb2.ExecuteStreamRequest]:
        yield execution_pb2.ExecuteStreamRequest(request_id=1, request=bad)

    async def many() -> AsyncIterator[execution_pb2.ExecuteManyRequest]:
        body = execution_json(quantity="x")
        asked = execution_pb2.JsonRequest(request_id=1, request=body)
        yield execution_pb2.ExecuteManyRequest(requests=[asked])

    async with running_simulator() as running:
        streamed = await running.executions.ExecuteStream(asking(), timeout=5).read()
        batch = execution_pb2.ExecuteBatchRequest(requests=[bad])
        batched = await running.executions.ExecuteBatch(batch, timeout=5)
        listed = await running.executions.ExecuteMany(many(), timeout=5).read()
    failures = [
        streamed.result.failure,
        batched.results[0].failure,
        listed.results[0].failure,
    ]
    for failure in failures:
        assert "INVALID_ARGUMENT" == failure.code
        assert "order.quantity" == failure.field
        assert failure.message.startswith("order.quantity: ")
        assert not failure.retryable


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        (InvalidInput("market.bids[2].price: 0; allowed: above 0"), "market.bids[2].price"),
        (NotFound("session_id: 'x' is not open"), "session_id"),
        (InvalidInput("the path a: b"), ""),
        (Conflict("live: taken"), ""),
        (Overloaded("7 orders: too many"), ""),
        (Fault("internal error"), ""),
    ],
)
def test_a_field_is_what_a_requests_fault_begins_with(fault: Fault, field: str) -> None:
    """Faults of the state and of the program name no field."""
    assert field == field_of(fault)


async def test_a_passed_deadline_is_said_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends a batch at its deadline, and executes no more of it."""
    executed = 0
    real = Executions._run

    def slow(self: Executions, *arguments: Any) -> Any:
        nonlocal executed
        executed += 1

        time.sleep(0.02)
        return real(self, *arguments)

    monkeypatch.setattr(Executions, "_run", slow)
    async with running_simulator(inline_seconds_max=1.0) as running:
        executed = 0
        batch = execution_pb2.ExecuteBatchRequest(requests=[execution()] * 500)
        ended = await status_of(running.executions.ExecuteBatch(batch, timeout=0.3))
        assert grpc.StatusCode.DEADLINE_EXCEEDED == ended
        await asyncio.sleep(0.2)
        stopped_at = executed
        await asyncio.sleep(0.2)
        assert stopped_at == executed < 100
        assert 0 == running.components.executions.in_flight


async def test_cancelling_a_batch_and_a_stream_stops_their_work(
    monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """What nobody waits for is not executed."""
    executed = 0
    real = Executions._run

    def counted(self: Executions, *arguments: Any) -> Any:
        nonlocal executed
        executed += 1
        return real(self, *arguments)

    monkeypatch.setattr(Executions, "_run", counted)

    async def endless() -> AsyncIterator[execution_pb2.ExecuteStreamRequest]:
        while True:
            yield execution_pb2.ExecuteStreamRequest(request_id=1, request=execution())

    async with running_simulator(max_batch=100_000, inline_seconds_max=1.0) as running:
        batch = execution_pb2.ExecuteBatchRequest(requests=[execution()] * 20_000)
        call = running.executions.ExecuteBatch(batch, timeout=60)
        await eventually(lambda: executed > 10)
        call.cancel()
        stream = running.executions.ExecuteStream(endless(), timeout=60)
        await stream.read()
        stream.cancel()
        await eventually(lambda: running.components.executions.in_flight == 0)
        await asyncio.sleep(0.1)
        stopped_at = executed
        await asyncio.sleep(0.2)
        assert stopped_at == executed < 20_000


async def test_cancelling_a_stream_of_events_frees_its_place() -> None:
    """The session has room for another listener at once."""
    async with running_simulator(max_subscribers_per_session=1) as running:
        opened = await open_flow(running)
        asked = book_pb2.StreamEventsRequest(session_id=opened.session_id)
        for _ in range(5):
            stream = running.books.StreamEvents(asked, timeout=10)
            async with asyncio.timeout(5):
                while True:
                    try:
                        await stream.initial_metadata()
                        break
                    except grpc.aio.AioRpcError:  # the last one is still leaving
                        stream = running.books.StreamEvents(asked, timeout=10)
            moving = book_pb2.AdvanceRequest(
                session_id=opened.session_id,
                now_ns=running.components.sessions.get(opened.session_id).book.now_ns + SECOND,
            )
            await running.books.Advance(moving, timeout=5)
            assert 0 < (await stream.read()).sequence
            stream.cancel()


async def test_cancelling_a_replay_ends_its_thread(tmp_path: Path, eventually: Eventually) -> None:
    """A large file is left where it is; there is room for the next replay."""
    lobster_file(tmp_path / "long.csv", 300_000)
    async with running_simulator(replay_dir=tmp_path) as running:
        replay = running.books.Replay(book_pb2.ReplayRequest(path="long.csv"), timeout=60)
        first = await replay.read()
        assert not first.done
        replay.cancel()
        seconds = await eventually(lambda: running.components.replays.running == 0)
        assert seconds < 2
