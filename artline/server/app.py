"""The application: requests in, checked, answered in threads; errors, ids, logs and counts around it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as StarletteRoute

from artline.errors import ArtlineError, AuthError, NotFoundError, SignInError, TooLargeError, UsageError
from artline.server.answers import Answers
from artline.server.counts import Counts
from artline.server.directory import Directory, Role
from artline.server.limits import RateLimit
from artline.server.openapi import document
from artline.server.routes import ROUTES
from artline.server.routing import Call, Reply, Route
from artline.server.stores import Stores
from artline.storage.wire import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from artline.server.directory import Account
    from artline.server.options import ServerOptions

__all__ = ["State", "create_app"]

log = logging.getLogger("artline.server")
_LARGEST = 1 << 63
_CHANGING = ("POST", "PUT", "PATCH", "DELETE")


class State:
    """What the handlers share: directory, stores, counts. It keeps nothing that another replica lacks."""

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.directory = Directory.open(options.directory_url, lock_timeout=options.settings.lock_timeout)
        self.stores = Stores(options, self.directory)
        self.answers = Answers(self.directory.catalog)
        self.counts = Counts()
        self.limit = RateLimit(options.requests_per_minute)

    def check(self, account: Account, team: str, project: str | None, role: Role) -> None:
        """Raise unless an account may do so much: NotFoundError where it may not even look, AuthError."""
        has = self.directory.role(account, team, project)
        if has >= role:
            if account.admin:
                self.directory.team(team)
            return
        where = team if project is None else f"{team}/{project}"
        if has is Role.NONE:
            teams = ", ".join(found.team for found in self.directory.teams_of(account)) or "none"
            raise NotFoundError(f"there is no '{where}' that you may see here. Your teams: {teams}")
        raise AuthError(f"you may {has.name.lower()} in '{where}', and this needs {role.name.lower()}")


def create_app(options: ServerOptions) -> Starlette:
    """Return the ASGI application of a server. Nothing is opened before it starts."""
    state: State | None = None

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        nonlocal state
        anyio.to_thread.current_default_thread_limiter().total_tokens = options.threads
        state = await anyio.to_thread.run_sync(State, options)
        app.state.artline = state
        yield

    def endpoint(route: Route) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            assert state is not None
            return await _answer(state, route, request)

        return answer

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        assert state is not None
        try:
            await anyio.to_thread.run_sync(state.directory.ping)
        except ArtlineError as error:
            return _failure(error, "")
        return JSONResponse({"status": "ready"})

    async def metrics(_: Request) -> Response:
        assert state is not None
        return Response(state.counts.text(), media_type="text/plain; version=0.0.4")

    openapi = encode(document(ROUTES))

    async def described(_: Request) -> Response:
        return Response(openapi, media_type="application/json")

    routes = [
        StarletteRoute("/healthz", health),
        StarletteRoute("/readyz", ready),
        StarletteRoute("/metrics", metrics),
        StarletteRoute("/api/v1/openapi.json", described),
        *(
            StarletteRoute(f"/api/v1{route.path}", endpoint(route), methods=[route.method])
            for route in ROUTES
        ),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: _no_page, 405: _no_method})


async def _answer(state: State, route: Route, request: Request) -> Response:
    begun = time.perf_counter()
    request_id = uuid.uuid4().hex
    account = ""
    try:
        known, key_id = await anyio.to_thread.run_sync(_let_in, state, route, request)
        account = known.name
        path = {name: str(value) for name, value in request.path_params.items()}
        call = Call(state, request, known, key_id, request_id, path)
        response = await _handle(state, route, call)
    except ArtlineError as error:
        response = _failure(error, request_id)
    except Exception:
        log.exception("request failed", extra={"request_id": request_id, "path": request.url.path})
        response = _error(
            500, "error", f"the server failed. Its log tells why, under request {request_id}", request_id
        )
    seconds = time.perf_counter() - begun
    response.headers["X-Request-Id"] = request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    state.counts.answered(route.method, route.path, response.status_code, seconds)
    log.info(
        "answered",
        extra={
            "request_id": request_id,
            "method": request.method,
            "path": request.url.path,
            "status": response.status_code,
            "ms": round(seconds * 1000, 2),
            "account": account,
        },
    )
    return response


def _let_in(state: State, route: Route, request: Request) -> tuple[Account, str]:
    """Return who asks, if they may; nothing else is looked at before. Raises SignInError, AuthError."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise SignInError("this needs an API key. Ask the server's administrator for one, and run: art login")
    account, key_id = state.directory.authenticate(key.strip())
    state.limit.count(key_id)
    if route.server_admin and not account.admin:
        raise AuthError("this is for administrators of the server")
    _check_text(request.url.query)
    for value in (*request.path_params.values(), *request.query_params.values()):
        _check_text(str(value))
        _checked(value)
    team = request.path_params.get("team")
    if team is not None and route.role is not Role.NONE:
        state.check(account, team, request.path_params.get("project"), route.role)
    return account, key_id


