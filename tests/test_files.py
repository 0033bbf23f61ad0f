"""Writing files so that nothing is ever half there, and nothing new takes the place of something old."""

import errno
import os
from pathlib import Path

import pytest

from recolor_fast.machine import files


@pytest.mark.parametrize("hard_links", [True, False])
def test_exclusive_takes_no_ones_place(hard_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: object) -> None:
        raise OSError(errno.EPERM, "as on FAT and some network shares")

    if not hard_links:
        monkeypatch.setattr(os, "link", none)
    path = tmp_path / "a"
    with files.replacing(path, exclusive=True) as file:
        file.write(b"first")
    assert path.read_bytes() == b"first"
    assert path.stat().st_nlink == 1
    with pytest.raises(FileExistsError), files.replacing(path, exclusive=True) as file:
        file.write(b"second")
    path.unlink()
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(FileExistsError), files.replacing(path, exclusive=True) as file:
        file.write(b"second")
    path.unlink()
    with pytest.raises(FileExistsError), files.replacing(path, exclusive=True):
        path.write_bytes(b"came meanwhile")
    assert path.read_bytes() == b"came meanwhile"
    assert os.listdir(tmp_path) == ["a"]
    with files.replacing(path) as file:
        file.write(b"second")
    assert path.read_bytes() == b"second"
