"""A web server in this process, on loopback, whose pages answer as a test says."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What lies at a path and how the server behaves about it.

    ``codes`` are answered first, one for each request; ``drops`` are numbers of bytes after which the
    connection breaks, one for each GET that sends content. ``headers`` are sent with every answer.
    """

    content: bytes = b""
    etag: str = ""
    modified: float = 0.0
    head: bool = True
    ranges: bool = True
    sized: bool = True
    location: str = ""
    codes: list[int] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)


class Web:
    """Serves ``pages`` by path; ``requests`` are (method, path, headers) in the order of their arrival."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                web._answer(self, send=True)

            def do_HEAD(self) -> None:
                web._answer(self, send=False)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # The same server under a name that is another host to a client.
        self.other_url = f"http://localhost:{self._server.server_port}"

    def put(self, path: str, content: bytes = b"", **behaviour: object) -> str:
        """Serve a page and return its address."""
        self.pages[path] = Page(content, **behaviour)  # type: ignore[arg-type]  # names of Page's fields
        return self.url + path

    def seen(self, method: str = "") -> list[tuple[str, str, dict[str, str]]]:
        """Return the requests of a method since the last call of this, and forget all."""
        found = [request for request in self.requests if method in ("", request[0])]
        self.requests.clear()
        return found

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler, *, send: bool) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.command, request.path, headers))
        page = self.pages.get(request.path)
        if page is None:
            return self._plain(request, 404)
        if page.codes:
            return self._plain(request, page.codes.pop(0), page.headers)
        if page.location:
            return self._plain(request, 302, {"Location": page.location, **page.headers})
        if not send and not page.head:
            return self._plain(request, 405)
        start = 0
        wanted = headers.get("range", "")
        if wanted and page.ranges and headers.get("if-range", page.etag) == page.etag:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last) + 1 if last else len(page.content)
            if start >= len(page.content):
                return self._plain(request, 416)
            content = page.content[start:end]
            request.send_response(206)
            request.send_header(
                "Content-Range", f"bytes {start}-{start + len(content) - 1}/{len(page.content)}"
            )
        else:
            content = page.content
            request.send_response(200)
        if page.sized:
            request.send_header("Content-Length", str(len(content)))
        else:
            request.send_header("Connection", "close")
            request.close_connection = True
        if page.ranges:
            request.send_header("Accept-Ranges", "bytes")
        if page.etag:
            request.send_header("ETag", page.etag)
        if page.modified:
            request.send_header("Last-Modified", formatdate(page.modified, usegmt=True))
        for name, value in page.headers.items():
            request.send_header(name, value)
        request.end_headers()
        if not send:
            return None
        with suppress(ConnectionError):  # a client may have seen enough
            if page.drops:
                request.wfile.write(content[: page.drops.pop(0)])
                request.close_connection = True
            else:
                request.wfile.write(content)
        return None

    def _plain(
        self, request: BaseHTTPRequestHandler, code: int, headers: Mapping[str, str] | None = None
    ) -> None:
        request.send_response(code)
        for name, value in {**(headers or {}), "Content-Length": "0"}.items():
            request.send_header(name, value)
        request.end_headers()
