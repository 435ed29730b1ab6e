"""A disk that fails now and then: EIO and ENOSPC returned by system calls, and SIGKILL in them, by strace."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from proof.syscalls import Fault, suffer

# These hit packs, records, the catalog's log and its checkpoints; `make soak` chooses at random.
FAULTS = [
    Fault("pwrite64", "EIO", 13, 17, seed=1),
    Fault("fsync", "EIO", 2, 3, seed=2),
    Fault("rename", "ENOSPC", 2, 3, seed=3),
    Fault("fdatasync", "EIO", 4, 5, seed=4),
    Fault("pread64", "EIO", 16, 51, seed=17),  # SQLite takes some of these for damage
    Fault("rename", "KILL", 6, 1, seed=6),
]


def test_errors_of_the_disk_lose_nothing_that_was_acknowledged(strace: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        refused = list(
            pool.map(lambda numbered: suffer(numbered[1], tmp_path / str(numbered[0])), enumerate(FAULTS))
        )
    assert sum(refused) > 5, refused
