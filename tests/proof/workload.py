"""What the traced process does: changes of artifacts, each told on standard output once it is acknowledged.

Run it as ``python -m proof.workload ROOT SEED OPERATIONS``.
"""

from __future__ import annotations

import io
import json
import os
import random
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from artline.artifacts.artifact import Artifact
from artline.artifacts.retention import collect
from artline.artifacts.store import ArtifactStore
from artline.errors import ArtlineError, StoreUnavailableError
from artline.settings import load_settings
from artline.storage.chunker import ChunkerParameters

# Files above a kilobyte are cut, so that recipes occur at little expense.
CHUNKER = ChunkerParameters(minimum=64, average=256, maximum=1024, threshold=1024)
_T = TypeVar("_T")
SIZES = (0, 10, 700, 1500, 6000)


def prepare(root: Path) -> None:
    """Make an empty store that cuts small files."""
    (root / "bucket").mkdir(parents=True)
    identity = {"format": "artline-store", "version": 1, "id": "ab" * 16, "digest": "blake3", "created": ""}
    (root / "bucket" / "store.json").write_text(json.dumps(identity | {"chunker": CHUNKER.to_json()}))


def content(seed: int) -> bytes:
    """Return the bytes that a number stands for."""
    source = random.Random(seed)
    return source.randbytes(source.choice(SIZES))


class Workload:
    """A sequence of operations that depends on nothing but its seed; ``state`` is what must be visible."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        self.state: dict[str, Any] = {}

    def operations(self, count: int) -> list[tuple[Any, ...]]:
        """Return operations that are possible one after the other."""
        found: list[tuple[Any, ...]] = []
        for _ in range(count):
            found.append(self._operation())
        return found

    def _operation(self) -> tuple[Any, ...]:
        live = [(n, v) for n, one in self.state.items() for v, files in enumerate(one["versions"]) if files]
        dead = [
            (n, v) for n, one in self.state.items() for v, files in enumerate(one["versions"]) if not files
        ]
        kind = self.source.choice(("log", "log", "alias", "rm", "undelete", "gc"))
        if kind == "gc":
            return ("gc", self.source.random() < 0.5)
        if kind == "alias" and live:
            return ("alias", *self.source.choice(live), self.source.choice("xy"))
        if kind == "rm" and live:
            operation = ("rm", *self.source.choice(live))
            self.state[operation[1]]["versions"][operation[2]] = None
            return operation
        if kind == "undelete" and dead:
            return ("undelete", *self.source.choice(dead))
        name = self.source.choice("ab")
        files = {
            path: self.source.randrange(12) for path in self.source.sample("pqr", self.source.randrange(1, 4))
        }
        self.state.setdefault(name, {"versions": []})["versions"].append(files)
        return ("log", name, files)


def perform(store: ArtifactStore, operation: tuple[Any, ...]) -> None:
    """Carry out one operation. Raises what the store raises."""
    match operation:
        case ("log", name, files):
            draft = Artifact(name, "dataset", store=store)
            for path, seed in files.items():
                draft.add_stream(io.BytesIO(content(seed)), path)
            try:
                store.log(draft, project="p")
            finally:
                if draft.is_draft:
                    draft.staging.close()
        case ("alias", name, number, alias):
            store.set_alias(f"{name}:v{number}", alias, project="p")
        case ("rm", name, number):
            store.delete(f"{name}:v{number}", project="p", delete_aliases=True)
        case ("undelete", name, number):
            store.undelete(f"{name}:v{number}", project="p")
        case ("gc", repack):
            collect(store, grace=timedelta(0), dry_run=False, repack=repack)


def visible(store: ArtifactStore) -> dict[str, Any]:
    """Return every version that can be found with its aliases and digest, in a form to compare."""
    return {
        name: {
            record.version: [record.digest.hex(), sorted(record.aliases), record.deleted_at is not None]
            for record in store.versions("p", name, deleted=True)
        }
        for name in sorted(store.names("p"))
    }


def main(arguments: list[str]) -> None:
    root, seed, count = arguments
    store = patiently(lambda: ArtifactStore.open(load_settings(root=root)))
    tell(None, "", patiently(lambda: visible(store)))
    for operation in Workload(int(seed)).operations(int(count)):
        refusal = ""
        try:
            perform(store, operation)
        except ArtlineError as error:
            refusal = f"{error.kind}: {error}"
        tell(operation, refusal, patiently(lambda: visible(store)))


def patiently(action: Callable[[], _T]) -> _T:
    """Do what does not change anything, again where the disk fails now and then."""
    for _ in range(5):
        try:
            return action()
        except StoreUnavailableError as error:
            failure = error
    raise failure


def tell(operation: Any, refusal: str, state: dict[str, Any]) -> None:
    """Acknowledge an operation, or tell why it was refused, and what is visible; in one write."""
    line = json.dumps({"operation": operation, "refusal": refusal, "state": state}) + "\n"
    os.write(1, line.encode())


if __name__ == "__main__":
    main(sys.argv[1:])
