"""``log_model``, ``use_model``, ``link_model`` and ``log_code``: artifacts by one call each."""

from __future__ import annotations

from pathlib import Path

import pytest
from livescript import QUIET

import artline as art
from artline.errors import SourceNotFoundError, UsageError
from artline.runs.models import REGISTRY


@pytest.fixture
def model() -> Path:
    path = Path("net.pt")
    path.write_bytes(b"weights")
    return path


def test_a_model_is_logged_and_used(model: Path, store_root: Path) -> None:
    with art.init(project="p", id="train", settings=QUIET):
        logged = art.log_model(model, name="net", aliases=["best"])
        assert (logged.type, logged.version, logged.aliases) == ("model", "v0", ["best", "latest"])
        assert art.log_model(str(model)).collection == "run-train-net.pt"
    with art.init(project="p", id="test", settings=QUIET) as run:
        path = art.use_model("net:best")
        assert Path(path).read_bytes() == b"weights"
        assert Path(path).name == "net.pt"
    assert [a.qualified_name for a in art.Api().run("p/test").used_artifacts()] == [logged.qualified_name]
    with pytest.raises(UsageError, match="has ended"):
        run.log_model(model)


def test_a_folder_is_a_model_too_and_data_is_none(store_root: Path) -> None:
    folder = Path("net")
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "weights.bin").write_bytes(b"w")
    with art.init(project="p", settings=QUIET) as run:
        run.log_model(folder, "net")
        place = Path(run.use_model("net"))
        assert sorted(path.name for path in place.iterdir()) == ["config.json", "weights.bin"]
        run.log_artifact(folder, "data", type="dataset")
        with pytest.raises(UsageError, match="no model"):
            run.use_model("data:latest")
        with pytest.raises(UsageError, match="type"):
            run.log_model(folder, "data")


def test_a_model_is_linked_into_the_registry(model: Path, store_root: Path) -> None:
    with art.init(project="p", settings=QUIET) as run:
        linked = art.link_model(model, "detector", name="net", aliases=["staging"])
        assert linked.qualified_name == f"local/{REGISTRY}/detector:v0"
        assert "staging" in linked.aliases
        model.write_bytes(b"better")
        assert run.link_model(model, "detector", name="net").version == "v1"
        assert Path(run.use_model(f"{REGISTRY}/detector:staging")).read_bytes() == b"weights"
        with pytest.raises(UsageError, match="no plain name"):
            run.link_model(model, "registry/detector")


def test_code_is_logged_as_an_artifact(store_root: Path) -> None:
    for name in (
        "train.py",
        "lib/net.py",
        "lib/requirements.txt",
        "lib/notes.md",
        "Dockerfile",
        ".git/hook.py",
        "venv/pyvenv.cfg",
        "venv/lib/a.py",
        "lib/__pycache__/net.py",
    ):
        Path("code", name).parent.mkdir(parents=True, exist_ok=True)
        Path("code", name).write_text(name)
    Path("code/lib/link.py").symlink_to("nowhere")
    Path("code/loop").symlink_to(".")
    with art.init(project="p", settings=QUIET) as run:
        logged = run.log_code("code")
        assert logged is not None
        assert logged.type == "code"
        assert logged.collection.startswith("source-p-")
        assert [file.path for file in logged.files()] == [
            "Dockerfile",
            "lib/net.py",
            "lib/requirements.txt",
            "train.py",
        ]
        again = run.log_code("code")
        assert again is not None
        assert again.version == "v0"
        chosen = run.log_code("code", name="notes", include_fn=lambda path: path.endswith(".md"))
        assert chosen is not None
        assert [file.path for file in chosen.files()] == ["lib/notes.md"]
        fewer = run.log_code(
            Path("code"), "fewer", exclude_fn=lambda path, root: Path(path).parent != Path(root)
        )
        assert fewer is not None
        assert [file.path for file in fewer.files()] == ["Dockerfile", "train.py"]
        assert run.log_code("code", include_fn=lambda path: False) is None
        with pytest.raises(SourceNotFoundError, match="is no folder"):
            run.log_code("nowhere")


def test_a_disabled_run_logs_no_models(model: Path, store_root: Path) -> None:
    with art.init(project="p", mode="disabled") as run:
        run.log_model(model)
        run.link_model(model, "detector")
        assert run.log_code() is None
        assert run.save("*") == []
        assert run.restore("a") is None
    assert not store_root.exists()
