"""What was decided lately, and everything about one decision."""

import asyncio
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from lob.errors import InvalidInput, NotFound
from services.router.body import read_json, require_object
from services.router.decision_log import DecisionLog
from services.router.decision_segments import find_lines
from services.router.recorded import WHAT_IF_KEYS, RecordedDecisions
from touchstone.rollout.decisions import (
    CandidateRecord,
    DecisionRecord,
    decode_line,
    shown_json,
    to_json,
)
from touchstone.rollout.state import KEY_CHARACTERS_MAX, normalise

LIMIT_MAX: Final = 1_000
_ID: Final = re.compile(r"[0-9a-f]{32}")

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")]
Symbol = Annotated[str, Query(max_length=KEY_CHARACTERS_MAX, description="Only this symbol.")]


def decision_routes(log: DecisionLog) -> APIRouter:
    """Return the routes that show decisions, make them again, and try a proposal on them."""
    routes = APIRouter()
    # One search of the log at a time: each may read all of it.
    searching = asyncio.Semaphore(1)

    @routes.get("/v1/decisions")
    async def decisions(limit: Limit = 100, symbol: Symbol = "") -> Response:
        """Return the newest decisions, newest first; the log itself has the older ones.

        The lines go out as they were written: a thousand of them read and written again would
        keep every other request waiting.
        """
        lines = log.recent(normalise(symbol))[:limit]
        body = b'{"decisions":[' + b",".join(map(shown_json, lines)) + b"]}"
        return Response(body, media_type="application/json")

    recorded = RecordedDecisions(log.folder)

    async def find(identity: str) -> dict[str, Any]:
        if not _ID.fullmatch(identity):
            raise NotFound("decision: allowed: an id that an execution was answered with")
        lines = log.recent_lines(identity)
        if lines is None:
            async with searching:
                needle = f'"id":"{identity}"'.encode()
                lines = await asyncio.to_thread(find_lines, log.folder, needle)
        found = _told(lines, identity)
        if found["decision"] is None:
            raise NotFound(f"decision: {identity}: not in the log, or not any more")
        return found

    @routes.get("/v1/decisions/{identity}")
    async def decision(identity: str) -> dict[str, Any]:
        """Return a decision as it is in the log, and what the candidate made of the order."""
        return await find(identity)

    @routes.post("/v1/decisions/{identity}/replay")
    async def replay(identity: str) -> dict[str, Any]:
        """Make the decision again; say whether route and fills are the same byte for byte."""
        await find(identity)
        return await recorded.replay(identity)

    @routes.post("/v1/rollout/what-if")
    async def what_if(request: Request) -> dict[str, Any]:
        """Run the recorded decisions under a proposed rollout: who moves, and what changes."""
        return await recorded.what_if(require_object(await read_json(request), WHAT_IF_KEYS))

    return routes


def _told(lines: list[bytes], identity: str) -> dict[str, Any]:
    """Return decision and candidate of an id, as far as lines have them."""
    found: dict[str, Any] = {"decision": None, "candidate": None}
    for line in lines:
        try:
            record = decode_line(line)
        except InvalidInput:
            continue
        if isinstance(record, DecisionRecord | CandidateRecord) and record.id == identity:
            document = to_json(record)
            found[document["kind"]] = document
    return found
