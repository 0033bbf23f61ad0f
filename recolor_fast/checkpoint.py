"""Checkpoints: one file each with its SHA-256 beside it; whole or absent, verified when loaded; the newest are kept."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch

from recolor_fast.files import replacing

KEEP = 2


def save(folder: Path, images: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors and plain values) as folder/<images>.pt, then drop all but the newest KEEP.

    The older ones go only when the new one is found whole on the disk; OSError if it is not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{images:09d}.pt"
    with replacing(path) as file:
        torch.save(state, file)
        file.flush()
        digest = _digest(Path(file.name))
        with replacing(_sidecar(path)) as sidecar:  # first: a checkpoint is never without it
            sidecar.write(digest.encode())
    if _digest(path) != digest:
        raise OSError(f"{path} is not what was written to it: the disk is failing; the older checkpoints stay")
    for old in list_checkpoints(folder)[:-KEEP]:
        old.unlink()
        _sidecar(old).unlink(missing_ok=True)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first; empty if there is no such folder."""
    return sorted(path for path in folder.glob("*.pt") if path.stem.isdigit() and _sidecar(path).is_file())


def load(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint. ValueError if it differs from its SHA-256 or holds anything but tensors and plain values."""
    try:
        intact = _digest(path) == _sidecar(path).read_text().strip()
    except OSError as error:
        raise ValueError(f"{path}: not a readable checkpoint ({error.strerror})") from error
    if not intact:
        raise ValueError(f"{path}: not a readable checkpoint (it differs from its SHA-256 in {_sidecar(path).name})")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise ValueError(f"{path}: not a readable checkpoint ({error})") from error


def newest(folder: Path, device: str | torch.device = "cpu") -> tuple[Path, dict[str, Any]]:
    """The newest checkpoint that verifies, and its path; those skipped are said on stderr. ValueError if none does."""
    for path in reversed(list_checkpoints(folder)):
        try:
            return path, load(path, device)
        except ValueError as error:
            print(f"warning: skipped {error}", file=sys.stderr)
    raise ValueError(f"{folder} holds no checkpoint: expected the checkpoints of a run folder as train prints it")


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
