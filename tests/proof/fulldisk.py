"""A store on a disk that fills up: versions are logged until nothing fits, and room is made again.

Run it as ``python -m proof.fulldisk FOLDER``; the folder is on a small disk. It prints what came of it.
"""

from __future__ import annotations

import io
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.retention import collect
from artline.artifacts.store import ArtifactStore
from artline.errors import StoreFullError
from artline.settings import load_settings

SIZE = 300_000


def log(store: ArtifactStore, name: str, data: bytes) -> None:
    draft = Artifact(name, "dataset", store=store)
    try:
        draft.add_stream(io.BytesIO(data), "data")
        store.log(draft, project="p")
    finally:
        if draft.is_draft:
            draft.staging.close()


def read(store: ArtifactStore, name: str) -> bytes:
    with store.get(name, project="p").open("data") as stream:
        return stream.read()


def main(folder: str) -> None:
    store = ArtifactStore.open(load_settings(root=Path(folder) / "store"))
    reserve = Path(folder) / "reserve"
    reserve.write_bytes(bytes(1 << 20))
    kept: dict[str, bytes] = {}
    refused = 0
    for number in range(200):
        data = os.urandom(SIZE if number % 3 else 2_000)
        try:
            log(store, f"n{number}", data)
        except StoreFullError:
            refused += 1
            if refused == 10:
                break
        else:
            kept[f"n{number}"] = data
    whole = check(store, full=True).ok and all(read(store, name) == data for name, data in kept.items())
    leftovers = len(list((Path(folder) / "store" / "bucket" / "tmp").iterdir()))
    with open(Path(folder) / "ballast", "wb", buffering=0) as ballast:  # not a byte is left
        try:
            while ballast.write(os.urandom(512)):
                pass
        except OSError:
            pass
    full = 0
    for _ in range(3):
        try:
            log(store, "more", os.urandom(SIZE))
        except StoreFullError:
            full += 1
    readable = all(read(store, name) == data for name, data in kept.items())
    reserve.unlink()  # somebody deletes something else: what versions take up is still there
    gone = list(kept)[:8]
    for name in gone:
        store.delete(f"{name}:v0", project="p", delete_aliases=True)
        del kept[name]
    for _ in range(3):
        collect(store, grace=timedelta(0), dry_run=False)
    data = os.urandom(SIZE)
    log(store, "after", data)
    again = read(store, "after") == data and all(read(store, name) == data for name, data in kept.items())
    print(
        json.dumps(
            {
                "refused": refused,
                "whole": whole,
                "leftovers": leftovers,
                "full": full,
                "readable": readable,
                "again": again,
                "sound": check(store, full=True).ok,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
