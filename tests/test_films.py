"""Films: colored with their own luma and times, everything else kept, killed and resumed, refused by name."""

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from recolor_fast import colorize
from recolor_fast.artefact import runtime
from recolor_fast.coloring.coloring import Settings
from recolor_fast.coloring.colorizer import Colorizer
from recolor_fast.coloring.folder import Verdict
from recolor_fast.films import codecs, encoding, film, planes, request, segments, source
from recolor_fast.machine.errors import UserError
from recolor_fast.options import Options
from recolor_fast.photographs import chroma, images
from recolor_fast.settings import Codec
from tests import artefacts, filming


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    plain = Options(size=64, equalize="none", blur="none")
    return {"sepia": artefacts.constant(folder / "sepia.onnx"), "echo": artefacts.echo(folder / "echo.onnx", plain)}


@pytest.fixture
def echo(models) -> runtime.Artefact:
    return runtime.load(models["echo"], "cpu", 1)


@pytest.fixture
def sepia(models) -> runtime.Artefact:
    return runtime.load(models["sepia"], "cpu", 1)


def colored(artefact, path: Path, target: Path, codec: Codec = "auto", temporal: bool = True, **settings):
    record = film.color(artefact, path, target, Settings(**settings), film.Filming(codec, temporal), 2, show=False)
    assert not list(target.parent.glob(".*.part"))
    return record


# --- pixels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "tags", "white", "black", "limited", "matrix"),
    [
        ("yuv420p", {}, 235, 16, True, planes.REC601),
        ("yuv420p", {"color_range": 2, "colorspace": 1}, 255, 0, False, planes.REC709),
        ("gray", {}, 255, 0, False, planes.REC601),
        ("yuv420p10le", {"colorspace": 9}, 940, 64, True, 9),
        ("gray16le", {}, 65535, 0, False, planes.REC601),
    ],
)
def test_luma_and_times_are_the_films_own_and_chroma_is_of_its_matrix(
    tmp_path, sepia, format, tags, white, black, limited, matrix
):
    lumas = filming.pan(7, white=white, black=black)
    times = [0, 512, 1500, 1600, 1700, 4000, 4100]  # a variable rate
    path = filming.write(tmp_path / "gray.mkv", lumas, format, times=times, **tags)
    record = colored(sepia, path, tmp_path / "out.mkv", "ffv1")
    assert (record.status, record.reason, record.width, record.height) == ("ok", "", 64, 48)
    first, second = filming.read(path), filming.read(tmp_path / "out.mkv")
    assert [at for at, _ in first] == [at for at, _ in second]
    bits = 8 if white < 256 else 10 if white < 1024 else 16
    red, blue = planes.WEIGHTS[matrix]
    rgb = np.array([1.402 * 20, -0.714136 * 20 - 0.344136 * -18, 1.772 * -18])  # SEPIA's, off its luma
    luma = rgb @ [red, 1 - red - blue, blue]
    cb, cr = (rgb[2] - luma) / (2 * (1 - blue)), (rgb[0] - luma) / (2 * (1 - red))
    scale = 224 / 255 * 2 ** (bits - 8) if limited else (2**bits - 1) / 255
    for (_, ours), (_, (written, *painted)), luma in zip(first, second, lumas):
        np.testing.assert_array_equal(written, luma)
        np.testing.assert_array_equal(ours[0], luma)
        middle = (luma[::2, ::2] > black + 0.3 * (white - black)) & (luma[::2, ::2] < black + 0.6 * (white - black))
        for plane, expected in zip(painted, (cb, cr)):  # where no color leaves the cube
            assert plane[middle].mean() == pytest.approx(2 ** (bits - 1) + expected * scale, abs=0.006 * 2**bits)


