"""The rollout state over HTTP: read it, change it under its generation, roll back, re-arm."""

import asyncio
import math
import re
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response

from lob.errors import InvalidInput, NotFound
from services.router.body import (
    DEFAULT_REASON,
    read_json,
    require_object,
    take_text,
)
from services.router.dossier_folder import DossierFolder
from services.router.graceful import DRAIN_SECONDS_DEFAULT, DRAIN_SECONDS_MAX
from services.router.metrics import l3_may
from services.router.openapi_model import GENERATION_MAX
from services.router.rollout_control import RolloutControl, StaleGeneration
from services.router.wiring import Components
from touchstone.kit.control import ROLLOUT_SCOPE, ControlRecord
from touchstone.kit.membership import not_waited
from touchstone.pages import CONTENT_SECURITY_POLICY
from touchstone.rollout.state import (
    Phase,
    basis_points_from_fraction,
    fraction_from_basis_points,
)

_LISTS = ("canary_symbols", "canary_accounts", "deny_symbols", "deny_accounts")
_PUT_KEYS = (
    "phase",
    "basis_points",
    "percentage",
    "salt",
    *_LISTS,
    "schedule_armed",
    "reason",
    "actor",
)
_MODES = ("emergency", "graceful")
_DEFAULT_ACTOR = "api"

_GENERATION = re.compile(r'"([0-9]{1,16})"|([0-9]{1,16})')

IfMatch = Annotated[str | None, Header(alias="If-Match")]


def rollout_routes(components: Components) -> APIRouter:
    """Return the routes of the rollout state."""
    routes = APIRouter(prefix="/v1/rollout")
    _add_state_routes(routes, components)
    _add_rollback_routes(routes, components)
    _add_rearm_route(routes, components.control)
    _add_dossier_routes(routes, components.dossiers)
    return routes


