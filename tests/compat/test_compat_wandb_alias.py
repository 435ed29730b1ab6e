"""``import wandb`` resolves to Artline: in scripts, modules, child processes, and look-ups of the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import artline

SCRIPT = """
import importlib.metadata, importlib.util, json, multiprocessing, subprocess, sys
from wandb.sdk.lib import RunDisabled, telemetry
from wandb.wandb_run import Run
import wandb.sdk.wandb_run, wandb.apis.public
from wandb.errors import CommError

class Point:  # of __main__, so that a pickle has to find it there
    pass

def child(point, attach_id):
    import wandb
    wandb.init(project="roads", id="child", settings=wandb.Settings(silent=True)).finish()
    attached = wandb._attach(attach_id)
    assert wandb.run is attached
    attached.log({"of_child": 2.0})
    attached.finish()

if __name__ == "__main__":
    import wandb as again
    assert again is wandb and wandb.sdk.wandb_run.Run is Run
    assert importlib.util.find_spec("wandb") is not None
    assert importlib.metadata.version("wandb") == wandb.__version__
    assert "wandb" in importlib.metadata.packages_distributions()
    run = wandb.init(project="roads", id="parent", settings=wandb.Settings(silent=True))
    wandb.log({"loss": 1.0})
    worker = multiprocessing.get_context("spawn").Process(target=child, args=(Point(), run._attach_id))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    code = "import wandb; wandb.init(project='roads', id='sub').finish()"
    subprocess.run([sys.executable, "-c", code], check=True)
    try:
        import wandb.sdk.launch
    except ModuleNotFoundError as error:
        assert "scheduler" in str(error)
    run.finish()
    print(json.dumps([sys.argv, run.program, __file__]))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "artline.compat.wandb", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_script_and_its_children_find_artline(store_root: Path, clean_environment: Path) -> None:
    script = clean_environment / "train.py"
    script.write_text(SCRIPT)
    (clean_environment / "wandb").mkdir()  # what wandb itself leaves in working folders
    done = run("train.py", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f'[["train.py", "--epochs", "3"], "{script}", "{script}"]'
    found = artline.Api().runs("roads")
    assert {run.id: run.state for run in found} == dict.fromkeys(("parent", "child", "sub"), "finished")
    assert artline.Api().run("roads/parent").summary == {"loss": 1.0, "of_child": 2.0}
    kept = {file.name: file for run in found for file in run.files() if run.id == "parent"}
    assert "wandb==" not in kept["requirements.txt"].path_local.read_text()


def test_a_module_and_a_line_of_code_run(store_root: Path, clean_environment: Path) -> None:
    (clean_environment / "tool").mkdir()
    (clean_environment / "tool" / "__main__.py").write_text(
        "import sys, wandb\nprint(wandb.__name__, __name__, __package__, sys.argv[1:])\n"
    )
    said = run("-m", "tool", "-x").stdout
    assert said == "artline.compat.wandb __main__ tool ['-x']\n"
    assert run("tool").stdout.startswith("artline.compat.wandb __main__")
    assert run("-c", "import wandb, sys; print(wandb.__name__, sys.argv); sys.exit(3)", "a").returncode == 3


def test_what_cannot_be_run_is_named(clean_environment: Path) -> None:
    (clean_environment / "bad.py").write_text("def (:\n")
    for arguments, said in (
        ((), "usage:"),
        (("-m",), "usage:"),
        (("--wrong",), "usage:"),
        (("missing.py",), "missing.py"),
        (("-m", "no_such_module"), "no_such_module"),
        (("bad.py",), "invalid syntax"),
    ):
        done = run(*arguments)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "usage:" in run("--help").stdout