def test_rgb_pictures_and_odd_sides(tmp_path, sepia):
    path = filming.write(tmp_path / "odd.mkv", filming.pan(3, 47, 63, 255, 0), "gray")
    for name, format in (("ffv1", "yuv420p"), ("h264", "yuvj444p")):  # j: of full range
        target = tmp_path / f"{name}.mkv"
        assert colored(sepia, path, target, name).status == "ok"
        with av.open(str(target)) as out:
            assert (out.streams.video[0].pix_fmt, out.streams.video[0].width, out.streams.video[0].height) == (
                format,
                63,
                47,
            )
    with pytest.raises(UserError, match=r"codec av1 writes no film of 63 x 47 pixels, .*: give --codec h265"):
        colored(sepia, path, tmp_path / "av1.mkv", "av1")
    with av.open(str(tmp_path / "rgb.mkv"), "w") as out:
        stream = out.add_stream("ffv1", 25, width=64, height=48, pix_fmt="bgr0")
        for luma in filming.pan(2, white=255, black=0):
            frame = av.VideoFrame.from_ndarray(np.dstack([luma] * 3), "rgb24").reformat(format="bgr0")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert colored(sepia, tmp_path / "rgb.mkv", tmp_path / "of-rgb.mkv", "ffv1").status == "ok"
    for (_, (written, *_)), luma in zip(filming.read(tmp_path / "of-rgb.mkv"), filming.pan(2, white=255, black=0)):
        np.testing.assert_array_equal(written, luma)


