"""Two writers, a reader and a collector against a plain dictionary, whoever dies or comes between them."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.records import publish
from artline.artifacts.repair import repair
from artline.artifacts.retention import collect
from artline.artifacts.store import ArtifactStore
from artline.errors import ArtifactNotFoundError, ArtlineError, ConflictError, IntegrityError
from artline.settings import load_settings
from artline.storage.catalog import Catalog, sqlite_url
from artline.storage.chunker import ChunkerParameters
from artline.storage.content import ContentStore
from proof.processes import CRASH, Client, Clock, Crash

GRACE = 7 * 86400.0
LEASE_SURE = 20 * 3600.0  # a lease lasts a day, and is prolonged when an eighth of it is over
NAMES = ("n1", "n2")
PATHS = ("a", "b", "d/c")
# Below a kilobyte a file is one chunk in these stores, above it has a recipe.
CONTENTS = (b"", b"small", b"x" * 900, *(bytes((i * k) % 251 for i in range(3000 * k)) for k in (1, 2, 3)))
CHUNKER = ChunkerParameters(minimum=64, average=256, maximum=1024, threshold=1024)

Files = frozenset[tuple[str, bytes]]


@dataclass
class Version:
    files: Files
    deleted: bool = False
    since: int = 0  # the first collection that may have seen it deleted


@dataclass
class Named:
    versions: list[Version] = field(default_factory=list)
    aliases: dict[str, int] = field(default_factory=dict)

    def newest(self) -> int | None:
        live = [number for number, version in enumerate(self.versions) if not version.deleted]
        return live[-1] if live else None

    def is_live(self, number: int) -> bool:
        return number < len(self.versions) and not self.versions[number].deleted


Model = dict[str, Named]
Change = Callable[[Model], bool]  # changes the model as the operation would; False where it must be refused


class Operation:
    """What a client does: its effect on the model, which comes about at one moment while it runs."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.done = False
        self.refusable = False  # whether the model refused it at some moment while it ran
        self.idle = False  # whether it would have changed nothing at one of its own commits

    def after(self, model: Model) -> Model | None:
        changed = copy.deepcopy(model)
        return changed if self.change(changed) else None