def _add_state_routes(routes: APIRouter, components: Components) -> None:
    control = components.control

    @routes.get("")
    async def show() -> JSONResponse:
        """Return the state, how it is known, and its generation as ETag."""
        schedule = components.autopilot.scheduler.to_json()
        return _state_response(control, await control.present(), schedule=schedule)

    @routes.put("")
    async def change(request: Request, if_match: IfMatch = None) -> JSONResponse:
        """Change the keys given, under the generation in If-Match; others keep their values."""
        if if_match is None:
            return precondition_required()
        expected = parse_generation(if_match)
        changes = require_object(await read_json(request), _PUT_KEYS)
        reason = take_text(changes, "reason", DEFAULT_REASON)
        actor = take_text(changes, "actor", _DEFAULT_ACTOR)
        if "percentage" in changes:
            if "basis_points" in changes:
                raise InvalidInput("percentage, basis_points: both given; allowed: one of them")
            changes["basis_points"] = basis_points_from_fraction(changes.pop("percentage"))
        if not changes:
            raise InvalidInput(f"body: nothing to change; allowed: {', '.join(_PUT_KEYS)}")
        record = await control.put(changes, expected=expected, actor=actor, reason=reason)
        return _state_response(control, record)

    @routes.get("/audit")
    async def audit(limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> dict[str, Any]:
        """Return the newest changes, newest first."""
        entries = await components.store.audit(ROLLOUT_SCOPE, limit)
        return {
            "entries": [{"id": entry.entry_id, **record_to_json(entry.record)} for entry in entries]
        }


def _add_rollback_routes(routes: APIRouter, components: Components) -> None:
    control = components.control

    @routes.post("/rollback")
    async def rollback(request: Request) -> JSONResponse:
        """Roll back: here first, then for everybody; 202 where only the first is done.

        Answered once every router has acknowledged it or its lease has lapsed. `graceful` lets
        what is under way end first, and says what it found.
        """
        body = require_object(
            await read_json(request), ("mode", "reason", "actor", "drain_seconds")
        )
        mode = take_text(body, "mode", "emergency")
        if mode not in _MODES:
            raise InvalidInput(f"mode: {mode!r}; allowed: {', '.join(_MODES)}")
        drain_seconds = _take_drain_seconds(body, mode)
        reason = take_text(body, "reason")
        actor = take_text(body, "actor", _DEFAULT_ACTOR)
        if mode == "graceful":
            answer = await components.graceful.run(
                actor=actor, reason=reason, drain_seconds=drain_seconds
            )
        else:
            answer = await _roll_back_at_once(control, actor, reason)
        return JSONResponse(answer, status_code=200 if answer["persisted"] else 202)


async def _roll_back_at_once(control: RolloutControl, actor: str, reason: str) -> dict[str, Any]:
    started = control.now()
    record = await control.rollback(actor=actor, reason=reason)
    if record is None:
        told = not_waited("Redis does not have it", control.now() - started)
    else:
        told = await control.acknowledged(record, started)
    confirmed = told.acked is not None and record is not None and _confirmed(control, record)
    return {
        "rolled_back": True,
        "persisted": record is not None,
        "confirmed": confirmed,
        "generation": None if record is None else record.generation,
    } | told.to_json()


def _take_drain_seconds(body: dict[str, Any], mode: str) -> float:
    """Remove and return how long a graceful rollback waits for what is under way."""
    if "drain_seconds" not in body:
        return DRAIN_SECONDS_DEFAULT
    value = body.pop("drain_seconds")
    if mode != "graceful":
        raise InvalidInput(f"drain_seconds: {value!r}; allowed: with mode graceful only")
    right = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if not right or not 0 <= value <= DRAIN_SECONDS_MAX:
        raise InvalidInput(f"drain_seconds: {value!r}; allowed: 0..{DRAIN_SECONDS_MAX}")
    return float(value)


def _add_dossier_routes(routes: APIRouter, dossiers: DossierFolder) -> None:
    @routes.get("/dossiers")
    async def listed() -> dict[str, Any]:
        """Return one line of each rollback's dossier, newest first."""
        return {"dossiers": await asyncio.to_thread(dossiers.list)}

    @routes.get("/dossiers/{name}")
    async def dossier(name: str) -> Response:
        """Return a dossier as JSON, or as a page where its id is followed by `.html`."""
        suffix = "html" if name.endswith(".html") else "json"
        text = await asyncio.to_thread(dossiers.read, name.removesuffix(".html"), suffix)
        if text is None:
            raise NotFound(f"dossier: {name[:80]!r}; allowed: an id of GET /v1/rollout/dossiers")
        if suffix == "json":
            return Response(text, media_type="application/json")
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return Response(text, media_type="text/html; charset=utf-8", headers=headers)


def _add_rearm_route(routes: APIRouter, control: RolloutControl) -> None:
    @routes.post("/rearm")
    async def rearm(request: Request, if_match: IfMatch = None) -> JSONResponse:
        """Leave a rollback for SHADOW or OFF: needs a reason and the present generation."""
        body = require_object(
            await read_json(request), ("phase", "reason", "actor", "expected_generation")
        )
        named = _take_generation(body)
        expected = named if if_match is None else parse_generation(if_match)
        if expected is None:
            return precondition_required()
        phase = take_text(body, "phase", Phase.SHADOW)
        reason = take_text(body, "reason")
        actor = take_text(body, "actor", _DEFAULT_ACTOR)
        if named not in {None, expected}:
            # At most one of the two is the present generation.
            present = await control.present()
            generation = 0 if present is None else present.generation
            raise StaleGeneration(named if named != generation else expected, generation)
        record = await control.rearm(phase, expected=expected, actor=actor, reason=reason)
        return _state_response(control, record)


def _take_generation(body: dict[str, Any]) -> int | None:
    """Remove and return the generation that a body names; 2.0 is a whole number in JSON."""
    named = body.pop("expected_generation", None)
    if named is None:
        return None
    number = isinstance(named, int | Decimal) and not isinstance(named, bool)
    if not number or not 0 <= named <= GENERATION_MAX or named % 1:
        raise InvalidInput(f"expected_generation: {named!r:.80}; allowed: a generation")
    return int(named)


def parse_generation(if_match: str) -> int:
    """Return the generation that an If-Match header names; `"7"` and `7` are both right."""
    found = _GENERATION.fullmatch(if_match)
    if found is None:
        raise InvalidInput(f"If-Match: {if_match[:80]!r}; allowed: one generation, as in the ETag")
    return int(found[1] or found[2])


def precondition_required() -> JSONResponse:
    """Answer a change that does not say which generation it is based on."""
    message = "If-Match: missing; allowed: the generation that GET /v1/rollout gives as ETag"
    error = {"code": "PRECONDITION_REQUIRED", "message": message, "retryable": False}
    return JSONResponse({"error": error}, status_code=428)


def stale_generation(fault: StaleGeneration) -> JSONResponse:
    """Answer a change that is based on another generation than the present one."""
    error = {
        "code": fault.code,
        "message": str(fault),
        "retryable": False,
        "generation": fault.present,
    }
    return JSONResponse({"error": error}, status_code=409, headers=_etag(fault.present))


def record_to_json(record: ControlRecord) -> dict[str, Any]:
    """Return a record as JSON values."""
    return {
        "generation": record.generation,
        "phase": record.state,
        "document": dict(record.document),
        "actor": record.actor,
        "reason": record.reason,
        "updated_at": record.updated_at,
    }


def _state_response(
    control: RolloutControl, record: ControlRecord | None, **more: Any
) -> JSONResponse:
    view = control.reader.view()
    config = control.routing()
    generation = 0 if record is None else record.generation
    body: dict[str, Any] = {"generation": generation, "phase": None, "document": None}
    if record is not None:
        body |= record_to_json(record)
        points = record.document.get("basis_points")
        if isinstance(points, int):
            body |= {
                "basis_points": points,
                "percentage": float(fraction_from_basis_points(points)),
            }
    body["control"] = {
        "known": view.known,
        "status": view.status.value,
        "age_seconds": view.age_seconds if math.isfinite(view.age_seconds) else None,
        "leased": view.lease_seconds_left > 0,
        "applied_generation": config.generation,
        "seen_generation": control.reader.seen_generation,
        "rolled_back_here": config.latched,
        "why": view.why,
    }
    body["flags"] = {
        "environment_allows": control.flags.environment_allows,
        "off_because": list(control.flags.off_because),
    }
    body["l3_may_answer"] = l3_may(control)
    return JSONResponse(body | more, headers=_etag(generation))


def _confirmed(control: RolloutControl, record: ControlRecord) -> bool:
    """Return whether reading back shows the rollback, or something written after it."""
    view = control.reader.view()
    return view.known and view.record is not None and view.record.generation >= record.generation


def _etag(generation: int) -> dict[str, str]:
    return {"ETag": f'"{generation}"'}
