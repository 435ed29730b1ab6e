"""Tables made of tables: two joined on a key, or the parts in a folder read as one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from artline.artifacts.table import BATCH, SUFFIX, Table
from artline.artifacts.table_file import arrow_module
from artline.errors import EntryNotFoundError, IntegrityError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.manifest import Entry

__all__ = ["JoinedTable", "PartitionedTable"]

JOINS = ("inner", "left outer", "right outer", "full outer")


class _Frames:
    """What every kind of table can be turned into, once it can be turned into Arrow."""

    to_arrow: Callable[[], Any]

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame; images are structs of their path in the artifact and their caption."""
        from artline.artifacts.table_frames import pandas_table

        return pandas_table(self.to_arrow(), {})

    def to_polars(self) -> Any:
        """Return a Polars DataFrame."""
        from artline.artifacts.table_frames import polars_table

        return polars_table(self.to_arrow())


class JoinedTable(_Frames):
    """Two tables and the columns that they are joined on, kept apart and joined when they are read.

    ``table1`` and ``table2`` are Tables, stored beside it as ``<name>.1`` and ``<name>.2``, or names under
    which the same artifact has them. ``join_key`` is one column name, or two: the first table's and the
    second's.
    """

    suffix = ".joined-table.json"

    def __init__(self, table1: Table | str, table2: Table | str, join_key: str | Sequence[str]) -> None:
        keys = (join_key, join_key) if isinstance(join_key, str) else tuple(join_key)
        if len(keys) != 2:
            raise UsageError(f"join_key is one column name or two, not {join_key!r}")
        self.table1 = table1
        self.table2 = table2
        self.join_key = keys

    def __repr__(self) -> str:
        return f"<JoinedTable of {self.table1!r} and {self.table2!r} on {', '.join(self.join_key)}>"

    def to_arrow(self, how: str = "full outer") -> Any:
        """Return the joined rows as a pyarrow Table, in the order of the first table, then of the second.

        ``how`` is ``inner``, ``left outer``, ``right outer`` or ``full outer``; a null key matches nothing.
        The key stands once, under the first table's name; a column name that both have gets ``_2`` behind
        the second's.
        """
        if how not in JOINS:
            raise UsageError(f"how={how!r} is not known. Use one of: {', '.join(JOINS)}")
        if isinstance(self.table1, str) or isinstance(self.table2, str):
            raise UsageError(
                "the tables are named only. Add the joined table to an artifact and get it there"
            )
        arrow = arrow_module()
        left, right = self.table1.to_arrow(), self.table2.to_arrow()
        key1, key2 = self.join_key
        for table, key in ((left, key1), (right, key2)):
            if key not in table.column_names:
                raise UsageError(f"no column '{key}' to join on. There are: {', '.join(table.column_names)}")
        # Arrow joins no nested columns, so the keys are joined and the rows taken by their numbers.
        ours = arrow.table({"key": left[key1], "left": arrow.array(range(len(left)), arrow.int64())})
        theirs = arrow.table({"key": right[key2], "right": arrow.array(range(len(right)), arrow.int64())})
        try:
            places = ours.join(theirs, "key", join_type=how, coalesce_keys=True)
        except arrow.ArrowException as error:
            raise UsageError(f"columns '{key1}' and '{key2}' cannot be joined: {error}") from error
        places = places.sort_by([("left", "ascending"), ("right", "ascending")])
        columns = {name: left[name].take(places["left"]) for name in left.column_names}
        columns[key1] = places["key"]
        for name in right.column_names:
            if name != key2:
                free = name
                while free in columns or (free != name and free in right.column_names):
                    free += "_2"
                columns[free] = right[name].take(places["right"])
        return arrow.table(columns)

    def add_to_artifact(self, artifact: Artifact, name: str, *, overwrite: bool = False) -> Entry:
        """Store the join as ``<name>.joined-table.json``, and the tables that are not in the artifact yet."""
        base = name.removesuffix(self.suffix)
        names = []
        for number, table in enumerate((self.table1, self.table2), 1):
            if isinstance(table, str):
                artifact.get_entry(table if table.endswith(SUFFIX) else table + SUFFIX)
                names.append(table)
            else:
                names.append(f"{base}.{number}")
                table.add_to_artifact(artifact, names[-1], overwrite=overwrite)
        document = {"join_key": list(self.join_key), "table1": names[0], "table2": names[1]}
        return _add_document(artifact, base + self.suffix, document, overwrite)

    @classmethod
    def from_artifact(cls, artifact: Artifact, name: str) -> JoinedTable | None:
        """Return the joined table stored under ``name``, None when there is none."""
        document = _document(artifact, name, cls.suffix, ("join_key", "table1", "table2"))
        if document is None:
            return None
        tables = [_table(artifact, str(document[which])) for which in ("table1", "table2")]
        return cls(tables[0], tables[1], [str(key) for key in document["join_key"]])


