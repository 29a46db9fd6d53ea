"""Threads follow the cgroup's quota and the affinity mask, not the host's cores; memory follows the cgroup's limit."""

import os
from pathlib import Path

import pytest

from modelward_runtime.hardware import Hardware, cpu_quota, measure, memory_limit

V2 = {"proc/self/cgroup": "0::/pods/mine\n"}
V1 = {"proc/self/cgroup": "5:memory:/pods/mine\n4:cpu,cpuacct:/pods/mine\n0::/\n"}


def v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


TREES = [
    ("no cgroups at all: no limit", {}, None),
    ("v2 without a limit", {**V2, "sys/fs/cgroup/pods/mine/cpu.max": "max 100000\n"}, None),
    ("v2, two and a half processors", {**V2, "sys/fs/cgroup/pods/mine/cpu.max": "250000 100000\n"}, 2.5),
    (
        "v2, a parent is tighter than the own group",
        {**V2, "sys/fs/cgroup/pods/mine/cpu.max": "400000 100000", "sys/fs/cgroup/pods/cpu.max": "100000 100000"},
        1.0,
    ),
    (
        "v2 in a pod: the own cgroup is the mount's root",
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"},
        1.5,
    ),
    (
        "v2 without a cgroup namespace: the path is the host's and not mounted",
        {"proc/self/cgroup": "0::/kubepods/pod1/abc\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"},
        3.0,
    ),
    ("v1 without a limit", {**V1, **v1("sys/fs/cgroup/cpu,cpuacct/pods/mine", -1)}, None),
    ("v1, a half processor", {**V1, **v1("sys/fs/cgroup/cpu,cpuacct/pods/mine", 50_000)}, 0.5),
    ("v1, another period", {**V1, **v1("sys/fs/cgroup/cpu,cpuacct/pods/mine", 40_000, 10_000)}, 4.0),
    ("v1 mounted as cpu, in a pod", {**V1, **v1("sys/fs/cgroup/cpu", 200_000)}, 2.0),
    (
        "v1, a parent is tighter",
        {**V1, **v1("sys/fs/cgroup/cpu/pods", 100_000), **v1("sys/fs/cgroup/cpu/pods/mine", 200_000)},
        1.0,
    ),
]


@pytest.mark.parametrize(("reason", "tree", "expected"), TREES, ids=[reason for reason, *_ in TREES])
def test_quota_is_read_from_the_tree(tmp_path: Path, reason: str, tree: dict[str, str], expected: float | None) -> None:
    for name, text in tree.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert expected == cpu_quota(tmp_path), reason


MEMORY = [
    ("v2, a parent is tighter", {"pods/mine/memory.max": "max", "pods/memory.max": "1000\n"}, V2, 1000),
    ("v1", {"memory/pods/mine/memory.limit_in_bytes": "3000", "memory/pods/memory.limit_in_bytes": "2000\n"}, V1, 2000),
    ("v1 without a limit", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, V1, None),
    ("no cgroups at all", {}, {}, None),
]


@pytest.mark.parametrize(("reason", "limits", "tree", "expected"), MEMORY, ids=[reason for reason, *_ in MEMORY])
def test_memory_is_the_smallest_limit_or_the_machines(
    tmp_path: Path, reason: str, limits: dict[str, str], tree: dict[str, str], expected: int | None
) -> None:
    for name, text in {**tree, **{f"sys/fs/cgroup/{name}": text for name, text in limits.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert (expected or machine) == memory_limit(tmp_path), reason


@pytest.mark.parametrize(
    ("reason", "hardware", "threads", "spinning"),
    [
        ("no quota: every processor of the mask, and idle threads may spin", Hardware(4, None), 4, True),
        ("a quota below the mask", Hardware(64, 2.0), 2, False),
        ("a part of a processor counts as none", Hardware(64, 2.9), 2, False),
        ("less than one processor is one thread", Hardware(64, 0.25), 1, False),
        ("a quota above the mask", Hardware(2, 8.0), 2, False),
    ],
)
def test_threads_and_spinning(reason: str, hardware: Hardware, threads: int, spinning: bool) -> None:
    assert (threads, spinning) == (hardware.threads, hardware.spinning), reason


def test_measures_this_very_process() -> None:
    assert len(os.sched_getaffinity(0)) == measure().processors
