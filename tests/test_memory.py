"""Freed memory is kept where the C library allows it; what is free heeds the cgroups."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from recolor_fast.machine import memory


@pytest.mark.parametrize(
    ("most", "expected"),
    [(2**31, [(-3, 2**30), (-1, 2**31 - 1)]), (2**25, [(-3, 2**30), (-3, 2**25), (-1, 2**31 - 1)])],
)
def test_freed_memory_is_kept_as_far_as_the_library_allows(monkeypatch, most, expected):
    """A threshold that is refused must not be followed by the other setting: that alone would freeze the first low."""
    asked = []

    class Library:
        def __init__(self, name):
            pass

        def mallopt(self, what, value):
            asked.append((what, value))
            return int(what != -3 or value <= most)

    monkeypatch.setattr(memory.ctypes, "CDLL", Library)
    memory.keep_freed()
    assert asked == expected
    most = 0
    asked.clear()
    memory.keep_freed()
    assert asked == [(-3, 2**30), (-3, 2**25)]


def test_without_glibc_nothing_happens(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(memory.ctypes, "CDLL", missing)
    memory.keep_freed()


@pytest.mark.skipif(memory.available() is None, reason="this system does not say how much memory is free")
@pytest.mark.parametrize(
    ("membership", "limits", "left"),  # used are 2,500,000 bytes everywhere, of which 400,000 are cached
    [
        ("0::/\n", {"memory.max": "3000000"}, 900_000),
        ("0::/a/b\n", {"a/b/memory.max": "3000000"}, 900_000),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "3000000", "memory.max": "4000000"}, 900_000),
        ("0::/a/b\n", {"a/b/memory.max": "2000000", "a/memory.max": "3000000"}, 0),
        ("0::/outside/of/a/container\n", {"memory.max": "3000000"}, 900_000),
        ("0::/a\n", {"a/memory.max": "max", "b/memory.max": "3000000"}, None),
        ("4:memory:/a/b\n0::/\n", {"memory/a/memory.limit_in_bytes": "3000000"}, 900_000),
        ("4:memory:/outside\n", {"memory/memory.limit_in_bytes": "3000000"}, 900_000),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("2:cpu:/a\n", {"cpu/a/memory.limit_in_bytes": "3000000"}, None),
    ],
)
def test_available_is_what_the_cgroups_leave(tmp_path, membership, limits, left):
    (tmp_path / "self").write_text(membership)
    for name, limit in limits.items():
        group = (tmp_path / "cgroup" / name).parent
        group.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(limit + "\n")
        used = "memory.current" if name.endswith("max") else "memory.usage_in_bytes"
        (group / used).write_text("2500000\n")
        (group / "memory.stat").write_text("anon 1\ninactive_file 400000\ntotal_inactive_file 400000\n")
    found = memory.available(tmp_path / "cgroup", tmp_path / "self")
    assert found == left if left is not None else found > 10_000_000
    assert memory.available(tmp_path / "cgroup", tmp_path / "missing") > 10_000_000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this system has another C library")
def test_bands_of_a_photograph_cost_no_page_faults_any_more():
    """What it is for, in a process of its own: blocks of 256 KiB, taken and freed again and again."""
    code = (
        "import sys, resource, numpy as np\n"
        "from recolor_fast.machine import memory\n"
        "if sys.argv[1:]: memory.keep_freed(memory.MODERATE)\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "work = lambda: [np.ones(2**16, np.float32) + 1 for _ in range(4)]\n"
        "work(); before = faults()\n"
        "for _ in range(50): work()\n"
        "print(faults() - before)\n"
    )
    root = Path(__file__).resolve().parents[1]
    faults = [
        int(subprocess.run([sys.executable, "-c", code, *more], capture_output=True, check=True, cwd=root).stdout)
        for more in ([], ["keep"])
    ]
    assert faults[1] < 100
    assert faults[1] < faults[0]
