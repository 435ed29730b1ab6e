"""``save`` and ``restore``: files come along live, now or in the end, whatever becomes of the process."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from livescript import run_script, wait_until

import artline as art
from artline.errors import UsageError
from artline.runs.api import Api
from artline.runs.globs import Source, base_of, find_sources, snapshot_source
from artline.settings import Settings

BEGIN = """\
from pathlib import Path
import shutil
quiet = {"quiet": True, "console": False, "save_code": False, "stats_interval": 600, "flush_interval": 0.1}
run = art.init(project="p", id="r", settings=quiet)
"""


def contents(root: Path) -> dict[str, tuple[str, bytes]]:
    run = Api(Settings(root=root)).run("p/r")
    found = {}
    for file in run.files():
        with file.open() as stream:
            found[file.name] = (file.policy, stream.read())
    return found


def test_every_policy_and_what_lies_in_the_folder(store_root: Path) -> None:
    run_script(
        BEGIN
        + """
for name in ("ck/a", "ck/b", "once", "final"):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(f"{name} at first")
assert run.save("ck/*") == [f"{run.dir}/ck/a", f"{run.dir}/ck/b"]
run.save("once", policy="now")
run.save("final", policy="end")
run.save("later/*.txt", policy="end")
Path(run.dir, "own").write_text("own")
for name in ("ck/a", "ck/c", "once", "final", "later/x.txt", "later/x.bin"):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(f"{name} at last")
run.finish()
for folder in (run.dir, "ck", "later"):
    shutil.rmtree(folder)
assert art.restore("own", run_path=run.path, root="got").read() == "own"
assert art.restore("nothing", run_path=run.path) is None
"""
    )
    assert contents(store_root) == {
        "ck/a": ("live", b"ck/a at last"),
        "ck/b": ("live", b"ck/b at first"),
        "ck/c": ("live", b"ck/c at last"),
        "final": ("end", b"final at last"),
        "later/x.txt": ("end", b"later/x.txt at last"),
        "once": ("now", b"once at first"),
        "own": ("live", b"own"),
    }


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(3)"])
def test_files_are_kept_when_the_process_ends_without_a_word(store_root: Path, end: str) -> None:
    run_script(
        BEGIN
        + """
Path("a").write_text("first")
run.save("a")
run.log({"x": 1})
run._recorder.flush()
if os.fork() == 0:
    os.closerange(0, 3)
    time.sleep(5)  # holds nothing of the keeper's
    os._exit(0)
Path("a").write_text("last")
"""
        + end,
        code=-signal.SIGKILL if "kill" in end else 3,
    )
    wait_until(lambda: contents(store_root) == {"a": ("live", b"last")}, "the file")
    shutil.rmtree(store_root / "runs")
    assert contents(store_root) == {"a": ("live", b"last")}


def test_a_live_file_is_kept_while_the_run_goes_on(store_root: Path) -> None:
    with art.init(project="p", id="r", settings={"quiet": True, "flush_interval": 0.1}) as run:
        Path("a").write_text("first")
        run.save("a")

        def stored() -> bool:
            found = Api(Settings(root=store_root)).run("p/r")
            return any(file._file.blob is not None for file in found.files(["a"]))

        wait_until(stored, "the first copy in the store")
        Path("a").write_text("second")  # this machine's readers see it at once
        assert contents(store_root)["a"] == ("live", b"second")


def test_a_resumed_run_fetches_its_files(store_root: Path) -> None:
    quiet = {"quiet": True, "console": False, "save_code": False}
    Path("state").write_text("epoch 1")
    with art.init(project="p", id="r", settings=quiet) as run:
        run.save("state")
    shutil.rmtree(run.dir)
    Path("state").unlink()
    with art.init(project="p", id="r", resume="must", settings=quiet) as again:
        with again.restore("state") as file:  # type: ignore[union-attr]  # it is there
            assert (file.read(), file.name) == ("epoch 1", f"{again.dir}/state")
        assert again.restore("other") is None


def test_names_count_from_the_base(tmp_path: Path, store_root: Path) -> None:
    folder = str(store_root / "runs/p/r/files")
    assert base_of("/data/run1/*.txt", None, folder) == "/data"
    assert base_of("/data/*/deep/*.txt", None, folder) == "/data"
    assert base_of(f"{folder}/plots/*", None, folder) == folder
    assert base_of("/data/run1/*.txt", "/data/run1/", folder) == "/data/run1"
    (tmp_path / "set/sub").mkdir(parents=True)
    for name in ("set/a", "set/sub/b"):
        (tmp_path / name).write_text(name)
    found = find_sources(str(tmp_path / "set"), str(tmp_path), Path(folder), store_root)
    assert [source.name for source in found] == ["set/a", "set/sub/b"]
    with pytest.raises(UsageError, match="not below"):
        list(find_sources(str(tmp_path / "set/*"), str(tmp_path / "set/sub"), Path(folder), store_root))
    store_root.mkdir()
    (store_root / "catalog.db").write_text("")
    found = find_sources(str(tmp_path / "*"), str(tmp_path), Path(folder), store_root)
    assert "store/catalog.db" not in [source.name for source in found]


def test_a_snapshot_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("first")
    place = snapshot_source(Source(str(tmp_path / "a"), "deep/a"), tmp_path / "files")
    (tmp_path / "a").write_text("second")
    assert place.read_text() == "first"
    assert os.listdir(tmp_path / "files/deep") == ["a"]


def test_what_cannot_be_saved_is_said(store_root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with art.init(project="p", settings={"quiet": True, "console": False, "save_code": False}) as run:
        with pytest.raises(UsageError, match="policy must be"):
            run.save("a", policy="always")  # type: ignore[arg-type]  # what is wrong
        assert run.save("nothing*", policy="now") == []
        assert run.save("s3://bucket/key") == []
    said = capfd.readouterr().err
    assert "nothing matches 'nothing*'" in said
    assert "s3://bucket/key is a URL" in said
    with pytest.raises(UsageError, match="has ended"):
        run.save("a")
    with pytest.raises(UsageError, match="no run is in progress"):
        art.restore("a")