def test_other_weights_of_luma_keep_the_luma_and_the_hue():
    gray = np.full((8, 8), 120, np.uint8)
    cbcr = np.stack([np.full((8, 8), 110, np.uint8), np.full((8, 8), 148, np.uint8)])
    expected = chroma.merge(gray, cbcr)[0, 0].astype(float)
    cb, cr = (
        float(plane[0, 0]) - 128 for plane in chroma.subsampled(gray, cbcr, samples=chroma.Samples((0.2126, 0.0722)))
    )
    red, blue = 120 + 1.5748 * cr, 120 + 1.8556 * cb
    green = (120 - 0.2126 * red - 0.0722 * blue) / 0.7152
    assert red - green == pytest.approx(expected[0] - expected[1], abs=2)
    assert blue - green == pytest.approx(expected[2] - expected[1], abs=2)
    for step in (1, 2):
        both = [chroma.subsampled(gray, cbcr, samples=chroma.Samples(bits=bits, step=step)) for bits in (8, 10)]
        assert both[0][0].shape == (8 // step, 8 // step)
        assert abs(both[1][0].astype(float) / 1023 - both[0][0] / 255.0).max() < 0.004
    limited = chroma.subsampled(gray, cbcr, samples=chroma.Samples(limited=True))[1]
    assert limited[0, 0] == 128 + round(20 * 224 / 255)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no policies to look at")
def test_no_encoder_takes_the_machine(tmp_path, sepia, monkeypatch):
    """SVT-AV1 asks for real-time priority, which root is given, and all that a thread starts inherits it."""
    before, seen, put = os.sched_getscheduler(0), set(), encoding.Encoder.put

    def watched(*words):
        put(*words)
        for thread in os.listdir("/proc/self/task"):
            with suppress(OSError):
                seen.add(os.sched_getscheduler(int(thread)))

    monkeypatch.setattr(encoding.Encoder, "put", watched)
    path = filming.write(tmp_path / "gray.mkv", filming.pan(3, 64, 64))
    assert colored(sepia, path, tmp_path / "out.mp4", "av1").status == "ok"
    assert seen == {before}
    assert os.sched_getscheduler(0) == before


@pytest.mark.parametrize("name", ["h264", "h265", "av1"])
def test_every_codec_writes_8_and_10_bits(tmp_path, sepia, name):
    for bits, white, format in ((8, 235, "yuv420p"), (10, 940, "yuv420p10le")):
        path = filming.write(tmp_path / f"{bits}.mkv", filming.pan(3, 64, 96, white, white // 15), format)
        target = tmp_path / f"{bits}.mp4"
        assert colored(sepia, path, target, name, quality=95).notes == ()
        with av.open(str(target)) as out:
            stream = out.streams.video[0]
            assert (stream.pix_fmt, stream.codec_context.name) == (
                format,
                {"h265": "hevc", "av1": "libdav1d"}.get(name, name),
            )
        for (_, (written, *_)), (_, (own, *_)) in zip(filming.read(target), filming.read(path), strict=True):
            assert abs(written.astype(int) - own).mean() < 2 * 2 ** (bits - 8)


def test_a_turned_film_is_seen_upright_and_stays_as_it_lies(tmp_path, echo, monkeypatch):
    seen, prepared = [], images.source
    monkeypatch.setattr(images, "source", lambda gray, options: seen.append(gray.shape) or prepared(gray, options))
    for orientation, (a, b, c, d) in {6: (0, 1, -1, 0), 3: (-1, 0, 0, -1), 5: (0, 1, 1, 0)}.items():
        matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
        path = filming.write(tmp_path / f"{orientation}.mp4", filming.pan(2), codec="libx264", matrix=matrix)
        seen.clear()
        record = colored(echo, path, tmp_path / f"out{orientation}.mkv", "ffv1", upsample="bilinear", saturation=0.1)
        assert (record.width, record.height) == ((48, 64) if orientation > 4 else (64, 48))
        assert seen[0] == (record.height, record.width)
        found = source.look(tmp_path / f"out{orientation}.mkv", 10**6)
        assert (found.matrix, found.orientation) == (tuple(matrix), orientation)
        _, (luma, cb, _) = filming.read(tmp_path / f"out{orientation}.mkv")[0]
        assert np.corrcoef(luma[::2, ::2].ravel(), cb.ravel())[0, 1] > 0.9  # the echo lies on what it repeats


def test_colors_are_steadied_but_not_over_a_cut(tmp_path, echo):
    low = filming.pan(1, black=80, white=160)[0]
    high, other = low + np.uint8(10), filming.pan(1, black=80, white=160)[0].max() - low
    path = filming.write(tmp_path / "gray.mkv", [low, high, low, high, other, other])
    shown = {}
    for temporal in (True, False):
        colored(echo, path, tmp_path / f"{temporal}.mkv", "ffv1", temporal, saturation=0.2)
        shown[temporal] = np.array([cr.mean() for _, (_, _, cr) in filming.read(tmp_path / f"{temporal}.mkv")])
    assert np.ptp(shown[True][:4]) < np.ptp(shown[False][:4]) / 2
    np.testing.assert_allclose(shown[True][4:], shown[False][4:], atol=0.1)


# --- what else a film holds ----------------------------------------------------------------------------------------

ALL = {
    "sound": True,
    "texts": {"title": "Street", "comment": "by hand"},
    "chapters": [(0, 0.2, "one"), (0.2, 0.4, "two")],
    "color_range": 1,
    "color_primaries": 6,
    "color_trc": 6,
    "colorspace": 5,
    "sample_aspect_ratio": Fraction(16, 11),
}


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".mkv", "h265")])
def test_everything_else_is_kept(tmp_path, sepia, suffix, codec):
    path = filming.write(tmp_path / f"gray{suffix}", filming.pan(12), codec="libx264", **ALL)
    target = tmp_path / "deep" / f"out{suffix}"
    record = colored(sepia, path, target, codec, keep_times=True)
    assert (record.status, record.reason, record.notes) == ("ok", "", ())
    for kind in ("audio", "subtitle"):
        assert filming.packets(target, kind) == filming.packets(path, kind)
    assert [at for at, _ in filming.read(target)] == [at for at, _ in filming.read(path)]
    with av.open(str(path)) as old, av.open(str(target)) as new:
        assert [one["metadata"] for one in new.chapters()] == [one["metadata"] for one in old.chapters()]
        assert [one["end"] * one["time_base"] for one in new.chapters()] == [Fraction(1, 5), Fraction(2, 5)]
        texts = {key.lower(): value for key, value in new.metadata.items()}
        assert texts["title"] == "Street"
        own, made = texts["comment"].split("\n")
        assert own == "by hand"
        assert json.loads(made).items() >= {"codec": codec, "quality": 95, "temporal": True, "model": "sepia"}.items()
        languages = [one.metadata["language"] for one in new.streams if one.type in ("audio", "subtitle")]
        assert languages == ["deu", "fra"]
        stream = new.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(16, 11)
        context = stream.codec_context
        tags = context.color_range, context.color_primaries, context.color_trc, context.colorspace
        assert tags == (1, 6, 6, 5)
    assert target.stat().st_mtime_ns == path.stat().st_mtime_ns
    assert colored(sepia, path, target, codec).reason == "done before"
    again = colored(sepia, path, target, codec, saturation=0.5)
    assert again.status == "failed"
    assert "made differently: saturation 1, now 0.5" in again.reason
    assert colored(sepia, path, target, codec, overwrite=True, metadata="drop").status == "ok"
    with av.open(str(target)) as new:
        assert not {"title", "comment", "TITLE", "COMMENT"} & new.metadata.keys()


