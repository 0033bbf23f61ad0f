"""Benchmarks as a user runs them: as scripts, from any folder."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def quick(name: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """The one line of JSON that bench/<name>.py --quick prints on stdout, and its stderr."""
    command = [sys.executable, str(ROOT / "bench" / f"{name}.py"), "--quick", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "tests", check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    found = json.loads(ended.stdout)
    assert found["bench"] == name
    return found, ended.stderr