class StoreMachine(RuleBasedStateMachine):
    """The machine; ``examples`` and ``operations`` count what was tried."""

    examples = 0
    operations = 0
    crashes = 0
    nestings = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).examples += 1
        self.model: Model = {}
        self.clock = Clock()
        self.patches = self.clock.installed()
        self.patches.__enter__()
        base = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self.root = Path(tempfile.mkdtemp(prefix="artline-proof-", dir=base))
        self.running: list[Operation] = []
        self.collections: list[float] = []  # when each began
        self.collecting = 0  # how many run
        self.handles: list[tuple[Artifact, str, int]] = []
        self.drafts: dict[Client, dict[str, Any]] = {}
        self.contents: dict[bytes, Files] = {}

    @initialize(
        first=st.lists(st.tuples(st.sampled_from(NAMES), st.lists(st.integers(0, 5), max_size=3)), max_size=4)
    )
    def begin(self, first: list[tuple[str, list[int]]]) -> None:
        bucket, catalog = self.root / "bucket", self.root / "catalog.db"
        bucket.mkdir()
        identity = {"format": "artline-store", "version": 1, "id": "ab" * 16, "digest": "blake3"}
        text = json.dumps(identity | {"chunker": CHUNKER.to_json(), "created": ""})
        (bucket / "store.json").write_text(text)
        shutil.copyfile(_template(), catalog)
        self.clients = [
            Client(str(self.root / name), sqlite_url(catalog), str(bucket), self.clock)
            for name in ("writer", "other", "third")
        ]
        for client in self.clients:
            client.gate.committed = self.compare
        self.database = sqlite3.connect(catalog, isolation_level=None, check_same_thread=False)
        for name, picks in first:
            self.do_fresh(0, name, picks)

    def teardown(self) -> None:
        try:
            if hasattr(self, "clients"):
                self.audit(0)
                self.lose_the_catalog()
        finally:
            from artline.storage import content

            content._open_stores.clear()
            self.patches.__exit__(None, None, None)
            shutil.rmtree(self.root, ignore_errors=True)

    # Comparing with the model

    def visible(self) -> dict[str, Any]:
        """Return what the catalog shows, in the form of ``expected``."""
        shown: dict[str, Any] = {}
        rows = self.database.execute(
            "SELECT a.name, v.number, v.deleted_at IS NOT NULL, v.digest, a.next_version FROM artifact a "
            "LEFT JOIN artifact_version v ON v.artifact_id = a.id ORDER BY a.name, v.number"
        ).fetchall()
        for name, number, deleted, digest, following in rows:
            versions = shown.setdefault(name, ([], {}))[0]
            assert number == len(versions), "a gap in the numbers"
            versions.append((digest, bool(deleted)))
            assert following > number
        for name, alias, number in self.database.execute(
            "SELECT a.name, l.name, v.number FROM artifact_alias l JOIN artifact a ON a.id = l.artifact_id "
            "JOIN artifact_version v ON v.id = l.version_id"
        ):
            shown[name][1][alias] = number
        return shown

    def fits(self, shown: dict[str, Any], model: Model) -> bool:
        """Tell whether the catalog shows what the model says; learn which digest stands for which files."""
        if {name for name, named in model.items() if named.versions} != set(shown):
            return False
        learned: dict[bytes, Files] = {}
        for name, (versions, aliases) in shown.items():
            named = model[name]
            if aliases != named.aliases or len(versions) != len(named.versions):
                return False
            for (digest, deleted), version in zip(versions, named.versions, strict=True):
                files = self.contents.get(digest) or learned.setdefault(digest, version.files)
                if deleted != version.deleted or files != version.files:
                    return False
        merged = self.contents | learned
        if len(set(merged.values())) != len(merged):
            return False  # the same files under two digests
        self.contents = merged
        return True

    def compare(self) -> None:
        """After each commit: what is visible is the model, or the model once the operation has come about."""
        shown = self.visible()
        operation = self.running[-1]
        after = None if operation.done else operation.after(self.model)
        operation.refusable |= after is None and not operation.done
        operation.idle |= after == self.model
        if self.fits(shown, self.model):
            return
        assert after is not None, f"a change that should be refused: {shown}"
        assert self.fits(shown, after), f"{shown} is neither {self.model} nor {after}"
        self.model, operation.done = after, True

    def refused(
        self, operation: Operation, error: ArtlineError, may_refuse: Callable[[ArtlineError], bool]
    ) -> str:
        """Make sure that there was reason to refuse an operation, and that it has not come about."""
        after = operation.after(self.model)
        assert not operation.done, f"refused though it was done: {error!r}"
        assert operation.refusable or after is None or may_refuse(error), f"refused without cause: {error!r}"
        return "refused"

    def act(
        self,
        index: int,
        action: Callable[[Client], Any],
        change: Change,
        plan: Any,
        may_refuse: Callable[[ArtlineError], bool] = lambda _: False,
    ) -> str:
        """Let a client do something, with others in between; return how it ended."""
        client = self.clients[index]
        operation = Operation(change)
        self.running.append(operation)
        type(self).operations += 1
        before = operation.after(self.model)
        operation.refusable |= before is None
        steps = {
            place: CRASH if what is CRASH else self.nested(index, what) for place, what in dict(plan).items()
        }
        try:
            client.run(lambda: action(client), steps)
            outcome = "done"
        except Crash:
            type(self).crashes += 1
            outcome = "crash"
        except ArtlineError as refusal:
            outcome = self.refused(operation, refusal, may_refuse)
        if outcome == "done" and not operation.done:
            after = operation.after(self.model)
            if after is None:
                assert operation.refusable, "done though it should be refused"
                after = self.model
            if operation.idle and self.fits(self.visible(), self.model):
                after = self.model
            assert self.fits(self.visible(), after), f"done, but {self.visible()} is not {after}"
            self.model = after
        self.running.pop()
        return outcome

    def nested(self, index: int, what: Callable[[StoreMachine, int], None]) -> Callable[[], None]:
        def act() -> None:
            type(self).nestings += 1
            what(self, (index + 1) % len(self.clients))

        return act

    def lose_the_catalog(self) -> None:
        """At the end: what the bucket alone has is the model, too, and every byte of it."""
        self.clients[0].gate.committed = lambda: None
        publish(self.clients[0].store.content)  # of a client that died before it could, and told nobody
        for client in self.clients:
            client.forget()
        self.database.close()
        for path in self.root.glob("catalog.db*"):
            path.unlink()
        catalog, bucket = sqlite_url(self.root / "catalog.db"), str(self.root / "bucket")
        shutil.copyfile(_template(), self.root / "catalog.db")
        settings = load_settings(root=self.root / "rebuilt", catalog=catalog, bucket=bucket)
        content = ContentStore.open(settings, adopt=True)
        result = repair(ArtifactStore(content, settings))
        assert result.report.ok, result
        assert not result.rebuilt.problems, result
        assert not result.restored.problems, result
        content.catalog.close()
        with contextlib.closing(sqlite3.connect(self.root / "catalog.db")) as self.database:
            shown = self.visible()
        assert self.fits(shown, self.model), f"rebuilt: {shown} is not {self.model}"

    # What clients do

    def open_draft(self, client: Client, name: str, base: int | None) -> None:
        self.give_up(client)
        if base is None:
            client.draft = Artifact(name, "dataset", store=client.store)
            files: dict[str, bytes] = {}
        else:
            client.draft = client.store.get(f"{name}:v{base}", project="p").new_draft()
            files = dict(self.model[name].versions[base].files)
        self.drafts[client] = {"name": name, "base": base, "files": files, **self.held()}

    def held(self) -> dict[str, Any]:
        """Return from when on a lease lasts that somebody takes now, and the first collection it meets."""
        return {"held": self.clock.now, "meets": len(self.collections) - self.collecting}

    def do_draft(self, index: int, name: str, base: int | None, plan: Any = ()) -> None:
        if base is not None and (name not in self.model or not self.model[name].is_live(base)):
            base = None
        self.act(
            index,
            lambda client: self.open_draft(client, name, base),
            lambda model: True,
            plan,
            lambda error: base is not None and self.gone(error, name, base),
        )

    def do_add(self, index: int, path: str, content: int, flush: bool, plan: Any = ()) -> None:
        client = self.clients[index]
        if client.draft is None:
            return
        data, draft, state = CONTENTS[content], client.draft, self.drafts[client]

        def add(client: Client) -> None:
            draft.add_stream(io.BytesIO(data), path, overwrite=True)
            if flush:
                draft.staging.writer.flush()

        outcome = self.act(
            index, add, lambda model: True, plan, may_refuse=lambda error: self.lapsed(error, state)
        )
        if outcome == "done":
            state["files"][path] = data
        elif outcome == "refused":
            self.give_up(client)

    def lapsed(self, error: ArtlineError, state: dict[str, Any]) -> bool:
        """Tell whether a draft may be refused since its lease may have ended, or its base is gone."""
        met = self.collections[state["meets"] :]
        ended = any(when - state["held"] > LEASE_SURE for when in met)
        late = ended and isinstance(error, ConflictError)
        base = state.get("base")
        gone = base is not None and not self.model[state["name"]].is_live(base)
        return late or (gone and isinstance(error, (ConflictError, IntegrityError)))

    def give_up(self, client: Client) -> None:
        draft, client.draft = client.draft, None
        if draft is not None and draft.is_draft:
            draft.staging.close()

    def do_log(self, index: int, alias: str | None, plan: Any = ()) -> None:
        client = self.clients[index]
        if client.draft is None:
            return
        draft, state = client.draft, self.drafts[client]
        files = frozenset(state["files"].items())

        def change(model: Model) -> bool:
            named = model.setdefault(state["name"], Named())
            if state["base"] is not None and not named.is_live(state["base"]):
                return False
            same = [n for n, v in enumerate(named.versions) if v.files == files and not v.deleted]
            if not same:
                named.versions.append(Version(files))
            number = same[-1] if same else len(named.versions) - 1
            for one in ("latest", alias):
                if one:
                    named.aliases[one] = number
            return True

        self.act(
            index,
            lambda client: client.store.log(draft, project="p", aliases=[alias] if alias else []),
            change,
            plan,
            may_refuse=lambda error: self.lapsed(error, state),
        )
        self.give_up(client)

    def do_alias(self, index: int, name: str, number: int, alias: str, take: bool, plan: Any = ()) -> None:
        def change(model: Model) -> bool:
            if name not in model or not model[name].is_live(number):
                return False
            aliases = model[name].aliases
            if take and aliases.get(alias) != number:
                return False
            if take:
                del aliases[alias]
            else:
                aliases[alias] = number
            return True

        def move(client: Client) -> None:
            method = client.store.remove_alias if take else client.store.set_alias
            method(f"{name}:v{number}", alias, project="p")

        self.act(index, move, change, plan)

    def do_delete(self, index: int, name: str, number: int, plan: Any = ()) -> None:
        def change(model: Model) -> bool:
            if name not in model or not model[name].is_live(number):
                return False
            named = model[name]
            named.versions[number].deleted = True
            named.versions[number].since = len(self.collections) - self.collecting
            moves = named.aliases.get("latest") == number
            named.aliases = {alias: n for alias, n in named.aliases.items() if n != number}
            newest = named.newest()
            if moves and newest is not None:
                named.aliases["latest"] = newest
            return True

        self.act(
            index,
            lambda client: client.store.delete(f"{name}:v{number}", project="p", delete_aliases=True),
            change,
            plan,
        )

    def do_undelete(self, index: int, name: str, number: int, plan: Any = ()) -> None:
        def change(model: Model) -> bool:
            if name not in model or number >= len(model[name].versions):
                return False
            named = model[name]
            named.versions[number].deleted = False
            newest = named.newest()
            if "latest" not in named.aliases and newest is not None:
                named.aliases["latest"] = newest
            return True

        held = self.held()
        self.act(
            index,
            lambda client: client.store.undelete(f"{name}:v{number}", project="p"),
            change,
            plan,
            lambda error: (
                self.lapsed(error, held)
                or (isinstance(error, IntegrityError) and self.collected(name, number))
            ),
        )

    def collected(self, name: str, number: int) -> bool:
        """Tell whether a deleted version's content may be gone: found unneeded, and again after the grace."""
        times = self.collections[self.model[name].versions[number].since :]
        return any(later - when >= GRACE for i, when in enumerate(times) for later in times[i:])

    def do_collect(self, index: int, repack: bool, plan: Any = ()) -> None:
        self.collections.append(self.clock.now)
        self.collecting += 1
        self.act(
            index,
            lambda client: collect(
                client.store, grace=timedelta(seconds=GRACE), dry_run=False, repack=repack
            ),
            lambda model: True,
            plan,
            may_refuse=lambda error: isinstance(error, ConflictError),
        )
        self.collecting -= 1

    def do_neglect(self, index: int, days: int) -> None:
        """Collect, let the clock jump, and collect again."""
        self.do_collect(index, False)
        self.clock.now += days * 86400.0
        self.do_collect(index, False)

    def do_read(self, index: int, name: str, number: int, plan: Any = ()) -> None:
        if name not in self.model or not self.model[name].is_live(number):
            return
        wanted = dict(self.model[name].versions[number].files)

        def read(client: Client) -> None:
            version = client.store.get(f"{name}:v{number}", project="p")
            found = {}
            for entry in version.files():
                with version.open(entry.path) as stream:
                    found[entry.path] = stream.read()
            assert found == wanted

        self.act(index, read, lambda model: True, plan, lambda error: self.gone(error, name, number))

    def gone(self, error: ArtlineError, name: str, number: int) -> bool:
        """Tell whether a version may not be found, or read any more, since it was deleted meanwhile."""
        missed = isinstance(error, (ArtifactNotFoundError, IntegrityError))
        return missed and not self.model[name].is_live(number)

    # Rules

    who = st.integers(0, 2)
    names = st.sampled_from(NAMES)
    numbers = st.integers(0, 3)
    aliases = st.sampled_from(["x", "y"])
    picks = st.lists(st.integers(0, 5), max_size=3)

    @staticmethod
    def _call(method: str, *args: Any) -> Callable[[StoreMachine, int], None]:
        def what(machine: StoreMachine, index: int) -> None:
            getattr(machine, method)(index, *args)

        what.__qualname__ = f"{method}{args}"
        return what

    actions = st.one_of(
        st.builds(_call.__func__, st.just("do_collect"), st.booleans()),
        st.builds(_call.__func__, st.just("do_neglect"), st.sampled_from([1, 8])),
        st.builds(_call.__func__, st.just("do_log"), st.one_of(st.none(), aliases)),
        st.builds(_call.__func__, st.just("do_delete"), names, numbers),
        st.builds(_call.__func__, st.just("do_undelete"), names, numbers),
        st.builds(_call.__func__, st.just("do_alias"), names, numbers, aliases, st.booleans()),
        st.builds(_call.__func__, st.just("do_read"), names, numbers),
        st.builds(_call.__func__, st.just("do_fresh"), names, picks),
    )
    steps = st.one_of(st.integers(0, 8), st.integers(0, 25))
    plans = st.one_of(
        st.just({}),
        st.builds(lambda step: {step: CRASH}, steps),
        st.dictionaries(steps, st.one_of(st.just(CRASH), actions, actions), min_size=1, max_size=4),
    )

    def do_fresh(
        self, index: int, name: str, picks: list[int], alias: str | None = None, plan: Any = ()
    ) -> None:
        """Log a new draft at once."""
        self.do_draft(index, name, None)
        for path, content in zip(PATHS, picks, strict=False):
            self.do_add(index, path, content, False)
        self.do_log(index, alias, plan)

    @rule(index=who, name=names, base=st.one_of(st.none(), numbers), plan=plans)
    def draft(self, index: int, name: str, base: int | None, plan: Any) -> None:
        self.do_draft(index, name, base, plan)

    @rule(index=who, path=st.sampled_from(PATHS), content=st.integers(0, 5), flush=st.booleans(), plan=plans)
    def add(self, index: int, path: str, content: int, flush: bool, plan: Any) -> None:
        self.do_add(index, path, content, flush, plan)

    @rule(index=who, alias=st.one_of(st.none(), aliases), plan=plans)
    def log(self, index: int, alias: str | None, plan: Any) -> None:
        self.do_log(index, alias, plan)

    @rule(index=who, name=names, picks=picks, alias=st.one_of(st.none(), aliases), plan=plans)
    def fresh(self, index: int, name: str, picks: list[int], alias: str | None, plan: Any) -> None:
        self.do_fresh(index, name, picks, alias, plan)

    @rule(index=who, name=names, number=numbers, alias=aliases, take=st.booleans(), plan=plans)
    def alias(self, index: int, name: str, number: int, alias: str, take: bool, plan: Any) -> None:
        self.do_alias(index, name, number, alias, take, plan)

    @rule(index=who, name=names, number=numbers, plan=plans)
    def delete(self, index: int, name: str, number: int, plan: Any) -> None:
        self.do_delete(index, name, number, plan)

    @rule(index=who, name=names, number=numbers, plan=plans)
    def undelete(self, index: int, name: str, number: int, plan: Any) -> None:
        self.do_undelete(index, name, number, plan)

    @rule(index=who, repack=st.booleans(), plan=plans)
    def collect(self, index: int, repack: bool, plan: Any) -> None:
        self.do_collect(index, repack, plan)

    @rule(index=who, name=names, number=numbers, plan=plans)
    def read(self, index: int, name: str, number: int, plan: Any) -> None:
        self.do_read(index, name, number, plan)

    @rule(hours=st.sampled_from([1, 12, 22, 25, 24 * 3, 24 * 8]))
    def wait(self, hours: int) -> None:
        self.clock.wait(hours * 3600.0)

    @rule(days=st.sampled_from([-400, -8, -1, 1, 2, 8]))
    def jump(self, days: int) -> None:
        self.clock.now += days * 86400.0

    @precondition(lambda self: any(named.versions for named in self.model.values()))
    @rule(index=who)
    def audit(self, index: int) -> None:
        """Whatever happened, every byte of every visible version is there, and the store is sound."""
        report = check(self.clients[index].store, full=True)
        assert report.ok, report
        for name, named in self.model.items():
            for number in range(len(named.versions)):
                if named.is_live(number):
                    self.do_read(index, name, number)

    @invariant()
    def shows_the_model(self) -> None:
        if hasattr(self, "database"):
            shown = self.visible()
            assert self.fits(shown, self.model), f"{shown} is not {self.model}"


_made: list[Path] = []


def _template() -> Path:
    """Return an empty catalog, made once."""
    if not _made:
        import artline.artifacts.schema  # noqa: F401 (declares the tables)

        path = Path(tempfile.mkdtemp(prefix="artline-proof-")) / "catalog.db"
        Catalog.open(sqlite_url(path)).close()
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        _made.append(path)
    return _made[0]
