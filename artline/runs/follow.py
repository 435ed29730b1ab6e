"""Following the console output of a run while it is alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artline.runs.listing import RunRecord
    from artline.runs.output import OutputPiece
    from artline.runs.store import RunStore

__all__ = ["follow_output"]

LIVE = ("pending", "running")


def follow_output(
    store: RunStore,
    record: RunRecord,
    *,
    stream: str | None = None,
    lines: int | None = None,
    label: str | None = None,
    interval: float = 0.5,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[OutputPiece]:
    """Yield a run's output, what there is first, then what follows, until the run has ended.

    ``lines`` limits what there is already to its last lines; ``label`` names one of the processes of a
    shared run. New output is looked for every ``interval`` seconds.
    """
    cursor = 0
    while True:
        # The state is read before the output: a run seen as ended here has written nothing after that.
        store.ingest(record.project, record.run_id)
        record = store.get(record.project, record.run_id, entity=record.entity)
        wanted = None
        if label is not None:
            wanted = {writer.key for writer in store.writers(record) if writer.label == label}
        for piece in store.console(record, after=cursor, lines=lines):
            cursor = piece.cursor
            if stream in (None, piece.stream) and (wanted is None or piece.writer in wanted):
                yield piece
        lines = None
        if record.state not in LIVE:
            return
        wait(interval)
