"""In place, a file's owner, mode, times, links, access list and attributes are kept, or it is refused, named."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast import colorize
from recolor_fast.machine import files
from tests.test_inventory import GEO, VIDEO, chunk, random_part, saved, tiff

LONG_AGO = (915_148_800_123_456_789, 926_000_000_987_654_321)  # nanoseconds


def run(capsys: pytest.CaptureFixture[str], model: Path, *arguments: object) -> dict[str, dict[str, object]]:
    """The record of each file by its name."""
    colorize.main([*map(str, arguments), "--model", str(model), "--provider", "cpu", "--json"])
    records = map(json.loads, capsys.readouterr().out.splitlines())
    return {Path(record["input"]).name: record for record in records}


def is_colored(path: Path) -> bool:
    with Image.open(path) as image:
        return int(np.ptp(np.asarray(image.convert("RGB")).astype(int), axis=2).max()) > 5


def attribute(path: Path, name: str, value: bytes) -> None:
    if not hasattr(os, "setxattr"):
        pytest.skip("no extended attributes on this system")
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"no extended attributes on this file system: {error.strerror}")


def test_what_would_be_lost_is_refused_by_name_and_left_byte_for_byte(tmp_path: Path, model: Path, capsys) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    contents = {
        "motion.jpg": (saved("JPEG") + VIDEO, "a video behind the picture"),
        "layers.tif": (tiff({37724: (7, bytes(range(40)))}), "Photoshop's layers"),
        "turned.tif": (tiff(GEO | {274: (3, b"\6\0")}), "GeoTIFF's scale"),
        "signed.png": (saved("PNG")[:33] + chunk(b"caBX", b"jumb") + saved("PNG")[33:], "credentials"),
        "behind.png": (saved("PNG") + b"words", "data behind the picture"),
    }
    for name, (data, _) in contents.items():
        (folder / name).write_bytes(data)
    records = run(capsys, model, folder, "--in-place")
    for name, (data, word) in contents.items():
        assert records[name]["status"] == "failed", name
        assert word in str(records[name]["reason"])
        assert str(records[name]["reason"]).endswith("give an output")
        assert (folder / name).read_bytes() == data
    records = run(capsys, model, folder, tmp_path / "out")
    for name, (_, word) in contents.items():
        assert records[name]["status"] == "ok", records[name]
        assert any(word in note and note.startswith("loss: ") for note in records[name]["notes"]), name  # type: ignore[attr-defined]


def test_random_parts_are_there_afterwards_or_the_file_is_untouched_and_they_are_named(
    tmp_path: Path, model: Path, capsys
) -> None:
    random = np.random.default_rng(7)
    suffixes = {"JPEG": "jpg", "PNG": "png", "TIFF": "tif", "WEBP": "webp", "JPEG2000": "jp2", "AVIF": "avif"}
    made = {}
    for format, suffix in suffixes.items():
        for number in range(8):
            data, content, word = random_part(random, format)
            if number == 0:
                content, word = random.integers(1, 256, 50, dtype=np.uint8).tobytes(), "behind"
                data += content
            made[f"{number}.{suffix}"] = data, content, word
    for name, (data, _, _) in made.items():
        (tmp_path / name).write_bytes(data)
    records = run(capsys, model, tmp_path, "--in-place")
    for name, (data, content, word) in made.items():
        if records[name]["status"] == "ok":
            assert is_colored(tmp_path / name)
            assert content in (tmp_path / name).read_bytes(), name
        else:
            assert word in str(records[name]["reason"]), name
            assert (tmp_path / name).read_bytes() == data
    assert {records[name]["status"] for name in made} == {"ok", "failed"}


def test_a_geotiff_and_private_tags_survive_in_place(tmp_path: Path, model: Path, capsys) -> None:
    path = tmp_path / "aerial.tif"
    path.write_bytes(tiff(GEO | {65000: (2, b"signature 1234/56\0")}, big=True))
    assert run(capsys, model, path, "--in-place")["aerial.tif"]["status"] == "ok"
    assert is_colored(path)
    with Image.open(path) as image:
        assert image.tag_v2[33550] == (0.5, 0.5, 0)  # type: ignore[attr-defined]
        assert image.tag_v2[65000] == "signature 1234/56"  # type: ignore[attr-defined]


def test_a_file_of_two_names_is_refused_and_a_copy_is_not(tmp_path: Path, model: Path, capsys) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(saved("JPEG"))
    os.link(folder / "a.jpg", folder / "b.jpg")
    (folder / "c.jpg").write_bytes(saved("JPEG"))
    records = run(capsys, model, folder, "--in-place")
    for name in ("a.jpg", "b.jpg"):
        assert records[name]["reason"] == (
            "it has 2 names (hard links), which would become different files: give an output"
        )
    assert records["c.jpg"]["status"] == "ok"
    assert (folder / "a.jpg").samefile(folder / "b.jpg")
    assert (folder / "a.jpg").read_bytes() == saved("JPEG")
    assert all(record["status"] == "ok" for record in run(capsys, model, folder, tmp_path / "out").values())


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may give a file to another owner")
def test_roots_run_leaves_a_file_its_owner(tmp_path: Path, model: Path, capsys) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    os.chown(path, 1234, 2345)
    path.chmod(0o4640)
    assert run(capsys, model, path, "--in-place")["a.png"]["status"] == "ok"
    status = path.stat()
    assert is_colored(path)
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 2345, 0o4640)


def test_an_owner_that_cannot_be_kept_is_named(tmp_path: Path, model: Path, capsys, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    own = path.stat()

    def refuse(handle: int, user: int, group: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    class Other:
        st_uid, st_gid, st_mode, st_nlink = own.st_uid + 1, own.st_gid, own.st_mode, 1

    monkeypatch.setattr(os, "fchown", refuse)
    with open(tmp_path / "part", "wb") as file, monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda path: Other)
        with pytest.raises(files.NotKept, match=rf"owner {own.st_uid + 1}:{own.st_gid} cannot be kept \(Operation"):
            files.inherit(path, file)


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access list as Linux stores it: tag, permission and user or group of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
ACL = acl((1, 6, NOBODY), (2, 4, 1234), (4, 4, NOBODY), (16, 6, NOBODY), (32, 0, NOBODY))


def test_attributes_and_access_lists_are_kept(tmp_path: Path, model: Path, capsys) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    attribute(path, "user.rating", b"5")
    attribute(path, "user.xdg.tags", "Groß, alt".encode())
    attribute(path, "system.posix_acl_access", ACL)
    before = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    mode = path.stat().st_mode
    assert run(capsys, model, path, "--in-place")["a.png"]["status"] == "ok"
    assert is_colored(path)
    assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == before
    assert path.stat().st_mode == mode


def test_a_folders_access_list_for_new_files_is_not_given_to_what_has_none(tmp_path: Path, model: Path, capsys) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(saved("PNG"))
    (folder / "a.png").chmod(0o644)
    attribute(folder, "system.posix_acl_default", ACL)
    assert run(capsys, model, folder, "--in-place")["a.png"]["status"] == "ok"
    assert os.listxattr(folder / "a.png") == []
    assert (folder / "a.png").stat().st_mode & 0o7777 == 0o644


def test_an_attribute_that_cannot_be_kept_is_named(tmp_path: Path, model: Path, capsys, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    attribute(path, "user.rating", b"5")

    def refuse(handle: int, name: str, value: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "setxattr", refuse)
    record = run(capsys, model, path, "--in-place")["a.png"]
    assert (
        record["reason"]
        == "its extended attribute user.rating cannot be kept (No space left on device): give an output"
    )
    assert path.read_bytes() == saved("PNG")
    assert sorted(os.listdir(tmp_path)) == ["a.png", "sepia.onnx"]


@pytest.mark.parametrize("in_place", [False, True])
def test_times_are_kept_on_demand(in_place: bool, tmp_path: Path, model: Path, capsys) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "b.png"):
        (folder / name).write_bytes(saved("JPEG" if name.endswith("jpg") else "PNG"))
        os.utime(folder / name, ns=LONG_AGO)
    out = folder if in_place else tmp_path / "out"
    where = ("--in-place",) if in_place else (out,)
    records = run(capsys, model, folder, *where, "--keep-times")
    assert [record["status"] for record in records.values()] == ["ok", "ok"]
    for name in ("a.jpg", "b.png"):
        status = (out / name).stat()
        assert is_colored(out / name)
        assert status.st_mtime_ns == pytest.approx(LONG_AGO[1], abs=2e9)
        os.utime(folder / name, ns=LONG_AGO)
    if not in_place:
        assert {record["reason"] for record in run(capsys, model, folder, out, "--keep-times").values()} == {
            "done before"
        }
        os.utime(out / "a.jpg", ns=(LONG_AGO[0], LONG_AGO[1] - 3 * 10**9))
        assert "older than the input" in str(run(capsys, model, folder, out, "--keep-times")["a.jpg"]["reason"])
        assert run(capsys, model, folder, tmp_path / "plain")["b.png"]["status"] == "ok"
        assert (tmp_path / "plain" / "b.png").stat().st_mtime_ns > LONG_AGO[1] + 10**9


def test_when_a_file_was_last_read_is_kept_too(tmp_path: Path, model: Path, capsys) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    os.utime(path, ns=LONG_AGO)
    run(capsys, model, path, tmp_path / "out.png", "--keep-times")
    status = (tmp_path / "out.png").stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == pytest.approx(LONG_AGO, abs=2e9)


def test_links_are_left_alone(tmp_path: Path, model: Path, capsys) -> None:
    (tmp_path / "a.png").write_bytes(saved("PNG"))
    (tmp_path / "b.png").symlink_to("a.png")
    assert run(capsys, model, tmp_path / "b.png", "--in-place")["b.png"]["status"] == "skipped"
    assert (tmp_path / "a.png").read_bytes() == saved("PNG")
