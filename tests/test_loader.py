import ast
import gc
import os
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from recolor_fast import resolve
from recolor_fast.data import dali, host, index, loader, sources
from recolor_fast.machine import processors
from recolor_fast.options import Options
from recolor_fast.photographs import encoders, images
from recolor_fast.photographs.preparation import Preparation
from tests import reading
from tests.photographs import pixels, shared, write_jpegs

OPTIONS = Options(size=64, loader="host", cache="off", batch=3)
VALUES = ("none", "source", "both")
WHICH = list(product(VALUES, VALUES))

needs_dali = pytest.mark.skipif(not dali.available(), reason="needs NVIDIA DALI; it is not installed")
BACKENDS = ["host", pytest.param("dali", marks=needs_dali)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    """Seven JPEGs of 5 sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    return [write_jpegs(folder / str(number), 1, number, 90 + 7 * (number % 5), 120)[0] for number in range(7)]


def levels(one: torch.Tensor, other: torch.Tensor, frame: int = 1) -> int:
    """Largest difference in levels, but for a frame of so many pixels."""
    inner = np.s_[..., frame : one.shape[-2] - frame, frame : one.shape[-1] - frame]
    return int((one[inner].int() - other[inner].int()).abs().max())


def take(options: Options, paths, number: int, images: int = 0, device: str = "cpu"):
    """The next batches of a stream, which is closed."""
    with closing(reading.batches(options, paths, device, images)) as stream:
        return [(gray.clone(), rgb.clone()) for gray, rgb in islice(stream, number)]


def assert_same(one, other) -> None:
    assert len(one) == len(other) > 0
    for (gray, rgb), (other_gray, other_rgb) in zip(one, other):
        assert torch.equal(gray, other_gray)
        assert torch.equal(rgb, other_rgb)


# --- decoding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("equalize", "blur"), WHICH)
def test_decode_is_the_shared_arithmetic(paths, equalize, blur):
    """Within a level: Pillow's resize and torchvision's round differently."""
    gray, rgb = host.decode(paths[0], 64, equalize, blur)
    assert (gray.shape, rgb.shape, gray.dtype, rgb.dtype) == ((1, 64, 64), (3, 64, 64), torch.uint8, torch.uint8)
    pixels = images.read_rgb(paths[0].read_bytes())
    source = images.source(images.gray(pixels), Preparation(64, equalize, blur))
    assert levels(gray[0], torch.from_numpy(source), frame=0) <= 1
    pixels = images.equalize(pixels) if equalize == "both" else pixels
    pixels = images.blur(pixels) if blur == "both" else pixels
    target = torch.from_numpy(images.resize(pixels, 64, 64)).permute(2, 0, 1)
    assert levels(rgb, target, frame=0) <= 1


@needs_dali
@pytest.mark.parametrize("which", ["sample", "imagenet-wide"])
@pytest.mark.parametrize(("equalize", "blur"), WHICH)
def test_backends_agree_within_two_levels(equalize, blur, which):
    photographs = sources.sample() if which == "sample" else sorted(shared(which).glob("*.jpg"))[::15]
    options = replace(OPTIONS, size=256, equalize=equalize, blur=blur)
    gray, rgb = reading.load(options, photographs)
    dali_gray, dali_rgb = reading.load(replace(options, loader="dali"), photographs)
    assert levels(gray, dali_gray) <= 2
    assert levels(rgb, dali_rgb) <= 2
    assert (gray.float() - dali_gray).abs().mean() < 0.25


@needs_dali
def test_gray_is_the_same_to_the_bit(tmp_path):
    """Without resizing, so that equalizing starts from the same histogram."""
    photograph = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    photograph.write_bytes(encoders.encode(noise, None, "PNG", 90))
    options = replace(OPTIONS, size=256, equalize="none", blur="none")
    gray, rgb = reading.load(replace(options, loader="dali"), [photograph])
    assert torch.equal(gray[0, 0], torch.from_numpy(images.gray(noise)))
    assert torch.equal(rgb[0], torch.from_numpy(noise).permute(2, 0, 1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_formats_and_turned_photographs(tmp_path, backend):
    """What DALI would scale, turn or read differently, or not at all, gives the same pixels in both backends."""
    photograph = Image.fromarray(pixels(3, 120, 90))
    turned = Image.Exif()
    turned[274] = 6
    photograph.save(tmp_path / "a_turned.jpg", exif=turned, quality=95)
    photograph.convert("CMYK").save(tmp_path / "b_cmyk.jpg", quality=95)
    photograph.save(tmp_path / "c_rgb.jpg", keep_rgb=True, quality=95)
    photograph.convert("L").save(tmp_path / "d_gray.jpg")
    photograph.save(tmp_path / "e.gif")
    photograph.save(tmp_path / "f.webp")
    deep = np.asarray(photograph.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "g_16_bit.png")
    paths = sorted(tmp_path.iterdir())
    options = replace(OPTIONS, equalize="none", blur="none", loader=backend)
    gray, _ = reading.load(options, paths)
    for number, path in enumerate(paths):
        expected = images.resize(images.gray(images.read_rgb(path.read_bytes())), 64, 64)
        assert levels(gray[number, 0], torch.from_numpy(expected)) <= 2, path.name
    assert levels(gray[0].rot90(1, (-2, -1)), gray[2]) <= 4 < levels(gray[0], gray[2])  # it was turned


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_photographs_are_scaled_in_decoding_alike_by_both_backends(tmp_path, backend):
    """Each within 2 levels of the same small pixels, and near what a whole decode gives."""
    turned = Image.Exif()
    turned[274] = 6
    paths = [tmp_path / name for name in ("a.jpg", "b_turned.jpg", "c.png")]
    for number, path in enumerate(paths):
        photograph = Image.fromarray(pixels(number, 1100, 1500))
        photograph.save(path, **({"exif": turned} if "turned" in path.name else {}))
    options = replace(OPTIONS, size=256, loader=backend)
    gray, rgb = reading.load(options, paths)
    for number, path in enumerate(paths):
        small = images.read_rgb(path.read_bytes(), 256)
        assert small.shape[:2] == [(550, 750), (750, 550), (550, 750)][number]
        for image, expected in zip((gray, rgb), host.square(small, 256, "source", "source")):
            assert levels(image[number], expected) <= 2
        whole = host.square(images.read_rgb(path.read_bytes()), 256, "source", "source")
        assert (rgb[number].float() - whole[1]).abs().mean() < 1
        assert (gray[number].float() - whole[0]).abs().mean() < 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("count", [1, 7, 17])
def test_load_keeps_the_order_of_a_list_of_any_length(paths, backend, count):
    some = [paths[i % len(paths)] for i in range(count)]
    gray, rgb = reading.load(replace(OPTIONS, loader=backend), some)
    assert (gray.shape, rgb.shape) == ((count, 1, 64, 64), (count, 3, 64, 64))
    for number, path in enumerate(some):
        expected_gray, expected_rgb = host.decode(path, 64, "source", "source")
        assert levels(gray[number], expected_gray) <= 2
        assert levels(rgb[number], expected_rgb) <= 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_load_names_a_file_that_breaks(tmp_path, backend):
    good = write_jpegs(tmp_path, 3)
    broken = good[1]
    whole = broken.read_bytes()
    options = replace(OPTIONS, loader=backend)
    broken.write_bytes(whole[:-300])
    with pytest.raises(index.Unusable, match=r"001\.jpg: truncated: .*repair or remove"):
        reading.load(options, good)
    broken.unlink()
    with pytest.raises(index.Unusable, match=r"001\.jpg: No such file"):
        reading.load(options, good)


@pytest.mark.parametrize("backend", BACKENDS)
def test_load_replaces_what_breaks_where_it_may(tmp_path, capfd, backend):
    good = write_jpegs(tmp_path, 4)
    options = replace(OPTIONS, loader=backend)
    gray, rgb = reading.load(options, good)
    good[1].unlink()
    good[3].write_bytes(b"\xff\xd8 not any more")
    order = [0, 2, 2, 0]  # the next one, and after the last the first
    assert_same([reading.load(options, good, strict=False)], [(gray[order], rgb[order])])
    assert sorted(capfd.readouterr().err.splitlines()) == [
        f"warning: {good[1]}: No such file or directory; {good[2]} takes its place",
        f"warning: {good[3]}: not an image, or cut off in its header: it begins with FF D8 20 6E 6F 74 20 61; "
        f"{good[0]} takes its place",
    ]


def unlike(pair, other) -> int:
    """Largest difference in levels between two of (gray, rgb)."""
    return max(levels(one, two, frame=0) for one, two in zip(pair, other))


@needs_dali
@pytest.mark.parametrize("refused", [{0}, {6}, {2, 5}, set(range(7))])
def test_what_only_dali_cannot_read_is_decoded_without_it(paths, monkeypatch, capfd, refused):
    """With no batch lost or repeated, and all of it remembered: the pipeline breaks once for each batch at most."""
    options = replace(OPTIONS, loader="dali")
    expected, everything = take(options, paths, 12), reading.load(options, paths)
    damaged = {paths[position] for position in refused}
    whole = dali.encoded

    def encoded(path, size, decoded=False):
        return np.frombuffer(b"\xff\xd8 no image", np.uint8) if path in damaged and not decoded else whole(path, size)

    monkeypatch.setattr(dali, "encoded", encoded)
    for pair, other in zip(take(options, paths, 12), expected):
        assert unlike(pair, other) <= 2
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning")]
    assert set(warnings) == {"warning: DALI cannot decode a batch of 3 photographs: it is decoded without DALI"}
    assert 1 <= len(warnings) <= 4
    assert unlike(reading.load(options, paths), everything) <= 2


@pytest.mark.gpu
@needs_dali
def test_what_only_the_mixed_decoder_cannot_read_is_decoded_without_it(paths, monkeypatch):
    options = replace(OPTIONS, loader="dali")
    expected = take(options, paths, 12, device="cuda")
    whole = dali.encoded

    def encoded(path, size, decoded=False):
        return np.frombuffer(b"\xff\xd8 no image", np.uint8) if path == paths[2] and not decoded else whole(path, size)

    monkeypatch.setattr(dali, "encoded", encoded)
    for pair, other in zip(take(options, paths, 12, device="cuda"), expected):
        for one, two in zip(pair, other):
            assert (one.float() - two.float()).abs().mean() < 1


@needs_dali
def test_what_dali_reads_in_no_form_ends_the_stream(paths, monkeypatch):
    monkeypatch.setattr(dali, "encoded", lambda path, size, decoded: np.frombuffer(b"\xff\xd8 no image", np.uint8))
    options = replace(OPTIONS, loader="dali")
    with pytest.raises(ValueError, match=r"DALI failed on a batch of .*000\.jpg.*use --loader host"):
        reading.load(options, paths)
    with pytest.raises(ValueError, match=r"DALI failed on a batch of .*000\.jpg.*use --loader host"):
        take(options, paths, 1)


@needs_dali
def test_a_file_that_breaks_inside_dali_is_replaced(tmp_path, capfd):
    """A sound header and end marker, and no decoder gets further."""
    good = write_jpegs(tmp_path, 7)
    options = replace(OPTIONS, loader="dali")
    gray, rgb = reading.load(options, good)
    data = bytearray(good[4].read_bytes())
    counts = data.index(b"\xff\xc4") + 5
    data[counts : counts + 16] = b"\xff" * 16  # of codes: more than a Huffman table can have
    good[4].write_bytes(data)
    order = [5 if i == 4 else i for i in range(7)]
    for pair, drawn in zip(take(options, good, 12), islice(loader.indices(0, 7, 3), 12)):
        which = [order[i] for i in drawn]
        assert unlike(pair, (gray[which], rgb[which])) <= 2
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warnings) == 2  # of DALI, once, and of the file
    assert "004.jpg: damaged or unsupported" in warnings[1]
    assert warnings[1].endswith(f"{good[5]} takes its place")


# --- the stream ----------------------------------------------------------------------------------------------------


def test_indices_are_epochs_of_permutations_end_to_end():
    taken = np.concatenate(list(islice(loader.indices(3, 10, 4), 10)))
    for epoch in range(4):
        of_epoch = taken[10 * epoch : 10 * epoch + 10]
        assert of_epoch.tolist() == np.random.default_rng((3, epoch)).permutation(10).tolist()
    assert sorted(taken[:10]) == list(range(10))


@pytest.mark.parametrize("batch", [1, 4, 10, 23])
@pytest.mark.parametrize("start", [0, 3, 10, 27])
@pytest.mark.parametrize("drawn", [loader.indices, loader.mirrored, partial(loader.corners, spare=30)])
def test_the_order_resumes_anywhere_and_does_not_depend_on_the_batch(drawn, batch, start):
    whole = np.concatenate(list(islice(drawn(1, 10, 1), 150)))
    resumed = list(islice(drawn(1, 10, batch, images=start), 5))
    assert {len(part) for part in resumed} == {batch}
    assert np.concatenate(resumed).tolist() == whole[start : start + 5 * batch].tolist()


def test_seeds_and_epochs_differ():
    first, second = islice(loader.indices(0, 100, 100), 2)
    assert first.tolist() != second.tolist()
    assert first.tolist() != next(loader.indices(1, 100, 100)).tolist()
    flips = np.concatenate(list(islice(loader.mirrored(0, 100, 100), 20)))
    assert 900 < flips.sum() < 1100
    assert flips[:100].tolist() != flips[100:200].tolist()


def test_no_photographs_is_an_error():
    with pytest.raises(ValueError, match="no photographs"):
        loader.indices(0, 0, 1)
    with pytest.raises(ValueError, match="no photographs"):
        next(reading.batches(OPTIONS, [], "cpu"))


@pytest.mark.parametrize("cache", ["on", "off"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_follow_the_indices(paths, backend, cache):
    options = replace(OPTIONS, loader=backend, cache=cache)
    gray, rgb = reading.load(options, paths)
    expected = [(gray[i], rgb[i]) for i in islice(loader.indices(options.seed, len(paths), 3), 6)]
    assert_same(take(options, paths, 6), expected)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("cache", ["on", "off"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_resumed_is_unbroken(paths, backend, cache, batch):
    options = replace(OPTIONS, loader=backend, cache=cache, batch=batch, flip=True)
    unbroken = take(options, paths, 8)
    assert_same(take(options, paths, 5, images=3 * batch), unbroken[3:])


@pytest.mark.parametrize("load_size", [0, 72])
@pytest.mark.parametrize("backend", BACKENDS)
def test_cached_is_streamed(paths, backend, load_size):
    options = replace(OPTIONS, loader=backend, flip=True, load_size=load_size)
    streamed = take(options, paths, 8)
    assert_same(take(replace(options, cache="on"), paths, 8), streamed)
    assert_same(take(replace(options, cache="on"), paths, 5, images=9), streamed[3:])
    assert_same(take(options, paths, 5, images=9), streamed[3:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_crops_are_squares_of_the_photograph_the_same_of_gray_and_rgb(paths, backend):
    """Which ones is held by `corners`; the photograph at `load_size` is a run's without a crop at that size."""
    options = replace(OPTIONS, loader=backend, load_size=128)
    whole = take(replace(options, size=128, load_size=0), paths, 10)
    places = islice(loader.corners(options.seed, len(paths), 3, 64), 10)
    for pair, pair_whole, place in zip(take(options, paths, 10), whole, places):
        for image, image_whole in zip(pair, pair_whole):
            assert image.shape[-2:] == (64, 64)
            for one, one_whole, (top, left) in zip(image, image_whole, place):
                assert torch.equal(one, one_whole[:, top : top + 64, left : left + 64])


def test_crops_reach_every_corner_evenly_and_differ_between_epochs():
    drawn = np.concatenate(list(islice(loader.corners(0, 100, 100, 30), 100)))
    assert drawn.shape == (10_000, 2)
    assert (drawn.min(), drawn.max()) == (0, 30)
    for axis in (0, 1):
        counts = np.bincount(drawn[:, axis], minlength=31)
        assert counts.min() > 230  # 323 expected, its standard deviation 18
        assert counts.max() < 415
    assert {(top // 30, left // 30) for top, left in drawn if {top, left} <= {0, 30}} == {
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    }
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.05
    assert drawn[:100].tolist() != drawn[100:200].tolist()
    image = torch.arange(2 * 4 * 4).view(2, 1, 4, 4)
    corners = loader.crop(image, np.array([[0, 1], [1, 0]]), 3)
    assert torch.equal(corners, torch.stack([image[0, :, 0:3, 1:4], image[1, :, 1:4, 0:3]]))


def test_load_never_crops(paths):
    gray, rgb = reading.load(OPTIONS, paths)
    assert_same([reading.load(replace(OPTIONS, load_size=96), paths)], [(gray, rgb)])


def test_a_stream_that_nobody_reads_decodes_no_further(paths, monkeypatch):
    begun = []

    def counted(path, *settings):
        begun.append(path)
        return whole(path, *settings)

    whole = host.decode
    monkeypatch.setattr(host, "decode", counted)
    with closing(reading.batches(OPTIONS, paths, "cpu")) as stream:
        time.sleep(0.05)
        assert not begun
        next(stream)
        until = time.monotonic() + 60
        bound = 2 * OPTIONS.batch + 2 * processors.threads()
        while len(begun) < bound and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        assert bound <= len(begun) <= bound + OPTIONS.batch  # those of the batch that was read


def test_flip_mirrors_gray_and_rgb_together(paths):
    plain, flipped = take(OPTIONS, paths, 10), take(replace(OPTIONS, flip=True), paths, 10)
    flips = np.concatenate(list(islice(loader.mirrored(OPTIONS.seed, len(paths), 3), 10)))
    assert 0 < flips.sum() < 30
    pairs = [[torch.cat([batch[tensor] for batch in batches]) for batches in (plain, flipped)] for tensor in (0, 1)]
    for unflipped, both in pairs:
        for one, other, flip in zip(unflipped, both, flips):
            assert torch.equal(other, one.flip(-1) if flip else one)
            assert not torch.equal(one, one.flip(-1))


@needs_dali
def test_batches_of_dali_stay_theirs(paths):
    """DALI's tensors are shared, not copied: a later batch must not be written over one that is still held."""
    options = replace(OPTIONS, loader="dali")
    with closing(reading.batches(options, paths, "cpu")) as stream:
        held = list(islice(stream, 20))
        assert_same(held, [(gray.clone(), rgb.clone()) for gray, rgb in take(options, paths, 20)])
    gc.collect()
    assert_same(held, take(options, paths, 20))


def system_threads() -> int:
    """Threads of this process, DALI's too, where the system tells."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_closing_leaves_no_threads(paths, backend):
    options = replace(OPTIONS, loader=backend)
    take(options, paths, 2)  # what the libraries start once and keep
    gc.collect()
    before = system_threads()
    stream = reading.batches(options, paths, "cpu")
    next(stream)
    running = [thread.name for thread in threading.enumerate() if thread.name.startswith("recolor_fast-data")]
    assert running
    stream.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("recolor_fast-data")]
    until = time.monotonic() + 60  # a joined thread takes a moment to vanish
    while system_threads() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert system_threads() <= before


@pytest.mark.gpu
@needs_dali
@pytest.mark.parametrize(("equalize", "blur"), WHICH)
def test_the_mixed_decoder_agrees_with_the_host(equalize, blur):
    """nvJPEG's inverse DCT rounds differently, by a level or two: more after equalizing a thin histogram."""
    options = replace(OPTIONS, size=256, equalize=equalize, blur=blur)
    photographs = list(sources.sample())
    gray, rgb = reading.load(options, photographs)
    for image, expected in zip(reading.load(replace(options, loader="dali"), photographs, "cuda"), (gray, rgb)):
        assert image.device.type == "cuda"
        apart = (image.cpu()[..., 1:-1, 1:-1].float() - expected[..., 1:-1, 1:-1]).abs()
        assert apart.mean() < 0.5
        assert apart.max() <= 8


class Reused:
    """A pipeline of DALI's that writes every batch into the same memory, as DALI does once nobody on the host holds it,
    whatever a GPU has still to do with it."""

    def __init__(self, source) -> None:
        self.gray, self.rgb = (torch.zeros(2, channels, 8, 8, dtype=torch.uint8) for channels in (1, 3))
        self.source = source

    def run(self):
        next(self.source)
        for tensor in (self.gray, self.rgb):
            tensor += 1
        return tuple(SimpleNamespace(as_tensor=lambda tensor=tensor: tensor) for tensor in (self.gray, self.rgb))


def test_what_dali_hands_over_stays_what_it_is(monkeypatch, paths):
    monkeypatch.setattr(dali, "available", lambda: True)
    monkeypatch.setattr(dali, "_pipeline", lambda source, *others: Reused(source))
    stream = dali.stream(paths, [[0, 1]] * 5, replace(OPTIONS, loader="dali"), 2, 8)
    assert [[int(one.unique()) for one in pair] for pair in list(stream)] == [[n, n] for n in range(1, 6)]


def test_files_for_dali_are_read_by_all_processors_whatever_the_batches(monkeypatch, paths):
    """Three of one batch at once, which wait for each other here: one after the other none would come."""
    together = threading.Barrier(3, timeout=60)
    monkeypatch.setattr(dali, "available", lambda: True)
    monkeypatch.setattr(dali.processors, "threads", lambda: 3)
    monkeypatch.setattr(dali, "encoded", lambda path, size, decoded: (together.wait(), path)[1])
    monkeypatch.setattr(dali, "_pipeline", lambda source, *others: SimpleNamespace(run=lambda: (next(source),) * 2))
    monkeypatch.setattr(dali, "copied", lambda read, same, device: read)
    read = [*dali.stream(paths, [[0, 1, 2], [5, 4, 3]], OPTIONS, 3, 8, ahead=1)]
    assert read == [[paths[i] for i in chunk] for chunk in ([0, 1, 2], [5, 4, 3])]


def test_dalis_memory_is_let_go_of_once_it_is_copied(monkeypatch):
    """On a GPU, by a stand-in for its streams: copied on one of its own, waited for, then known to the reader's."""
    happened = []

    class Stream:
        def __init__(self, device=None):
            pass

        def synchronize(self):
            happened.append("waited for")

    @contextmanager
    def on(stream):
        happened.append("begun")
        yield
        happened.append("queued")

    class Queued(torch.Tensor):
        def clone(self):
            happened.append("copied")
            return super().clone()

        def record_stream(self, stream):
            assert stream == "the reader's"
            happened.append("known")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the reader's")
    monkeypatch.setattr(torch, "from_dlpack", lambda tensor: tensor.as_subclass(Queued))
    output = SimpleNamespace(as_tensor=lambda: torch.ones(1))
    dali.copied(output, output, 0)
    assert happened == ["begun", "copied", "copied", "queued", "waited for", "known", "known"]


@pytest.mark.gpu
@needs_dali
def test_a_gpu_with_work_queued_gets_the_photographs_that_it_should(tmp_path):
    """Each batch is read long after the next were decoded; the host never waits."""
    photographs = []
    for k in range(64):
        photographs.append(tmp_path / f"{k:03d}.jpg")
        Image.fromarray(np.full((375, 500, 3), 10 + 3 * k, np.uint8)).save(photographs[-1], quality=95)
    options = replace(OPTIONS, loader="dali", cache="off", equalize="none", blur="none", batch=4, size=256)
    order = list(islice(loader.indices(options.seed, len(photographs), options.batch), 40))
    kept = [[torch.zeros(4, c, 256, 256, dtype=torch.uint8, device="cuda") for c in (1, 3)] for _ in order]
    with closing(reading.batches(options, photographs, "cuda")) as stream:
        for pair, copies in zip(stream, kept):
            torch.cuda._sleep(100_000_000)  # the step before
            for one, copy in zip(pair, copies):
                copy.copy_(one)
    for pair, chosen in zip(kept, order):
        levels = torch.tensor([10 + 3 * int(k) for k in chosen], device="cuda").view(4, 1, 1, 1)
        assert all((one.int() - levels).abs().max() <= 2 for one in pair)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gpu_gets_the_same_stream_cached_streamed_and_resumed(paths, backend):
    options = replace(OPTIONS, loader=backend, flip=True, load_size=72)
    unbroken = take(options, paths, 8, device="cuda")
    assert unbroken[0][0].device.type == "cuda"
    assert_same(take(options, paths, 5, images=9, device="cuda"), unbroken[3:])
    assert_same(take(replace(options, cache="on"), paths, 8, device="cuda"), unbroken)


# --- what auto becomes ---------------------------------------------------------------------------------------------


def test_resolve_on_the_processor(monkeypatch):
    monkeypatch.setattr(resolve, "free_bytes", lambda device: 4 * 1000 * 4 * 256**2)
    options = Options(device="cpu")
    assert (options.loader, options.cache) == ("auto", "auto")
    few, many = resolve.for_photographs(options, 999), resolve.for_photographs(options, 1000)
    assert (few.loader, few.cache, many.cache) == ("host", "on", "off")
    assert resolve.for_photographs(few, 5000) == few
    assert resolve.for_photographs(replace(options, size=512), 999).cache == "off"
    larger = replace(options, load_size=286)  # what is kept is not cropped yet
    assert resolve.for_photographs(larger, 999).cache == "off"
    assert resolve.for_photographs(larger, 999 * 256**2 // 286**2).cache == "on"


def test_resolve_on_a_gpu(monkeypatch, capfd):
    monkeypatch.setattr(resolve, "free_bytes", lambda device: 2**40 if device.type == "cuda" else 0)
    monkeypatch.setattr(dali, "available", lambda: True)
    found = resolve.for_photographs(Options(device="cuda"), 10)
    assert (found.loader, found.cache) == ("dali", "on")
    assert resolve.for_photographs(Options(device="cuda"), 10, "cpu").loader == "host"
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(dali, "available", lambda: False)
    assert resolve.for_photographs(Options(device="cuda"), 10).loader == "host"
    err = capfd.readouterr().err
    assert len(err.splitlines()) == 1
    assert "DALI is not installed" in err
    assert "--loader host" in err


def test_dali_asked_for_and_absent_is_an_error(monkeypatch, paths):
    monkeypatch.setattr(dali, "available", lambda: False)
    options = replace(OPTIONS, loader="dali")
    for call in (
        lambda: resolve.for_photographs(options, 1),
        lambda: reading.load(options, paths),
        lambda: next(reading.batches(options, paths, "cpu")),
    ):
        with pytest.raises(ValueError, match=r"loader dali: NVIDIA DALI is not installed.*--loader host"):
            call()


def test_free_bytes():
    free = resolve.free_bytes(torch.device("cpu"))
    assert 2**20 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_dali_is_imported_only_inside_functions():
    tree = ast.parse(Path(dali.__file__).read_text())
    top = {name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names}
    top |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert "recolor_fast.data.index" in top
    assert not [name for name in top if name.startswith("nvidia")]
