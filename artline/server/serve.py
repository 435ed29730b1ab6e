"""Serving: uvicorn around the application, one JSON line a request on standard error, a graceful end."""

from __future__ import annotations

import json
import logging
import socket
import sys
import time
from typing import TYPE_CHECKING

from artline.errors import MissingExtraError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from artline.server.options import ServerOptions

__all__ = ["serve"]

_GRACE = 30  # seconds that requests under way are given when the server is told to stop
_FIELDS = ("request_id", "method", "path", "status", "ms", "account")


class _Lines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told.update({name: getattr(record, name) for name in _FIELDS if hasattr(record, name)})
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=True)  # control characters and line ends come out escaped


def serve(options: ServerOptions, *, ready: Callable[[str], object] = lambda address: None) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is called with the address once requests are answered.

    Requests under way are given 30 seconds to end. Raises MissingExtraError without the packages of the
    extra, StoreUnavailableError when the address is taken.
    """
    try:
        import uvicorn

        from artline.server.app import create_app
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"a server needs {error.name}, which is not installed. Install it: pip install 'artline[server]'"
        ) from error
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name in ("artline.server", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    sockets = [_listen(options.host, options.port)]
    host, port = sockets[0].getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        create_app(options),
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=75,
        limit_concurrency=2000,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if not self.should_exit:
                ready(address)

    server = Server(config)
    server.run(sockets=sockets)
    if not server.started:
        raise StoreUnavailableError("the server could not start; its log above says why")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StoreUnavailableError(
            f"cannot listen on {host}:{port}: {error.strerror}. Stop what listens there, or choose --port"
        ) from error
    listener.listen(1024)
    return listener
