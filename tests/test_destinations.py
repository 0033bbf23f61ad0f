"""What the words IN... OUT of colorize mean."""

from pathlib import Path

import pytest

from recolor_fast import colorize
from recolor_fast.coloring import destinations
from tests.commands import run
from tests.photographs import write_jpegs


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_jpegs(tmp_path / "photos", 2, height=40, width=30)
    return Path("photos")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "IN and OUT are missing; for example: python -m recolor_fast.colorize photos photos-colored"),
        (["photos"], "OUT is missing, the folder or file to write to; for example: {} photos photos-colored"),
        (["photos/"], "OUT is missing, the folder or file to write to; for example: {} photos photos-colored"),
        (["photos/000.jpg"], "... {} photos/000.jpg photos/000-colored.jpg"),
        (["v1.2"], "... {} v1.2 v1.2-colored"),
        (["."], "... {} . colored"),
    ],
)
def test_without_out_it_is_proposed(words, said, photos):
    with pytest.raises(ValueError, match="missing") as error:
        destinations.parted(words, no_out="")
    assert str(error.value).endswith(said.removeprefix("... ").format("python -m recolor_fast.colorize"))


def test_the_last_word_is_the_output_but_in_place(photos):
    assert destinations.parted(("a", "b", "c"), no_out="") == (("a", "b"), "c")
    assert destinations.parted(("a", "b"), no_out="in_place") == (("a", "b"), None)


@pytest.mark.parametrize(
    ("inputs", "output", "expected"),
    [
        (["photos/000.jpg"], "colored", "colored/"),
        (["photos/000.jpg"], "a/colored", "a/colored/"),
        (["photos/000.jpg"], "colored.png", "colored.png"),
        (["photos/000.jpg"], "photos", "photos"),  # a folder that exists
        (["photos/000.jpg"], "plain", "plain"),  # a file that exists
        (["photos/000.jpg"], "-", "-"),
        (["-"], "colored", "colored"),  # stdin has no name to have in a folder
        (["photos"], "colored", "colored"),
    ],
)
def test_a_name_without_a_suffix_is_a_folder(inputs, output, expected, photos):
    Path("plain").write_bytes(b"")
    assert destinations.meant(inputs, output) == expected


def test_one_photograph_goes_into_a_folder_that_is_made(photos, model, capsys):
    assert run(photos / "000.jpg", "new/colored", "--color", "recolor", model=model) == 0
    assert [path.name for path in Path("new/colored").iterdir()] == ["000.jpg"]
    records = colorize.Colorizer(model, provider="cpu").folder("photos/001.jpg", "others", color="recolor")
    assert [record.output for record in records] == ["others/001.jpg"]