async def _handle(state: State, route: Route, call: Call) -> Response:
    if route.query is not None:
        call.query = _read_query(route.query, dict(call.request.query_params))
    if route.streamed:
        result = await route.handler(call)
        return _response(result)
    data = await _read_body(call.request, state.options.largest_body) if route.body is not None else b""
    return await anyio.to_thread.run_sync(_act, state, route, call, data)


def _act(state: State, route: Route, call: Call, data: bytes) -> Response:
    if route.body is bytes:
        call.body = data
    elif route.body is not None:
        call.body = _read_json(route.body, data)
    key = call.request.headers.get("idempotency-key", "")
    if not key or route.method not in _CHANGING or route.body is bytes:
        return _response(route.handler(call))
    asked = hashlib.sha256(f"{route.method} {call.request.url.path}?{call.request.url.query}\n".encode())
    asked.update(data)
    with state.answers.once(call.account.id, key, asked.digest()) as answer:
        if answer.body is None:
            response = _response(route.handler(call))
            answer.give(response.status_code, bytes(response.body))
            return response
        return Response(answer.body, answer.status, media_type="application/json" if answer.body else None)


async def _read_body(request: Request, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLargeError(f"a request may have {most:,} bytes here, and this one has more")
        parts.append(part)
    return b"".join(parts)


def _read_query(kind: type, given: dict[str, str]) -> Any:
    try:
        names = {field.name for field in dataclasses.fields(kind)}
        unknown = sorted(set(given) - names)
        if unknown:
            raise UsageError(f"unknown parameter '{unknown[0]}'. Known: {', '.join(sorted(names)) or 'none'}")
        return _checked(msgspec.convert(given, kind, strict=False))
    except msgspec.ValidationError as error:
        raise UsageError(f"a parameter is wrong: {error}") from None


def _check_text(text: str) -> None:
    """Refuse what no database keeps as text."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UsageError("an address may not have NUL characters, nor bytes that are no UTF-8")


def _checked(value: Any) -> Any:
    """Return a value that came in, unless it has integers that no database keeps."""
    pending = [value]
    while pending:
        found = pending.pop()
        if isinstance(found, int) and not -_LARGEST <= found < _LARGEST:
            raise UsageError(f"{found} is beyond 64 bits")
        if dataclasses.is_dataclass(found):
            pending += (getattr(found, field.name) for field in dataclasses.fields(found))
        elif isinstance(found, dict):
            pending += found.values()
        elif isinstance(found, (list, tuple)):
            pending += found
    return value


def _read_json(kind: Any, data: bytes) -> Any:
    if b"\\u0000" in data:
        raise UsageError("texts may not have NUL characters")
    try:
        return _checked(msgspec.json.decode(data, type=kind))
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the body is not what is expected here: {error}") from None


def _response(result: Any) -> Response:
    if isinstance(result, Response):
        return result
    if isinstance(result, Reply):
        return Response(result.content, result.status, result.headers, result.media_type)
    if result is None:
        return Response(status_code=204)
    return Response(encode(result), media_type="application/json")


def _failure(error: ArtlineError, request_id: str) -> Response:
    status = error.http_status
    response = _error(status, error.kind, error.message, request_id)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        response.headers["Retry-After"] = "1"
    return response


def _error(status: int, kind: str, message: str, request_id: str) -> Response:
    told = {"error": {"kind": kind, "message": message, "request_id": request_id}}
    return Response(
        json.dumps(told, ensure_ascii=False).encode("utf-8", "replace"), status, media_type="application/json"
    )


async def _no_page(request: Request, _: Exception) -> Response:
    return _error(404, "not_found", f"there is nothing at {request.url.path}", "")


async def _no_method(request: Request, _: Exception) -> Response:
    return _error(405, "usage", f"{request.method} is not possible at {request.url.path}", "")
