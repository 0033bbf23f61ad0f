import io
import os
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from recolor_fast import resolve
from recolor_fast.data import sources
from recolor_fast.machine.download import partial
from recolor_fast.options import Options
from tests.photographs import shared, write_classes, write_jpegs

WNIDS = "n01440764 n02102040 n02979186 n03000684 n03028079 n03394916 n03417042 n03425413 n03445777 n03888257".split()


def touch(path: Path) -> None:
    """A file that counts as an image by its name, which is all that a split looks at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def folder_options(folder: Path, **values) -> Options:
    return Options(data=str(folder), **values)


def names(paths) -> list[str]:
    return [path.name for path in paths]


def per_class(paths) -> Counter:
    return Counter(path.parent.name for path in paths)


@pytest.fixture
def no_network(monkeypatch):
    def unreachable(url, seconds=4.0):
        return False

    def refuse(*arguments, **keywords):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(resolve, "reachable", unreachable)
    monkeypatch.setattr(sources, "fetch", refuse)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def imagenette(cache, no_network):
    """A cached tree with the names of Imagenette, its classes of unequal size."""
    root = cache / "imagenette2-320"
    write_classes(root / "train", {wnid: 60 + 5 * i for i, wnid in enumerate(WNIDS)}, ".JPEG")
    write_classes(root / "val", {wnid: 20 + i for i, wnid in enumerate(WNIDS)}, ".JPEG")
    return root


# --- resolve -------------------------------------------------------------------------------------------------------


def test_auto_takes_a_cached_imagenette_without_network(imagenette, capfd):
    assert resolve.data("auto") == "imagenette"
    assert capfd.readouterr() == ("", "")


def test_auto_offline_is_the_sample_with_one_warning(cache, no_network, capfd):
    assert resolve.data("auto") == "sample"
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    for part in ("warning", "Imagenette", "5 sample photographs", "--data FOLDER"):
        assert part in err
    assert not cache.exists()


def test_auto_takes_imagenette_where_its_server_answers(cache, no_network, monkeypatch, capfd):
    asked = []
    monkeypatch.setattr(resolve, "reachable", lambda url: asked.append(url) or True)
    assert resolve.data("auto") == "imagenette"
    assert asked == [sources.ARCHIVE.url]
    assert not cache.exists()  # asked for, not downloaded
    assert capfd.readouterr().err == ""


def test_the_address_asked_is_the_one_torchvision_downloads():
    from torchvision.datasets import Imagenette

    assert Imagenette._ARCHIVES["320px"][0] == sources.ARCHIVE.url


def test_other_values_pass_and_a_missing_folder_is_named(tmp_path):
    for value in ("sample", "imagenette", str(tmp_path)):
        assert resolve.data(value) == value
    with pytest.raises(ValueError, match=r"data .*nowhere: the folder does not exist"):
        resolve.data(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"data .*nowhere\.tar: the shard does not exist"):
        resolve.data(str(tmp_path / "nowhere.tar"))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"data .*file: the folder is a file"):
        resolve.data(str(tmp_path / "file"))


def test_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("RECOLOR_FAST_CACHE", "own")
    monkeypatch.setenv("XDG_CACHE_HOME", "xdg")
    assert sources.cache_folder() == Path("own")
    monkeypatch.delenv("RECOLOR_FAST_CACHE")
    assert sources.cache_folder() == Path("xdg/recolor_fast")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert sources.cache_folder() == Path.home() / ".cache" / "recolor_fast"


# --- sample and Imagenette -----------------------------------------------------------------------------------------


def test_sample_is_five_files_for_both_parts():
    split = sources.photographs(Options(data="sample", per_class=50))
    assert split.train == split.val
    assert names(split.train) == list(sources.SAMPLE)
    assert all(path.is_file() for path in split.train)


def test_imagenette_is_balanced_by_class(imagenette):
    split = sources.photographs(Options(data="imagenette"))
    assert per_class(split.train) == dict.fromkeys(WNIDS, 50)
    assert per_class(split.val) == dict.fromkeys(WNIDS, 15)
    assert {path.parent.parent.name for path in split.train} == {"train"}
    assert {path.parent.parent.name for path in split.val} == {"val"}
    assert sorted(path.parent.name for path in split.val[:10]) == WNIDS  # a sample grid shows every class


def test_imagenette_numbers_can_be_set(imagenette):
    split = sources.photographs(Options(data="imagenette", per_class=3, val_per_class=2))
    assert (len(split.train), len(split.val)) == (30, 20)
    with pytest.raises(ValueError, match=r"per_class 61: class n01440764 of .*train has 60 photographs"):
        sources.photographs(Options(data="imagenette", per_class=61))


def archive(*members: tarfile.TarInfo) -> bytes:
    """A .tgz of empty files, folders and others."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        for member in members:
            packed.addfile(member)
    return file.getvalue()


def member(name: str, **values) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(found, key, value)
    return found


