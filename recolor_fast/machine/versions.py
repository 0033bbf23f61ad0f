"""Which versions of what are installed, told without importing any of it."""

import platform
from importlib import metadata

from recolor_fast.machine import extras

PACKAGES = (
    "recolor-fast torch torchvision lpips nvidia-dali-cuda130 numpy opencv-python-headless pillow simplejpeg "
    "onnx onnxruntime onnxruntime-gpu av"
).split()


def versions() -> dict[str, str]:
    """Versions of Python, this package and the packages that its numbers depend on, where installed."""
    stack = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            stack[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return stack


def lines() -> str:
    """What --version prints: this package, then all that its results and speed depend on, a line each."""
    stack = versions()
    missing = extras.nvidia_driver()
    names = ("recolor-fast", "python", *PACKAGES[1:])
    rows = {name: stack.get(name, "not installed") for name in names}
    rows["CUDA driver"] = f"not found ({missing})" if missing else f"found ({extras.DRIVER})"
    rows["platform"] = platform.platform()
    return "\n".join(f"{name:24} {value}" for name, value in rows.items())
