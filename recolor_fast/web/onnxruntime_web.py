"""onnxruntime-web: the files of its npm package that a page needs, of one version whose SHA-512 is known."""

import base64
import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from recolor_fast.machine import files
from recolor_fast.machine.errors import UserError

VERSION = "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
PACKAGE = f"onnxruntime-web@{VERSION}"
PROCESSOR = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
GRAPHICS = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
SECONDS = 600  # that npm may take


class NoRuntime(UserError):
    """onnxruntime-web is missing, or is not what it should be; one sentence says what to do."""

    exit_code = 4


def taken(archive: Path | None, names: tuple[str, ...]) -> dict[str, bytes]:
    """Files of the package's folder dist by name, from `archive` or, if None, the cache or npm. Raises NoRuntime."""
    data = _archive(archive) if archive else _cached() or _packed()
    found = {}
    try:
        with gzip.open(io.BytesIO(data)) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                name = member.name.removeprefix("package/dist/")
                if name in names and member.isfile() and (file := tar.extractfile(member)):
                    found[name] = file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise AssertionError(f"{PACKAGE} is damaged, though its SHA-512 is right") from error
    if missing := [name for name in names if name not in found]:
        raise AssertionError(f"{PACKAGE} has no {', '.join(missing)}")
    return found


def _archive(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NoRuntime(f"onnxruntime-web {path}: {error.strerror}; give the file of `npm pack {PACKAGE}`") from error
    if not _right(data):
        raise NoRuntime(f"onnxruntime-web {path}: not that of `npm pack {PACKAGE}`, whose SHA-512 is known; give that")
    return data


def _right(data: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(data).digest()).decode() == SHA512


def _place() -> Path:
    return files.cache_folder() / f"onnxruntime-web-{VERSION}.tgz"


def _cached() -> bytes | None:
    try:
        data = _place().read_bytes()
    except OSError:
        return None
    return data if _right(data) else None


def _packed() -> bytes:
    """The package from npm, which is also put into the cache."""
    npm = shutil.which("npm")
    advice = f"run `npm pack {PACKAGE}` on a machine that has it, and give the file with --onnxruntime-web"
    if npm is None:
        raise NoRuntime(f"npm is not installed, which fetches {PACKAGE}; {advice}")
    with tempfile.TemporaryDirectory() as folder:
        command = [
            npm,
            "pack",
            PACKAGE,
            "--silent",
            "--prefer-offline",
            "--ignore-scripts",
            "--pack-destination",
            folder,
        ]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
            words = done.stderr.strip().splitlines()
            reason = "" if done.returncode == 0 else words[-1][:200] if words else f"exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            reason = f"no answer within {SECONDS} seconds"
        found = [] if reason else [*Path(folder).glob("*.tgz")]
        if len(found) != 1:
            raise NoRuntime(f"npm could not fetch {PACKAGE} ({reason or 'no file'}); {advice}")
        data = found[0].read_bytes()
    if not _right(data):
        raise NoRuntime(f"what npm fetched as {PACKAGE} has another SHA-512 than is known; {advice}")
    try:
        _place().parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(_place(), folder=False) as file:
            file.write(data)
    except OSError as error:
        files.say(f"note: {PACKAGE} is not kept for the next time ({error.strerror})")
    return data
