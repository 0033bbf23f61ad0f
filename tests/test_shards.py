"""Shards: made of a folder, they train as the folder does; what is wrong with one is named, and the rest of it used."""

import gzip
import io
import json
import os
import tarfile
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from recolor_fast import shards as verb
from recolor_fast.arguments.evaluate import Arguments
from recolor_fast.data import checked, chosen, dali, index, listed, shards, sources
from recolor_fast.evaluation.chosen import choose
from recolor_fast.options import Options
from tests import reading
from tests.photographs import shared, write_jpegs
from tests.trainings import flat, newest, rows, run

BACKENDS = ["host", pytest.param("dali", marks=pytest.mark.skipif(not dali.available(), reason="needs NVIDIA DALI"))]
LIMIT = 30_720  # bytes: a few of the photographs here


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """17 photographs in two classes; one name has dots, one no suffix, two differ in the suffix alone."""
    place = tmp_path_factory.mktemp("photographs")
    for number, name in enumerate(("cat", "old dog")):
        write_jpegs(place / name, 8, first=10 * number, height=90, width=120)
    os.rename(place / "cat" / "003.jpg", place / "cat" / "Rome.2019.07.JPG")
    os.rename(place / "cat" / "004.jpg", place / "cat" / "no suffix")
    (place / "cat" / "005.jpeg").write_bytes((place / "old dog" / "000.jpg").read_bytes())
    return place


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "shards"
    verb.pack(folder, out, LIMIT, 0)
    return out


