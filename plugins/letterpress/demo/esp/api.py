"""The HTTP API that Letterpress syncs through. Every ``/api/`` request carries the bearer token."""

import base64
import binascii
import json
import secrets
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from letterpress.demo.esp.clock import instant, parse_instant
from letterpress.demo.esp.database import KeyReused
from letterpress.demo.esp.suppressions import LiftRefused

MAXIMUM_BATCH = 1_000

router = APIRouter(prefix="/api")


class ApiError(Exception):
    """An answer other than 2xx: ``{"error": {"code", "message"}}``."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProfileRow(_Body):
    """A person as the sender knows them; attributes are free."""

    external_id: str = Field(max_length=200)
    email: str | None
    attributes: dict[str, Any] = {}
    segments: list[str] = []


class ProfilesBody(_Body):
    """A batch of upserts."""

    profiles: list[ProfileRow] = Field(max_length=MAXIMUM_BATCH)


class DeleteBody(_Body):
    """A batch of deletions."""

    external_ids: list[str] = Field(max_length=MAXIMUM_BATCH)


class MoveRow(_Body):
    """A profile's id, and the one that it gets."""

    external_id: str = Field(max_length=200)
    new_external_id: str = Field(min_length=1, max_length=200)


class MoveBody(_Body):
    """A batch of profiles that get another id."""

    moves: list[MoveRow] = Field(max_length=MAXIMUM_BATCH)


class SuppressionRow(_Body):
    """Somebody who gets no more mail."""

    external_id: str | None = None
    email: str | None = None
    reason: str


class SuppressionsBody(_Body):
    """A batch of suppressions."""

    suppressions: list[SuppressionRow] = Field(max_length=MAXIMUM_BATCH)


class LiftBody(_Body):
    """Somebody who has opted in anew, and the proof of it."""

    external_id: str | None = None
    email: str | None = None
    consent_proof: str = Field(min_length=1, max_length=500)


def authorised(request: Request, authorization: Annotated[str | None, Header()] = None) -> None:
    """Refuse with 401 whoever does not carry the ESP's token."""
    scheme, _, token = (authorization or "").partition(" ")
    expected = request.app.state.token
    if scheme.lower() != "bearer" or not secrets.compare_digest(token.strip().encode(), expected.encode()):
        raise ApiError(
            401,
            "unauthorized",
            "expected 'Authorization: Bearer <LETTERPRESS_ESP_TOKEN>'",
            {"WWW-Authenticate": "Bearer"},
        )


def _idempotency_key(idempotency_key: Annotated[str | None, Header()] = None) -> str:
    key = (idempotency_key or "").strip()
    if not 1 <= len(key) <= 200:
        raise ApiError(
            400,
            "idempotency_key",
            f"expected a header Idempotency-Key of 1 to 200 characters, found {len(key)}",
        )
    return key


def _since(since: str | None = None) -> str | None:
    if since is None:
        return None
    try:
        return instant(parse_instant(since))
    except ValueError as error:
        raise ApiError(400, "since", f"expected an ISO 8601 instant with its zone: {error}") from error


def _cursor(cursor: str | None = None) -> list | None:
    if cursor is None:
        return None
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, ValueError):
        position = None
    if not isinstance(position, list):
        raise ApiError(400, "cursor", "expected a next_cursor of this list, found another text")
    return position


