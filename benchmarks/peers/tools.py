"""How each tool stores a folder or a file, and gets it back."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench import CHECKOUT
from benchmarks.peers.environments import Environment
from benchmarks.peers.measure import Measured, measure

__all__ = ["TOOLS", "Place", "Tool", "driver"]

# No tool may look for a network, a user's settings, or news of itself.
OFFLINE = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}
OURS = ("ART_", "AIM_", "BORG_", "DVC_", "HF_", "MLFLOW_", "RESTIC_", "TRACKIO_", "WANDB_", "XDG_")


@dataclass(slots=True)
class Place:
    """Where one tool works during one turn: ``store`` is what it keeps, the rest is thrown away uncounted."""

    folder: Path
    limit: float
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in ("store", "home", "tmp"):
            (self.folder / part).mkdir(parents=True)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def run(self, *commands: Sequence[str]) -> Measured:
        """Run commands in the store's folder, with settings of this turn alone."""
        return measure(commands, self.store, self.variables(), self.limit)

    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        # An installed package has its bytecode, and compiling is not what is measured.
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        kept.pop("PYTHONPYCACHEPREFIX", None)
        home, store = str(self.folder / "home"), str(self.store)
        return {
            **kept,
            **OFFLINE,
            "ART_HOME": store,
            "ART_QUIET": "1",
            "BORG_BASE_DIR": home,
            "DVC_GLOBAL_CONFIG_DIR": home,
            "DVC_SITE_CACHE_DIR": f"{home}/site",
            "DVC_SYSTEM_CONFIG_DIR": home,
            "HOME": home,
            "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
            "PYTHONPATH": str(CHECKOUT),
            "RESTIC_CACHE_DIR": f"{home}/restic",
            "RESTIC_PASSWORD": "bench",
            "TMPDIR": str(self.folder / "tmp"),
            "TRACKIO_DIR": store,
            **{f"WANDB_{name}_DIR": store for name in ("CACHE", "CONFIG", "DATA")},
            "WANDB_DIR": store,
            **self.extra,
        }


def driver(environment: Environment, act: str, *arguments: object) -> list[str]:
    """Return the command that runs one act of a library's driver (Artline's are the bench's own)."""
    ours = environment.name == "artline"
    module = "benchmarks.child" if ours else f"benchmarks.peers.drivers.{environment.name}"
    return [str(environment.python or sys.executable), "-m", module, act, *map(str, arguments)]


@dataclass(slots=True)
class Tool:
    """One tool and how it is used; a subclass says what its commands are.

    ``again`` is false where a second put is the first one over again, ``gets`` where nothing can be had back.
    """

    environment: Environment
    gets = True
    again = True
    label = ""
    note = ""

    def prepare(self, place: Place, source: Path) -> Path:
        """Make an empty store, unmeasured; return where the tool wants the data."""
        return source

    def put(self, place: Place, source: Path) -> Measured:
        raise NotImplementedError

    def prepare_get(self, place: Place, source: Path) -> None:
        """Do what has to precede a get, unmeasured."""

    def get(self, place: Place, source: Path, target: Path) -> Measured:
        raise NotImplementedError

    def found(self, source: Path, target: Path) -> Path:
        """Return where, after a get, what was put from ``source`` lies."""
        return target / source.name


class Copy(Tool):
    """The floor: ``cp -r``."""

    again = False
    label = "coreutils cp"
    note = "the floor"

    def put(self, place: Place, source: Path) -> Measured:
        return place.run([self.environment.program("cp"), "-r", str(source), str(place.store)])

    def get(self, place: Place, source: Path, target: Path) -> Measured:
        target.mkdir()
        return place.run(
            [self.environment.program("cp"), "-r", str(place.store / source.name), str(target / source.name)]
        )


