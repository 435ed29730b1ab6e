"""The migrations make the tables that the code declares; the room stays cheap to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from artline.runs.schema import run
from artline.storage.catalog import Catalog, metadata


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrated_tables_are_the_declared_ones(
    kind: str, store_root: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else str(store_root / "catalog.db")
    catalog = Catalog.open(url)
    with catalog.read() as conn:
        differences = compare_metadata(MigrationContext.configure(conn), metadata)
    assert run.metadata is metadata
    assert differences == []
    catalog.close()


def test_the_live_side_of_the_room_imports_no_database() -> None:
    code = (
        "import sys, artline.runs, artline.runs.records, artline.runs.journal; "
        "sys.exit(sorted({'sqlalchemy', 'alembic', 'numpy', 'pandas'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
