"""Executions over HTTP, as ASGI applications: one request, or a batch of them."""

import asyncio
import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

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
from touchstone.rollout.assignment import Rule

ACCOUNT_CHARACTERS_MAX: Final = 128
SLICE_REQUESTS: Final = 64
"""So many orders of a batch go together; other requests get their turn in between."""


_PLAIN_ACCOUNT: Final = re.compile(
    rb"account=([A-Za-z0-9_.~-]{0,%d})" % ACCOUNT_CHARACTERS_MAX
).fullmatch
# A decision whose texts need no escapes, written as `encode_json` writes it.
_HEAD: Final = (
    '{"decision":{"id":"%s","arm":"%s","rule":"%s","bucket":%d,"generation":%d,"seed":%d},"fill":'
)
_PLAIN_RULES: Final = frozenset(rule.value for rule in Rule)


def execution_posts(router: Router, batch_size_max: int) -> dict[str, ASGIApp]:
    """Return what answers `POST`, by path."""
    return {
        "/v1/executions": ExecuteOne(router),
        "/v1/executions/batch": ExecuteBatch(router, batch_size_max),
    }


class Direct:
    """Answer the paths that are asked for most before the framework looks for a route.

    Finding the route and entering the endpoint takes it longer than L2 takes to execute. It comes
    after whatever refuses requests; every other path and method is passed on.
    """

    def __init__(self, app: ASGIApp, *, posts: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._posts = dict(posts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        found = self._posts.get(scope.get("path", "")) if scope["type"] == "http" else None
        wanted = self._app if found is None or scope["method"] != "POST" else found
        await wanted(scope, receive, send)


class ExecuteOne:
    """`POST /v1/executions`: execute one request, answer with the decision and the fill.

    `Server-Timing` says how long the provider took, in milliseconds.
    """

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        await _answering(send, self._answer(scope, receive))

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes | None]:
        account = _account(scope)
        request = receive_execution_request(await _body(receive))
        answer = await self._router.execute(request, account)
        took = b"provider;dur=%.4f" % (answer.provider_seconds * 1_000)
        return encode_answer(answer), took


class ExecuteBatch:
    """`POST /v1/executions/batch`: each of `{"requests": [...]}` has an answer or an error."""

    def __init__(self, router: Router, size_max: int) -> None:
        self._router = router
        self._size_max = size_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; results are in the order of the requests."""
        await _answering(send, self._answer(scope, receive))

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes | None]:
        account = _account(scope)
        requests = self._requests(await _body(receive))
        results: list[bytes] = []
        for start in range(0, len(requests), SLICE_REQUESTS):
            if start:
                await asyncio.sleep(0)
            results += await self._execute(requests[start : start + SLICE_REQUESTS], account)
        return b'{"results":[' + b",".join(results) + b"]}", None

    def _requests(self, body: bytes) -> Sequence[object]:
        """Return the requests: as JSON, or decoded where their JSON cannot be told apart."""
        requests: Sequence[object] | None = split_batch(body)
        if requests is None:
            found = require_object(decode_json(body), ("requests",)).get("requests")
            requests = found if isinstance(found, list) else None
        if requests is None or not 1 <= len(requests) <= self._size_max:
            raise InvalidInput(f"requests: allowed: a list of 1..{self._size_max}")
        return requests

    async def _execute(self, some: Sequence[object], account: str) -> list[bytes]:
        """Return the JSON of each one's answer or error, in order."""
        read = [_read(one) for one in some]
        wanted = [one for one in read if not isinstance(one, Fault)]
        answers = iter(await self._router.execute_many(wanted, account) if wanted else ())
        results = [one if isinstance(one, Fault) else next(answers) for one in read]
        return [
            encode_json(describe(one)) if isinstance(one, Fault) else encode_answer(one)
            for one in results
        ]


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


def _account(scope: Scope) -> str:
    """Return who asks, from the query; names that nobody reads are another's matter."""
    query: bytes = scope["query_string"]
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


async def _answering(send: Send, answer: Awaitable[tuple[bytes, bytes | None]]) -> None:
    """Send an answer's body, with `Server-Timing` where there is one; or the fault it ended in."""
    status, timing = 200, None
    try:
        body, timing = await answer
    except Fault as fault:
        # To ask for what this version does not do is no defect of the service.
        status = 400 if isinstance(fault, NotSupported) else outcome_of(fault).http_status
        body = encode_json(describe(fault))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if timing is not None:
        headers.append((b"server-timing", timing))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
