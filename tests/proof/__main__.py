"""Run the proofs for as long as asked: ``python -m proof [decoders|stores|flips|model|…]``."""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

MEMORY = 6 << 30  # what input may make the process take, threads' stacks and mapped files included
PARTS = ("decoders", "stores", "flips", "model", "powerloss", "syscalls", "kills", "journals")


def decoders(seed: int, end: float, scratch: Path) -> str:
    """Feed forged input to the cheap decoders."""
    from proof.decoders import TARGETS, attempt

    tried = dict.fromkeys((target.name for target in TARGETS), 0)
    refused = 0
    while time.monotonic() < end:
        for target in TARGETS:
            for _ in range(200):
                try:
                    refused += attempt(target, random.Random(seed), scratch)
                except Exception:
                    print(f"{target.name}, seed {seed}", file=sys.stderr)
                    raise
                seed += 1
            tried[target.name] += 200
    each = ", ".join(f"{name} {count:,}" for name, count in tried.items())
    return f"{sum(tried.values()):,} inputs ({each}), {refused:,} refused"


def stores(seed: int, end: float, scratch: Path) -> str:
    """Rebuild, check and read stores with forged packs, manifests and caches."""
    from proof.stores import TARGETS, attempt, template

    template()  # made here, so that every child has it and this process removes it
    tried = _in_children(TARGETS, attempt, seed, end, scratch)
    names = ", ".join(target.__name__ for target in TARGETS)
    return f"{tried * len(TARGETS):,} stores ({tried:,} each with forged {names})"


def flips(seed: int, end: float, scratch: Path) -> str:
    """Flip one bit in a file of a store, and read all of it."""
    from proof.flips import TARGETS, attempt, truth

    truth()  # made here, so that every child has it and this process removes it
    tried = _in_children(TARGETS, attempt, seed, end, scratch)
    names = ", ".join(target.__name__ for target in TARGETS)
    return f"{tried * len(TARGETS):,} stores ({tried:,} each with a bit flipped in: {names})"


def _in_children(
    targets: Sequence[Callable[..., None]],
    attempt: Callable[..., None],
    seed: int,
    end: float,
    scratch: Path,
) -> int:
    """Attempt each target with one seed after the other, each 100 of them in a child; return how many."""
    tried = 0
    while time.monotonic() < end:
        child = os.fork()  # a process that has opened thousands of stores is no longer small
        if not child:
            for one in range(seed + tried, seed + tried + 100):
                for target in targets:
                    try:
                        attempt(target, random.Random(one), scratch)
                    except BaseException:  # noqa: BLE001 - the parent tells by the status
                        print(f"{target.__name__}, seed {one}", file=sys.stderr)
                        traceback.print_exc()
                        os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == 0, f"ended with {status}, at seed {seed + tried} or one of the 99 after it"
        tried += 100
    return tried


def model(seed: int, end: float, scratch: Path) -> str:
    """Run the state machine."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    from proof.machine import StoreMachine

    options = settings(
        max_examples=25,
        stateful_step_count=40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    while time.monotonic() < end:
        run_state_machine_as_test(StoreMachine, settings=options)
    return (
        f"{StoreMachine.examples:,} examples, {StoreMachine.operations:,} operations, "
        f"{StoreMachine.crashes:,} crashes, {StoreMachine.nestings:,} operations within others"
    )


def powerloss(seed: int, end: float, scratch: Path) -> str:
    """Record workloads, and cut the power at random moments of them."""
    from proof import powerloss as proof

    recordings = failures = 0
    while time.monotonic() < end:
        recording = proof.make(scratch / f"{recordings}", seed + recordings)
        moments = proof.moments(recording)
        chosen = proof.choose(random.Random(seed + recordings), moments, 100)
        proof.fail(recording, chosen, scratch / "left")
        recordings += 1
        failures += len(chosen)
    return f"{failures:,} power failures in {recordings:,} workloads"


def syscalls(seed: int, end: float, scratch: Path) -> str:
    """Let system calls fail at random."""
    from proof.syscalls import choose, suffer

    source = random.Random(seed)
    runs = refused = 0
    while time.monotonic() < end:
        folder = scratch / f"{runs}"
        folder.mkdir()
        refused += suffer(choose(source), folder)
        shutil.rmtree(folder)
        runs += 1
    return f"{runs:,} workloads with failing calls, {refused:,} operations refused"


def kills(seed: int, end: float, scratch: Path) -> str:
    """Kill trainings."""
    from artline.runs.store import RunStore
    from artline.settings import load_settings
    from proof.kills import batch

    source = random.Random(seed)
    store = RunStore.open(load_settings(root=scratch / "store"))
    states: dict[str, int] = {}
    while time.monotonic() < end:
        for state, count in batch(store, source, count=20, at_once=4, interval=1.0).items():
            states[state] = states.get(state, 0) + count
    each = ", ".join(f"{count} {state or 'not begun'}" for state, count in sorted(states.items()))
    return f"{sum(states.values()):,} trainings killed ({each})"


def journals(seed: int, end: float, scratch: Path) -> str:
    """Record runs, and cut the power at random moments of them."""
    from proof import journal_loss, powerloss

    recordings = failures = 0
    while time.monotonic() < end:
        recording = journal_loss.make(scratch / f"{recordings}", seed + recordings)
        chosen = powerloss.choose(random.Random(seed + recordings), powerloss.moments(recording), 100)
        journal_loss.fail(recording, chosen, scratch / "left")
        recordings += 1
        failures += len(chosen)
        shutil.rmtree(scratch, ignore_errors=True)
    return f"{failures:,} power failures in {recordings * 3:,} runs"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proof", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--minutes", type=float, default=20.0, help="for each part (default: 20)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(40))
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    failed = False
    for part in arguments.parts or PARTS:
        if part not in PARTS:
            parser.error(f"'{part}' is none of {', '.join(PARTS)}")
        run: Callable[[int, float, Path], str] = globals()[part]
        base = "/dev/shm" if Path("/dev/shm").is_dir() else None
        scratch = Path(tempfile.mkdtemp(prefix="artline-proof-", dir=base))
        begun = time.monotonic()
        print(f"{part}: {arguments.minutes:g} minutes, seed {arguments.seed}", flush=True)
        try:
            told = run(arguments.seed, begun + arguments.minutes * 60, scratch)
            print(f"{part}: {told}, in {(time.monotonic() - begun) / 60:.1f} minutes; no defect", flush=True)
        except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
            traceback.print_exc()
            failed = True
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
