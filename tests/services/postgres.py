"""A PostgreSQL cluster of this process's own, on a Unix socket, with a fresh database on request."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

from services.process import Server, missing, short_folder

INSTALLED = Path("/usr/lib/postgresql")
REMEDY = "Install it: apt-get install postgresql (on macOS: brew install postgresql)"
# Nothing here outlives the session, so nothing needs to reach the disk.
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "autovacuum": "off",
}


def programs() -> Path:
    """Return the folder with ``initdb`` and ``postgres``, the newest version first."""
    candidates = sorted(
        INSTALLED.glob("*/bin"), key=lambda p: [int(n) for n in re.findall(r"\d+", p.parent.name)]
    )
    found = shutil.which("initdb")
    if found:
        candidates.insert(0, Path(found).resolve().parent)
    for folder in reversed(candidates):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    missing("PostgreSQL", REMEDY)
    raise AssertionError


class Postgres:
    def __init__(self) -> None:
        binaries = programs()
        self._folder = short_folder("pg")
        data = self._folder / "data"
        user = None
        if os.geteuid() == 0:  # the server refuses to run as root
            user = "postgres"
            shutil.chown(self._folder, user, user)
        command = [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-N"]
        command += ["-U", "postgres", "-E", "UTF8", "--no-locale"]
        done = subprocess.run(
            command,
            cwd=self._folder,
            user=user,
            extra_groups=[] if user else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        serve = [str(binaries / "postgres"), "-D", str(data), "-k", str(self._folder)]
        for name, value in OPTIONS.items():
            serve += ["-c", f"{name}={value}"]
        # SIGQUIT is PostgreSQL's immediate shutdown: it takes its children and shared memory with it.
        self._server = Server(serve, self._folder, user=user, death=signal.SIGQUIT)
        if not self._server.wait_until(self._answers, 60):
            raise RuntimeError(f"PostgreSQL ended at once:\n{self._server.tail()}")

    def create(self) -> str:
        """Create an empty database and return its name."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self._execute(f'CREATE DATABASE "{name}"')
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"

    def stop(self) -> None:
        self._server.stop()

    def _answers(self) -> bool:
        import psycopg

        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(
            host=str(self._folder), user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement.encode())