def originals(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def content(tar: Path) -> dict[str, bytes]:
    """The members by name, in order, as tarfile reads them."""
    with tarfile.open(tar) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def split(data: object, **values) -> sources.Split:
    return sources.photographs(Options(data=str(data), **values))


# --- the verb ------------------------------------------------------------------------------------------------------


def test_a_folder_is_packed_whole_and_unchanged(folder, packed):
    tars = sorted(packed.glob("*.tar"))
    assert [tar.name for tar in tars] == [f"{number:06d}.tar" for number in range(len(tars))]
    assert len(tars) > 3
    assert all(tar.stat().st_size <= LIMIT for tar in tars)
    told = json.loads((packed / "index.json").read_text())
    assert (told["photographs"], told["classes"], told["left_out"]) == (17, ["cat", "old dog"], {})
    names = {}
    for tar in tars:
        members = content(tar)
        assert told["shards"][tar.name] == {"photographs": len(members) // 3, "bytes": tar.stat().st_size}
        for name, data in members.items():
            if name.endswith(".json"):
                said = json.loads(data)
                key = name.removesuffix(".json")
                assert int(members[f"{key}.cls"]) == told["classes"].index(said["class"])
                (photograph,) = (
                    one for one in members if one.startswith(f"{key}.") and one[-4:] not in ("json", ".cls")
                )
                assert photograph.count(".") == 1
                names[said["filename"]] = members[photograph]
    assert names == originals(folder)
    assert list(names) != sorted(names)  # in an order of the seed


def test_the_verb_says_where_and_another_seed_is_another_order(folder, packed, tmp_path, capsys):
    assert verb.main([str(folder), str(tmp_path / "a")]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'a'}\n"
    assert said.err == f"17 photographs in 1 shards: train --data {tmp_path / 'a'}\n"
    assert verb.main([str(folder), str(tmp_path / "b"), "--seed", "1"]) == 0
    one, other = (content(tmp_path / name / "000000.tar") for name in "ab")
    assert list(one) != list(other)
    assert one == other


def test_the_same_command_goes_on_where_one_was_stopped(folder, packed, tmp_path, monkeypatch):
    out, written = tmp_path / "out", []
    write = verb.write

    def interrupted(place, some):
        if len(written) == 2:
            with verb.replacing(place) as file:
                file.write(b"half")
                raise KeyboardInterrupt
        written.append(place.name)
        return write(place, some)

    monkeypatch.setattr(verb, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verb.pack(folder, out, LIMIT, 0)
    assert sorted(path.name for path in out.iterdir()) == ["000000.tar", "000001.tar", "index.json"]
    assert list(json.loads((out / "index.json").read_text())["shards"]) == ["000000.tar", "000001.tar"]
    (out / f".{'0' * 32}.part").touch()  # of one that was killed
    (out / "000001.tar").write_bytes(b"cut")
    written.clear()
    monkeypatch.setattr(verb, "write", lambda place, some: written.append(place.name) or write(place, some))
    verb.pack(folder, out, LIMIT, 0)
    assert written == [path.name for path in sorted(packed.glob("*.tar"))][1:]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in packed.iterdir()
    }


def test_a_photograph_that_cannot_be_read_is_left_out_by_name(tmp_path, capsys, monkeypatch):
    write_jpegs(tmp_path / "in", 3)
    (tmp_path / "in" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    read = verb.images.read

    def refused(path):
        if path.name == "001.jpg":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(verb.images, "read", refused)
    assert verb.main([str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"warning: {tmp_path / 'in' / 'gone.jpg'} is left out: No such file or directory"
    assert said[1] == f"warning: {tmp_path / 'in' / '001.jpg'} is left out: Permission denied"
    assert sorted(content(tmp_path / "out" / "000000.tar")) == ["000.jpg", "000.json", "002.jpg", "002.json"]
    assert json.loads((tmp_path / "out" / "index.json").read_text())["left_out"] == {"001.jpg": "Permission denied"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "new"), "nowhere: the folder does not exist"),
        (("empty", "new"), "empty: no images in it"),
        (("in", "full"), "full: it is not empty, and no index.json"),
        (("in", "in/000.jpg"), "it is a file; expected a folder"),
        (("in", "other"), "other: it holds shards of other photographs, or of these before"),
        (("in", "junk"), "index.json: it is no index of shards"),
        (("in", "new", "--shard-size", "0"), "shard_size 0: expected 1 or more"),
        (("in", "new", "--seed", "-1"), "seed -1: expected 0 or more"),
    ],
)
def test_what_cannot_be_packed_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    write_jpegs(tmp_path / "in", 2)
    for name in ("empty", "full", "junk"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    (tmp_path / "junk" / "index.json").write_text("[]")
    verb.pack(tmp_path / "in", tmp_path / "other", LIMIT, 7)
    capsys.readouterr()
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert verb.main(list(words)) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


# --- the same photographs, the same batches ------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_shards_give_the_batches_of_their_folder(folder, packed, backend):
    """Bit for bit, also from the midst of a shard on."""
    options = Options(size=64, loader=backend, cache="off", batch=3, old_film=0.3, equalize="none", blur="none")
    of_folder, of_shards = split(folder, val_per_class=2), split(packed, val_per_class=2)
    assert not {*of_folder.train} & {*of_shards.train}
    for one, other in zip(of_folder[:2], of_shards[:2]):
        assert [path.read_bytes() for path in one] == [shards.read(path) for path in other]

    def batches(paths, images, number):
        with closing(reading.batches(options, paths, "cpu", images)) as stream:
            return [image.clone() for pair in islice(stream, number) for image in pair]

    whole = batches(of_folder.train, 0, 6)
    assert all(map(torch.equal, whole, batches(of_shards.train, 0, 6)))
    assert all(map(torch.equal, whole[6:], batches(of_shards.train, 9, 3)))


def test_folders_train_and_val_are_the_split_inside_and_around_shards(folder, tmp_path):
    """Packed with both, or each packed."""
    for part, name in (("train", "cat"), ("val", "old dog")):
        write_jpegs(tmp_path / "both" / part / name, 4)
        verb.pack(tmp_path / "both" / part, tmp_path / "each" / part, LIMIT, 0)
    verb.pack(tmp_path / "both", tmp_path / "packed", LIMIT, 0)
    expected = split(tmp_path / "both")
    assert expected.given
    for place in (tmp_path / "packed", tmp_path / "each"):
        found = split(place)
        assert found.given
        for one, other in zip(expected[:2], found[:2]):
            assert [path.read_bytes() for path in one] == [shards.read(path) for path in other]
    few = split(tmp_path / "packed", per_class=2, val_per_class=1)
    assert (len(few.train), len(few.val)) == (2, 1)


def test_a_training_goes_on_in_the_midst_of_a_shard_and_from_a_folder(folder, packed, tmp_path):
    """Stopped after 5 photographs of the folder, then with its shards: the run is the one of the folder."""
    data = tmp_path / "photographs"
    for name, bytes_of in originals(folder).items():
        if name.endswith(".jpg"):  # the others are called otherwise in shards
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(bytes_of)
    verb.pack(data, tmp_path / "shards", LIMIT, 0)
    words = ("--preset", "pix2pix", "--name", "r", "--cache", "off")
    run(data, tmp_path / "whole", *words)
    run(data, tmp_path, *words, "--images", 5)
    last = sorted((tmp_path / "shards").glob("*.tar"))[-1].stem
    run(f"{tmp_path}/shards/{{000000..{last}}}.tar", tmp_path, *words, "--resume")
    assert rows(tmp_path / "r", "validation.csv")[-1] == rows(tmp_path / "whole" / "r", "validation.csv")[-1]
    ours, theirs = (flat(newest(place / "r")["step"]) for place in (tmp_path, tmp_path / "whole"))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items() if isinstance(value, torch.Tensor))
    assert newest(tmp_path / "r")["files"] == newest(tmp_path / "whole" / "r")["files"]
    assert listed.trained_on(tmp_path / "r", split(tmp_path / "shards").train) > 8


def test_evaluation_calls_them_by_the_names_of_their_folder(folder, packed):
    one, other = (choose(Arguments(data=str(place), limit=9)) for place in (folder, packed))
    assert len(one.paths) == len(other.paths) == 9
    assert [path.read_bytes() for path in one.paths] == [shards.read(path) for path in other.paths]
    assert {path.suffix for path in other.paths} >= {".jpg"}
    assert {other.name(path).split("/")[0] for path in other.paths} == {"cat", "old dog"}
    assert [one.name(path) for path in one.paths if path.suffix == ".jpg"][:3] == [
        other.name(path) for path in other.paths if path.name in {one.name for one in one.paths}
    ][:3]


# --- which members -------------------------------------------------------------------------------------------------


def test_members_of_a_sample_say_its_class(tmp_path):
    tar_of(
        tmp_path / "0.tar",
        {
            "a.jpg": b"",
            "a.cls": b"7\n",
            "b.png": b"",
            "b.json": b'{"label": 7, "caption": "x"}',
            "c.jpg": b"",
            "c.json": b"{not json",
            "./dog/d.jpg": b"",
            "dog/d.cls": b"3",
            "e.webp": b"",
            "e.json": b'{"class": "cat", "filename": "photographs/e.webp"}',
        },
    )
    found = shards.shard(tmp_path / "0.tar")
    assert {name: (one.name, one.label) for name, one in found.members.items()} == {
        "a.jpg": ("a.jpg", "7"),
        "b.png": ("b.png", "7"),
        "c.jpg": ("c.jpg", "."),
        "dog/d.jpg": ("dog/d.jpg", "dog"),
        "e.webp": ("photographs/e.webp", "cat"),
    }
    assert found.faults == ["1 .json members are no JSON objects and say nothing, first c.json"]


def test_what_is_no_photograph_of_a_sample_is_left_out(tmp_path):
    names = "a.jpg a.mask.png a.txt ._a.jpg @eaDir/a.jpg Rome.2019.jpg Rome.2020.jpg b.JPEG no_suffix".split()
    tar = tar_of(tmp_path / "0.tar", dict.fromkeys(names, b""))
    with tarfile.open(tar, "a") as archive:
        link = tarfile.TarInfo("linked.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert list(shards.shard(tar).members) == ["a.jpg", "Rome.2019.jpg", "Rome.2020.jpg", "b.JPEG"]


def test_a_folder_with_images_is_not_one_of_shards(tmp_path, capsys):
    write_jpegs(tmp_path, 3)
    tar_of(tmp_path / "backup.tar", {"a.jpg": b""})
    found = split(tmp_path)
    assert sorted(path.name for path in (*found.train, *found.val)) == ["000.jpg", "001.jpg", "002.jpg"]
    assert "1 tar files beside the images are left out" in capsys.readouterr().err


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_broken_members_are_skipped_by_name_and_a_cut_shard_is_named(tmp_path, capsys):
    """The photographs before the cut are used, the one that it goes through is unusable."""
    data = [path.read_bytes() for path in write_jpegs(tmp_path / "jpegs", 7, height=90, width=120)]
    names = ["0.jpg", "text.jpg", "cut.jpg", "1.jpg", "2.jpg", "3.jpg"]
    place = tmp_path / "in"
    tar_of(place / "a.tar", dict(zip(names, [data[0], b"text", data[1][:-300], *data[2:5]])))
    whole = tar_of(place / "b.tar", {f"{number}.jpg": data[number] for number in (5, 6)})
    whole.write_bytes(whole.read_bytes()[: shards.shard(whole).members["6.jpg"].offset + 1000])
    photographs = chosen.choose(Options(data=str(place), val_per_class=1))
    assert {path.name: reason.split(":")[0] for path, reason in photographs.unusable.items()} == {
        "a.tar:text.jpg": "not an image but a text",
        "a.tar:cut.jpg": "truncated",
        "b.tar:6.jpg": "truncated",
    }
    assert sorted(path.name for path in photographs.train + photographs.val) == [
        *("a.tar:0.jpg", "a.tar:1.jpg", "a.tar:2.jpg", "a.tar:3.jpg"),
        "b.tar:5.jpg",
    ]
    said = capsys.readouterr().err
    assert f"warning: {whole}: the shard is cut off or damaged after 2 members (unexpected end of data)" in said


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda data: data[:512], "cut off or damaged after 1 members"),
        (lambda data: data.rstrip(b"\0") + bytes(-len(data.rstrip(b"\0")) % 512), "no mark of its end"),
        (lambda data: data[:1024] + b"x" * 512 + data[1536:], "a damaged header"),
        (lambda data: b"no tar at all" * 100, "not a tar file, or cut off"),
        (lambda data: b"", "not a tar file, or cut off (empty file)"),
    ],
)
def test_a_damaged_shard_is_named(tmp_path, capsys, harm, message):
    tar = tar_of(tmp_path / "in" / "a.tar", {"0.jpg": b"x", "1.jpg": b"x"})
    tar.write_bytes(harm(tar.read_bytes()))
    tar_of(tmp_path / "in" / "b.tar", {"2.jpg": b"x"})
    assert len({*split(tmp_path / "in").train, *split(tmp_path / "in").val}) >= 1
    said = capsys.readouterr().err
    assert f"warning: {tar}: the shard is " in said
    assert message in said


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
def test_a_compressed_shard_is_refused(tmp_path, name):
    packed = tar_of(tmp_path / "plain", {"0.jpg": b"x"})
    (tmp_path / "in").mkdir()
    place = tmp_path / "in" / name
    place.write_bytes(gzip.compress(packed.read_bytes()))
    for data in (place, tmp_path / "in", f"{place}{{,}}"):
        with pytest.raises(ValueError, match=r"data .*a\.t.*: the shard is compressed.*give the plain \.tar"):
            split(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{0..2.tar", "a brace without its other half"),
        ("0..2}{0..1}.tar", "a brace without its other half"),
        ("{2..0}.tar", r"\{2\.\.0\}: expected a first and a last number"),
        ("{0..99999999}.tar", "1,000,000 at most"),
        ("{}.tar", r"expected numbers, as in \{000000\.\.000009\}"),
        ("{a..b}.tar", "expected numbers"),
        ("{0..3}.tar", r"2 of its 4 shards are no files, first .*2\.tar"),
        ("{0..1}.jpg", r"0\.jpg is no name of a shard"),
    ],
)
def test_braces_of_no_use_are_one_sentence(tmp_path, text, message):
    for number in range(2):
        tar_of(tmp_path / f"{number}.tar", {f"{number}.jpg": b""})
    with pytest.raises(ValueError, match=message) as error:
        sources.check(f"{tmp_path}/{text}")
    assert str(error.value).startswith(f"data {tmp_path}/{text}: ")