def test_a_failed_download_says_what_to_do_and_leaves_what_came(cache, monkeypatch):
    def half(what, path):
        partial(what, path).write_bytes(b"half")
        raise OSError("its SHA-256 is another")

    monkeypatch.setattr(sources, "fetch", half)
    with pytest.raises(ValueError, match=r"could not be downloaded .* SHA-256.*--data sample or --data FOLDER"):
        sources.imagenette()
    assert [path.read_bytes() for path in cache.rglob("*") if path.is_file()] == [b"half"]


def test_a_download_is_moved_into_the_cache_whole(cache, monkeypatch):
    def download(what, path):
        assert what.url.startswith("https://")
        assert not (cache / "imagenette2-320").exists()
        assert path.parent.parent == cache
        assert path.parent.stat().st_mode & 0o777 == 0o700
        path.write_bytes(archive(member("imagenette2-320/train/n01440764/a.JPEG")))

    monkeypatch.setattr(sources, "fetch", download)
    killed, running = cache / "download-killed", cache / "download-running"
    killed.mkdir(parents=True)
    running.mkdir()
    os.utime(killed, (0, 0))
    assert sources.imagenette() == cache / "imagenette2-320"
    assert sorted(names(cache.iterdir())) == ["download-running", "imagenette2-320"]
    assert names((cache / "imagenette2-320").rglob("*.JPEG")) == ["a.JPEG"]


@pytest.mark.parametrize(
    "evil",
    [
        member("../outside.JPEG"),
        member("imagenette2-320/../../outside.JPEG"),
        member("imagenette2-320/train/outside.JPEG", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("imagenette2-320/train/outside.JPEG", type=tarfile.LNKTYPE, linkname="../../../outside.JPEG"),
        member("imagenette2-320/train/outside.JPEG", type=tarfile.FIFOTYPE),
        member("imagenette2-320/train/outside.JPEG", type=tarfile.CHRTYPE),
    ],
    ids=lambda evil: f"{evil.type.decode()}-{evil.name}",
)
def test_nothing_is_unpacked_outside_the_archives_folder(cache, monkeypatch, evil):
    content = archive(member("imagenette2-320/val/a.JPEG"), evil)
    monkeypatch.setattr(sources, "fetch", lambda what, path: path.write_bytes(content))
    with pytest.raises(ValueError, match=r"could not be downloaded .*outside\.JPEG"):
        sources.imagenette()
    assert list(cache.parent.rglob("*")) == [cache]


# --- folders -------------------------------------------------------------------------------------------------------


def test_folder_is_split_by_seed_into_disjoint_parts(tmp_path):
    write_classes(tmp_path, {"cat": 30, "dog": 60, "eel": 10})
    split = sources.photographs(folder_options(tmp_path))
    assert per_class(split.val) == {"cat": 3, "dog": 6, "eel": 1}
    assert len(split.train) == 90
    assert not set(split.train) & set(split.val)
    assert split == sources.photographs(folder_options(tmp_path))
    other = sources.photographs(folder_options(tmp_path, seed=1))
    assert set(other.val) != set(split.val)
    assert set(other.train) | set(other.val) == set(split.train) | set(split.val)


def test_the_order_of_the_file_system_does_not_matter(tmp_path, monkeypatch):
    write_classes(tmp_path, {"cat": 20, "dog": 20})
    expected = sources.photographs(folder_options(tmp_path))
    walk = os.walk

    def backwards(*arguments, **keywords):
        for place, folders, files in walk(*arguments, **keywords):
            folders.sort(reverse=True)
            yield place, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    assert sources.photographs(folder_options(tmp_path)) == expected


def test_first_500_files_are_not_the_training_set(tmp_path):
    """The paper's code takes the first 500 sorted files of Imagenette, which are all of the class tench."""
    write_classes(tmp_path, dict.fromkeys(WNIDS[:4], 520))
    assert per_class(sorted(tmp_path.rglob("*.jpg"))[:500]) == {"n01440764": 500}
    split = sources.photographs(folder_options(tmp_path, per_class=125, val_per_class=5))
    assert per_class(split.train) == dict.fromkeys(WNIDS[:4], 125)
    assert len({path.parent for path in split.train[:4]}) == 4


def test_validation_does_not_depend_on_per_class(tmp_path):
    write_classes(tmp_path, {"cat": 40, "dog": 40})
    few, all_ = (sources.photographs(folder_options(tmp_path, per_class=number)) for number in (5, None))
    assert few.val == all_.val
    assert per_class(few.train) == {"cat": 5, "dog": 5}
    assert set(few.train) < set(all_.train)


def test_validation_is_150_at_most_and_1_at_least(tmp_path):
    write_classes(tmp_path / "many", {"cat": 1000, "dog": 1000})
    assert per_class(sources.photographs(folder_options(tmp_path / "many")).val) == {"cat": 75, "dog": 75}
    write_classes(tmp_path / "two", {"cat": 2})
    split = sources.photographs(folder_options(tmp_path / "two"))
    assert (len(split.train), len(split.val)) == (1, 1)
    assert split.train != split.val


def test_a_single_photograph_is_used_twice_and_said(tmp_path, capfd):
    write_classes(tmp_path, {"cat": 1})
    split = sources.photographs(folder_options(tmp_path))
    assert split.train == split.val
    assert "cat_0.jpg is the only photograph" in capfd.readouterr().err


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "test"])
def test_train_and_val_folders_are_the_split(tmp_path, validation):
    write_classes(tmp_path / "train", {"cat": 4, "dog": 6})
    write_classes(tmp_path / validation, {"cat": 3, "dog": 2})
    write_classes(tmp_path, {"elsewhere": 5})
    split = sources.photographs(folder_options(tmp_path))
    assert per_class(split.train) == {"cat": 4, "dog": 6}
    assert per_class(split.val) == {"cat": 3, "dog": 2}
    assert all(path.parent.parent.name == validation for path in split.val)
    limited = sources.photographs(folder_options(tmp_path, per_class=4, val_per_class=1))
    assert per_class(limited.train) == {"cat": 4, "dog": 4}
    assert per_class(limited.val) == {"cat": 1, "dog": 1}
    with pytest.raises(ValueError, match=rf"val_per_class 3: class dog of .*{validation} has 2 photographs"):
        sources.photographs(folder_options(tmp_path, val_per_class=3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"per_class": 10}, r"per_class 10: class eel of .* has 10 photographs, expected 11 or more"),
        ({"per_class": 4, "val_per_class": 7}, r"val_per_class 7: class eel of .* has 10 photographs, expected 11"),
        ({"val_per_class": 10}, r"val_per_class 10: class eel of .* has 10 photographs, expected 11"),
    ],
)
def test_a_class_too_small_is_named_with_counts_and_option(tmp_path, values, message):
    write_classes(tmp_path, {"dog": 60, "eel": 10})
    with pytest.raises(ValueError, match=message):
        sources.photographs(folder_options(tmp_path, **values))