class Library(Tool):
    """A Python library, by its driver."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.version = ""

    def prepare(self, place: Place, source: Path) -> Path:
        place.run(driver(self.environment, "short_run"))  # which makes the store: a database, often
        return source

    def put(self, place: Place, source: Path) -> Measured:
        done = place.run(driver(self.environment, "put", source, "data"))
        self.version = str(done.told.get("version", ""))
        return done

    def get(self, place: Place, source: Path, target: Path) -> Measured:
        return place.run(driver(self.environment, "get", self.version, target))

    def found(self, source: Path, target: Path) -> Path:
        return target if source.is_dir() else target / source.name


class Artline(Library):
    note = "durable when the call returns; every byte of a get verified"

    def get(self, place: Place, source: Path, target: Path) -> Measured:
        return place.run(driver(self.environment, "get", "data", target))


class Mlflow(Library):
    note = "`log_artifacts` and `download_artifacts`, SQLite store: a full copy each time, no digests"

    def found(self, source: Path, target: Path) -> Path:
        return target / "data" if source.is_dir() else target / "data" / source.name


class Wandb(Library):
    gets = False
    note = "offline: the files are staged for an upload that has not happened, and cannot be had back"


class Trackio(Library):
    note = "`log_artifact` and `use_artifact(…).download()`, local"


class Restic(Tool):
    note = "local repository; encrypts, which cannot be turned off"

    def prepare(self, place: Place, source: Path) -> Path:
        place.run(self._command("init"))
        return source

    def put(self, place: Place, source: Path) -> Measured:
        return place.run(self._command("backup", str(source)))

    def get(self, place: Place, source: Path, target: Path) -> Measured:
        return place.run(self._command("restore", "latest", "--target", str(target)))

    def found(self, source: Path, target: Path) -> Path:
        return target / source.relative_to("/")

    def _command(self, *words: str) -> list[str]:
        return [self.environment.program("restic"), "--quiet", "--repo", "repository", *words]


class Borg(Tool):
    note = "local repository, `--encryption none`, lz4"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.archives = 0

    def prepare(self, place: Place, source: Path) -> Path:
        place.run([self.environment.program("borg"), "init", "--encryption", "none", "repository"])
        return source

    def put(self, place: Place, source: Path) -> Measured:
        self.archives += 1
        return place.run([self._borg, "create", f"{place.store}/repository::{self.archives}", str(source)])

    def get(self, place: Place, source: Path, target: Path) -> Measured:
        target.mkdir()
        archive = f"{place.store}/repository::{self.archives}"
        return place.run(["env", "-C", str(target), self._borg, "extract", archive])

    def found(self, source: Path, target: Path) -> Path:
        return target / source.relative_to("/")

    @property
    def _borg(self) -> str:
        return self.environment.program("borg")


class Dvc(Tool):
    note = (
        "`dvc add` and `dvc push` to a local remote, cache and remote counted as stored; the data lie in its "
        "working folder beforehand; get: `dvc pull` into a fresh working folder with an empty cache"
    )

    def prepare(self, place: Place, source: Path) -> Path:
        self._init(place, "work")
        copy = self._folder(place, "work") / source.name
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copyfile(source, copy)
        return copy

    def put(self, place: Place, source: Path) -> Measured:
        return place.run(
            self._command(place, "work", "add", "--quiet", source.name),
            self._command(place, "work", "push", "--quiet"),
        )

    def prepare_get(self, place: Place, source: Path) -> None:
        self._init(place, "fresh")
        name = f"{source.name}.dvc"
        shutil.copyfile(self._folder(place, "work") / name, self._folder(place, "fresh") / name)

    def get(self, place: Place, source: Path, target: Path) -> Measured:
        done = place.run(self._command(place, "fresh", "pull", "--quiet"))
        target.mkdir()
        (self._folder(place, "fresh") / source.name).rename(target / source.name)
        return done

    def _init(self, place: Place, name: str) -> None:
        """Make a working folder outside the store, its cache and its remote inside."""
        self._folder(place, name).mkdir()
        cache = place.store / "cache" if name == "work" else place.folder / f"{name}-cache"
        place.run(
            self._command(place, name, "init", "--quiet", "--no-scm"),
            self._command(place, name, "config", "--quiet", "core.check_update", "false"),
            self._command(place, name, "cache", "dir", "--quiet", str(cache)),
            self._command(
                place, name, "remote", "add", "--quiet", "-d", "local", str(place.store / "remote")
            ),
        )

    def _command(self, place: Place, name: str, *words: str) -> list[str]:
        return [self.environment.program("dvc"), "--cd", str(self._folder(place, name)), *words]

    @staticmethod
    def _folder(place: Place, name: str) -> Path:
        return place.folder / name


TOOLS: dict[str, type[Tool]] = {
    "cp": Copy,
    "artline": Artline,
    "restic": Restic,
    "borg": Borg,
    "dvc": Dvc,
    "mlflow": Mlflow,
    "wandb": Wandb,
    "trackio": Trackio,
}