def _next_cursor(*position: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _position(cursor: list | None, *types: type) -> list | None:
    if cursor is not None and [type(value) for value in cursor] != list(types):
        raise ApiError(400, "cursor", "expected a next_cursor of this list, found another list's")
    return cursor


Key = Annotated[str, Depends(_idempotency_key)]
Since = Annotated[str | None, Depends(_since)]
Cursor = Annotated[list | None, Depends(_cursor)]
PageSize = Annotated[int, Query(ge=1, le=1_000)]
_authorization = [Depends(authorised)]


def _now(request: Request) -> str:
    now: datetime = request.app.state.clock()
    return instant(now)


@router.post("/profiles", dependencies=_authorization)
def upsert_profiles(request: Request, body: ProfilesBody, key: Key) -> dict:
    """Create or replace profiles by ``external_id``."""
    rows = [row.model_dump() for row in body.profiles]
    return {"results": request.app.state.profiles.upsert(key, rows, _now(request))}


@router.get("/profiles", dependencies=_authorization)
def list_profiles(request: Request, cursor: Cursor, page_size: PageSize = 500) -> dict:
    """Profiles by ``external_id``."""
    position = _position(cursor, str)
    data, after = request.app.state.profiles.page(after=position[0] if position else "", size=page_size)
    return {"data": data, "next_cursor": None if after is None else _next_cursor(after)}


@router.post("/profiles/delete", dependencies=_authorization)
def delete_profiles(request: Request, body: DeleteBody, key: Key) -> dict:
    """Remove profiles; suppressions and past messages stay."""
    return {"results": request.app.state.profiles.delete(key, body.external_ids, _now(request))}


@router.post("/profiles/move", dependencies=_authorization)
def move_profiles(request: Request, body: MoveBody, key: Key) -> dict:
    """Give profiles another id: two of the sender's people turned out to be one."""
    moves = [row.model_dump() for row in body.moves]
    return {"results": request.app.state.profiles.move(key, moves, _now(request))}


@router.post("/suppressions", dependencies=_authorization)
def add_suppressions(request: Request, body: SuppressionsBody) -> dict:
    """Suppress people; the same row again changes nothing."""
    rows = [row.model_dump() for row in body.suppressions]
    return {"results": request.app.state.suppressions.add(rows, _now(request))}


@router.get("/suppressions", dependencies=_authorization)
def list_suppressions(request: Request, since: Since, cursor: Cursor, page_size: PageSize = 500) -> dict:
    """Suppressions in force, by ``sequence``."""
    position = _position(cursor, int)
    data, after = request.app.state.suppressions.page(since=since, after=position[0] if position else 0, size=page_size)
    return {"data": data, "next_cursor": None if after is None else _next_cursor(after)}


@router.post("/suppressions/lift", dependencies=_authorization)
def lift_suppression(request: Request, body: LiftBody) -> dict:
    """Let a person in again after a new opt-in; 409 for a permanent suppression or a used proof."""
    if not body.email and not body.external_id:
        raise ApiError(400, "nobody", "expected an email or an external_id, found neither")
    try:
        return request.app.state.suppressions.lift(**body.model_dump(), now=_now(request))
    except LiftRefused as refusal:
        raise ApiError(409, refusal.code, str(refusal)) from refusal


@router.get("/events", dependencies=_authorization)
def list_events(request: Request, since: Since, cursor: Cursor, page_size: PageSize = 500) -> dict:
    """Events by ``received_at`` and ``event_id``; ``since`` is inclusive."""
    position = _position(cursor, str, str)
    data, after = request.app.state.mailbox.events(
        since=since, after=(position[0], position[1]) if position else ("", ""), size=page_size
    )
    return {"data": data, "next_cursor": None if after is None else _next_cursor(*after)}


@router.get("/messages/{idempotency_key:path}", dependencies=_authorization)
def find_message(request: Request, idempotency_key: str) -> dict:
    """The mail that was accepted under a key, or 404: settles a send whose answer was lost."""
    message = request.app.state.mailbox.by_key(idempotency_key)
    if message is None:
        raise ApiError(404, "unknown_key", "no mail was accepted under this idempotency key")
    return message


def _answer(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def install(app) -> None:
    """Add the API and the form of its errors; no error repeats what was sent, it may be personal."""
    app.include_router(router)

    @app.exception_handler(ApiError)
    def api_error(_: Request, error: ApiError) -> JSONResponse:
        return _answer(error.status, error.code, str(error), error.headers)

    @app.exception_handler(KeyReused)
    def key_reused(_: Request, __: KeyReused) -> JSONResponse:
        return _answer(409, "idempotency_key_reused", "expected the request that this key was first used for")

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        where = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()[:5]
        )
        return _answer(422, "invalid_request", where)