def test_covers_and_attached_files_are_kept(tmp_path, sepia):
    picture = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 99, 200)).save(picture, "JPEG")
    plain, path = filming.write(tmp_path / "plain.mkv", filming.pan(3)), tmp_path / "gray.mkv"
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        new.add_attachment("a.ttf", "font/ttf", b"letters")
        new.add_attachment("cover.jpg", "image/jpeg", picture.getvalue())
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    assert colored(sepia, path, tmp_path / "out.mkv").notes == ()
    lost = ("an attached file that the container does not hold (a.ttf)",)
    assert colored(sepia, path, tmp_path / "out.mp4").notes == lost
    for target in (tmp_path / "out.mkv", tmp_path / "out.mp4"):
        with av.open(str(target)) as out:
            cover = next(one for one in out.streams.video if one.disposition & av.stream.Disposition.attached_pic)
            assert [bytes(one) for one in out.demux(cover) if one.size] == [picture.getvalue()]
            assert [one.data for one in out.streams.attachments] == [b"letters"][: target.suffix == ".mkv"]


def test_what_a_container_does_not_hold_is_said(tmp_path, sepia):
    path = filming.write(tmp_path / "gray.mkv", filming.pan(3), texts={"title": "a", "inventory": "b"}, sound=True)
    record = colored(sepia, path, tmp_path / "out.mp4")
    assert record.status == "failed"
    assert not segments.Store(tmp_path / "out.mp4").folder.exists()  # it was not colored first
    assert (
        record.reason == "its subtitle (srt) cannot be kept in a mp4 file: give an OUT called .mkv, or the suffix of IN"
    )
    silent = filming.write(tmp_path / "silent.mkv", filming.pan(3), texts={"title": "a", "inventory": "b"})
    assert colored(sepia, silent, tmp_path / "out.mp4").notes == ("texts that the container does not hold: inventory",)


# --- killed and resumed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_a_film_that_was_stopped_goes_on_and_ends_as_the_unbroken_one(tmp_path, echo, monkeypatch, codec):
    monkeypatch.setattr(segments, "SECONDS", 0.4)
    times = [520 * number + 90 * (number % 3) for number in range(45)]
    path = filming.write(tmp_path / "gray.mkv", filming.pan(45), "gray", times=times, options={"g": "5"})
    whole, broken = tmp_path / "whole.mkv", tmp_path / "broken.mkv"
    assert colored(echo, path, whole, codec).status == "ok"

    put = encoding.Encoder.put
    failed: list[int] = []  # one frame: those after it, which are on their way, make no segment without it

    def stopped(self, frame, at, lasts):
        if at > 1.0 * 1000 and not failed:  # Matroska's unit
            failed.append(at)
            time.sleep(0.3)  # they come to wait for it
            raise KeyboardInterrupt
        put(self, frame, at, lasts)

    with monkeypatch.context() as patch:
        patch.setattr(encoding.Encoder, "put", stopped)
        with pytest.raises(KeyboardInterrupt):
            colored(echo, path, broken, codec)
    assert not broken.exists()
    store = segments.Store(broken)
    assert store.whole() == 2
    before = [store.path(number).stat().st_ino for number in range(2)]
    assert [one.name for one in store.folder.glob(".*.part")] == []

    again = colored(echo, path, broken, codec, saturation=0.5)
    assert again.status == "failed"
    assert "it was begun differently (saturation 1, now 0.5)" in again.reason
    decoded: list[int] = []
    frames = source.frames

    def told(film, found, after=None):
        for one in frames(film, found, after):
            decoded.append(one.at)
            assert [store.path(number).stat().st_ino for number in range(2)] == before
            yield one

    monkeypatch.setattr(source, "frames", told)
    assert colored(echo, path, broken, codec).status == "ok"
    assert decoded[0] == store_first(path, 0.8)
    assert not store.folder.exists()
    if codec == "ffv1":  # x264 is not reproducible to the byte on every processor
        assert filming.packets(broken, "video") == filming.packets(whole, "video")
    for (at, first), (again, second) in zip(filming.read(whole), filming.read(broken), strict=True):
        assert at == again
        for one, other in zip(first, second):
            np.testing.assert_allclose(one, other.astype(int), atol=0 if codec == "ffv1" else 12)


