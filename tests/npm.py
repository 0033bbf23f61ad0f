"""Packages of npm for tests: of one version, whose hash is known, kept in the temporary folder."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

SECONDS = 60


def packed(name: str, version: str, sha512: str) -> Path:
    """The folder of a package's files. Skips where npm or the package is missing; fails if it is another one."""
    store = Path(tempfile.gettempdir()) / "recolor_fast-npm"
    store.mkdir(mode=0o700, exist_ok=True)
    archive = store / f"{name.replace('/', '-').lstrip('@')}-{version}.tgz"
    if not archive.is_file():
        if not shutil.which("npm"):
            pytest.skip(f"needs npm to get {name}; there is none")
        with tempfile.TemporaryDirectory(dir=store) as fresh:
            command = ["npm", "pack", "--silent", f"{name}@{version}", "--pack-destination", fresh]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=fresh)
            except subprocess.TimeoutExpired:
                pytest.skip(f"npm did not get {name} in {SECONDS} seconds")
            found = list(Path(fresh).glob("*.tgz"))
            if done.returncode or not found:
                pytest.skip(f"npm cannot get {name}: {done.stderr.strip()[-200:]}")
            found[0].replace(archive)
    data = archive.read_bytes()
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != sha512:
        archive.unlink()
        raise AssertionError(f"{name}@{version} is not the package that was pinned")
    folder = archive.with_suffix("")
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=store) as fresh, tarfile.open(archive) as tar:
            tar.extractall(fresh, filter="data")
            (Path(fresh) / "package").rename(folder)
    return folder
