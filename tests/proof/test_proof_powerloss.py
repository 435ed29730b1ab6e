"""Power failures at any moment of a traced workload, leaving what was synced and any part of the rest."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from proof import powerloss
from proof.disk import BEGUN, Disk, File, calls


@pytest.fixture(scope="module")
def recording(strace: str, tmp_path_factory: pytest.TempPathFactory) -> powerloss.Recording:
    return powerloss.make(tmp_path_factory.mktemp("powerloss"), seed=1)


def test_what_was_acknowledged_survives_a_power_failure(
    recording: powerloss.Recording, tmp_path: Path
) -> None:
    moments = powerloss.moments(recording)
    assert len(moments) > 300
    powerloss.fail(recording, powerloss.choose(random.Random(), moments, 12), tmp_path / "left")


def test_the_disk_forgets_what_was_not_synced(tmp_path: Path) -> None:
    disk = Disk("/d")
    disk._name("/d/a", file := File())
    file.pending.append((0, b"x" * 1000))
    for mode, names in (("nothing", []), ("all", ["a"])):
        disk.leave(tmp_path / mode, random.Random(1), mode)
        assert [path.name for path in (tmp_path / mode).iterdir()] == names
    disk._sync("/d")
    disk.leave(tmp_path / "named", random.Random(1), "nothing")
    assert (tmp_path / "named" / "a").read_bytes() == b""
    disk._sync("/d/a")
    disk.leave(tmp_path / "synced", random.Random(1), "nothing")
    assert (tmp_path / "synced" / "a").read_bytes() == b"x" * 1000
    file.pending.append((500, b"y" * 1500))
    torn = set()
    for seed in range(20):
        disk.leave(tmp_path / "torn", random.Random(seed), "some")
        torn.add((tmp_path / "torn" / "a").read_bytes())
    assert len(torn) > 3


def test_a_sync_makes_certain_what_was_written_before_it_began(tmp_path: Path) -> None:
    place = "5<" + "".join(f"\\x{byte:02x}" for byte in b"/d/a") + ">"
    lines = [
        f'1 write({place}, "\\x61", 1) = 1',
        f"2 fsync({place} <unfinished ...>",
        f'1 write({place}, "\\x62", 1) = 1',
        "2 <... fsync resumed>) = 0",
        f"1 fsync({place}) = 0",
    ]
    log = tmp_path / "log"
    log.write_text("\n".join(lines))
    disk = Disk("/d")
    disk._name("/d/a", file := File())
    disk.offsets[5] = 0
    seen = []
    for call in calls(log):
        disk.apply(call)
        seen.append((call.name, file.synced))
    assert seen == [
        ("write", b""),
        (BEGUN, b""),
        ("write", b""),
        ("fsync", b"a"),
        (BEGUN, b"a"),
        ("fsync", b"ab"),
    ]
