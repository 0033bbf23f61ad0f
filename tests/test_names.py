"""Names of colored files, for browsers, archives and every file system."""

from email.message import Message

import pytest

from recolor_fast.serve import names


@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        ("old.jpg", "JPEG", "old.colored.jpg"),
        ("old.JPEG", "JPEG", "old.colored.JPEG"),
        ("old.gif", "PNG", "old.colored.png"),
        ("DSC_1.NEF", "TIFF", "DSC_1.colored.tif"),
        ("a.b.tiff", "TIFF", "a.b.colored.tiff"),
        ("Großmutter 祖母.jpg", "JPEG", "Großmutter 祖母.colored.jpg"),
        ("e\u0301.png", "PNG", "\u00e9.colored.png"),
        ("no suffix", "JPEG", "no suffix.colored.jpg"),
        ("Dr. Who in 1920", "JPEG", "Dr. Who in 1920.colored.jpg"),
        (".jpg", "JPEG", "jpg.colored.jpg"),
        ("", "PNG", "photograph.colored.png"),
        ("...", "PNG", "photograph.colored.png"),
        ('a<b>:"\\|?*\x00\n.jpg', "JPEG", "a_b_________.colored.jpg"),
        ("CON.jpg", "JPEG", "_CON.colored.jpg"),
        ("com1.x.jpg", "JPEG", "_com1.x.colored.jpg"),
        ("console.jpg", "JPEG", "console.colored.jpg"),
    ],
)
def test_a_colored_file_has_its_photographs_name(name, format, expected):
    assert names.colored(name, format) == expected


@pytest.mark.parametrize("letter", ["x", "ß", "祖", "\U0001f600"])
def test_a_long_name_is_cut_between_letters(letter):
    name = names.colored(letter * 300 + ".jpg", "JPEG")
    assert name.endswith(letter + ".colored.jpg")
    assert names.LONGEST - 4 < len(name.removesuffix(".colored.jpg").encode()) <= names.LONGEST


def test_names_of_an_archive_differ_on_every_file_system():
    taken: set[str] = set()
    found = []
    for name in ("a.jpg", "A.jpg", "a.jpg", "a-2.jpg", "\u00e9.jpg", "e\u0301.jpg", "STRASSE.png", "straße.png"):
        found.append(names.unique(name, taken))
        taken.add(names.folded(found[-1]))
    assert found == [
        *("a.jpg", "A-2.jpg", "a-3.jpg", "a-2-2.jpg"),
        *("\u00e9.jpg", "e\u0301-2.jpg", "STRASSE.png", "straße-2.png"),
    ]


@pytest.mark.parametrize("name", ["old.jpg", 'a"b\\c.jpg', "100%.jpg", "Großmutter 祖母 \U0001f600.jpg", "a;b=c'd.jpg"])
def test_browsers_read_the_name_they_are_told(name):
    header = names.disposition(name)
    assert header.isascii()
    assert header.isprintable()
    message = Message()
    message["Content-Disposition"] = header.split("; filename=")[0] + "; filename*" + header.split("; filename*")[1]
    assert message.get_filename() == name
    message.replace_header("Content-Disposition", header.split("; filename*")[0])
    assert "%" not in (message.get_filename() or "")
