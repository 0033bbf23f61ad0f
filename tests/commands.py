"""The verb colorize, in this process and in one of its own."""

import subprocess
import sys
from pathlib import Path

from recolor_fast import colorize

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: object, model: Path) -> int:
    return colorize.main([*map(str, arguments), "--model", str(model), "--provider", "cpu"])


def verb(*arguments: object, model: Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """In a process of its own, which standard streams need; `data` on its standard input."""
    command = [sys.executable, "-m", "recolor_fast.colorize", *map(str, arguments), "--model", str(model)]
    return subprocess.run([*command, "--provider", "cpu"], input=data, capture_output=True, timeout=300, cwd=ROOT)