def test_damage_found_before_a_kill_is_known_after_it(tmp_path, sepia, monkeypatch):
    monkeypatch.setattr(segments, "SECONDS", 0.4)
    data = filming.write(tmp_path / "whole.mkv", filming.pan(60)).read_bytes()
    path, target = tmp_path / "cut.mkv", tmp_path / "out.mkv"
    path.write_bytes(data[: len(data) // 3] + b"\xff" * 200 + data[len(data) // 3 + 200 :])
    whole = colored(sepia, path, tmp_path / "unbroken.mkv")
    assert any("damaged places" in note for note in whole.notes)
    cut, cuts = encoding.Encoder.cut, []

    def stopped(self, *words):
        cut(self, *words)
        cuts.append(self.number)
        if len(cuts) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(encoding.Encoder, "cut", stopped)
        with pytest.raises(KeyboardInterrupt):
            colored(sepia, path, target)
    assert segments.Store(target).whole() == 4
    assert "damaged places of the film" in colored(sepia, path, target, strict=True).reason
    again = colored(sepia, path, target)
    assert (again.status, again.notes) == ("ok", whole.notes)


def test_another_film_of_the_same_size_is_not_done(tmp_path, sepia):
    path, target = filming.write(tmp_path / "gray.mkv", filming.pan(6)), tmp_path / "out.mkv"
    assert [colored(sepia, path, target).status for _ in range(2)] == ["ok", "skipped"]
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    record = colored(sepia, path, target)
    assert record.status == "failed"
    assert "was made differently: from another film of the same size; --overwrite" in record.reason


def store_first(path: Path, seconds: float) -> int:
    """The time, in Matroska's milliseconds, of the first frame that begins a segment from `seconds` on."""
    since, begun = None, 0
    for at, _ in filming.read(path):
        if since is None or at - since >= Fraction(4, 10):
            since, begun = at, begun + 1
            if begun == 3:
                return round(1000 * at)
    raise AssertionError(seconds)


def test_pictures_are_decoded_in_time_whatever_their_order():
    one = segments.Index([segments.Packet(at, not at, 1) for at in (0, 40, 10, 30)], 50, 40, False, "")
    two = segments.Index([segments.Packet(at, at == 50, 1) for at in (50, 90, 70, 60)], 100, 90, True, "")
    assert (one.delay, two.delay) == (1, 2)
    found = list(encoding.timed(iter([one, two]), 2, 5))
    decoded = [at for at, _ in found]
    assert decoded == sorted(set(decoded))
    shown = [packet.at for index in (one, two) for packet in index.packets]
    assert all(at <= later for at, later in zip(decoded, shown))
    assert [lasts for _, lasts in found] == [10, 10, 20, 10, 10, 10, 20, 10]


def test_frames_without_times_are_counted_on(tmp_path):
    path = filming.write(tmp_path / "a.mkv", filming.pan(4))
    found: Counter[str] = Counter()
    told = source.look(path, 10**6)

    class Frame:
        def __init__(self, pts):
            self.pts, self.width, self.height, self.duration = pts, 64, 48, 0
            self.format, self.interlaced_frame, self.side_data = av.VideoFormat("yuv420p"), False, ()
            self.planes = av.VideoFrame(64, 48, "yuv420p").planes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "_decoded", lambda *rest: (Frame(pts) for pts in (None, None, 90, 90, 200)))
        patch.setattr(planes, "luma", lambda frame, samples: frame)
        assert [one.at for one in source.frames(told, found)] == [0, 40, 90, 91, 200]
        patch.setattr(source, "_decoded", lambda *rest: (Frame(pts) for pts in (0, 5000, 40)))
        with pytest.raises(Verdict, match=r"its clock goes back at 5.0 s: cut it there"):
            list(source.frames(told, Counter()))
    assert sum(found.values()) == 3


MEMORY = """
import sys
from pathlib import Path
from recolor_fast.artefact import runtime
from recolor_fast.coloring.coloring import Settings
from recolor_fast.films import film, segments
from recolor_fast.machine import memory
from tests import filming
artefact, folder = runtime.load(sys.argv[1], "cpu", 1), Path(sys.argv[2])
segments.SECONDS = 2
for count in (104, 704):
    path = filming.write(folder / f"{count}.mkv", filming.pan(8, 240, 320) * (count // 8))
    film.color(artefact, path, folder / f"out{count}.mkv", Settings(), film.Filming("ffv1"), 2, show=False)
    print(memory.peak())
"""


def test_memory_does_not_grow_with_the_frames(tmp_path, models):
    words = [sys.executable, "-c", MEMORY, str(models["sepia"]), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    short, long = map(float, done.stdout.split())
    assert long - short < 33, (short, long)  # MiB: half of what 600 frames are; what grows is the allocator's, up to 15


# --- refused by name -----------------------------------------------------------------------------------------------


def test_what_is_no_film_to_color_is_a_sentence(tmp_path, sepia):
    lumas = filming.pan(6)

    def said(path: Path, **settings) -> str:
        record = colored(sepia, path, tmp_path / "out.mp4", **settings)
        assert record.status == "failed"
        assert not (tmp_path / "out.mp4").exists()
        return record.reason

    text = tmp_path / "text.mp4"
    text.write_text("no film\n" * 100)
    assert said(text).startswith("it cannot be read as a film (")
    whole = filming.write(tmp_path / "whole.ts", filming.pan(60), codec="mpeg4")
    text.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n{whole}\n#EXT-X-ENDLIST\n")  # other files' names
    assert said(text).startswith("it cannot be read as a film (")
    text.write_text(f"ffconcat version 1.0\nfile {whole.name}\n")
    assert said(text).startswith("it cannot be read as a film (")
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        speech = out.add_stream("aac", 8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate = 8000
        out.mux(speech.encode(silence))
        out.mux(speech.encode(None))
    assert said(tmp_path / "sound.mp4") == "it has no moving pictures, only audio: it is no film"
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "01" * 16, "encryption_kid": "02" * 16}
    secret = filming.write(tmp_path / "secret.mp4", lumas, codec="libx264", container=key)
    assert said(secret) == "it is encrypted: give a copy without protection"
    flags = av.codec.context.Flags
    every = int(flags.interlaced_dct | flags.interlaced_me | flags.global_header)
    laced = filming.write(tmp_path / "laced.mkv", lumas, codec="libx264", flags=every)
    assert said(laced).startswith("it is interlaced, ")
    whole = filming.write(tmp_path / "whole.mkv", filming.pan(60), codec="mpeg4")
    none = tmp_path / "none.mkv"
    none.write_bytes(whole.read_bytes()[:700])
    assert said(none) in ("no frame of it can be decoded: it is empty or damaged",) or "cannot be read" in said(none)
    assert "more than the 100 of --max-pixels" in said(whole, max_pixels=100)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2] + bytes(500) + whole.read_bytes()[-9000:])
    for _ in range(2):  # the second time nothing of it is taken for whole
        assert "damaged places of the film" in said(cut, strict=True)
    record = colored(sepia, cut, tmp_path / "cut.mp4")
    assert record.status == "ok"
    assert any("damaged places" in note for note in record.notes)