def test_braces_stand_for_numbers_and_words(tmp_path):
    names = ["{1..3}", "{08..11}", "{0..10}", "{train,val}-{0,1}", "{a,b{1..2}}"]
    assert [list(dict.fromkeys(shards._expanded(name))) for name in names] == [
        ["1", "2", "3"],
        ["08", "09", "10", "11"],
        [str(number) for number in range(11)],
        ["train-0", "train-1", "val-0", "val-1"],
        ["a", "b1", "b2"],
    ]
    assert shards.root("x/{train,val}/{0..3}.tar") == Path("x")
    assert shards.root("x/photographs-{0..3}.tar") == shards.root("x/0.tar") == Path("x")


def test_no_photographs_in_shards_is_an_error(tmp_path):
    tar_of(tmp_path / "0.tar", {"a.txt": b""})
    with pytest.raises(ValueError, match=r"no photographs in 1 shards, .*0\.tar and on"):
        split(tmp_path)


# --- reading -------------------------------------------------------------------------------------------------------


def test_headers_are_read_once_until_a_shard_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(checked, "SETTLED", -(10**18))
    tar = tar_of(tmp_path / "0.tar", {"a.jpg": b"one", "b.jpg": b"two"})
    scanned = []
    scan = shards._scanned
    monkeypatch.setattr(shards, "_scanned", lambda tar: scanned.append(tar) or scan(tar))
    first = shards.shard(tar)
    monkeypatch.setattr(shards, "_shards", {})  # as in another process
    assert shards.shard(tar) == first
    assert len(scanned) == 1
    path = shards.path(tar, "b.jpg")
    assert (shards.read(path), shards.unpacked(path)) == (b"two", tmp_path / "b.jpg")
    tar_of(tar, {"b.jpg": b"another one", "c.jpg": b""})
    assert shards.read(path) == b"another one"
    assert len(scanned) == 2
    with pytest.raises(FileNotFoundError, match="no such member any more"):
        shards.read(shards.path(tar, "a.jpg"))
    assert shards.state(path) != shards.state(shards.path(tar, "c.jpg")) != ""
    tar.unlink()
    assert shards.state(path) == ""
    assert index.look([path, *write_jpegs(tmp_path, 1)], colors=False).unusable == {path: "No such file or directory"}


