"""The format page lists every table of the catalog with all of its columns."""

import re
from pathlib import Path

import pytest

import artline.runs.schema
from artline.storage.schema import metadata

DOCUMENT = (Path(__file__).parents[2] / "docs/format/v1.md").read_text(encoding="utf-8")
BEFORE, _, AFTER = DOCUMENT.partition("\n## Records\n")  # whose kinds are called like tables
CATALOG = BEFORE + AFTER[AFTER.index("\n## ") :]


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_every_column_of_the_catalog_is_documented(table: str) -> None:
    assert artline.runs.schema.run.metadata is metadata
    rows = re.findall(rf"^\| `{table}` \| (.*) \|$", CATALOG, re.MULTILINE)
    assert len(rows) == 1, f"docs/format/v1.md has {len(rows)} rows for the table {table}"
    named = set(re.findall(r"`([a-z_]+)`", rows[0]))
    assert {column.name for column in metadata.tables[table].columns} <= named
