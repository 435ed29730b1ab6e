"""Who is let in: every route, every kind of key; other teams' things; what is forged."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from services.artline_server import ArtlineServer, Login

import artline as art
from artline.artifacts.store import ArtifactStore
from artline.server.directory import Role
from artline.server.routes import ROUTES
from artline.server.routing import Route
from artline.storage.pack import object_name

IDS = [f"{route.method} {route.path}" for route in ROUTES]


def address(server: ArtlineServer, route: Route, team: str) -> str:
    given = {"team": team, "version": "1", "key": "1", "pack": "0" * 32, "lease": "0" * 32}
    path = re.sub(r"{(\w+)(:\w+)?}", lambda found: given.get(found[1], "x"), route.path)
    return f"{server.url}/api/v1{path}"


def ask(server: ArtlineServer, route: Route, team: str, key: str | None) -> requests.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    data = b"{}" if route.body is not None else None
    return requests.request(
        route.method, address(server, route, team), headers=headers, data=data, timeout=30
    )


def told(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["kind"]


@pytest.fixture(scope="module")
def keys(server: ArtlineServer) -> dict[str, Any]:
    login = server.login()
    expired = server.directory.create_key(login.account, lifetime=0.001).text
    revoked = server.directory.create_key(login.account)
    server.directory.revoke_key(revoked.id)
    shut = server.login(login.team)
    server.directory.set_disabled(shut.account, True)
    return {
        "login": login,
        "none": None,
        "no key": "no key",
        "wrong": f"art_{login.key_id}_{'x' * 43}",
        "unknown": f"art_{'0' * 12}_{'x' * 43}",
        "expired": expired,
        "revoked": revoked.text,
        "shut out": shut.key,
        "long": "art_" + "x" * 5000,
        "not ascii": "art_\u00e4_\u00e4".encode().decode("latin-1"),
    }


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_nobody_comes_in_without_a_valid_key(
    server: ArtlineServer, route: Route, keys: dict[str, Any]
) -> None:
    for name, key in keys.items():
        if name != "login":
            assert told(ask(server, route, keys["login"].team, key)) == (401, "sign_in"), name


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_a_stranger_learns_nothing_of_a_team(
    server: ArtlineServer, route: Route, keys: dict[str, Any], stranger: Login
) -> None:
    if "{team}" in route.path:
        there = ask(server, route, keys["login"].team, stranger.key)
        nowhere = ask(server, route, "no-such-team", stranger.key)
        assert told(there) == told(nowhere) == (404, "not_found")
        assert (
            there.json()["error"]["message"].replace(keys["login"].team, "no-such-team")
            == (nowhere.json()["error"]["message"])
        )
    elif route.server_admin:
        assert told(ask(server, route, "x", stranger.key)) == (403, "not_allowed")
    else:
        assert ask(server, route, "x", stranger.key).status_code < 500


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if "{team}" in r.path and r.role > Role.READ], ids=lambda r: r.path
)
def test_a_reader_changes_nothing(server: ArtlineServer, route: Route, keys: dict[str, Any]) -> None:
    reader = server.login(keys["login"].team, Role.READ)
    assert told(ask(server, route, reader.team, reader.key)) == (403, "not_allowed")


@pytest.fixture(scope="module")
def stranger(server: ArtlineServer) -> Login:
    return server.login()


class TestPrivateProjects:
    def test_only_those_with_a_grant_see_one(
        self, server: ArtlineServer, login: Login, as_user: Callable[[Login], None]
    ) -> None:
        as_user(login)
        store = ArtifactStore.open()
        draft = art.Artifact("secret", type="dataset", store=store)
        with draft.new_file("f") as file:
            file.write("x")
        draft.save(project="hush")
        server.directory.set_visibility(login.team, "hush", "private")
        outsider, insider = server.login(login.team, Role.WRITE), server.login(login.team, Role.WRITE)
        server.directory.set_grant(login.team, "hush", insider.account, Role.READ)
        deadline = time.monotonic() + 20
        base = f"{server.url}/api/v1/stores/{login.team}"
        for who, status in ((outsider, 404), (insider, 200)):
            headers = {"Authorization": f"Bearer {who.key}"}
            for path in ("projects/hush/version?ref=secret", f"versions/{draft.record.id}"):
                while True:  # a role that was looked up before counts for five seconds
                    answer = requests.get(f"{base}/{path}", headers=headers, timeout=30)
                    if answer.status_code == status or time.monotonic() > deadline:
                        break
                assert answer.status_code == status, (who, path)
            shown = requests.get(f"{base}/projects", headers=headers, timeout=30).json()
            assert ("hush" in {project["name"] for project in shown}) == (status == 200)
        refused = requests.patch(
            f"{base}/versions/{draft.record.id}",
            json={"description": "mine"},
            headers={"Authorization": f"Bearer {insider.key}"},
            timeout=30,
        )
        assert told(refused) == (403, "not_allowed")


class TestForgery:
    @pytest.fixture
    def http(self, server: ArtlineServer, login: Login) -> Callable[..., requests.Response]:
        def send(method: str, path: str, **more: Any) -> requests.Response:
            headers = {"Authorization": f"Bearer {login.key}", **more.pop("headers", {})}
            url = f"{server.url}/api/v1/stores/{login.team}{path}"
            return requests.request(method, url, headers=headers, timeout=30, **more)

        return send

    @pytest.fixture
    def store(self, login: Login, as_user: Callable[[Login], None]) -> ArtifactStore:
        as_user(login)
        return ArtifactStore.open()

    def pack(self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> tuple[str, bytes]:
        """Return the name and bytes of a pack as a client would send it."""
        caught: list[tuple[str, bytes]] = []
        bucket = store.content.bucket

        def keep(name: str, path: Path, *, move: bool = False) -> None:
            caught.append((name, path.read_bytes()))
            path.unlink()

        with monkeypatch.context() as patch, store.content.writer() as writer:
            patch.setattr(bucket, "put_file", keep)
            patch.setattr(store.content, "register", lambda lease, packs: None)
            writer.add_bytes(os.urandom(5000))
            writer.flush()
        ((name, data),) = caught
        return re.sub(r".*/|\.pack", "", name), data

    def test_no_flipped_byte_of_a_pack_is_taken_in(
        self,
        store: ArtifactStore,
        http: Callable[..., requests.Response],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        name, data = self.pack(store, monkeypatch)
        for at in (0, 20, 70, 100, 130, 4000, len(data) - 150, len(data) - 30, len(data) - 1):
            bad = bytearray(data)
            bad[at] ^= 1
            answer = http("PUT", f"/content/packs/{name}", data=bytes(bad))
            assert answer.status_code in (400, 422), (at, answer.text)
        assert http("PUT", f"/content/packs/{name}", data=data[:-1]).status_code == 422
        assert http("PUT", f"/content/packs/{'0' * 32}", data=data).status_code == 400
        assert http("HEAD", f"/content/packs/{name}").status_code == 404
        assert http("PUT", f"/content/packs/{name}", data=data).status_code == 204
        assert http("GET", f"/content/packs/{name}").content == data

    def test_a_version_of_what_was_never_stored_is_refused(
        self, store: ArtifactStore, http: Callable[..., requests.Response]
    ) -> None:
        draft = art.Artifact("d", type="dataset", store=store)
        with draft.new_file("f") as file:
            file.write("x" * 100)
        draft.save()
        root = draft.record.root
        import base64

        def body(**changes: Any) -> dict[str, Any]:
            manifest = {
                "digest": base64.b64encode(draft.record.digest).decode(),
                "root": base64.b64encode(root).decode(),
                "rows": 1,
                "files": 1,
                "size": 100,
                **changes,
            }
            return {"name": "forged", "type": "dataset", "manifest": manifest, "lease": uuid.uuid4().hex}

        ended = http("POST", "/projects/net/versions", json=body())
        assert told(ended) == (409, "conflict")  # no lease holds it
        lease = uuid.uuid4().hex
        assert http("PUT", f"/content/leases/{lease}").status_code == 204
        for changes in (
            {"root": base64.b64encode(os.urandom(32)).decode()},
            {"size": 1},
            {"digest": base64.b64encode(os.urandom(32)).decode()},
        ):
            forged = {**body(**changes), "lease": lease}
            assert told(http("POST", "/projects/net/versions", json=forged)) == (422, "integrity"), changes

    def test_a_digest_is_no_key_to_what_others_have(
        self,
        server: ArtlineServer,
        store: ArtifactStore,
        as_user: Callable[[Login], None],
        stranger: Login,
    ) -> None:
        secret = os.urandom(2000)
        draft = art.Artifact("d", type="dataset", store=store)
        with draft.new_file("f", mode="wb") as file:
            file.write(secret)
        draft.save()
        digest = store.content.algorithm.hash(secret)
        assert store.content.missing([digest]) == set()
        as_user(stranger)
        theirs = ArtifactStore.open().content
        assert theirs.missing([digest]) == {digest}
        assert theirs.locate([digest]) == {}
        place = store.content.locate([digest])[digest]
        name = re.sub(r".*/|\.pack", "", store.content.pack_object(place.pack_id))
        for team in (stranger.team, draft.record.entity):
            answer = requests.get(
                f"{server.url}/api/v1/stores/{team}/content/packs/{name}",
                headers={"Authorization": f"Bearer {stranger.key}"},
                timeout=30,
            )
            assert answer.status_code == 404

    def test_names_lead_nowhere_else(
        self, http: Callable[..., requests.Response], server: ArtlineServer
    ) -> None:
        for name in (
            "..%2f..%2fdirectory.db",
            "%2e%2e",
            "a" * 32 + "%00",
            "ABCDEF" * 6,
            object_name("0" * 32),
        ):
            assert http("GET", f"/content/packs/{name}").status_code in (400, 404)
        for project in ("..%2fx", "a%2f..", "%00", "."):
            assert http("GET", f"/projects/{project}/artifacts").status_code in (200, 400, 404)
            journal = f"/projects/{project}/runs/x/journals/y"
            assert http("POST", journal, data=b"\x01\0\0\0").status_code in (400, 404, 405)
        assert {place.name for place in server.root.iterdir() if place.is_dir()} <= {"teams"}

    def test_what_is_too_large_is_not_read_to_the_end(
        self, http: Callable[..., requests.Response], server: ArtlineServer
    ) -> None:
        answer = http("POST", "/projects/net/versions", data=b"x" * (17 << 20))
        assert told(answer) == (413, "too_large")
        assert told(http("POST", "/content/missing", data=b"x" * 33))[0] == 400

    def test_headers_and_logs_take_no_line_ends(
        self, http: Callable[..., requests.Response], server: ArtlineServer
    ) -> None:
        answer = http("GET", "/projects/a%0d%0aSet-Cookie:%20x=y/artifacts")
        assert "Set-Cookie" not in answer.headers
        lines = server.log().splitlines()
        assert all(line.startswith("{") and line.endswith("}") for line in lines if "answered" in line)

    def test_a_request_repeated_changes_nothing_twice(
        self, http: Callable[..., requests.Response], store: ArtifactStore
    ) -> None:
        draft = art.Artifact("d", type="dataset", store=store)
        with draft.new_file("f") as file:
            file.write("x")
        draft.save()
        key = {"Idempotency-Key": uuid.uuid4().hex}
        path = f"/versions/{draft.record.id}"
        with ThreadPoolExecutor(8) as threads:
            sent = [
                threads.submit(http, "PATCH", path, json={"description": "once"}, headers=key)
                for _ in range(8)
            ]
            answers = [future.result() for future in sent]
        assert {answer.status_code for answer in answers} <= {200, 503}
        assert 200 in {answer.status_code for answer in answers}
        again = http("PATCH", path, json={"description": "once"}, headers=key)
        assert again.json()["description"] == "once"
        changes = [event for event in store.history(draft.record.id) if event.kind == "description_changed"]
        assert len(changes) == 1
        other = http("PATCH", path, json={"description": "twice"}, headers=key)
        assert told(other) == (409, "conflict")


def test_no_secret_is_kept(server: ArtlineServer, login: Login) -> None:
    secret = login.key.split("_", 2)[2]
    with server.directory.catalog.read() as conn:
        (row,) = conn.exec_driver_sql(f"SELECT hash FROM api_key WHERE id = '{login.key_id}'").fetchall()
    assert bytes(row[0]) == hashlib.sha256(secret.encode()).digest()
    assert secret not in server.log()
