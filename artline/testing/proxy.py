"""A proxy between a client and an HTTP service (such as S3) that counts requests and spoils some of them."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["FaultProxy", "Request", "WireFault", "every"]

_PATIENCE = 60.0  # for a client that hangs up, and for the service
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "expect")


class WireFault(Enum):
    """What can happen to a request on its way."""

    RESET = "the connection is reset before anything is sent on"
    ERROR = "answered with 500, and not sent on"
    SLOW_DOWN = "answered with 503 SlowDown, and not sent on"
    CUT_REQUEST = "half the body is sent on, then both connections are reset"
    STALL_REQUEST = "accepted, never sent on, never answered"
    DROP_ANSWER = "done by the service, but the answer is lost"
    DUPLICATE = "sent on twice; the second answer comes back"
    CUT_ANSWER = "the answer ends in the midst of its body"
    STALL_ANSWER = "the answer stops coming in the midst of its body"
    TRICKLE = "the second half of the answer's body comes byte by byte, ten in a second"
    STALE_ANSWER = "answered as the last time that the same was asked"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came: its number (from 0 on), method, path, query and the range it asks for."""

    number: int
    method: str
    path: str
    query: str
    range: str

    @property
    def lists(self) -> bool:
        """Whether it asks which objects there are."""
        return self.method == "GET" and "list-type" in parse_qs(self.query, keep_blank_values=True)


def every(
    count: int, *faults: WireFault, where: Callable[[Request], bool] = lambda _: True
) -> Callable[[Request], WireFault | None]:
    """Return a script that spoils every ``count``-th request, each time with the next of ``faults``.

    Only requests that ``where`` holds for are counted. With ``count`` of 2 or more a request that is sent
    again at once gets through.
    """
    seen = 0
    lock = threading.Lock()

    def script(request: Request) -> WireFault | None:
        nonlocal seen
        if not where(request):
            return None
        with lock:
            seen += 1
            turn, rest = divmod(seen, count)
        return faults[(turn - 1) % len(faults)] if rest == 0 else None

    return script


class FaultProxy:
    """Listens on a port of its own on loopback; use it in a ``with`` block.

    ``script`` is asked about each request, from any thread; it returns the fault to be made or None, and may
    be replaced at any time. ``requests`` holds all that came. Signatures stay valid, as the headers that are
    signed are passed on as they are.
    """

    def __init__(self, endpoint: str, script: Callable[[Request], WireFault | None] = lambda _: None) -> None:
        address = urlsplit(endpoint)
        self.script = script
        self.requests: list[Request] = []
        self.faults: Counter[WireFault] = Counter()
        self._service = (address.hostname or "127.0.0.1", address.port or 80)
        self._answers: dict[tuple[str, str, str], bytes] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def count(self, *methods: str) -> int:
        """Return how many requests came, of these methods or of all."""
        with self._lock:
            return sum(not methods or request.method in methods for request in self.requests)

    def clear(self) -> None:
        """Forget the requests counted so far."""
        with self._lock:
            self.requests.clear()
            self.faults.clear()

    def decide(self, method: str, target: str, wanted: str) -> tuple[Request, WireFault | None]:
        """Count a request and ask the script about it."""
        path, _, query = target.partition("?")
        with self._lock:
            request = Request(len(self.requests), method, path, query, wanted)
            self.requests.append(request)
        fault = self.script(request)
        if fault is not None:
            with self._lock:
                self.faults[fault] += 1
        return request, fault

    def remember(self, request: Request, answer: bytes) -> None:
        """Keep an answer to a list, for a stale one."""
        if request.lists:
            self._answers[request.method, request.path, request.query] = answer

    def recall(self, request: Request) -> bytes | None:
        """Return the answer kept last, if there is one."""
        return self._answers.get((request.method, request.path, request.query))

    def connect(self) -> http.client.HTTPConnection:
        """Return a new connection to the service."""
        return http.client.HTTPConnection(*self._service, timeout=_PATIENCE)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._clients: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._clients.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        self._clients.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client may hang up whenever it likes."""

    def hang_up(self) -> None:
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One client's connection: request after request, on to a connection to the service of its own."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._service: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        if self._service is not None:
            self._service.close()
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def relay(self) -> None:
        proxy = self.server.proxy
        request, fault = proxy.decide(self.command, self.path, self.headers.get("Range", ""))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is WireFault.RESET:
            self._reset()
        elif fault in (WireFault.ERROR, WireFault.SLOW_DOWN):
            self._refuse(fault)
        elif fault is WireFault.STALL_REQUEST:
            self._wait_for_hang_up()
        elif fault is WireFault.CUT_REQUEST:
            self._send_half(body)
            self._reset()
        else:
            answer = proxy.recall(request) if fault is WireFault.STALE_ANSWER else None
            if answer is None:
                answer = self._ask(body)
                if fault is WireFault.DUPLICATE:
                    answer = self._ask(body)
                proxy.remember(request, answer)
            self._answer(answer, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = relay  # noqa: N815 - http.server wants these names

    def _ask(self, body: bytes) -> bytes:
        """Send the request on; return the answer, head and body, as it is to be sent back."""
        if self._service is None:
            self._service = self.server.proxy.connect()
        service = self._service
        self._send_head(service, len(body))
        service.endheaders(body or None)
        response = service.getresponse()
        content = response.read()
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.getheaders() if name.lower() not in _HOP]
        length = response.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None and response.status != 204:
            lines.append(f"Content-Length: {length}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + content

    def _send_head(self, service: http.client.HTTPConnection, length: int) -> None:
        service.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP:
                service.putheader(name, value)
        if length or self.command in ("PUT", "POST"):
            service.putheader("Content-Length", str(length))

    def _answer(self, answer: bytes, fault: WireFault | None) -> None:
        head, mark, content = answer.partition(b"\r\n\r\n")
        if fault is WireFault.DROP_ANSWER:
            self._reset()
        elif fault in (WireFault.CUT_ANSWER, WireFault.STALL_ANSWER, WireFault.TRICKLE):
            self.wfile.write(head + mark + content[: len(content) // 2])
            if not content:  # nothing to be cut: the answer is all head, so it is late or lost
                self._reset()
            elif fault is WireFault.CUT_ANSWER:
                self.close_connection = True
            elif fault is WireFault.STALL_ANSWER:
                self._wait_for_hang_up()
            else:
                self._trickle(content[len(content) // 2 :])
        else:
            self.wfile.write(answer)

    def _refuse(self, fault: WireFault) -> None:
        status, code = (500, "InternalError") if fault is WireFault.ERROR else (503, "SlowDown")
        text = (
            "" if self.command == "HEAD" else f"<Error><Code>{code}</Code><Message>scripted</Message></Error>"
        )
        lines = [f"HTTP/1.1 {status} {code}", "Content-Type: application/xml", f"Content-Length: {len(text)}"]
        self.wfile.write("\r\n".join([*lines, "", text]).encode())

    def _send_half(self, body: bytes) -> None:
        service = self.server.proxy.connect()
        self._send_head(service, len(body))
        service.endheaders()
        service.send(body[: len(body) // 2])
        service.close()

    def _wait_for_hang_up(self) -> None:
        self.connection.settimeout(_PATIENCE)
        with contextlib.suppress(OSError):
            self.connection.recv(1)
        self.close_connection = True

    def _trickle(self, content: bytes) -> None:
        self.close_connection = True
        self.connection.settimeout(0.1)
        for number in range(len(content)):
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                self.wfile.write(content[number : number + 1])

    def _reset(self) -> None:
        """End the connection so that the client gets "connection reset", whatever is still in its buffers."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
