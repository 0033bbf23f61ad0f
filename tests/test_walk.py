"""Which files there are to look at: folders as phones, cameras, NAS and desktops leave them."""

import shutil
import sys
import threading
from pathlib import Path

import pytest

from recolor_fast.photographs import walk
from recolor_fast.photographs.walk import EXCLUDED, HIDDEN, LINK, NOT_INCLUDED, SYSTEM

SHARE = (  # what is on a share beside photographs, and why it is left out
    ("._a.jpg", HIDDEN),
    (".DS_Store", HIDDEN),
    (".thumbnails/normal/a.jpg", HIDDEN),
    (".Trash-1000/files/a.jpg", HIDDEN),
    (".@__thumb/a.jpg", HIDDEN),
    ("sub/.picasaoriginals/b.jpg", HIDDEN),
    ("@eaDir/a.jpg/SYNOPHOTO_THUMB_S.jpg", SYSTEM),
    ("sub/@EADIR/b.jpg/SYNOPHOTO_THUMB_XL.jpg", SYSTEM),
    ("#recycle/a.jpg", SYSTEM),
    ("@Recycle/a.jpg", SYSTEM),
    ("$RECYCLE.BIN/S-1-5/$RABC.jpg", SYSTEM),
    ("System Volume Information/x.jpg", SYSTEM),
    ("lost+found/#123.jpg", SYSTEM),
    ("__MACOSX/._a.jpg", SYSTEM),
    ("Thumbs.db", SYSTEM),
    ("sub/SYNOFILE_THUMB_M.jpg", SYSTEM),
    ("Icon\r", SYSTEM),
)
KEPT = ("a.jpg", "lost.jpg", "sub/b.JPG", "sub/recycle/c.jpg", "thumbnails/d.jpg", "trash.jpg", "x@eaDir/e.tif")


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def look(folder: Path, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> dict[str, str]:
    found = walk.find([str(folder)], str(folder.parent / "out"), walk.globs(include, exclude))
    return {str(one.source.relative_to(folder)): one.left or one.fault for one in found}


def kept(*arguments: object) -> set[str]:
    return {name for name, left in look(*arguments).items() if not left}


def test_what_systems_leave_behind_is_left_out_once_and_named(tmp_path: Path) -> None:
    source = make(tmp_path / "in", *KEPT, *(name for name, _ in SHARE))
    found = look(source)
    assert {name for name, left in found.items() if not left} == set(KEPT)
    for name, reason in SHARE:
        told = [path for path in found if name == path or name.startswith(f"{path}/")]
        assert len(told) == 1, name  # the folder, not each of its files
        assert found.pop(told[0]) == reason
    assert set(found) == set(KEPT)


def test_what_a_user_names_is_looked_at_whatever_it_is_called(tmp_path: Path) -> None:
    source = make(tmp_path / ".hidden" / "@eaDir", "a.jpg", "sub/b.jpg", "._a.jpg")
    assert kept(source) == {"a.jpg", "sub/b.jpg"}
    (one,) = walk.find([str(source / "._a.jpg")], str(tmp_path / "out"))
    assert (one.source_named, one.left) == (True, "")


def test_include_and_exclude(tmp_path: Path) -> None:
    source = make(tmp_path / "in", *KEPT, *(name for name, _ in SHARE))
    for include, exclude, wanted in (
        ((), ("*.jpg",), {"x@eaDir/e.tif"}),
        ((), ("sub", "Thumbnails/"), {"a.jpg", "lost.jpg", "trash.jpg", "x@eaDir/e.tif"}),
        ((), ("./sub/*", "[!x]*.jpg"), {"x@eaDir/e.tif"}),
        (("*.jpg",), ("sub/recycle",), {"a.jpg", "lost.jpg", "sub/b.JPG", "thumbnails/d.jpg", "trash.jpg"}),
        (("sub/*",), (), {"sub/b.JPG", "sub/recycle/c.jpg"}),
        (("sub",), ("*.jpg",), set()),
        (("*",), (), set(KEPT)),  # a wildcard does not mean what is hidden
        ((".pic*",), (), {"sub/.picasaoriginals/b.jpg"}),
        (("sub/.picasaoriginals/*",), (), {"sub/.picasaoriginals/b.jpg"}),
        (("@eaDir",), (), set()),  # what is in it is said to be thumbnails, too
        (("@eaDir", "SYNO*"), (), {name for name, _ in SHARE if "SYNO" in name}),
    ):
        assert kept(source, include, exclude) == wanted, (include, exclude)
    found = look(source, ("*.tif",), ("sub",))
    assert (found["a.jpg"], found["sub"], found["._a.jpg"]) == (NOT_INCLUDED, EXCLUDED, HIDDEN)
    assert not any(name.startswith("sub/") for name in found)
    assert kept(make(tmp_path / "nfd", "a\u0308.jpg"), ("ä*",)) == {"a\u0308.jpg"}
    for wrong in ("", "/", "./"):
        with pytest.raises(ValueError, match="none of them empty"):
            walk.globs((), (wrong,))
    assert walk.globs("a", "B/").exclude == ("b",)


def test_links_to_folders_are_told_and_those_to_the_output_are_not(tmp_path: Path) -> None:
    source = make(tmp_path / "in", "a.jpg", "sub/b.jpg")
    (source / "up").symlink_to(tmp_path)
    (source / "sub" / "loop").symlink_to(source)
    (source / "sub" / ".old").symlink_to(source)
    make(tmp_path / "out", "c.jpg")
    (source / "to out").symlink_to(tmp_path / "out")
    assert look(source) == {"a.jpg": "", "up": LINK, "sub/b.jpg": "", "sub/loop": LINK, "sub/.old": HIDDEN}


def test_trees_deeper_than_the_stack(tmp_path: Path) -> None:
    deep = tmp_path / Path(*["d"] * 600)
    deep.mkdir(parents=True)
    (deep / "a").touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        found = list(walk.find([str(tmp_path)], str(tmp_path / "out")))
    finally:
        sys.setrecursionlimit(limit)
    assert [one.source for one in found] == [deep / "a"]


def test_a_folder_that_goes_away_while_it_is_walked_is_a_fault_and_the_others_are_found(tmp_path: Path) -> None:
    source = make(tmp_path / "in", "first/a.jpg", "gone/b.jpg", "later/c.jpg")
    names = []
    for one in walk.find([str(source)], str(tmp_path / "out")):
        names.append((one.source.name, bool(one.fault)))
        shutil.rmtree(source / "gone", ignore_errors=True)
    assert names == [("a.jpg", False), ("gone", True), ("c.jpg", False)]


def test_watched_is_told_once_what_is_left_out(tmp_path: Path) -> None:
    enough, looks, seen = threading.Event(), 0, []

    def glance() -> list[walk.Found]:
        nonlocal looks
        looks += 1
        make(tmp_path / "in", f"@eaDir/{looks}.jpg")  # its folder's time changes with each look
        if looks == 8:
            enough.set()
        return list(walk.find([str(tmp_path / "in")], "out"))

    make(tmp_path / "in", "a.jpg")
    for one in walk.watch(glance, enough, 0.001):
        seen.append(one.source.name)
    assert sorted(seen) == ["@eaDir", "a.jpg"]