def test_a_film_in_color_is_left_alone(tmp_path, sepia):
    rng = np.random.default_rng(1)
    with av.open(str(tmp_path / "color.mkv"), "w") as out:
        stream = out.add_stream("ffv1", 25, width=64, height=48, pix_fmt="yuv420p")
        picture = np.repeat(np.repeat(rng.integers(0, 255, (6, 8, 3), np.uint8), 8, 0), 8, 1)
        for _ in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")))
        out.mux(stream.encode(None))
    path, target = tmp_path / "color.mkv", tmp_path / "out.mkv"
    assert colored(sepia, path, target)[2:4] == ("skipped", "in color")
    assert colored(sepia, path, target, color="copy").reason == "in color, copied"
    assert target.read_bytes() == path.read_bytes()
    refused = colored(sepia, path, tmp_path / "out.mp4", color="copy").reason
    assert refused.endswith("as the suffix is not its own: give an output that ends with .mkv, or --color recolor")
    refused = colored(sepia, path.rename(tmp_path / "color.avi"), tmp_path / "out.mp4", color="copy").reason
    assert refused.endswith("as the suffix is not its own: copy the file itself (cp), or --color recolor")
    path = (tmp_path / "color.avi").rename(path)
    assert colored(sepia, path, target, color="recolor", overwrite=True).status == "ok"
    assert target.read_bytes() != path.read_bytes()


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_verb_colors_a_film_and_tells(tmp_path, models, capsys):
    path = filming.write(tmp_path / "gray.mkv", filming.pan(6))
    words = [str(path), str(tmp_path / "out.mp4"), "--model", str(models["sepia"]), "--json", "--no-temporal"]
    assert colorize.main(words) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["status"] == "ok"
    assert "1 colored, 0 skipped, 0 failed" in told.err
    assert colorize.main(words) == 0
    assert "0 colored, 1 skipped (1 done before), 0 failed" in capsys.readouterr().err
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    assert colorize.main([str(text), str(tmp_path / "b.mp4"), "--model", str(models["sepia"])]) == 3
    assert "cannot be read as a film" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.mp4", "out.avi"], "output out.avi: expected a name that ends with one of .mp4, .m4v, .mov, .mkv, .webm"),
        (["a.mp4", "out.mp4", "--codec", "ffv1"], "codec ffv1 with an output called .mp4: expected one of auto, h264"),
        (["a.mp4", "out.mp4", "--sheet", "s.jpg"], "sheet with the film a.mp4: that is for photographs"),
        (["a.mp4", "-"], "- with the film a.mp4"),
        (["a.mp4", "--in-place"], "in_place with the film a.mp4: a film is compressed anew"),
        (["a.mp4", "out.mp4", "--lossless-luma"], "lossless_luma with the film a.mp4: --codec ffv1 loses nothing"),
        (["a.mp4", "a.mp4"], "input and output are both a.mp4"),
        (
            ["a.mp4", ".", "--overwrite"],
            "input and output are both a.mp4: give another output, as the old film is kept",
        ),
        (["a.mp4", "out.mp4", "--engine", "ray"], "engine ray with the film a.mp4: that is for photographs"),
        (
            ["a.mp4", "b.mp4", "out", "--codec", "h264"],
            "codec and no_temporal are for a film, one file, and a.mp4, b.mp4",
        ),
        (["a.mp4"], "OUT is missing, the folder or file to write to; for example: "),
    ],
)
def test_what_a_film_cannot_have_is_refused(tmp_path, monkeypatch, capsys, sepia, words, said):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        filming.write(tmp_path / name, filming.pan(2), codec="libx264")
    assert colorize.main(words) == 2
    assert said in capsys.readouterr().err