def test_a_file_may_be_called_like_a_member(tmp_path):
    tar_of(tmp_path / "0.tar", {"a.jpg": b"member"})
    (tmp_path / "0.tar:a.jpg").write_bytes(b"file")
    assert shards.read(tmp_path / "0.tar:a.jpg") == b"file"


def test_names_of_any_kind_are_read_back(tmp_path):
    odd = os.fsdecode(b"\xff\xfe \n'") + "ü" * 120
    tar_of(tmp_path / "0.tar", {f"./{odd}/x.jpg": b"1", f"/{odd}.jpg": b"2"})
    found = split(tmp_path)
    assert sorted(shards.read(path) for path in (*found.train, *found.val)) == [b"1", b"2"]


@pytest.mark.slow
def test_a_real_set(tmp_path):
    """Made by others: the order is that of its photographs unpacked into a folder."""
    first = shared("wide") / "000009.tar"
    with tarfile.open(first) as archive:
        archive.extractall(tmp_path, filter="data")
    one, other = split(tmp_path), split(first)
    assert len(one.train) > 3000
    for part, others in zip(one[:2], other[:2]):
        assert [path.name for path in part] == [shards.unpacked(path).name for path in others]
    options = replace(Options(size=64, loader="host", cache="off", batch=8))
    for paths in (one, other):
        assert reading.load(options, paths.val[:8])[0].shape == (8, 1, 64, 64)
    assert torch.equal(reading.load(options, one.val[:8])[1], reading.load(options, other.val[:8])[1])
