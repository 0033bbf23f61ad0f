"""How many threads there is room for: affinity, quota, and what others keep busy."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recolor_fast.machine import processors


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "400000 100000\n"}, 3.0),
        ("0::/a\n", {}, math.inf),
        (
            "4:memory:/a\n2:cpu,cpuacct:/a\n0::/\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"},
            0.5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.5),
    ],
)
def test_the_quota_of_a_cgroup_is_found(tmp_path, membership, files, expected):
    write(tmp_path / "self", membership)
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    assert processors.quota(tmp_path / "cgroup", tmp_path / "self") == expected


def test_without_cgroups_nothing_limits(tmp_path):
    assert processors.quota(tmp_path, tmp_path / "missing") == math.inf


def test_threads_are_those_of_affinity_quota_and_limit(monkeypatch):
    monkeypatch.setattr(processors, "_mine", lambda: set(range(8)))
    for quota, expected in ((math.inf, 8), (2.5, 3), (0.5, 1)):
        monkeypatch.setattr(processors, "quota", lambda quota=quota: quota)
        assert processors.threads() == expected
    monkeypatch.setattr(processors, "quota", lambda: math.inf)
    with processors.limited(3):
        assert processors.threads() == 3
    with processors.limited(30):
        assert processors.threads() == 8
    assert processors.threads() == 8


@pytest.mark.parametrize(
    ("count", "quota", "busy", "expected"),
    [
        (2, math.inf, 0.0, 2),
        (2, math.inf, 0.19, 2),
        (2, math.inf, 0.21, 1),
        (2, math.inf, 2.0, 1),
        (16, math.inf, 2.1, 14),
        (64, 4.0, 40.0, 4),  # others are busy on processors that its quota leaves to them
        (64, 4.0, 62.0, 2),
    ],
)
def test_a_thread_has_a_processor_of_its_own(monkeypatch, count, quota, busy, expected):
    monkeypatch.setattr(processors, "_mine", lambda: set(range(count)))
    monkeypatch.setattr(processors, "quota", lambda: quota)
    assert processors.free(busy) == expected


def test_what_others_take_is_all_that_is_taken_but_for_ones_own(monkeypatch):
    slept = []
    busy, own, clock = iter([100.0, 101.5] * 2), iter([7.0, 7.25] * 2), iter([50.0, 50.0, 50.5, 60.0, 60.2, 62.0])
    monkeypatch.setattr(processors, "_mine", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(processors, "busy_ticks", lambda path: next(busy))
    monkeypatch.setattr(processors, "_own", lambda: next(own))
    monkeypatch.setattr(processors.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(processors.time, "sleep", slept.append)
    assert processors.taken(0.5) == 2.5
    processors.watch()
    assert processors.taken(0.2) == 1.25 / 2
    assert slept == [0.5, 0.0]  # two seconds have gone by while the process started


def test_only_processors_it_may_run_on_count(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "_mine", lambda: {0, 2})
    ticks = os.sysconf("SC_CLK_TCK")
    work = f"{ticks} {2 * ticks} {3 * ticks} 99999 99999 {4 * ticks} {5 * ticks} {6 * ticks} {7 * ticks} 0"
    write(tmp_path / "stat", f"cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 {work}\ncpu1 {work}\ncpu2 {work}\nintr 1 2\n")
    assert processors.busy_ticks(tmp_path / "stat") == 2 * (1 + 2 + 3 + 4 + 5 + 6)
    assert processors.busy_ticks(tmp_path / "missing") is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system has no /proc/stat")
def test_a_busy_process_is_seen():
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert processors.taken(0.5) > 0.4
    finally:
        other.kill()
        other.wait()


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="this kernel keeps no schedstat")
def test_waiting_for_a_processor_is_counted():
    before = processors.waited()
    sum(range(3_000_000))
    after = processors.waited()
    assert before is not None
    assert after is not None
    assert after[0] - before[0] > 0.005
    assert after[1] >= before[1]


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "avx2 fma", True),
        ("x86_64", "avx2 avx512f avx512bw", True),
        ("x86_64", "avx512f avx512_vnni", False),
        ("x86_64", "avx2 avx_vnni", False),
        ("aarch64", "asimd", False),
    ],
)
def test_sums_of_bytes_saturate_on_x86_without_vnni(monkeypatch, machine, flags, expected):
    monkeypatch.setattr(processors.platform, "machine", lambda: machine)
    monkeypatch.setattr(processors.Path, "read_text", lambda path: f"flags\t\t: {flags} sse\n")
    assert processors.saturates() == expected

    def raising(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(processors.Path, "read_text", raising)
    assert processors.saturates() == (machine == "x86_64")
