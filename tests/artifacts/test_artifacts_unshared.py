"""What a deleted version alone has: counted by chunks of its own, for large files too."""

from __future__ import annotations

import io
import os

from artline.artifacts.artifact import Artifact
from artline.artifacts.retention import collect
from artline.artifacts.store import ArtifactStore


def test_a_large_file_that_another_version_has_is_shared(store: ArtifactStore) -> None:
    large = os.urandom(9 << 20)
    for name in ("kept", "gone"):
        draft = Artifact(name, "dataset", store=store)
        draft.add_stream(io.BytesIO(large), "large")
        draft.add_stream(io.BytesIO(name.encode()), "name")
        store.log(draft, project="p")
    store.delete("gone:v0", project="p", delete_aliases=True)
    (freed,) = collect(store).versions
    assert (freed.size, freed.unshared) == ((9 << 20) + 4, 4)
