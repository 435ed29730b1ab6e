"""The histories of the runs of one store: read exactly, in part, as tables and as charts; sealed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from artline.artifacts.sealed_files import name_run
from artline.errors import AuthError, StoreUnavailableError
from artline.runs.charts import Curve, read_curves
from artline.runs.history import STEP, Metric, list_metrics, read_history, scan_columns, scan_history
from artline.runs.notices import warn
from artline.runs.records import HISTORY, SYSTEM
from artline.runs.samples import read_samples
from artline.runs.sealed import ChunkFiles, seal_chunks

if TYPE_CHECKING:
    from artline.runs.listing import RunRecord
    from artline.storage.catalog import Catalog
    from artline.storage.content import ContentStore

__all__ = ["KeptHistories"]


class KeptHistories:
    """The part of a RunStore that deals with the histories of runs."""

    if TYPE_CHECKING:
        catalog: Catalog

        @property
        def content(self) -> ContentStore: ...

    def __init__(self) -> None:
        self._chunks = ChunkFiles(lambda: self.content.bucket, lambda name: name_run(self.catalog, name))

    def seal(self, runs: Iterable[tuple[str, str, str]] | None = None) -> int:
        """Move long histories into Parquet files in the bucket; return how many files were written.

        ``runs`` names runs by entity, project and id; by default all. Without pyarrow, or while the bucket is
        out of reach, they stay in the catalog.
        """
        try:
            return seal_chunks(self.catalog, self._chunks, runs)
        except (StoreUnavailableError, AuthError) as error:
            warn(f"long histories stay in the catalog for now: {error}")
            return 0

    def metrics(self, record: RunRecord, stream: str | None = None) -> list[Metric]:
        """Return the keys of a run's history, with the number of rows that hold each."""
        with self.catalog.read() as conn:
            return list_metrics(conn, self._chunks, record.key, stream)

    def history(
        self,
        record: RunRecord,
        keys: Iterable[str] | None = None,
        *,
        stream: str = HISTORY,
        min_step: int | None = None,
        max_step: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return the exact records of a run; see ``artline.runs.history.read_history``."""
        with self.catalog.read() as conn:
            return read_history(
                conn,
                self._chunks,
                record.key,
                stream=stream,
                origin=record.created_at,
                keys=None if keys is None else list(keys),
                min_step=min_step,
                max_step=max_step,
            )

    def scan_history(
        self,
        record: RunRecord,
        keys: Iterable[str] | None = None,
        *,
        stream: str = HISTORY,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the exact records of a run in bounded memory."""
        return scan_history(
            self.catalog,
            self._chunks,
            record.key,
            stream=stream,
            origin=record.created_at,
            keys=None if keys is None else list(keys),
            min_step=min_step,
            max_step=max_step,
            page_size=page_size,
        )

    def scan_columns(
        self, record: RunRecord, keys: Iterable[str] | None = None, *, stream: str = HISTORY
    ) -> Iterator[Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]]:
        """Yield the exact history page by page, as columns where that is possible, else as records."""
        return scan_columns(
            self.catalog,
            self._chunks,
            record.key,
            stream=stream,
            origin=record.created_at,
            keys=None if keys is None else list(keys),
        )

    def samples(
        self,
        record: RunRecord,
        samples: int,
        keys: Iterable[str] | None = None,
        *,
        stream: str = HISTORY,
        x_axis: str = STEP,
    ) -> list[dict[str, Any]] | None:
        """Return some records of a long history; see ``artline.runs.samples.read_samples``."""
        with self.catalog.read() as conn:
            return read_samples(
                conn,
                self._chunks,
                record.key,
                samples,
                stream=stream,
                origin=record.created_at,
                keys=None if keys is None else list(keys),
                x_axis=x_axis,
            )

    def curves(
        self,
        record: RunRecord,
        keys: Sequence[str],
        *,
        x_axis: str = STEP,
        buckets: int = 1000,
        low: float | None = None,
        high: float | None = None,
        stream: str = HISTORY,
    ) -> list[Curve]:
        """Return metrics in buckets, however long the run is; see ``artline.runs.charts.read_curves``."""
        with self.catalog.read() as conn:
            return read_curves(
                conn,
                self._chunks,
                record.key,
                keys,
                stream=stream,
                origin=record.created_at,
                x_axis=x_axis,
                buckets=buckets,
                low=low,
                high=high,
            )

    def system(self, record: RunRecord, keys: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Return the system metrics of a run, as ``history`` does."""
        return self.history(record, keys, stream=SYSTEM)
