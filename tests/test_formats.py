"""What a file is, by its content: every row of the table, what a run makes of it, and what is never opened."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast import colorize
from recolor_fast.data import checked, index
from recolor_fast.photographs import directories, encoders, formats, images, libraries, opening, pictures
from tests import artefacts


def riff(kind: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4) + kind


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    brands = b"".join((major, bytes(4), *compatible))
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands


def ebml(kind: bytes) -> bytes:
    return b"\x1aE\xdf\xa3\x93\x42\x86\x81\x01\x42\x82" + bytes([0x80 | len(kind)]) + kind


def tiff(*tags: tuple[int, int, int], order: str = "<", big: bool = False, at: int = 0, next: int = 0) -> bytes:
    """A TIFF of one directory: (tag, type 2 text or 3 number, value), at an offset of at least 8 or 16."""
    head, count, entry = ("HHHQ", "Q", "HHQQ") if big else ("HI", "H", "HHII")
    mark = {"<": b"II", ">": b"MM"}[order]
    at = max(at, 16 if big else 8)
    first = struct.pack(order + head, 43, 8, 0, at) if big else struct.pack(order + head, 42, at)
    body = (mark + first).ljust(at, b"\0") + struct.pack(order + count, len(tags))
    for tag, kind, value in tags:
        field = value if order == "<" or kind == 4 else value << (48 if big else 16)
        body += struct.pack(order + entry, tag, kind, 1, field)
    return body + struct.pack(order + ("Q" if big else "I"), next)


SUB = tiff((330, 4, 64), at=8).ljust(64, b"\0") + struct.pack("<HHHIII", 1, 262, 3, 1, 32803, 0)  # raw in SubIFDs
CASES = [
    (b"\xff\xd8\xff\xe0", "a JPEG"),
    (b"\xff\xd8\xff\xf7\x00\x0b", "a JPEG-LS image"),
    (riff(b"WEBP"), "a WebP"),
    (ftyp(b"avif", b"mif1"), "an AVIF"),
    (ftyp(b"avis", b"msf1", b"avif"), "an AVIF"),
    (ftyp(b"mif1", b"miaf", b"MA1B", b"avif"), "an AVIF"),
    (ftyp(b"heic", b"mif1", b"heic"), "a HEIC photograph"),
    (ftyp(b"heix"), "a HEIC photograph"),  # 10 bits: a camera's .hif
    (ftyp(b"mif1", b"heic"), "a HEIC photograph"),
    (ftyp(b"msf1", b"hevc"), "a HEIC photograph"),  # .heics
    (ftyp(b"hevc", b"msf1"), "a HEIC photograph"),
    (ftyp(b"avci", b"mif1"), "a HEIC photograph"),
    (b"\xff\x0a\x00", "a JPEG XL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + ftyp(b"jp2 "), "a JPEG 2000"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + ftyp(b"mjp2"), "a video (Motion JPEG 2000)"),
    (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "a camera's raw photograph (Canon CR2)"),
    (ftyp(b"crx ", b"isom"), "a camera's raw photograph (Canon CR3)"),
    (b"FUJIFILMCCD-RAW 0201", "a camera's raw photograph (Fujifilm RAF)"),
    (b"IIRO\x08\x00\x00\x00", "a camera's raw photograph (Olympus ORF)"),
    (b"IIU\x00\x18\x00\x00\x00", "a camera's raw photograph (Panasonic RW2)"),
    (b"\x00MRM", "a camera's raw photograph (Minolta MRW)"),
    (b"II*\x00\x08\x0a\x00\x00IIIICwaR", "a camera's raw photograph (Phase One IIQ)"),
    (b"FOVb", "a camera's raw photograph (Sigma X3F)"),
    (tiff((50706, 1, 1)), "a camera's raw photograph (DNG)"),
    (tiff((50706, 1, 1), order=">", at=6000), "a camera's raw photograph (DNG)"),  # its directory lies far behind
    (tiff((262, 3, 32803)), "a camera's raw photograph (of no maker's name)"),
    (tiff((262, 3, 32803), big=True), "a camera's raw photograph (of no maker's name)"),
    (tiff((262, 3, 34892), order=">"), "a camera's raw photograph (of no maker's name)"),
    (SUB, "a camera's raw photograph (of no maker's name)"),
    (tiff((262, 3, 2)), "a TIFF"),
    (tiff((262, 3, 2), order=">", big=True), "a TIFF"),
    (tiff((262, 3, 2), next=8), "a TIFF"),  # goes in circles
    (b"II*\x00", "a TIFF"),
    (b"II*\x00\xff\xff\xff\xff", "a TIFF"),
    (b"8BPS\0\1", "a Photoshop file (PSD)"),
    (b"8BPS\0\2", "a large Photoshop file (PSB)"),
    (b"II\xbc\x01", "a JPEG XR image"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE\n", "a Radiance HDR image"),
    (b"gimp xcf v011\0", "a GIMP file (XCF)"),
    (bytes(128) + b"DICM", "a medical image (DICOM)"),
    (b"FTEX", "a game's texture"),
    (b"/* XPM */", "an icon in source code (XPM or XBM)"),
    (b"%!PS-Adobe-3.0", "a PostScript file"),
    (b'<?xml version="1.0"?>\n<!-- made by -->\n<svg xmlns="x">', "an SVG"),
    (ftyp(b"qt  "), "a video (QuickTime)"),
    (b"\0\0\0\x08wide\0\0\0\0mdat", "a video (QuickTime)"),
    (ftyp(b"isom", b"iso2", b"mp41"), "a video (MP4)"),
    (ftyp(b"mp42", b"isom"), "a video (MP4)"),
    (ftyp(b"M4V "), "a video (MP4)"),
    (ftyp(b"M4A "), "a sound file (M4A)"),
    (ftyp(b"3gp5"), "a video (3GP)"),
    (riff(b"AVI "), "a video (AVI)"),
    (ebml(b"webm"), "a video (WebM)"),
    (ebml(b"matroska"), "a video (Matroska)"),
    (b"\0\0\1\xba", "a video (MPEG)"),
    (b"G" + bytes(187) + b"G" + bytes(187) + b"G", "a video (MPEG transport stream)"),
    (bytes.fromhex("3026b2758e66cf11"), "a video or sound file (Windows Media)"),
    (b"OggS".ljust(28, b"\0") + b"\x80theora", "a video (Ogg)"),
    (b"OggS".ljust(28, b"\0") + b"OpusHead", "a sound file (Ogg)"),
    (riff(b"WAVE"), "a sound file (WAV)"),
    (b"ID3\x04\0", "a sound file (MP3)"),
    (b"\xff\xfb\x90\x64", "a sound file (MP3)"),
    (b"fLaC", "a sound file (FLAC)"),
    (b"FORM\0\0\0\x04AIFF", "a sound file (AIFF)"),
    (b"%PDF-1.7", "a PDF"),
    (b"\xef\xbb\xbf\n%PDF-1.7", "a PDF"),
    (b"<!DOCTYPE HTML>", "a web page"),
    (b"<?xpacket begin=''", "a photograph's sidecar (XMP)"),
    (bytes.fromhex("0005160700020000"), "a Mac's companion file (AppleDouble)"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\x1f\x8b\x08", "an archive"),
    (riff(b"XYZ1"), "a RIFF file of kind XYZ1"),
    (ftyp(b"zzzz"), "an ISO media file of kind zzzz"),
    (ebml(b"unheard"), "an EBML file of kind unheard"),
]


@pytest.mark.parametrize(("head", "name"), CASES, ids=[name for _, name in CASES])
def test_signatures(head: bytes, name: str) -> None:
    for tail in (b"", bytes(5000), b"\xff" * 300):
        kind = formats.kind(io.BytesIO(head + tail))
        assert kind is not None
        assert kind.name == name
    assert kind.image == (not libraries.refusal(kind) or "convert it" in libraries.refusal(kind))


@pytest.mark.parametrize(
    "text",
    [b"", b"\0", b"plain text", b"The wide world", b"are free", b"MAC address", b"<p>", b"M", b"\xff", bytes(999)],
)
def test_what_begins_like_nothing_known_has_no_kind(text: bytes) -> None:
    assert formats.kind(io.BytesIO(text)) is None


def test_any_bytes_have_a_kind_or_none_quickly() -> None:
    random = np.random.default_rng(0)
    for number in range(300):
        data = bytearray(random.bytes(int(random.integers(0, 5000))))
        start = CASES[number % len(CASES)][0][: int(random.integers(0, 40))]
        data[: len(start)] = start
        file = io.BytesIO(bytes(data))
        formats.kind(file)
        assert file.tell() == 0


@pytest.mark.parametrize(
    ("data", "yes"),
    [
        (b"hello", True),
        ("\ufeffGroßmutter\r\n\t1931".encode(), True),
        (b"x" + "ä".encode() * 4096, True),  # a letter is cut where signatures end
        (b"", False),
        (b" \n", False),
        (b"hello\0", False),
        ("Großmutter".encode("latin-1"), False),  # it might be anything
        (b"P3 2 2 255\n0 0 0", False),
        (b"P7\nWIDTH 2\n", False),
        (b"SIMPLE  =                    T", False),
    ],
)
def test_text_is_told_from_pictures_whose_headers_are_text(data: bytes, yes: bool) -> None:
    assert formats.is_text(data) is yes


def test_no_message_shows_bytes_as_python_writes_them() -> None:
    for data, says in (
        (b"hello", 'not an image but a text: it begins with "hello"'),
        (b"P5 cut", 'damaged or unsupported: invalid literal for int() with base 10: "cut"'),
        (b"\xff\xd8", "not an image, or cut off in its header: it begins with FF D8"),
    ):
        with pytest.raises(images.UnreadableImage) as caught:
            pictures.read(data)
        assert str(caught.value) == says
    for text, shown in ((r"(chunk b'IDA\'')", '(chunk "IDA\'")'), (r'(chunk b"\x00\"I")', "(chunk 00 22 49)")):
        error = opening.unreadable(SyntaxError(f"broken PNG file {text}"))
        assert str(error) == f"damaged or unsupported: broken PNG file {shown}"


def test_no_text_makes_the_patterns_search_for_ever() -> None:
    for text in (b"<!-- -->", b"<!--", b"-->", b" ", b"<?xml >", b"<svg", b"#define ", b"\x1aE\xdf\xa3\x42\x82", b"G"):
        for start in (b"", b"<?xml version='1.0'?>", b"<!--", b"\xef\xbb\xbf"):
            formats.kind(io.BytesIO(start + text * 4096))  # some pattern would take years


def test_only_listed_plugins_run_and_every_one_exists() -> None:
    Image.init()
    opened = {*formats.SIGNED, *formats.UNSIGNED}
    assert opened <= set(Image.OPEN)
    assert not opened & {"FTEX", "BLP", "SPIDER", "EPS", "WMF", "FLI", "MCIDAS", "PIXAR", "XVTHUMB", "IMT"}
    ftex = b"FTEX" + struct.pack("<7i", 1, 4, 4, 1, 1, 0, 32) + struct.pack("<i", 64) + bytes(64)
    with pytest.raises(images.UnreadableImage, match=r"^a game's texture, not a photograph$"):
        pictures.read(ftex)
    assert images.header(io.BytesIO(ftex)) is None
    spider = struct.pack(">27f", *[1.0, 48, 0, 0, 1, *[0.0] * 22]) + bytes(4000)
    with pytest.raises(images.UnreadableImage, match="not an image"):
        pictures.read(spider)


def test_intact_files_of_kinds_that_are_not_read_are_not_called_broken() -> None:
    psd = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 5, 8, 8, 16, 9) + bytes(64)
    with pytest.raises(images.UnreadableImage, match=r"^a Photoshop file .* 5 channels of 16 bits, mode 9$"):
        pictures.read(psd)
    jpeg = b"\xff\xd8\xff\xff\xfe\0\4hi\xff%c\0\x0b%c\0\10\0%c\1\1\x11\0\xff\xda"
    for marker, bits, width, what in (
        (0xC1, 12, 8, r"extended, 1 sample of 12 bits"),
        (0xC3, 16, 8, r"lossless, 1 sample of 16 bits"),
        (0xF7, 8, 8, r"JPEG-LS, 1 sample of 8 bits"),
        (0xC0, 8, 0, r"baseline, 1 sample of 8 bits, of a size that its header does not say"),
    ):
        with pytest.raises(images.UnreadableImage, match=rf"^a JPEG of a kind that is not read: {what}$"):
            pictures.read(jpeg % (marker, bits, width))
    with pytest.raises(images.UnreadableImage, match=r"^a JPEG that is damaged or cut off in its header$"):
        pictures.read(b"\xff\xd8\xff\xfe\0\4hi\xff\xda")
    with pytest.raises(images.UnreadableImage, match=r"^a PNG that is damaged or cut off in its header$"):
        pictures.read(b"\x89PNG\r\n\x1a\n\0\0")
    with pytest.raises(images.UnreadableImage, match=r"^an OpenEXR image, which is not read here: convert it"):
        images.read_rgb(b"v/1\x01" + bytes(99))


def test_a_run_names_and_counts_what_is_no_photograph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, model = tmp_path / "in", artefacts.constant(tmp_path / "m.onnx")
    source.mkdir()
    for name, data in {
        "a.txt": b"text",
        "b.mp4": ftyp(b"isom"),
        "c.mov": ftyp(b"qt  "),
        "d.mov": ftyp(b"qt  "),
        "e.pdf": b"%PDF-1.4\n",
        "f.dcm": bytes(128) + b"DICM",
        "g.wav": riff(b"WAVE"),
    }.items():
        (source / name).write_bytes(data)
    run = lambda *paths: colorize.main([*map(str, paths), "--model", str(model), "--provider", "cpu"])  # noqa: E731
    assert run(source, tmp_path / "out") == 0
    told = capsys.readouterr().err
    for words in ("0 colored, 7 skipped", "2 a video (QuickTime)", "1 a video (MP4)", "1 a PDF", "1 not an image"):
        assert words in told
    assert "1 a medical image (DICOM)" in told
    assert "1 a sound file (WAV)" in told
    (source / "h.exr").write_bytes(b"v/1\x01" + bytes(99))  # a picture, so its being left out is a failure
    (source / "page.jpg").write_bytes(b"<html><body>log in</body></html>")
    assert run(source, tmp_path / "out") == 3
    told = capsys.readouterr().err
    assert "h.exr: an OpenEXR image, which is not read here: convert it, to TIFF say" in told
    assert "page.jpg: a web page, not a photograph" in told
    assert run(source / "e.pdf", tmp_path / "out") == 3
    assert "e.pdf: a PDF, not a photograph" in capsys.readouterr().err


PHOTOGRAPHS = {"HEIF": ftyp(b"heic", b"mif1"), "JXL": b"\xff\x0a" + bytes(40), "RAW": tiff((262, 3, 32803))}


@pytest.mark.parametrize("format", libraries.LIBRARIES)
def test_without_its_library_a_photograph_is_named_with_what_to_install(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    package = libraries.LIBRARIES[format].package
    source = tmp_path / "in" / "x.data"  # by content, whatever its name
    source.parent.mkdir()
    source.write_bytes(PHOTOGRAPHS[format])
    model = artefacts.constant(tmp_path / "m.onnx")
    assert colorize.main([str(source.parent), str(tmp_path / "out"), "--model", str(model), "--provider", "cpu"]) == 3
    told = capsys.readouterr().err
    assert f", which needs {package}: pip install {package}" in told
    assert "0 colored, 0 skipped, 1 failed" in told
    good = tmp_path / "good.png"
    Image.new("L", (8, 8)).save(good)
    usable, unusable = index.usable([source, good], progress=False)
    assert usable == [good]
    assert f"pip install {package}" in unusable[source]
    if format in encoders.WRITABLE:
        with pytest.raises(ValueError, match=f"pip install {package}"):
            encoders.encode(np.zeros((4, 4, 3), np.uint8), None, format, 90)


def test_what_was_found_without_a_library_is_found_anew_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert libraries.versions() in checked.VERSION
    with_them = libraries.versions()
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    assert libraries.versions() == "0 0 0" != with_them


def test_libraries_are_the_extras() -> None:
    import tomllib

    extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    packages = {name.split(">=")[0] for name in extras["optional-dependencies"]["formats"]}
    assert packages == {library.package for library in libraries.LIBRARIES.values()} | {"brotli"}


# --- directories ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pages_as_tifffile_has_them(order: str, big: bool) -> None:
    import tifffile

    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=big) as writer:
        for number in range(3):
            page = np.full((5 + number, 7), number, np.uint8 if number < 2 else np.uint16)
            writer.write(page, photometric="minisblack", contiguous=False, metadata=None)
        writer.write(np.zeros((2, 3), np.uint8), photometric="minisblack", subfiletype=1, metadata=None)
    data = file.getvalue()
    found = directories.pages(io.BytesIO(data))
    assert [page.number(directories.HEIGHT) for page in found] == [5, 6, 7]  # not the reduced copy
    for number, page in enumerate(found):
        with tifffile.TiffFile(io.BytesIO(directories.alone(data, page))) as alone:
            assert [one.asarray().tolist() for one in alone.pages] == [[[number] * 7] * (5 + number)]


def test_broken_directories_end_the_chain() -> None:
    whole = tiff((262, 3, 2), next=8)
    assert len(directories.pages(io.BytesIO(whole))) == 1
    for data in (whole[:9], b"II*\0", b"II*\0" + struct.pack("<I", 10**6)):
        with pytest.raises((ValueError, struct.error)):
            directories.pages(io.BytesIO(data))
