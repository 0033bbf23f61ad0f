"""Checkpoints: one file each, whole or absent; the newest two are kept."""

import os
from pathlib import Path
from typing import Any

import torch

KEEP = 2


def save(folder: Path, images: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors and plain values) as folder/<images>.pt, then drop all but the newest KEEP.

    Temporary file, fsync, rename, fsync of the folder: a kill at any moment leaves the old checkpoints and no half one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{images:09d}.pt"
    temporary = path.with_suffix(".tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    for old in list_checkpoints(folder)[:-KEEP]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first; empty if there is no such folder."""
    return sorted(path for path in folder.glob("*.pt") if path.stem.isdigit())


def load(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint. ValueError if it is damaged or holds anything but tensors and plain values."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path}: not a readable checkpoint ({error}); delete it to go on from the one before"
        ) from error
