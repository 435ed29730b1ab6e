"""What works on a store works on a store behind a server: runs, artifacts, files, the command line."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from services.artline_server import ArtlineServer, Login

import artline as art
from artline.artifacts.store import ArtifactStore
from artline.cli.group import art as command
from artline.errors import (
    ArtifactNotFoundError,
    AuthError,
    ConflictError,
    NotFoundError,
    ProtectedError,
    UsageError,
)
from artline.runs.store import RunStore
from artline.runs.sync import sync
from artline.server.directory import Role


@pytest.fixture(autouse=True)
def signed_in(login: Login, as_user: Callable[[Login], None]) -> Login:
    as_user(login)
    return login


def quiet() -> dict[str, object]:
    return {"quiet": True, "console": False, "save_code": False}


class TestRuns:
    def test_a_run_is_read_back_as_it_was_logged(self, signed_in: Login) -> None:
        with art.init(config={"lr": 0.1, "deep": {"er": [1, None]}}, tags=["a"], settings=quiet()) as run:
            for step in range(300):
                run.log({"loss": 1 / (step + 1), "nan": math.nan, "text": f"t{step}"})
            run.summary["best"] = 0.5
        found = art.Api().run(run.path)
        rows = found.history()
        assert found.state == "finished"
        assert [row["loss"] for row in rows] == [1 / (step + 1) for step in range(300)]
        assert all(math.isnan(row["nan"]) for row in rows)
        assert rows[7]["text"] == "t7"
        assert found.config["deep.er"] == [1, None]
        assert found.summary["best"] == 0.5
        assert found.entity == signed_in.team
        assert not list(Path(os.environ["ART_HOME"]).glob("journal/*/*/*.journal"))

    def test_runs_are_found_edited_and_deleted(self) -> None:
        for rate in (0.1, 0.2):
            with art.init(config={"lr": rate}, settings=quiet(), reinit="finish_previous"):
                pass
        api = art.Api()
        (found,) = api.runs(filters={"config.lr": {"$gt": 0.15}})
        found.tags = ["best"]
        found.notes = "ü ☃"
        found.config["seen"] = math.inf
        found.update()
        again = api.run(found.path)
        assert (again.tags, again.notes, again.config["seen"]) == (["best"], "ü ☃", math.inf)
        again.delete()
        assert [run.config["lr"] for run in api.runs()] == [0.1]
        again.undelete()
        assert len(api.runs()) == 2

    def test_a_run_goes_on_where_it_stopped(self) -> None:
        with art.init(id="one", settings=quiet()) as run:
            run.log({"x": 1.0})
        with art.init(id="one", resume="must", settings=quiet()) as run:
            run.log({"x": 2.0})
        assert [row["x"] for row in art.Api().run("one").history()] == [1.0, 2.0]
        with pytest.raises(ConflictError):
            art.init(id="one", settings=quiet())

    def test_files_of_a_run_are_there_when_it_has_ended(self, tmp_path: Path) -> None:
        with art.init(settings=quiet()) as run:
            (Path(run.dir) / "notes.md").write_text("# mine")
            (tmp_path / "late.txt").write_text("late")
            run.save(str(tmp_path / "late.txt"), policy="end")
        found = art.Api().run(run.path)
        names = [file.name for file in found.files()]
        assert "notes.md" in names
        assert any(name.endswith("late.txt") for name in names)
        shutil.rmtree(run.dir)
        place = found.file("notes.md").download(tmp_path / "back")
        assert place.read_text() == "# mine"

    def test_a_server_opens_no_folder_that_a_run_names(
        self, server: ArtlineServer, signed_in: Login, tmp_path: Path
    ) -> None:
        (tmp_path / "private").mkdir()
        (tmp_path / "private" / "secret.txt").write_text("hush")
        with art.init(dir=tmp_path / "private", settings=quiet(), mode="offline") as run:
            pass
        (tmp_path / "private").rename(tmp_path / "moved")
        art.Api().run(run.path)
        (tmp_path / "moved").rename(tmp_path / "private")
        for path in ("files", "file?name=secret.txt"):
            answer = requests.get(
                f"{server.url}/api/v1/stores/{signed_in.team}/projects/net/runs/{run.id}/{path}",
                headers={"Authorization": f"Bearer {signed_in.key}"},
                timeout=30,
            )
            assert b"hush" not in answer.content
            assert b"secret" not in answer.content or answer.status_code == 404

    def test_offline_runs_are_sent_by_sync_once(self) -> None:
        with art.init(mode="offline", settings=quiet()) as run:
            run.log({"x": 1.0})
        store = RunStore.open()
        report = sync(store)
        assert report.runs == (run.path,)
        assert report.remaining == 0
        assert sync(store).records == 0
        assert [row["x"] for row in art.Api().run(run.path).history()] == [1.0]

    def test_a_server_that_is_away_costs_a_run_nothing(self, server: ArtlineServer) -> None:
        server.stop()
        try:
            with art.init(settings={**quiet(), "bucket_timeout": 1.0}, mode="offline") as run:
                run.log({"x": 1.0})
        finally:
            server.start()
        assert [row["x"] for row in art.Api().run(run.path).history()] == [1.0]


class TestArtifacts:
    def test_a_version_comes_back_byte_for_byte(self, tmp_path: Path) -> None:
        source = tmp_path / "data"
        source.mkdir()
        (source / "large.bin").write_bytes(os.urandom(9 << 20))
        (source / "leer").write_bytes(b"")
        (source / "déjà.txt").write_text("vu")
        with art.init(settings=quiet()) as run:
            data = art.Artifact("data", type="dataset", metadata={"n": 3})
            data.add_dir(source)
            version = run.log_artifact(data, aliases=["raw"], tags=["spring"])
        assert version.version == "v0"
        with art.init(settings=quiet()) as run:
            used = run.use_artifact("data:raw")
            root = used.download(tmp_path / "back")
        assert {p.name: p.read_bytes() for p in root.iterdir()} == {
            p.name: p.read_bytes() for p in source.iterdir()
        }
        assert used.used_by() == [run.path]
        assert used.metadata == {"n": 3}
        used.verify(root)

    def test_the_same_content_is_neither_sent_nor_numbered_again(self, tmp_path: Path) -> None:
        file = tmp_path / "f.bin"
        file.write_bytes(os.urandom(1 << 20))
        store = ArtifactStore.open()
        for _ in range(2):
            data = art.Artifact("same", type="dataset", store=store)
            data.add_file(file)
            data.save()
        assert data.version == "v0"
        other = art.Artifact("other", type="dataset", store=store)
        other.add_file(file, name="g.bin")
        other.save()
        stats = store.content.usage()
        assert stats.stored_bytes < 2 << 20

    def test_a_draft_of_a_version_reads_only_what_it_changes(self) -> None:
        store = ArtifactStore.open()
        data = art.Artifact("d", type="dataset", store=store)
        for name in ("a", "b"):
            with data.new_file(name) as file:
                file.write(name)
        data.save()
        draft = data.new_draft()
        draft.remove("a")
        draft.save()
        assert [entry.path for entry in store.get("d:v1").files()] == ["b"]
        assert [entry.path for entry in store.get("d:v0").files()] == ["a", "b"]

    def test_labels_move_and_are_protected(self) -> None:
        store = ArtifactStore.open()
        for text in ("one", "two"):
            data = art.Artifact("m", type="model", store=store)
            with data.new_file("f") as file:
                file.write(text)
            data.save()
        store.set_alias("m:v0", "prod")
        assert store.get("m:prod").version == "v0"
        store.set_alias("m:v1", "prod")
        assert store.get("m:prod").version == "v1"
        version = store.get("m:v0")
        version.tags.append("old")
        version.description = "the first"
        version.metadata["acc"] = 0.5
        version.save()
        again = store.get("m:v0")
        assert (again.tags, again.description, again.metadata) == (["old"], "the first", {"acc": 0.5})
        with pytest.raises(ProtectedError):
            store.delete("m:prod")
        store.remove_alias("m:prod", "prod")
        store.delete("m:v0")
        with pytest.raises(ArtifactNotFoundError):
            store.get("m:v0")
        assert store.undelete("m:v0").deleted_at is None

    def test_lineage_leads_through_runs(self) -> None:
        with art.init(settings=quiet()) as first:
            data = art.Artifact("raw", type="dataset")
            with data.new_file("f") as file:
                file.write("x")
            first.log_artifact(data)
        with art.init(settings=quiet()) as second:
            second.use_artifact("raw:latest")
            model = art.Artifact("net", type="model")
            with model.new_file("w") as file:
                file.write("y")
            second.log_artifact(model)
        graph = ArtifactStore.open().lineage("net:v0", "up")
        assert {node.key for node in graph.nodes} >= {first.path, second.path}
        assert [v.name for v in art.Api().run(second.path).used_artifacts()] == ["raw:v0"]

    def test_the_command_line_pushes_and_pulls(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_text("hello")
        runner = CliRunner()
        pushed = runner.invoke(command, ["push", str(tmp_path / "x.txt"), "x", "--type", "note"])
        assert pushed.exit_code == 0, pushed.output
        pulled = runner.invoke(command, ["pull", "x", str(tmp_path / "there")])
        assert pulled.exit_code == 0, pulled.output
        assert (tmp_path / "there" / "x.txt").read_text() == "hello"
        shown = runner.invoke(command, ["show", "x", "--json"])
        assert shown.exit_code == 0, shown.output
        assert json.loads(shown.output)["protected"] == []
        refused = runner.invoke(command, ["gc"])
        assert refused.exit_code == 2
        assert "on the server" in refused.output


class TestRoles:
    def test_a_reader_reads_and_does_not_write(
        self, signed_in: Login, as_user: Callable[[Login], None], member: Callable[[Login, Role], Login]
    ) -> None:
        store = ArtifactStore.open()
        data = art.Artifact("d", type="dataset", store=store)
        with data.new_file("f") as file:
            file.write("x")
        data.save()
        as_user(member(signed_in, Role.READ))
        reading = ArtifactStore.open()
        assert reading.get("d").open("f").read() == b"x"
        draft = art.Artifact("d", type="dataset", store=reading)
        with draft.new_file("f") as file:
            file.write("y" * 100)
        with pytest.raises(AuthError, match="needs write"):
            draft.save()
        with pytest.raises(AuthError, match="needs write"):
            reading.set_alias("d:v0", "mine")

    def test_another_team_is_as_if_it_were_not_there(
        self, server: ArtlineServer, signed_in: Login, as_user: Callable[[Login], None]
    ) -> None:
        with art.init(settings=quiet()) as run:
            pass
        stranger = server.login()
        as_user(stranger)
        with pytest.raises(NotFoundError, match="Your teams"):
            art.Api().run(run.path)
        with pytest.raises(NotFoundError, match="Your teams"):
            ArtifactStore.open().get(f"{signed_in.team}/net/d")

    def test_without_a_key_nothing_begins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ART_API_KEY")
        with pytest.raises(AuthError, match="art login"):
            ArtifactStore.open()

    def test_collecting_is_for_the_server(self) -> None:
        with pytest.raises(UsageError, match="on the server"):
            list(ArtifactStore.open().live_chunks())
