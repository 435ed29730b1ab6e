"""The specification's worked example is what the code writes."""

from __future__ import annotations

import re
from pathlib import Path

from artline.artifacts.manifest import MANIFEST_HEADER
from artline.artifacts.shards import encode_shard, records
from artline.storage.digest import Algorithm

SPECIFICATION = Path(__file__).parents[2] / "docs" / "format" / "v1.md"


def test_the_worked_example_of_a_manifest_is_right() -> None:
    text = SPECIFICATION.read_text(encoding="utf-8").partition("## Manifests")[2]
    example = text.partition("### Worked example")[2].partition("\n## ")[0]
    algorithm = Algorithm.BLAKE3
    row = ("a", 0, 1, algorithm.hash(b"x"), b"", "")
    logical = algorithm.hash(records([row]))
    assert records([row]).decode().replace("\0", " NUL").strip() in example
    assert logical.hex() in example
    assert algorithm.hash(MANIFEST_HEADER + logical).hex() in example
    dump = "".join(re.findall(r"^    ((?:[0-9a-f]{2} ?)+)$", example, re.MULTILINE))
    shard = encode_shard([row])
    assert bytes.fromhex(dump) == shard
    assert f"{len(shard)} bytes long" in example
