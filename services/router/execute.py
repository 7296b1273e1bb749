"""Executions over HTTP, as ASGI applications: one request, or a batch of them."""

import asyncio
import re
import time
import types
from collections import deque
from collections.abc import Awaitable, Coroutine, Generator, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from execution_providers import ExecutionRequest
from lob.errors import Fault, InvalidInput, NotSupported
from services.router.body import BODY_BYTES_MAX, require_object
from services.router.engine import Answer, Router
from touchstone.kit.codec import (
    decode_json,
    encode_fill,
    encode_json,
    execution_request_from_json,
    receive_execution_request,
    split_batch,
)
from touchstone.kit.errors import PayloadTooLarge, describe, outcome_of
from touchstone.kit.quick_posts import Outcome, QuickPosts, Reply, stopping
from touchstone.kit.tasks import stop_tasks
from touchstone.kit.trace import is_sampled
from touchstone.rollout.assignment import Arm, Rule

ACCOUNT_CHARACTERS_MAX: Final = 128
SLICE_REQUESTS: Final = 64
"""So many orders of a batch go together; other requests get their turn in between."""
SLICES_UNDER_WAY: Final = 2
"""While L3 executes one slice of a batch, the next is read, or the answers of the last written.

Beside other batches each has one: they keep L3 busy already, and a second would only wait, take the
others' time up to the deadline, and keep single executions waiting behind it.
"""
SLICE_SECONDS_QUICK: Final = 0.05
"""Beyond it nothing is gained by a second slice, which has the same deadline and waits longer."""

_log = structlog.get_logger("touchstone.router")
_PLAIN_ACCOUNT: Final = re.compile(
    rb"account=([A-Za-z0-9_.~-]{0,%d})" % ACCOUNT_CHARACTERS_MAX
).fullmatch
# A decision whose texts need no escapes, written as `encode_json` writes it.
_HEAD: Final = (
    '{"decision":{"id":"%s","arm":"%s","rule":"%s","bucket":%d,"generation":%d,"seed":%d},"fill":'
)
_PLAIN_RULES: Final = frozenset(rule.value for rule in Rule)


class Answering(Protocol):
    """What answers the POSTs of one path."""

    def begin(self, query: bytes, body: bytes) -> Outcome:
        """Return the reply, or what leads to it; raise only defects."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, as an ASGI application."""
        ...


def execution_posts(router: Router, batch_size_max: int) -> dict[str, Answering]:
    """Return what answers `POST`, by path."""
    return {
        "/v1/executions": ExecuteOne(router),
        "/v1/executions/batch": ExecuteBatch(router, batch_size_max),
    }


def quick_posts(posts: Mapping[str, Answering]) -> QuickPosts:
    """Return the same for `CorkedProtocol`, which answers them where it reads them."""
    return QuickPosts(
        {path: post.begin for path, post in posts.items()},
        plain_query=_PLAIN_ACCOUNT,
        body_bytes_max=BODY_BYTES_MAX,
    )


class Direct:
    """Answer the paths that are asked for most before the framework looks for a route.

    Finding the route and entering the endpoint takes it longer than L2 takes to execute. It comes
    after whatever refuses requests, and lets `quick` know whom they let through; every other path
    and method is passed on.
    """

    def __init__(
        self, app: ASGIApp, *, posts: Mapping[str, ASGIApp], quick: QuickPosts | None = None
    ) -> None:
        self._app = app
        self._posts = dict(posts)
        self._quick = quick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        found = self._posts.get(scope.get("path", "")) if scope["type"] == "http" else None
        if found is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self._quick is not None:
            self._quick.admit(scope)
        await found(scope, receive, send)


class ExecuteOne:
    """`POST /v1/executions`: execute one request, answer with the decision and the fill.

    `Server-Timing` says how long the provider took, in milliseconds.
    """

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        await _answering(self, scope, receive, send)

    def begin(self, query: bytes, body: bytes) -> Outcome:
        """Return the reply where L2 answers, which does not wait, else what waits for it."""
        try:
            account = _account(query)
            request = receive_execution_request(body)
            # A task is begun later than it is made, and costs as much as reading the request.
            at_once = self._router.assign(request.order.symbol, account).arm is Arm.L2
        except Fault as fault:
            return _refusal(fault)
        work = _replied(self._execute(request, account))
        return _as_far_as_it_goes(work) if at_once else work

    async def _execute(self, request: ExecutionRequest, account: str) -> Reply:
        answer = await self._router.execute(request, account)
        if is_sampled():
            _told([answer])
        took = b"provider;dur=%.4f" % (answer.provider_seconds * 1_000)
        return Reply(200, encode_answer(answer), took)


