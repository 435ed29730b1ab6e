"""A process whose clock is set to and fro while it works; libfaketime reads the time from a file each time.

Run it as ``python -m proof.skew ROOT CLOCK SEED``.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from artline.artifacts.store import ArtifactStore
from artline.errors import ArtlineError
from artline.settings import load_settings
from proof import workload

JUMPS = ("-400d", "-8d", "-1d", "-3600", "+0", "+3600", "+1d", "+2d", "+8d", "+400d")


def main(arguments: list[str]) -> None:
    root, clock, seed = arguments
    source = random.Random(int(seed))
    store = ArtifactStore.open(load_settings(root=root))
    refusals = []
    seen = set()
    for operation in workload.Workload(int(seed)).operations(14):
        Path(clock).write_text(source.choice(JUMPS))
        seen.add(time.time() // 86400)
        try:
            workload.perform(store, operation)
        except ArtlineError as error:
            refusals.append(f"{operation[0]}: {error.kind}")
    print(json.dumps({"days": len(seen), "refusals": refusals}))


if __name__ == "__main__":
    main(sys.argv[1:])
