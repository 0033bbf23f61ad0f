"""What a number depends on: versions, device, commit."""

import contextlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "recolor-fast torch torchvision lpips nvidia-dali-cuda130 numpy opencv-python-headless pillow simplejpeg "
    "onnx onnxruntime onnxruntime-gpu"
).split()


def versions() -> dict[str, str]:
    """Versions of Python, this package and the packages that its numbers depend on, where installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's with the threads torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, device, platform and, in a git checkout of this package, its commit."""
    root = Path(__file__).resolve().parent.parent
    commit = ""
    if (root / ".git").exists():
        asked = ["git", "-C", str(root), "rev-parse", "HEAD"]
        with contextlib.suppress(OSError):  # no git program
            commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {"versions": versions(), "device": device_name(device), "platform": platform.platform(), "commit": commit}
