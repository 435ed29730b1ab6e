"""An Azure storage server (Azurite, in memory, loopback) of this process's own."""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from services.process import Server, missing, short_folder
from services.seaweed import free_ports

ACCOUNT = "artlinetest"
KEY = "YXJ0bGluZS10ZXN0LWtleQ=="
PROGRAM = Path(sys.prefix) / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
REMEDY = "It comes with what make test-clouds installs"


class Azurite:
    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None or not PROGRAM.exists():
            missing("Azurite", REMEDY)
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        self.connection = (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint={self.endpoint}/{ACCOUNT};"
        )
        command = [str(node), str(PROGRAM), "--silent", "--disableTelemetry", "--inMemoryPersistence"]
        command += ["--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
        self._server = Server(
            command, short_folder("az"), environment={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        )
        self._server.wait_until(self._answers, 60)

    def stop(self) -> None:
        self._server.stop()

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(self.endpoint, timeout=2).close()
        except urllib.error.HTTPError as refused:
            refused.close()
        except OSError:
            return False
        return True
