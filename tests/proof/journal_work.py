"""Runs that log numbers, flush, end and are taken in, traced for ``proof.journal_loss``.

Run it as ``python -m proof.journal_work ROOT SEED``. It prints ``RUN COUNT WHAT`` when so many numbers of a
run are safe: ``flushed``, ``taken`` into the catalog, or ``finished``.
"""

from __future__ import annotations

import os
import random
import sys
import time

import artline as art
from artline.runs import recorder
from artline.runs.store import RunStore
from artline.settings import load_settings

SETTINGS = {
    "console": False,
    "save_code": False,
    "quiet": True,
    "stats_interval": 60.0,
    "flush_interval": 0.01,
}


def say(name: str, count: int, what: str) -> None:
    os.write(1, f"{name} {count} {what}\n".encode())


def main(arguments: list[str]) -> None:
    root, seed = arguments
    source = random.Random(int(seed))
    recorder.FSYNC_INTERVAL = 0.03
    store = RunStore.open(load_settings(root=root))
    for name in ("first", "second", "third"):
        run = art.init(project="p", id=name, settings={**SETTINGS, "root": root})
        count = 0

        for _ in range(source.randrange(4, 12)):
            for _ in range(source.choice([1, 5, 300])):
                row = (
                    {"n": count}
                    if source.random() < 0.9
                    else {"n": count, "text": "x" * source.randrange(3000)}
                )
                run.log(row)
                count += 1
            act = source.choice(["flush", "wait", "wait", "ingest"])
            if act == "wait":
                time.sleep(source.random() * 0.05)
            else:
                run._recorder.flush()
                say(name, count, "flushed")
            if act == "ingest":
                store.ingest()
                say(name, count, "taken")
        if name != "third":
            run.finish()
            say(name, count, "finished")
        if source.random() < 0.7:
            store.ingest()
            say(name, count, "taken")
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