class ExecuteBatch:
    """`POST /v1/executions/batch`: each of `{"requests": [...]}` has an answer or an error."""

    def __init__(self, router: Router, size_max: int) -> None:
        self._router = router
        self._size_max = size_max
        # Slices of all batches that are not answered yet, and what the last one took.
        self._under_way = 0
        self._slice_seconds = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; results are in the order of the requests."""
        await _answering(self, scope, receive, send)

    def begin(self, query: bytes, body: bytes) -> Outcome:
        """Return what leads to the reply."""
        try:
            account = _account(query)
        except Fault as fault:
            return _refusal(fault)
        return _replied(self._answer(account, body))

    async def _answer(self, account: str, body: bytes) -> Reply:
        requests = self._requests(body)
        results: list[bytes] = []
        under_way: deque[asyncio.Task[list[bytes]]] = deque()
        try:
            for start in range(0, len(requests), SLICE_REQUESTS):
                if start:
                    await asyncio.sleep(0)
                while under_way and self._is_busy():
                    results += await under_way.popleft()
                some = requests[start : start + SLICE_REQUESTS]
                under_way.append(asyncio.create_task(self._execute(some, account)))
            while under_way:
                results += await under_way.popleft()
        finally:
            await stop_tasks(under_way)
        return Reply(200, b'{"results":[' + b",".join(results) + b"]}")

    def _requests(self, body: bytes) -> Sequence[object]:
        """Return the requests: as JSON, or decoded where their JSON cannot be told apart."""
        requests: Sequence[object] | None = split_batch(body)
        if requests is None:
            found = require_object(decode_json(body), ("requests",)).get("requests")
            requests = found if isinstance(found, list) else None
        if requests is None or not 1 <= len(requests) <= self._size_max:
            raise InvalidInput(f"requests: allowed: a list of 1..{self._size_max}")
        return requests

    def _is_busy(self) -> bool:
        """Return whether a batch that has a slice under way should begin no other."""
        quick = self._slice_seconds <= SLICE_SECONDS_QUICK
        return self._under_way >= (SLICES_UNDER_WAY if quick else 1)

    async def _execute(self, some: Sequence[object], account: str) -> list[bytes]:
        """Return the JSON of each one's answer or error, in order."""
        started = time.perf_counter()
        self._under_way += 1
        try:
            read = [_read(one) for one in some]
            wanted = [one for one in read if not isinstance(one, Fault)]
            answers = iter(await self._router.execute_many(wanted, account) if wanted else ())
        finally:
            self._under_way -= 1
            self._slice_seconds = time.perf_counter() - started
        results = [one if isinstance(one, Fault) else next(answers) for one in read]
        if is_sampled():
            _told(results)
        return [
            encode_json(describe(one)) if isinstance(one, Fault) else encode_answer(one)
            for one in results
        ]


def _told(results: Iterable[Answer | Fault]) -> None:
    """Log the decisions behind a traced request, so that its trace leads to them and back."""
    for one in results:
        if not isinstance(one, Fault):
            made = one.decision
            _log.info("execution", decision_id=made.id, arm=made.arm, status=one.fill.status)


def encode_answer(answer: Answer) -> bytes:
    """Return an answer as JSON; a fill that came as JSON goes on as it is."""
    decision, fill = answer.decision, answer.fill
    if decision.rule in _PLAIN_RULES:
        head = _HEAD % decision
        return b"".join((head.encode(), encode_fill(fill), b"}"))
    told = encode_json(decision.to_json())
    return b'{"decision":' + told + b',"fill":' + encode_fill(fill) + b"}"


def _read(one: object) -> ExecutionRequest | Fault:
    try:
        if isinstance(one, bytes):
            return receive_execution_request(one)
        return execution_request_from_json(one)
    except Fault as fault:
        return fault


def _account(query: bytes) -> str:
    """Return who asks, from the query; names that nobody reads are another's matter."""
    if not query:
        return ""
    plain = _PLAIN_ACCOUNT(query)
    if plain is not None:
        return plain[1].decode()
    account = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("account", "")
    if len(account) > ACCOUNT_CHARACTERS_MAX:
        raise InvalidInput(
            f"account: {account[:40]!r}...; allowed: at most {ACCOUNT_CHARACTERS_MAX} characters"
        )
    return account


async def _body(receive: Receive) -> bytes:
    """Return the whole body; `PayloadTooLarge` beyond the bound, InvalidInput where it ends."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput("body: the client went away; allowed: a whole body")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise PayloadTooLarge(f"body: more than {BODY_BYTES_MAX} bytes; allowed: at most that")
        if not message.get("more_body"):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


async def _answering(post: Answering, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an ASGI request, once its body is whole."""
    try:
        body = await _body(receive)
    except Fault as fault:
        outcome: Outcome = _refusal(fault)
    else:
        outcome = post.begin(scope["query_string"], body)
    try:
        reply = outcome if isinstance(outcome, Reply) else await outcome
    except asyncio.CancelledError:
        await _send(stopping(), send)
        raise
    await _send(reply, send)


async def _send(reply: Reply, send: Send) -> None:
    status, answer, timing, _ = reply  # the router has no fields of its own
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    if timing is not None:
        headers.append((b"server-timing", timing))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _replied(work: Awaitable[Reply]) -> Reply:
    """Return the reply, or that to the fault it ends in."""
    try:
        return await work
    except Fault as fault:
        return _refusal(fault)


def _refusal(fault: Fault) -> Reply:
    # To ask for what this version does not do is no defect of the service.
    status = 400 if isinstance(fault, NotSupported) else outcome_of(fault).http_status
    return Reply(status, encode_json(describe(fault)))


def _as_far_as_it_goes(work: Coroutine[Any, Any, Reply]) -> Outcome:
    """Run what most likely waits for nothing; return its reply, or the rest of it."""
    try:
        waits_for = work.send(None)
    except StopIteration as ended:
        reply: Reply = ended.value
        return reply
    return _rest(work, waits_for)


async def _rest(work: Coroutine[Any, Any, Reply], waits_for: object) -> Reply:
    return await _resumed(work, waits_for)


@types.coroutine
def _resumed(
    work: Coroutine[Any, Any, Reply], waits_for: object
) -> Generator[object, object, Reply]:
    """Go on with a coroutine that was begun, in whatever task awaits this."""
    while True:
        try:
            try:
                given = yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                waits_for = work.throw(error)
            else:
                waits_for = work.send(given)
        except StopIteration as ended:
            reply: Reply = ended.value
            return reply