def test_where_a_film_goes(tmp_path):
    for name in ("a.mp4", "b.avi"):
        (tmp_path / name).write_bytes(b"")
    assert request.target(str(tmp_path / "a.mp4"), f"{tmp_path}/out/") == tmp_path / "out" / "a.mp4"
    assert request.target(str(tmp_path / "b.avi"), f"{tmp_path}/out/") == tmp_path / "out" / "b.avi.mkv"


def test_a_folder_names_the_films_in_it(tmp_path, models, capsys):
    (tmp_path / "in").mkdir()
    filming.write(tmp_path / "in" / "a.mp4", filming.pan(2), codec="libx264")
    assert colorize.main([str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(models["sepia"])]) == 0
    assert "1 a video: each is colored alone, recolor-fast colorize FILM OUT.mp4" in capsys.readouterr().err


def test_from_python(tmp_path, models):
    path = filming.write(tmp_path / "gray.mkv", filming.pan(3))
    colorizer = Colorizer(models["sepia"], "cpu", 1)
    record = colorizer.film(path, tmp_path / "out.mkv", codec="ffv1", temporal=False, saturation=0.5)
    assert record.status == "ok"
    with pytest.raises(UserError, match="format with the film"):
        colorizer.film(path, tmp_path / "out.mkv", format="PNG")


def test_without_pyav_one_line_says_what_to_install(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    program = "import sys; sys.modules['av'] = None; from recolor_fast.colorize import main; sys.exit(main())"
    words = [sys.executable, "-c", program, str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert done.returncode == 2
    assert "av is not installed; " in done.stderr
    assert done.stderr.count("\n") == 1


def test_quality_is_the_encoders_own_scale():
    for name, at_80 in (("h264", 23), ("h265", 28), ("av1", 35)):
        scale = [float(codecs.setting(codecs.CODECS[name], quality)["crf"]) for quality in range(1, 101)]
        assert scale == sorted(scale, reverse=True)
        assert scale[79] == at_80
    assert "crf" not in codecs.setting(codecs.CODECS["ffv1"], 50)
    assert codecs.chosen("auto", ".mp4", ["av1", "h265"]) == "h265"
    with pytest.raises(UserError, match="this PyAV has no encoder for it"):
        codecs.chosen("auto", ".webm", ["h264"])
