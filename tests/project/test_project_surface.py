"""The public face: sorted, complete, resolvable, cheap."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import artline

CHECKOUT = Path(__file__).parents[2]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(artline.__path__, "artline.")
    if ".migrations." not in module.name and not module.name.endswith("__main__")
    if "integration" not in module.name  # theirs need frameworks: see tests/integrations
)
HEAVY = (
    *("alembic", "click", "fsspec", "numpy", "pandas", "psutil", "pyarrow", "pynvml"),
    *("requests", "s3fs", "sqlalchemy", "zstandard"),
)


def test_the_face_is_complete() -> None:
    tree = ast.parse(Path(artline.__file__).read_text())
    promised = {
        alias.asname or alias.name
        for block in ast.walk(tree)
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert promised <= set(artline.__all__)
    assert set(dir(artline)) == set(artline.__all__)


@pytest.mark.parametrize("name", sorted(set(artline.__all__) - {"run", "config", "summary"}))
def test_every_name_resolves(name: str) -> None:
    assert getattr(artline, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        artline.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["artline", *MODULES])
def test_all_is_sorted_and_exists(name: str) -> None:
    module = importlib.import_module(name)
    names = list(getattr(module, "__all__", ()))
    assert names == sorted(set(names), key=lambda entry: (_rank(entry), entry))
    assert all(hasattr(module, entry) for entry in names if name != "artline")


def test_every_public_error_is_exported() -> None:
    errors = importlib.import_module("artline.errors")
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize("room", ["", ".storage", ".artifacts", ".runs", ".cli"])
def test_importing_a_room_is_light(room: str) -> None:
    program = f"import sys, artline{room}; print(*sorted(set({HEAVY!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_versions_agree() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert project["version"] == artline.__version__


def _rank(name: str) -> int:
    """Constants first, then classes, then the rest: the order that ruff keeps (RUF022)."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2
