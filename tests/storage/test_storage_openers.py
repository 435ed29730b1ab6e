from __future__ import annotations

from pathlib import Path

import pytest

from artline.errors import IntegrityError
from artline.storage.bucket import LocalBucket
from artline.storage.catalog import Catalog, sqlite_url
from artline.storage.digest import Algorithm
from artline.storage.identity import identify


def test_a_store_that_another_process_makes_meanwhile_is_no_lost_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Catalog.open(sqlite_url(tmp_path / "catalog.db"))
    bucket = LocalBucket(tmp_path / "bucket")
    exists = LocalBucket.exists
    made: list[str] = []

    def late(self: LocalBucket, name: str) -> bool:
        monkeypatch.setattr(LocalBucket, "exists", exists)
        made.append(identify(catalog, bucket, Algorithm.BLAKE3, False)["id"])
        bucket.put("packs/00/00.pack", b"first")
        return exists(self, name)

    monkeypatch.setattr(LocalBucket, "exists", late)
    assert identify(catalog, bucket, Algorithm.BLAKE3, False)["id"] == made[0]
    other = Catalog.open(sqlite_url(tmp_path / "other.db"))
    with pytest.raises(IntegrityError, match="was the catalog lost"):
        identify(other, bucket, Algorithm.BLAKE3, False)
    catalog.close()
    other.close()