class PartitionedTable(_Frames):
    """The tables in a folder of an artifact, read as one, in order of their names.

    All have the same columns, read in the order of the first; a type may be wider in some of them.
    """

    suffix = ".partitioned-table.json"

    def __init__(self, parts_path: str) -> None:
        self.parts_path = parts_path.strip("/")
        self._artifact: Artifact | None = None

    def __repr__(self) -> str:
        return f"<PartitionedTable of the tables in {self.parts_path}>"

    def __len__(self) -> int:
        return sum(len(part) for _, part in self.parts())

    def parts(self) -> Iterator[tuple[str, Table]]:
        """Yield the name and the table of each part; raise UsageError before it is out of an artifact."""
        if self._artifact is None:
            raise UsageError("a partitioned table is read out of an artifact. Add it and get it there")
        for entry in self._artifact.files(self.parts_path):
            if entry.path.endswith(SUFFIX):
                part = Table.from_artifact(self._artifact, entry.path)
                assert part is not None
                yield entry.path.removesuffix(SUFFIX), part

    def _ordered(self) -> Iterator[tuple[Table, list[str]]]:
        """Yield each part and the first one's columns; raise UsageError for a part that has others."""
        first: list[str] | None = None
        for name, part in self.parts():
            first = part.columns if first is None else first
            if sorted(part.columns) != sorted(first):
                raise UsageError(
                    f"the tables in '{self.parts_path}' have different columns: {first}, and '{name}' "
                    f"{part.columns}. Read them one by one: parts()"
                )
            yield part, first

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield each row's index and cells, part after part; memory holds one batch."""
        index = 0
        for part, columns in self._ordered():
            places = [part.columns.index(name) for name in columns]
            for _, row in part.iterrows():
                yield index, [row[place] for place in places]
                index += 1

    def iter_batches(self, size: int = BATCH) -> Iterator[Any]:
        """Yield Arrow record batches of at most ``size`` rows, part after part."""
        for part, columns in self._ordered():
            for batch in part.iter_batches(size):
                yield batch.select(columns)

    def to_arrow(self) -> Any:
        """Return all rows as a pyarrow Table; raise UsageError when the parts' columns do not agree."""
        arrow = arrow_module()
        tables = [part.to_arrow().select(columns) for part, columns in self._ordered()]
        if not tables:
            return arrow.table({})
        try:
            return arrow.concat_tables(tables, promote_options="permissive")
        except arrow.ArrowException as error:
            raise UsageError(f"the tables in '{self.parts_path}' have different types: {error}") from error

    def add_to_artifact(self, artifact: Artifact, name: str, *, overwrite: bool = False) -> Entry:
        """Store it as ``<name>.partitioned-table.json``; the parts are added on their own."""
        path = name.removesuffix(self.suffix) + self.suffix
        return _add_document(artifact, path, {"parts_path": self.parts_path}, overwrite)

    @classmethod
    def from_artifact(cls, artifact: Artifact, name: str) -> PartitionedTable | None:
        """Return the partitioned table stored under ``name``, None when there is none."""
        document = _document(artifact, name, cls.suffix, ("parts_path",))
        if document is None:
            return None
        table = cls(str(document["parts_path"]))
        table._artifact = artifact
        return table


def _add_document(artifact: Artifact, path: str, document: dict[str, Any], overwrite: bool) -> Entry:
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return artifact.add_stream(io.BytesIO(text.encode()), path, overwrite=overwrite)


def _document(artifact: Artifact, name: str, suffix: str, fields: Sequence[str]) -> dict[str, Any] | None:
    path = name.removesuffix(suffix) + suffix
    try:
        stream = artifact.open(path)
    except EntryNotFoundError:
        return None
    with stream:
        try:
            document = json.load(stream)
            return {field: document[field] for field in fields}
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"'{path}' in artifact '{artifact.name}' does not describe a table: {error!r}"
            ) from error


def _table(artifact: Artifact, name: str) -> Table:
    table = Table.from_artifact(artifact, name)
    if table is None:
        raise EntryNotFoundError(
            f"table '{name}' is not in artifact '{artifact.name}', where a join needs it"
        )
    return table
