"""A server for this process's tests, and logins that each test has for itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from services.artline_server import ArtlineServer, Login
from services.seaweed import BUCKET

from artline.server.directory import Role


@pytest.fixture(scope="session", params=["sqlite and a folder", "postgresql and s3"])
def server(request: pytest.FixtureRequest) -> Iterator[ArtlineServer]:
    """Start a server once for this process, on what small teams use and on what scales out."""
    if request.param == "sqlite and a folder":
        started = ArtlineServer()
    else:
        postgres, seaweed = request.getfixturevalue("postgres"), request.getfixturevalue("seaweed")
        started = ArtlineServer(
            catalog=postgres.url(postgres.create()),
            bucket=f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}",
            environment=seaweed.environment(),
        )
    yield started
    started.close()


@pytest.fixture
def login(server: ArtlineServer) -> Login:
    """Return the administrator of a fresh team."""
    return server.login()


@pytest.fixture
def as_user(server: ArtlineServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[Login], None]:
    """Return what makes this process work as an account, on the server."""

    def become(login: Login) -> None:
        monkeypatch.setenv("ART_SERVER", server.url)
        monkeypatch.setenv("ART_API_KEY", login.key)
        monkeypatch.setenv("ART_ENTITY", login.team)
        monkeypatch.setenv("ART_PROJECT", "net")

    return become


@pytest.fixture
def member(server: ArtlineServer) -> Callable[[Login, Role], Login]:
    """Return what makes another account in the same team."""
    return lambda login, role: server.login(login.team, role)
