"""Try an installed Artline as a new user would: run by .ci/run in an environment that holds nothing else."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

ROOMS = ("artifacts", "cli", "runs", "storage", "testing")
EXTRAS_ONLY = ("pyarrow", "numpy", "pandas", "s3fs", "boto3", "botocore", "psycopg", "PIL", "sklearn")


def art(*arguments: str) -> str:
    """Run the installed command and return what it printed."""
    command = [str(Path(sys.executable).with_name("art")), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = done.stdout + done.stderr
        raise SystemExit(f"art {' '.join(arguments)} ended with {done.returncode}:\n{said}")
    return done.stdout


def main() -> None:
    folder = Path.cwd()
    os.environ["ART_HOME"] = str(folder / "store")
    os.environ["ART_PROJECT"] = "smoke"

    import artline

    package = Path(artline.__file__).parent
    assert "site-packages" in package.parts, f"{package} is not the installed package"
    for room in ROOMS:
        assert (package / room / "__init__.py").is_file(), f"the wheel lacks artline/{room}"
    assert (package / "py.typed").is_file(), "the wheel lacks py.typed"
    assert list(package.glob("storage/migrations/versions/*.py")), "the wheel lacks the migrations"
    assert importlib.metadata.version("artline") == artline.__version__
    brought = [name for name in EXTRAS_ONLY if importlib.util.find_spec(name)]
    assert not brought, f"the core install brings {brought}"

    assert artline.__version__ in art("--version")
    assert "pull" in art("--help")
    module = [sys.executable, "-m", "artline", "--version"]
    assert artline.__version__ in subprocess.run(module, capture_output=True, text=True, check=True).stdout

    source = folder / "model.txt"
    source.write_text("weights\n")
    with artline.init(project="smoke", id="first", config={"lr": 0.1}) as run:
        for step in range(3):
            run.log({"loss": 1 / (step + 1)})
        model = artline.Artifact("model", type="model", metadata={"loss": 1 / 3})
        model.add_file(str(source))
        logged = run.log_artifact(model, aliases=["best"])
    with artline.init(project="smoke", id="second") as run:
        used = run.use_artifact("model:best")
        assert used.digest == logged.digest
        assert (Path(used.download(str(folder / "downloaded"))) / "model.txt").read_text() == "weights\n"

    read = artline.Api().run("smoke/first")
    assert [row["loss"] for row in read.history()] == [1.0, 0.5, 1 / 3]
    assert read.state == "finished"
    art("pull", "model:v0", str(folder / "pulled"))
    assert (folder / "pulled" / "model.txt").read_bytes() == source.read_bytes()
    assert "second" in art("lineage", "model:v0")
    assert json.loads(art("ls", "--json"))
    assert "artline[table]" in _refusal()
    print(f"smoke test passed with artline {artline.__version__} on Python {sys.version.split()[0]}")


def _refusal() -> str:
    """Return what a table says without its extra."""
    import artline

    try:
        artline.Table(columns=["a"], data=[[1]])
        artline.Artifact("t", type="table").add(artline.Table(columns=["a"], data=[[1]]), "t")
    except artline.errors.MissingExtraError as error:
        return str(error)
    raise SystemExit("a table was written without pyarrow")


if __name__ == "__main__":
    main()
