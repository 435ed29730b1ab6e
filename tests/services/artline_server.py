"""An Artline server (loopback) of this process's own, on SQLite and a folder or on what it is given."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from artline.server.directory import Directory, Role
from artline.server.options import ServerOptions
from artline.settings import Settings
from services.process import Server, short_folder
from services.seaweed import free_ports


@dataclass(frozen=True)
class Login:
    """An account in a team, and its key."""

    account: str
    team: str
    key: str
    key_id: str


class ArtlineServer:
    def __init__(
        self,
        *,
        catalog: str = "",
        bucket: str = "",
        environment: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.root = Path(short_folder("art"))
        self.settings = Settings(root=self.root, catalog=catalog, bucket=bucket)
        self.options = ServerOptions(self.settings)
        self.directory = Directory.open(self.options.directory_url)
        self.port = free_ports(1)[0]
        self._environment = environment
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "artline", "server", "run"]
        self._command += ["--root", str(self.root), "--port", str(self.port)]
        if catalog:
            self._command += ["--catalog", catalog]
        if bucket:
            self._command += ["--bucket", bucket]
        self._command += options
        self.start()

    def start(self) -> None:
        """Start it, or start it again where it was."""
        self._server = Server(self._command, self.root, environment=self._environment)
        self._server.wait_until(self._answers, 60)

    def stop(self) -> None:
        """End it; what it keeps stays."""
        self._server.stop(keep=True)

    def close(self) -> None:
        """End it and remove what it keeps."""
        self.stop()
        self.directory.catalog.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def log(self) -> str:
        """Return what it wrote to its standard error."""
        return self._server.log.read_text(errors="replace")

    def login(self, team: str | None = None, role: Role = Role.ADMIN, *, admin: bool = False) -> Login:
        """Make an account with a key, in a team of its own unless one is given."""
        if team is None:
            team = f"team-{uuid.uuid4().hex[:8]}"
            self.directory.create_team(team)
        account = f"user-{uuid.uuid4().hex[:8]}"
        self.directory.create_account(account, admin=admin, team=team)
        if role is not Role.NONE:
            self.directory.set_member(team, account, role)
        key = self.directory.create_key(account)
        return Login(account, team, key.text, key.id)

    def _answers(self) -> bool:
        try:
            with requests.get(f"{self.url}/readyz", timeout=2) as answer:
                return answer.status_code == 200
        except requests.exceptions.RequestException:
            return False
