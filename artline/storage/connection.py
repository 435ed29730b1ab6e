"""A connection to an Artline server: requests that are repeated when it is away, and its errors as ours."""

from __future__ import annotations

import json
import os
import threading
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from artline.errors import ArtlineError, AuthError, StoreUnavailableError
from artline.storage.retry import TRANSIENT_STATUS, Attempts, Patience
from artline.storage.wire import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from artline.settings import Settings

__all__ = ["API", "Connection", "connect", "path_of", "project_path", "team_path"]

API = "/api/v1"
# What the server says when the same request may succeed later.
_PASSING = ("store_unavailable", "store_locked", "busy")


def path_of(*parts: str) -> str:
    """Return a path under the API, each part quoted."""
    return "/".join([API, *(quote(part, safe="") for part in parts)])


def team_path(team: str, *parts: str) -> str:
    """Return a path under a team's store."""
    return path_of("stores", team, *parts)


def project_path(team: str, project: str, *parts: str) -> str:
    """Return a path under a project of a team."""
    return path_of("stores", team, "projects", project, *parts)


class Connection:
    """Requests to one server. Safe to share between threads; each thread and process has its own sockets.

    Every request that changes something carries an ``Idempotency-Key`` and is repeated with the same one, so
    that an answer lost on the way changes nothing twice.
    """

    def __init__(self, server: str, key: str, patience: Patience | None = None) -> None:
        self.server = server.rstrip("/")
        self._key = key
        self._patience = patience or Patience()
        self._local = threading.local()
        self._answered = False

    def get(self, path: str, kind: Any, **params: Any) -> Any:
        """Return what is at ``path``, as a value of the type ``kind``."""
        return self.send("GET", path, kind, params=params)

    def send(
        self,
        method: str,
        path: str,
        kind: Any = None,
        *,
        params: dict[str, Any] | None = None,
        body: Any = None,
        data: bytes | Callable[[], Any] | None = None,
    ) -> Any:
        """Send a request; return its answer as a value of the type ``kind``, its bytes for ``bytes``.

        ``body`` goes as JSON, ``data`` as it is: bytes, or a function that opens a stream anew for each try.
        Raises what the server raised, StoreUnavailableError when it cannot be reached, AuthError.
        """
        with self.request(method, path, params=params, body=body, data=data) as answer:
            if kind is None:
                return None
            if kind is bytes:
                return answer.content
            return decode(kind, answer.content, self.server)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: Any = None,
        data: bytes | Callable[[], Any] | None = None,
        headers: dict[str, str] | None = None,
        stream: bool = False,
        accept: tuple[int, ...] = (),
    ) -> requests.Response:
        """Send a request until it is answered; return the answer: below 400, or a status in ``accept``."""
        import requests

        sent: dict[str, str] = {**(headers or {})}
        if method != "GET":
            sent["Idempotency-Key"] = uuid.uuid4().hex
        payload: Any = data
        if body is not None:
            payload = encode(body)
            sent["Content-Type"] = "application/json"
        elif data is not None:
            sent["Content-Type"] = "application/octet-stream"
        wanted = {name: _text(value) for name, value in (params or {}).items() if value is not None}
        attempts = Attempts(self._patience, known=self._answered)
        while True:
            trouble = ""
            opened = payload() if callable(payload) else None
            try:
                answer = self._session().request(
                    method,
                    self.server + path,
                    params=wanted,
                    data=payload if opened is None else opened,
                    headers=sent,
                    timeout=self._patience.timeout,
                    stream=stream,
                    allow_redirects=method == "GET",
                )
            except requests.exceptions.SSLError as error:
                raise StoreUnavailableError(
                    f"the server {self.server} has no certificate that is trusted here: {error}. "
                    "Set REQUESTS_CA_BUNDLE to the authority that signed it"
                ) from error
            except (requests.exceptions.RequestException, OSError) as error:
                trouble = _reason(error)
            finally:
                if opened is not None:
                    opened.close()
            if not trouble:
                self._answered = True
                if answer.status_code < 400 or answer.status_code in accept:
                    return answer
                failure, told = _failure(answer, self.server)
                if answer.status_code not in TRANSIENT_STATUS or (told and failure.kind not in _PASSING):
                    raise failure
                least = _seconds(answer.headers.get("Retry-After"))
                answer.close()
                if attempts.again(least):
                    continue
                raise failure
            if not attempts.again():
                raise StoreUnavailableError(
                    f"the server {self.server} cannot be reached: {trouble}. Check the address "
                    "and the network; runs keep what they log, and `art sync` sends it later"
                )

    def stream(self, path: str, **params: Any) -> Iterator[bytes]:
        """Yield the lines of an answer as they arrive."""
        with self.request("GET", path, params=params, stream=True) as answer:
            yield from answer.iter_lines()

    def _session(self) -> requests.Session:
        import requests
        from requests.adapters import HTTPAdapter

        mine: tuple[int, requests.Session] | None = getattr(self._local, "session", None)
        if mine is None or mine[0] != os.getpid():
            session = requests.Session()
            session.mount("http://", HTTPAdapter(pool_connections=4, pool_maxsize=4))
            session.mount("https://", HTTPAdapter(pool_connections=4, pool_maxsize=4))
            session.headers["User-Agent"] = "artline"
            session.auth = _Bearer(self._key)  # else requests looks for a password in ~/.netrc
            mine = self._local.session = (os.getpid(), session)
        return mine[1]


class _Bearer:
    """Puts the key on requests to the server itself; requests drops it where a redirect leads elsewhere."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


_connections: dict[tuple[str, str, float, float], Connection] = {}
_lock = threading.Lock()


def connect(settings: Settings) -> Connection:
    """Return this process's connection to the server of the settings, with the key that was kept for it.

    Raises AuthError where there is no key.
    """
    from artline.storage.credentials import find_key

    key = find_key(settings.server)
    if not key:
        raise AuthError(
            f"there is no key for the server {settings.server}. Run: art login {settings.server}; "
            "or set ART_API_KEY"
        )
    name = (settings.server, key, settings.bucket_timeout, settings.bucket_retry)
    with _lock:
        found = _connections.get(name)
        if found is None:
            patience = Patience(settings.bucket_timeout, settings.bucket_retry)
            found = _connections[name] = Connection(settings.server, key, patience)
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _failure(answer: requests.Response, server: str) -> tuple[ArtlineError, bool]:
    """Return the error that an answer tells of, and whether it is the server's own word."""
    kind, message = "", ""
    try:
        told = json.loads(answer.content)["error"]
        kind, message = str(told["kind"]), str(told["message"])
    except (ValueError, TypeError, KeyError):
        message = f"the server {server} answered {answer.status_code} {answer.reason}"
    found = _kinds().get(kind)
    if found is None:
        found = AuthError if answer.status_code in (401, 403) else StoreUnavailableError
    return found(message), bool(kind)


@cache
def _kinds() -> dict[str, type[ArtlineError]]:
    found: dict[str, type[ArtlineError]] = {}
    pending: list[type[ArtlineError]] = [ArtlineError]
    while pending:
        kind = pending.pop()
        found[kind.kind] = kind
        pending += kind.__subclasses__()
    return found


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0


def _reason(error: BaseException) -> str:
    """Return the innermost cause of what requests wraps several times."""
    import requests

    if isinstance(error, requests.exceptions.Timeout):
        return "it does not answer in time"
    seen = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    return getattr(seen, "strerror", None) or str(seen) or type(seen).__name__
