"""The stores of a server's teams, opened when they are first asked for."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from artline.artifacts.store import ArtifactStore
from artline.runs.store import RunStore
from artline.server.options import schema_name
from artline.storage.catalog import Catalog

if TYPE_CHECKING:
    from pathlib import Path

    from artline.runs.listing import RunRecord
    from artline.server.directory import Directory
    from artline.server.options import ServerOptions
    from artline.storage.content import ContentStore

__all__ = ["Stores", "TeamStore"]

_OPEN = 256  # stores that are kept open
_LOOK_INTERVAL = 5.0  # seconds between two looks for runs whose process fell silent


class ServedRuns(RunStore):
    """The runs of a team as the server has them: their folders lie elsewhere, whatever they say of them."""

    def files_folder(self, record: RunRecord) -> Path:
        return self.settings.root / "runs" / record.project / record.run_id / "files"

    def take_folders(
        self, project: str | None = None, run_id: str | None = None, *, everything: bool = False
    ) -> int:
        return 0


@dataclass(slots=True)
class TeamStore:
    """The artifacts and runs of one team."""

    name: str
    artifacts: ArtifactStore
    runs: RunStore
    looked_at: float = field(default=0.0)

    @property
    def content(self) -> ContentStore:
        """Its content store."""
        return self.artifacts.content

    def settle(self) -> None:
        """Mark runs crashed that have been silent too long; now and then, however often it is called."""
        now = time.monotonic()
        if now - self.looked_at > _LOOK_INTERVAL:
            self.looked_at = now
            self.runs.ingest()


class Stores:
    """Every team's store. Safe to share between threads."""

    def __init__(self, options: ServerOptions, directory: Directory) -> None:
        self._options = options
        self._directory = directory
        self._open: OrderedDict[str, TeamStore] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, team: str) -> TeamStore:
        """Return a team's store, making it at first use. Raises NotFoundError when there is no such team."""
        with self._lock:
            found = self._open.get(team)
            if found is not None:
                self._open.move_to_end(team)
                return found
            found = self._open[team] = self._make(team)
            while len(self._open) > _OPEN:
                _, old = self._open.popitem(last=False)
                old.runs.close()
        return found

    def _make(self, team: str) -> TeamStore:
        number = self._directory.team(team).id
        settings = self._options.team_settings(team, number)
        if settings.catalog.startswith("postgres"):
            place = self._directory.catalog
            with place.write() as connection:
                place.serialize(connection, "artline schemas")
                connection.execute(sa.schema.CreateSchema(schema_name(number), if_not_exists=True))
            Catalog.open(settings.catalog).close()
        return TeamStore(team, ArtifactStore.open(settings), ServedRuns.open(settings))
