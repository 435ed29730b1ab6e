"""The data that is measured on: made by rule from a seed, incompressible, the same on every machine."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

__all__ = ["change_tree", "insert", "make_file", "make_tree"]

PIECE = 16 << 20
PER_FOLDER = 1000


def make_tree(folder: Path, files: int, size: int, seed: int = 1) -> Path:
    """Write ``files`` files of ``size`` random bytes, a thousand to a folder."""
    source = random.Random(seed)
    for number in range(files):
        parent = folder / f"{number // PER_FOLDER:04d}"
        if number % PER_FOLDER == 0:
            parent.mkdir(parents=True)
        with open(parent / f"{number:07d}.bin", "wb") as file:
            file.write(source.randbytes(size))
    return folder


def change_tree(folder: Path, share: float, seed: int = 2) -> int:
    """Rewrite an evenly spread share of the files with other bytes; return how many."""
    source = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = files[:: max(1, round(1 / share))]
    for path in chosen:
        path.write_bytes(source.randbytes(path.stat().st_size))
    return len(chosen)


def make_file(path: Path, size: int, seed: int = 3) -> Path:
    """Write one file of ``size`` random bytes."""
    source = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        for start in range(0, size, PIECE):
            file.write(source.randbytes(min(PIECE, size - start)))
    return path


def insert(path: Path, copy: Path, size: int, seed: int = 4) -> Path:
    """Write a copy of a file with ``size`` random bytes inserted in its middle."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    half = path.stat().st_size // 2
    with open(path, "rb") as source, open(copy, "wb") as target:
        for start in range(0, half, PIECE):
            target.write(source.read(min(PIECE, half - start)))
        target.write(random.Random(seed).randbytes(size))
        shutil.copyfileobj(source, target, PIECE)
    return copy
