"""Fixtures for every room: a store of the test's own, and real servers on demand."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from services.leash import die_with_parent
from services.postgres import Postgres
from services.rclone import Rclone
from services.seaweed import BUCKET, Seaweed

FOREIGN = ("ART_", "AWS_", "FSSPEC_", "WANDB_", "PG")


def pytest_configure(config: pytest.Config) -> None:
    """Let a worker process, and so its servers, end with the session that started it."""
    if hasattr(config, "workerinput"):
        die_with_parent(os.getppid(), signal.SIGKILL)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Drop the coverage files of processes that tests killed, before they are combined: they are torn."""
    result = yield
    if not hasattr(session.config, "workerinput"):
        for file in session.config.rootpath.glob(".coverage.*"):
            try:
                with contextlib.closing(sqlite3.connect(file)) as data:
                    whole = data.execute("SELECT version FROM coverage_schema").fetchone() is not None
                    data.execute("SELECT * FROM line_bits").fetchall()
                    data.execute("SELECT * FROM arc").fetchall()
            except sqlite3.DatabaseError:
                whole = False
            if not whole:
                file.unlink()
    return result


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cut the test off from its caller: no settings, home, credentials or working folder of theirs."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) and name != "AWS_CA_BUNDLE":
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("ART_HOME", str(tmp_path / "store"))
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def store_root(clean_environment: Path, tmp_path: Path) -> Path:
    """Return the root of a store that does not exist yet; ``ART_HOME`` points to it."""
    return tmp_path / "store"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start PostgreSQL once for this process."""
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """Return the SQLAlchemy URL of a fresh, empty database."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Seaweed]:
    """Start an S3 server once for this process."""
    server = Seaweed()
    yield server
    server.stop()


@pytest.fixture
def s3_url(seaweed: Seaweed, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a fresh prefix; credentials and endpoint are in the environment."""
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def rclone() -> Iterator[Rclone]:
    """Start an S3 server that ignores conditions once for this process."""
    server = Rclone()
    yield server
    server.stop()


@pytest.fixture
def rclone_url(rclone: Rclone, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a fresh prefix on it; credentials and endpoint are in the environment."""
    for name, value in rclone.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"