def test_what_is_no_photograph_is_left_out(tmp_path):
    write_jpegs(tmp_path, 3)
    (tmp_path / "000.jpg").rename(tmp_path / "no_suffix")
    (tmp_path / "notes").write_text("no image")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._001.jpg").touch()
    write_classes(tmp_path, {".thumbnails": 2, "@eaDir": 3, "#recycle": 2})
    split = sources.photographs(folder_options(tmp_path))
    assert sorted(names([*split.train, *split.val])) == ["001.jpg", "002.jpg", "no_suffix"]


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no images in it"):
        sources.photographs(folder_options(tmp_path))


def test_links_neither_loop_nor_leak(tmp_path):
    write_classes(tmp_path, {"cat": 10})
    (tmp_path / "cat" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "cat", target_is_directory=True)
    (tmp_path / "cat" / "same.jpg").symlink_to(tmp_path / "cat" / "cat_3.jpg")
    split = sources.photographs(folder_options(tmp_path))
    real = [path.resolve() for path in (*split.train, *split.val)]
    assert len(real) == len(set(real)) == 10


def test_linked_photographs_from_elsewhere_are_taken(tmp_path):
    write_classes(tmp_path / "store", {"cat": 4})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cats").symlink_to(tmp_path / "store" / "cat", target_is_directory=True)
    split = sources.photographs(folder_options(tmp_path / "data"))
    assert per_class([*split.train, *split.val]) == {"cats": 4}


def test_a_real_tree(no_network):
    folder = shared("imagenette")
    split = sources.photographs(folder_options(folder, per_class=50, val_per_class=15))
    assert per_class(split.train) == dict.fromkeys(WNIDS, 50)
    assert per_class(split.val) == dict.fromkeys(WNIDS, 15)


def test_only_the_first_classes_by_name(tmp_path):
    for part, count in (("train", 4), ("val", 2)):
        for name in ("b", "a", "c"):
            for index in range(count):
                touch(tmp_path / part / name / f"{index}.png")
    split = sources.photographs(Options(data=str(tmp_path), classes=2, per_class=3, val_per_class=1))
    assert {path.parent.name for path in split.train} == {path.parent.name for path in split.val} == {"a", "b"}
    assert (len(split.train), len(split.val)) == (6, 2)
    with pytest.raises(ValueError, match=r"classes 4.*has 3"):
        sources.photographs(Options(data=str(tmp_path), classes=4))


def test_a_class_tree_as_tarres_takes_it(tmp_path):
    """Seeded disjoint subsets of any class tree: 50 of each class to train on and 10 to test."""
    for name in ("n01", "n02", "n03"):
        for index in range(64):
            touch(tmp_path / name / f"{index}.png")
    options = Options(data=str(tmp_path), per_class=50, val_per_class=10)
    split = sources.photographs(options)
    assert (len(split.train), len(split.val)) == (150, 30)
    assert not set(split.train) & set(split.val)
    assert split == sources.photographs(options)
    assert split != sources.photographs(replace(options, seed=1))
