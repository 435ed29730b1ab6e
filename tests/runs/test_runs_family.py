"""The processes below a run's, and what a container allows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from livescript import wait_until

from artline.runs import cgroup, family, system
from artline.runs.cgroup import find_cgroup
from artline.runs.family import Member, read_family
from artline.runs.system import Sampler

GIB = 1 << 30
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
child.communicate(b"\\n")
"""


@pytest.mark.parametrize("way", ["proc", "psutil"])
def test_children_and_grandchildren_are_found(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "psutil":  # as where there is no /proc
        monkeypatch.setattr(family, "_from_proc", family._by_psutil)
    child = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    found = {member.pid: member for member in read_family(os.getpid())}
    assert {child.pid, grandchild} <= found.keys()
    assert found[grandchild].parent == child.pid
    assert found[child.pid].rss > 1 << 20
    assert found[child.pid].threads >= 1
    assert found[child.pid].seconds > 0
    child.communicate("\n")
    assert child.pid not in {member.pid for member in read_family(os.getpid())}


def test_children_keep_their_places_while_they_live(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    living: list[Member] = []
    monkeypatch.setattr(system, "read_family", lambda pid: list(living))
    monkeypatch.setattr(system, "CHILDREN", 2)
    sampler = Sampler(tmp_path, lambda: None)

    def rss() -> dict[str, float]:
        values = sampler.sample()
        return {k: v for k, v in values.items() if k.startswith("proc.child.") and k.endswith("rssMB")}

    def member(pid: int) -> Member:
        return Member(pid, os.getpid(), 1.0, 0.5, 3, pid << 20)

    assert "proc.children" not in sampler.sample()
    living += [member(11), member(12), member(13)]
    assert rss() == {"proc.child.0.memory.rssMB": 11.0, "proc.child.1.memory.rssMB": 12.0}
    living.remove(member(11))
    assert rss() == {"proc.child.0.memory.rssMB": 13.0, "proc.child.1.memory.rssMB": 12.0}
    values = sampler.sample()
    assert values["proc.children"] == 2.0
    assert values["proc.tree.memory.rssMB"] == pytest.approx(values["proc.memory.rssMB"] + 25)
    assert values["proc.tree.cpu.threads"] == values["proc.cpu.threads"] + 6
    living.clear()
    assert rss() == {}


def test_what_a_child_computes_is_seen(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    sampler = Sampler(tmp_path, lambda: None)

    def share() -> bool:  # servers of other tests may be children, too
        values = sampler.sample()
        children = [values[key] for key in values if re.fullmatch(r"proc\.child\.\d+\.cpu", key)]
        return values["proc.tree.cpu"] > values["cpu"] + 1 and max(children) > 1

    try:
        wait_until(share, "a child's processor time")
    finally:
        child.kill()
        child.wait()


Make = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path) -> Make:
    """Return a function that writes the files of a container, and returns its /proc/self."""

    def make(groups: str, mounts: str, files: dict[str, str]) -> Path:
        (tmp_path / "cgroup").write_text(groups)
        (tmp_path / "mountinfo").write_text(mounts.replace("@", str(tmp_path / "sys")))
        for name, text in files.items():
            file = tmp_path / "sys" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return make


V2 = "30 23 0:26 / @ rw,nosuid - cgroup2 cgroup rw\n"
V1 = (
    "31 23 0:28 / @ rw - tmpfs tmpfs rw\n"
    "32 31 0:29 / @/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 /docker/abc @/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / @/unified rw - cgroup2 cgroup2 rw\n"
)


def test_the_tightest_limit_above_a_process_counts(machine: Make) -> None:
    found = find_cgroup(
        machine(
            "0::/slurm/job\n",
            V2,
            {
                "slurm/job/memory.max": "max\n",
                "slurm/job/memory.current": "5\n",
                "slurm/job/cpu.max": "max 100000\n",
                "slurm/memory.max": f"{8 * GIB}\n",
                "slurm/memory.current": f"{3 * GIB}\n",
                "slurm/memory.stat": f"anon 1\ninactive_file {GIB}\n",
                "slurm/cpu.max": "250000 100000\n",
                "memory.max": f"{64 * GIB}\n",
            },
        )
    )
    assert found is not None
    assert found.memory() == (8 * GIB, 2 * GIB)
    assert found.cores() == 2.5


def test_a_container_of_version_1_sees_its_group_as_the_root(machine: Make) -> None:
    found = find_cgroup(
        machine(
            "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n",
            V1,
            {
                "memory/memory.limit_in_bytes": f"{2 * GIB}\n",
                "memory/memory.usage_in_bytes": f"{GIB}\n",
                "memory/memory.stat": f"total_inactive_file {GIB // 2}\n",
                "cpu/cpu.cfs_quota_us": "50000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
            },
        )
    )
    assert found is not None
    assert found.memory() == (2 * GIB, GIB // 2)
    assert found.cores() == 0.5


def test_groups_without_limits(machine: Make) -> None:
    files = {"memory/memory.limit_in_bytes": "9223372036854771712\n", "cpu/cpu.cfs_quota_us": "-1\n"}
    found = find_cgroup(machine("4:memory:/\n1:cpu:/\n", V1, files))
    assert found is not None
    assert (found.memory(), found.cores()) == (None, None)
    found = find_cgroup(machine("0::/../..\n", V2, {"memory.max": "max\n"}))
    assert found is not None
    assert (found.memory(), found.cores()) == (None, None)
    assert find_cgroup(machine("garbage", V2, {})) is None
    assert find_cgroup(Path("/nowhere")) is None


def test_percentages_are_of_what_a_container_allows(
    machine: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {"memory.max": f"{GIB}\n", "memory.current": f"{GIB // 4}\n", "cpu.max": "10000 100000\n"}
    allowed = find_cgroup(machine("0::/\n", V2, files))
    monkeypatch.setattr(system, "find_cgroup", lambda: allowed)
    sampler = Sampler(tmp_path, lambda: None)
    assert sampler.limits() == {"memory_limit_bytes": GIB, "cpu_limit": 0.1}
    values = sampler.sample()
    assert values["memory_percent"] == 25.0
    assert values["proc.memory.availableMB"] == 768.0
    assert values["proc.memory.percent"] == pytest.approx(100 * values["proc.memory.rssMB"] / 1024)
    assert cgroup.find_cgroup() is None or not sampler._failed


def test_where_a_sample_is_dear_they_come_less_often() -> None:
    assert system._rest(0.001) == 0.2
    assert system._rest(0.2) == 40.0


def test_what_other_systems_lack_breaks_nothing() -> None:
    """Names that Windows and macOS do not have, taken out before anything is imported."""
    code = """
import builtins, os, sys
for name in ("sched_getaffinity", "pipe2", "memfd_create", "splice", "openpty", "posix_spawn", "O_CLOEXEC"):
    if hasattr(os, name):
        delattr(os, name)
sys.modules["fcntl"] = sys.modules["termios"] = None
import artline
from artline.runs import family, system
family._from_proc = family._by_psutil
system.find_cgroup = lambda: None
from pathlib import Path
values = system.Sampler(Path.cwd(), lambda: None).sample()
assert values["cpu"] >= 0.0, values
assert values["memory_percent"] > 0.0, values
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_psutil_that_fails_everywhere_costs_a_warning_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import psutil

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("not a number: '?'")

    for name in ("net_io_counters", "disk_io_counters", "disk_partitions", "virtual_memory", "disk_usage"):
        monkeypatch.setattr(psutil, name, broken)
    sampler = Sampler(tmp_path, lambda: None)
    for _ in range(3):
        assert sampler.sample()["proc.memory.rssMB"] > 1
    said = capsys.readouterr().err
    for part in ("process", "memory", "disk"):
        assert said.count(f"{part} cannot be read") == 1
