"""Referenced objects of web servers."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urldefrag

from artline.artifacts.references.found import Found
from artline.artifacts.references.place import BLOCK, Reading
from artline.artifacts.references.ranges import open_ranges
from artline.errors import AuthError, IntegrityError

if TYPE_CHECKING:
    import requests

    from artline.artifacts.manifest import Reference

__all__ = ["Web"]

CONNECT, STALLED = 10.0, 30.0  # seconds until a server counts as away
ATTEMPTS = 5
FIRST_WAIT, LONGEST_WAIT = 0.2, 30.0  # seconds between attempts, doubled each time; what Retry-After may ask
REDIRECTS = 10
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_sessions: dict[int, requests.Session] = {}


class Web:
    """A place that knows objects by a strong ETag, or by modification time where no checksum is wanted.

    A weak ETag promises no equal bytes and is not kept. Nothing is listed: the web has no folders.
    """

    keeps_time = True

    def find(self, uri: str) -> Iterator[tuple[str, Found]]:
        """Yield the object at an address."""
        yield "", _ask(urldefrag(uri).url)

    def look(self, reference: Reference) -> Found:
        """Describe an object as it is now."""
        return _ask(reference.uri)

    def read(self, reference: Reference, offset: int) -> Reading:
        """Begin to read an object with one request, whose answer says which it is."""
        headers = {}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if reference.etag:
                headers["If-Range"] = f'"{reference.etag}"'
        answer = _send("GET", reference.uri, headers)
        if answer.status_code == 416:  # it is shorter by now
            answer.close()
            answer = _send("GET", reference.uri)
        start = offset if answer.status_code == 206 else 0
        return Reading(_described(reference.uri, answer), start, _blocks(answer), answer.close, bound=True)

    def open(self, reference: Reference, found: Found) -> BinaryIO:
        """Open an object: ranges of it where the server serves them, else a copy in a temporary file."""
        if found.ranges and found.size is not None:
            return open_ranges(found.size, lambda start, end: _range(found, start, end))
        copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (it is the result)
        reading = self.read(reference, 0)
        try:
            for block in reading.blocks:
                copy.write(block)
        finally:
            reading.close()
        copy.seek(0)
        return copy


def _ask(uri: str) -> Found:
    """Describe an object by HEAD, or by the beginning of a GET where that is not served."""
    answer = _send("HEAD", uri, refused=True)
    with answer:
        if answer.status_code < 400 and "Content-Length" in answer.headers:
            return _described(uri, answer)
    with _send("GET", uri) as answer:
        return _described(uri, answer)


def _range(found: Found, start: int, end: int) -> bytes:
    headers = {"Range": f"bytes={start}-{end - 1}"}
    if found.etag:
        headers["If-Range"] = f'"{found.etag}"'
    with _send("GET", found.uri, headers) as answer:
        now = _described(found.uri, answer)
        if answer.status_code != 206 or (now.size, now.etag) != (found.size, found.etag):
            raise IntegrityError(
                f"'{found.uri}' has changed while it was read (it was {found.size} bytes with ETag "
                f"{found.etag or 'none'}, found {now.size} bytes with {now.etag or 'none'}). Open it again"
            )
        return b"".join(_blocks(answer))


def _described(uri: str, answer: requests.Response) -> Found:
    headers = answer.headers
    size: int | None = None
    length = headers.get("Content-Length", "")
    if answer.status_code == 206:
        length = headers.get("Content-Range", "").rpartition("/")[2]
    if length.isdecimal():
        size = int(length)
    etag = headers.get("ETag", "").strip()
    strong = etag[1:-1] if len(etag) > 2 and etag[0] == etag[-1] == '"' else ""
    modified = 0
    with contextlib.suppress(KeyError, ValueError):
        modified = int(parsedate_to_datetime(headers["Last-Modified"]).timestamp()) * 1_000_000_000
    ranges = answer.status_code == 206 or headers.get("Accept-Ranges", "").strip().lower() == "bytes"
    return Found(uri, size, strong, mtime_ns=modified, ranges=ranges)


def _blocks(answer: requests.Response) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError

    try:
        yield from answer.raw.stream(BLOCK, decode_content=False)
    except HTTPError as error:
        raise ConnectionError(f"the connection broke: {error}") from error


def _send(
    method: str, uri: str, headers: dict[str, str] | None = None, *, refused: bool = False
) -> requests.Response:
    """Send a request until it is answered; with ``refused`` an answer that says no is returned, too.

    Raises FileNotFoundError, PermissionError, ConnectionError for an address with nothing there, that may
    not be read, that stays away; an answer of 416 is the caller's.
    """
    import requests

    wait = FIRST_WAIT
    for attempt in range(1, ATTEMPTS + 1):
        pause = wait
        try:
            # What is compressed on the way has another length and other bytes than what lies there.
            answer = _session().request(
                method,
                uri,
                headers={"Accept-Encoding": "identity", **(headers or {})},
                timeout=(CONNECT, STALLED),
                stream=True,
                allow_redirects=True,
            )
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise FileNotFoundError(f"{error}") from error
        except requests.exceptions.TooManyRedirects as error:
            raise ConnectionError(f"more than {REDIRECTS} redirects") from error
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            if attempt == ATTEMPTS:
                cause = getattr(error.args[0] if error.args else None, "reason", None) or error
                raise ConnectionError(str(cause).partition("): ")[2] or str(cause)) from error
        else:
            code = answer.status_code
            if code not in _AGAIN and (code < 400 or code == 416 or refused):
                return answer
            answer.close()
            if code in (404, 410):
                raise FileNotFoundError(uri)
            if code in (401, 403, 407):
                raise PermissionError(f"the server answered {code} {answer.reason}")
            if code not in _AGAIN or attempt == ATTEMPTS:
                if refused:
                    return answer
                raise ConnectionError(f"the server answered {code} {answer.reason}")
            asked = answer.headers.get("Retry-After", "")
            pause = min(max(wait, float(asked) if asked.isdecimal() else 0.0), LONGEST_WAIT)
        time.sleep(pause)
        wait *= 2
    raise AssertionError("unreachable")


def _session() -> requests.Session:
    """Return this process's session. It keeps no cookies; ~/.netrc and proxies count, host by host."""
    session = _sessions.get(os.getpid())
    if session is None:
        import requests
        from requests.cookies import RequestsCookieJar

        class Session(requests.Session):
            def get_redirect_target(self, resp: Any) -> str | None:
                target = super().get_redirect_target(resp)
                if target and resp.url.startswith("https:") and target.lower().startswith("http:"):
                    raise AuthError(
                        f"'{resp.url}' leads on to '{target}', which is not encrypted. Refer to that address "
                        "itself if it is to be trusted"
                    )
                return target

        from http.cookiejar import DefaultCookiePolicy

        session = Session()
        session.max_redirects = REDIRECTS
        session.cookies = RequestsCookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=16))
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))
        _sessions.clear()
        _sessions[os.getpid()] = session
    return session
