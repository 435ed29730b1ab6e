from __future__ import annotations

import hashlib
import io
import random
import unicodedata
from collections.abc import Iterable, Iterator
from threading import Thread

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artline.artifacts import manifest as manifests
from artline.artifacts.artifact import Artifact
from artline.artifacts.draft import Draft
from artline.artifacts.manifest import Built, Manifest, ManifestBuilder
from artline.artifacts.overlay import Overlay
from artline.artifacts.paths import fold
from artline.artifacts.shards import EntryKind, Row
from artline.artifacts.spelling import other_spellings
from artline.artifacts.store import ArtifactStore
from artline.errors import ConflictError, InvalidPathError
from artline.storage.digest import Algorithm
from artline.storage.lease import Lease


class Chunks:
    """A content store in a dict."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.reads = 0

    def put(self, data: bytes, *, root: bool) -> bytes:
        digest = hashlib.sha256(data).digest()
        self.kept[digest] = data
        return digest

    def read(self, digest: bytes) -> bytes:
        self.reads += 1
        return self.kept[digest]

    def read_many(self, digests: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for digest in digests:
            yield digest, self.read(digest)


def row(path: str, kind: str = "file", content: str = "x") -> Row:
    if kind == "folder":
        return (path, EntryKind.FOLDER, 0, b"", b"", "")
    data = content.encode()
    return (path, EntryKind.FILE, len(data), hashlib.sha256(data).digest(), b"", "")


def build(chunks: Chunks, source: Draft | Overlay) -> Built:
    builder = ManifestBuilder(chunks.put, Algorithm.SHA256)
    if isinstance(source, Overlay):
        source.write(builder)
    else:
        for rows in source.rows():
            builder.add(rows)
    return builder.finish()


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "store" not in request.fixturenames:
        monkeypatch.setattr(manifests, "BOUNDARY_MASK", 3)
        monkeypatch.setattr(manifests, "MIN_ROWS", 2)
        monkeypatch.setattr(manifests, "MAX_ROWS", 6)


NAMES = ["a", "A", "b", "c", "k", "K", "\u212a", "s", "\u017f", "ss", "ß", "é", "e\u0301", "É"]
NAMES += ["d1", "d2", "d3"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
STEPS = st.tuples(
    st.sampled_from(["add", "add", "change", "overwrite", "folder", "remove", "many"]),
    st.lists(PATHS, min_size=1, max_size=4),
)


def outcome(draft: Draft | Overlay, step: str, paths: list[str]) -> object:
    path = paths[0]
    try:
        if step == "remove":
            return draft.remove(path)
        if step == "many":
            return draft.add_many([[row(path)] for path in paths])
        content = "x" if step in ("add", "folder") else "y"
        draft.add(row(path, "folder" if step == "folder" else "file", content), overwrite=step == "overwrite")
    except InvalidPathError:
        return "refused"
    return None


@given(st.lists(PATHS, max_size=40), st.lists(PATHS, max_size=3), st.lists(STEPS, max_size=12), st.booleans())
@example(
    [f"d1/{i}" for i in range(40)], [], [("overwrite", ["d1"]), ("remove", ["d1"]), ("add", ["d1"])], False
)
@example(["a"], ["b"], [("folder", ["a"]), ("overwrite", ["a"]), ("add", ["a/b"])], True)
def test_a_draft_on_a_version_is_like_one_with_all_its_rows(
    base: list[str], empty: list[str], steps: list[tuple[str, list[str]]], settled: bool
) -> None:
    chunks, plain, overlay = Chunks(), Draft(), Overlay()
    for kind, paths in (("file", base), ("folder", empty)):
        for path in paths:
            outcome(plain, "folder" if kind == "folder" else "add", [path])
    before = build(chunks, plain)
    overlay.put_under(Manifest(chunks, Algorithm.SHA256, before.root))
    for step, paths in steps:
        assert outcome(overlay, step, paths) == outcome(plain, step, paths), (step, paths)
        rows = [entry for batch in plain.rows() for entry in batch]
        assert [entry for batch in overlay.rows() for entry in batch] == rows
        for path in paths:
            assert overlay.get(path) == plain.get(path)
            assert list(overlay.rows(path)) == list(plain.rows(path))
    assert build(chunks, overlay) == build(chunks, plain)
    if settled:  # a second version beneath: the first becomes the draft's own
        overlay.put_under(Manifest(chunks, Algorithm.SHA256, build(chunks, Draft()).root))
        assert build(chunks, overlay) == build(chunks, plain)
    plain.close()
    overlay.close()


@given(st.lists(PATHS, max_size=30), st.lists(PATHS, max_size=6), st.lists(PATHS, max_size=30))
def test_a_version_put_under_a_draft_gives_what_the_draft_lacks(
    base: list[str], own: list[str], later: list[str]
) -> None:
    chunks = Chunks()
    manifest = []
    for paths in (base, later):
        draft = Draft()
        for path in paths:
            outcome(draft, "add", [path])
        manifest.append(Manifest(chunks, Algorithm.SHA256, build(chunks, draft).root))
        draft.close()
    overlay, kept = Overlay(), []
    for path in own:
        if outcome(overlay, "change", [path]) is None:
            kept.append(path)
    for index, under in enumerate(manifest):
        plain = Draft()
        for path in kept:
            plain.add(row(path, content="y"))
        fits = True
        for batch in under.rows():
            for found in batch:
                if plain.get(found[0]) is None:
                    fits = fits and outcome(plain, "add", [found[0]]) is None
        if fits:
            overlay.put_under(under, instead=index > 0)
            assert build(chunks, overlay) == build(chunks, plain)
        else:
            with pytest.raises(InvalidPathError):
                overlay.put_under(under, instead=index > 0)
        plain.close()
    overlay.close()


def test_an_edit_gives_the_shards_that_all_rows_would_give() -> None:
    chance = random.Random(3)
    chunks = Chunks()
    model = {f"{chance.randrange(30)}/{chance.randrange(10**6)}": "x" for _ in range(3000)}
    plain = Draft()
    plain.add_many([[row(path) for path in sorted(model)]])
    version = build(chunks, plain)
    for _ in range(40):
        overlay = Overlay()
        overlay.put_under(Manifest(chunks, Algorithm.SHA256, version.root))
        for _ in range(chance.randrange(6)):
            kind = chance.randrange(4)
            known = chance.choice(sorted(model))
            if kind == 0:
                model[known] = str(chance.random())
                overlay.add(row(known, content=model[known]), overwrite=True)
            elif kind == 1:
                del model[known]
                overlay.remove(known)
            elif kind == 2:
                path = f"{chance.randrange(32)}/{chance.randrange(10**6)}"
                model[path] = "x"
                overlay.add(row(path), overwrite=True)
            elif len(model) > 2000:
                folder = known.partition("/")[0] + "/"
                gone = {path for path in model if path.startswith(folder)}
                assert overlay.remove(folder[:-1]) == len(gone)
                for path in gone:
                    del model[path]
        plain = Draft()
        plain.add_many([[row(path, content=model[path]) for path in sorted(model)]])
        built = build(chunks, overlay)
        assert built == build(chunks, plain)
        Manifest(chunks, Algorithm.SHA256, built.root).check()
        version = built
        plain.close()
        overlay.close()


def test_one_path_reads_few_shards_whatever_the_size() -> None:
    chunks, plain = Chunks(), Draft()
    plain.add_many([[row(f"Train/class-{i % 50:02}/img-{i:06}.jpg") for i in range(20_000)]])
    base = Manifest(chunks, Algorithm.SHA256, build(chunks, plain).root, kept=64)
    overlay = Overlay()
    overlay.put_under(base)
    chunks.reads = 0
    overlay.add(row("Train/class-07/img-new.jpg"))
    overlay.remove("Train/class-30/img-000030.jpg")
    overlay.add(row("Train/class-11/img-000011.jpg", content="y"), overwrite=True)
    with pytest.raises(InvalidPathError, match="ignores case"):
        overlay.add(row("train/new"))
    built = build(chunks, overlay)
    assert built.files == 20_000
    assert len(base.root.shards) > 2000
    assert chunks.reads < 50


SINGLES = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/")


@given(st.text(SINGLES, min_size=1, max_size=4), st.randoms(use_true_random=False))
@example("Kelvin", random.Random(1))
@example("α\u0345\u0301", random.Random(2))
@example("각", random.Random(3))
def test_every_spelling_that_folds_alike_is_found(name: str, chance: random.Random) -> None:
    forms = {name, name.upper(), name.lower(), name.swapcase(), name.title(), fold(name)}
    forms |= {unicodedata.normalize(form, text) for form in ("NFC", "NFD") for text in list(forms)}
    forms |= {"".join(chance.choice([c, c.upper(), c.casefold()]) for c in name)}
    alike = {form for form in forms if form and fold(form) == fold(name)}
    present = [f"d/{form}" for form in forms] + ["d/other"]
    found = other_spellings("d/", name, lambda text: any(path.startswith(text) for path in present))
    whole = {text.removeprefix("d/") for text in found}
    assert whole & forms == alike - {name}


def test_every_character_is_found_by_what_it_folds_to() -> None:
    for number in [*range(0x21, 0xD800), *range(0xE000, 0x1F000), *range(0x2F800, 0x2FA20)]:
        char = chr(number)
        folded = fold(char)
        if folded != char and char != "/":
            assert char in set(other_spellings("", folded, char.startswith)), hex(number)


def test_an_edit_pins_the_shards_it_uses_again(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = Artifact("peds", "dataset", store=store)
    draft.staging.draft.add_many([[row(f"{i:05}") for i in range(9000)]])
    version = store.log(draft, project="p")
    edited = version.new_draft()
    edited.add_stream(io.BytesIO(b"new"), "00000-new")
    asked: list[bytes] = []
    missing = store.content.missing

    def watched(digests: list[bytes], lease: Lease | None = None) -> set[bytes]:
        if lease is not None:
            asked.extend(digests)
        return missing(digests, lease)

    monkeypatch.setattr(store.content, "missing", watched)
    built = edited.staging.build()
    before = set(version.manifest.shard_digests())
    after = set(Manifest(store.content, store.content.algorithm, built.root).shard_digests())
    assert len(before & after) == len(before) - 1
    assert before & after <= set(asked)
    store.log(edited, project="p")
    edited.manifest.check()
    assert edited.file_count == 9001


def test_incremental_writers_at_once_lose_nothing(store: ArtifactStore) -> None:
    def write(index: int) -> None:
        draft = Artifact("peds", "dataset", incremental=True, store=store)
        draft.add_stream(io.BytesIO(b"x"), f"file-{index}")
        store.log(draft, project="p")

    threads = [Thread(target=write, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latest = store.get("peds", project="p")
    assert [entry.path for entry in latest.files()] == [f"file-{index}" for index in range(6)]
    assert latest.version == "v5"


def test_an_incremental_draft_that_was_made_from_a_version_keeps_both(store: ArtifactStore) -> None:
    first = Artifact("peds", "dataset", store=store)
    first.add_stream(io.BytesIO(b"1"), "a")
    store.log(first, project="p")
    second = Artifact("peds", "dataset", store=store)
    second.add_stream(io.BytesIO(b"1"), "b")
    store.log(second, project="p")
    both = first.new_draft()
    both.incremental = True
    assert [entry.path for entry in store.log(both, project="p").files()] == ["a", "b"]
    again = first.new_draft()
    again.incremental = True
    first.delete()
    with pytest.raises(ConflictError, match="has been deleted since"):
        store.log(again, project="p")
