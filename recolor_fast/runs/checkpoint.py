"""Checkpoints: one file each with its SHA-256 beside it; whole or absent, verified when written and when loaded."""

import hashlib
import os
import pickle
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import holds_program, is_part, replacing


def save(folder: Path, images: int, state: dict[str, Any], keep: int = 2, best: int | None = None) -> Path:
    """Write `state` (tensors and plain values) as folder/<images>.pt, then drop all older ones but the newest.

    `keep` stay, this one among them, and the one of `best` photographs seen. They go only once the new one is on the
    disk and reads back as what was written. One of the same `images` that verifies is left as it is. OSError, with what
    to do, where the disk is full or fails: the others stay then, and nothing of the new one does.
    """
    path = folder / f"{images:09d}.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _intact(path):
            _write(path, state)
    except OSError as error:
        raise OSError(
            f"checkpoint {path} could not be written ({error.strerror or error}): those before it stay; make room on "
            "that disk, or fix what the reason names, and continue with --resume"
        ) from error
    older = [one for one in list_checkpoints(folder) if int(one.stem) < images]
    for old in older[: max(0, len(older) - (keep - 1))]:
        if int(old.stem) != best:
            old.unlink(missing_ok=True)
            _sidecar(old).unlink(missing_ok=True)
    return path


class _Hashing:
    """What torch.save writes to: passes everything on to a file, and keeps its SHA-256 and the error of the file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256 = file, hashlib.sha256()
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            self.sha256.update(data)
            return self.file.write(data)
        except BaseException as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _write(path: Path, state: dict[str, Any]) -> None:
    try:
        with replacing(path) as file:
            hashing = _Hashing(file)
            try:
                torch.save(state, hashing)  # type: ignore[arg-type]  # write and flush are all that is called
            except RuntimeError:  # what torch says after a failed write is only that its archive is unfinished
                if hashing.error:
                    raise hashing.error from None
                raise
            file.flush()
            os.fsync(file.fileno())
            digest = hashing.sha256.hexdigest()
            if _digest(Path(file.name)) != digest:
                raise OSError("it reads back as something else than was written: the disk or the memory is failing")
            with replacing(_sidecar(path)) as sidecar:  # first: a checkpoint is never without it
                sidecar.write(digest.encode())
    except BaseException:
        if not path.exists():
            _sidecar(path).unlink(missing_ok=True)
        raise


def clean(folder: Path) -> None:
    """Remove what killed saves left in a folder: unfinished files, and digests without a checkpoint.

    Only where nothing else writes to it. Nothing to do where there is no such folder.
    """
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        orphan = path.suffix == ".sha256" and path.stem.isdecimal() and not path.with_suffix(".pt").exists()
        if is_part(path) or orphan:
            path.unlink(missing_ok=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first; empty if there is no such folder."""
    paths = [path for path in folder.glob("*.pt") if path.stem.isdecimal() and _sidecar(path).is_file()]
    return sorted(paths, key=lambda path: int(path.stem))


def load(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint. UserError if it differs from its SHA-256 or holds anything but tensors and plain values."""
    try:
        intact = _digest(path) == _sidecar(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({getattr(error, 'strerror', None) or error})") from error
    if not intact:
        raise UserError(f"{path}: not a readable checkpoint (it differs from its SHA-256 in {_sidecar(path).name})")
    if holds_program(path):
        raise UserError(f"{path}: not a readable checkpoint (it holds a program: .pt2 or TorchScript)")
    if not zipfile.is_zipfile(path):
        reason = "it is no archive of torch.save, but a pickle, a .safetensors file or something else"
        raise UserError(f"{path}: not a readable checkpoint ({reason})")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except pickle.UnpicklingError as error:  # whose text advises to load it anyway
        reason = "it holds objects other than tensors and plain values, which could run anything"
        raise UserError(f"{path}: not a readable checkpoint ({reason})") from error
    except Exception as error:
        raise UserError(f"{path}: not a readable checkpoint ({error})") from error
    if not isinstance(state, dict):
        raise UserError(f"{path}: not a readable checkpoint (it holds a {type(state).__name__}, expected a dict)")
    return state


def newest(folder: Path, device: str | torch.device = "cpu") -> tuple[Path, dict[str, Any]]:
    """The newest checkpoint that verifies, and its path; those skipped are said on stderr. UserError if none does."""
    paths = list_checkpoints(folder)
    if usable := first(reversed(paths), device):
        return usable
    if paths:
        raise UserError(f"{folder}: none of its {len(paths)} checkpoints can be used")
    raise UserError(f"{folder} holds no checkpoint: expected the checkpoints of a run folder as train prints it")


def first(paths: Iterable[Path], device: str | torch.device = "cpu") -> tuple[Path, dict[str, Any]] | None:
    """The first of some checkpoints that verifies, and its path; the skipped are said on stderr. None if none does."""
    for path in paths:
        try:
            return path, load(path, device)
        except UserError as error:
            print(f"warning: skipped {error}", file=sys.stderr)
    return None


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _intact(path: Path) -> bool:
    try:
        return _digest(path) == _sidecar(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return False


def _digest(path: Path) -> str:
    """SHA-256 of a file, read from the disk and not from memory where the system can do so."""
    with open(path, "rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()
