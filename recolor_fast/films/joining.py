"""A film's colored pictures joined with all else that its file holds: sound, subtitles, chapters, texts."""

import heapq
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from recolor_fast.coloring.folder import Verdict
from recolor_fast.films import encoding, segments
from recolor_fast.films.codecs import CODECS, Container
from recolor_fast.films.source import Film, moving, opened
from recolor_fast.photographs.provenance import Made

OWN = re.compile(  # texts that writers write themselves
    r"(major_brand|minor_version|compatible_brands|encoder|duration|creation_time|_statistics.*|bps|number_of_.*)(-\w+)?",
    re.I,
)
COMMENT = "comment"  # the text that says what colored a film; every container has it
_made = re.compile(r"\{\"colored_by\".*\}")


def join(
    film: Film,
    coding: encoding.Coding,
    threads: int,
    store: segments.Store,
    part: Path,
    container: Container,
    made: Made | None,
) -> Counter[str]:
    """Write the film to `part`; returns what a user should know. `made` None: without texts.

    The pictures are the segments' own, byte for byte, and so are the packets of sound and subtitles. Verdict where the
    container does not hold one of them.
    """
    notes: Counter[str] = Counter()
    count = store.whole()
    delay = max(store.index(number).delay for number in range(count))
    with (
        opened(film.path) as (source, pictures),
        av.open(f"file:{part}", "w", container.format, container.options) as out,
    ):
        codec = CODECS[coding.codec]
        stream: Any = out.add_stream(
            codec.encoder, film.rate, coding.options | encoding.PLACE, time_base=film.time_base
        )
        encoding.configure(stream.codec_context, film, coding, threads)
        if film.matrix:
            stream.set_display_matrix(film.matrix)
        if made is not None:
            out.metadata.update(_texts(source.metadata) | {COMMENT: _comment(source.metadata, made)})
            stream.metadata.update(_texts(pictures.metadata))
        stream.disposition = pictures.disposition
        if chapters := source.chapters():
            out.set_chapters([one if made is not None else one | {"metadata": {}} for one in chapters])
        others = _others(film, source, pictures, out, container, made is not None, notes)
        with encoding.at_own_priority():
            out.start_encoding()
        header = bytes(stream.codec_context.extradata or b"").hex()
        if any(store.index(number).header != header for number in range(count)):
            raise Verdict("failed", f"its segments were compressed by other encoders: remove {store.folder}")
        colored = _pictures(store, count, delay, film, stream)
        copied = _copied(source, others)
        for _, _, packet in heapq.merge(colored, copied, key=lambda one: one[:2]):
            out.mux(packet)
        streams = 1 + sum(not _is_cover(one) for one in others.values())
    frames = sum(len(store.index(number).packets) for number in range(count))
    _check(part, film, frames, streams, made is not None, notes)
    return notes


def check(film: Film, container: Container) -> None:
    """Verdict where the container does not hold what is in the film's file beside the pictures."""
    with opened(film.path) as (source, pictures), av.open(io.BytesIO(), "w", container.format) as out:
        _others(film, source, pictures, out, container, False, Counter())


def _texts(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if not OWN.fullmatch(key) and key.lower() != COMMENT}


def _comment(metadata: dict[str, str], made: Made) -> str:
    own = next((value for key, value in metadata.items() if key.lower() == COMMENT), "")
    own = _made.sub("", own).strip()
    return f"{own}\n{json.dumps(made)}".strip()


def made_by(path: Path) -> Made | None:
    """What a film says colored it; None where it does not. Verdict where it is no film."""
    with opened(path) as (container, _):
        texts = [value for key, value in container.metadata.items() if key.lower() == COMMENT]
    match = _made.search(texts[0]) if texts else None
    try:
        return json.loads(match[0]) if match else None
    except ValueError:
        return None


def _others(
    film: Film, source: Any, pictures: Any, out: Any, container: Container, texts: bool, notes: Counter[str]
) -> dict[int, Any]:
    """The streams beside the pictures, by their number in the source, as they are written."""
    copied = {}
    for one in source.streams:
        if one.index == pictures.index:
            continue
        cover = _is_cover(one)
        if one.type == "attachment" or (cover and container.format != "mp4"):
            name = one.metadata.get("filename", "") or ("cover" if cover else "attached")
            if container.format != "matroska":
                notes[f"an attached file that the container does not hold ({name})"] += 1
                continue
            kind = f"image/{'png' if one.name == 'png' else 'jpeg'}" if cover else one.mimetype or ""
            out.add_attachment(name, kind, _cover(film, one.index) if cover else one.data)
            continue
        if one.type not in ("audio", "subtitle", "video"):
            if not (source.chapters() and getattr(one, "name", "") == "bin_data"):  # chapters, which are written anew
                notes[f"a stream of data, which is left out ({getattr(one, 'name', '') or 'unknown'})"] += 1
            continue
        try:
            stream = out.add_stream_from_template(one, opaque=True)
        except ValueError:
            name = one.name if one.codec_context else "unknown"
            what = f"its {one.type} ({name}) cannot be kept in a {container.format} file"
            raise Verdict("failed", f"{what}: give an OUT called .mkv, or the suffix of IN") from None
        stream.disposition = one.disposition
        if texts:
            stream.metadata.update(_texts(one.metadata))
        copied[one.index] = stream
        if one.type == "video" and not cover:
            notes["another stream of pictures, copied as it is"] += 1
    return copied


def _is_cover(stream: Any) -> bool:
    return stream.type == "video" and bool(stream.disposition & av.stream.Disposition.attached_pic)


def _cover(film: Film, number: int) -> bytes:
    """The picture of a cover's stream, a file of its own."""
    with opened(film.path) as (source, _):
        return next((bytes(packet) for packet in source.demux(source.streams[number]) if packet.size), b"")


Ordered = tuple[float, int, Any]  # when a packet is to be decoded, seconds; its stream; the packet


def _pictures(store: segments.Store, count: int, delay: int, film: Film, stream: Any) -> Iterator[Ordered]:
    times = encoding.timed((store.index(number) for number in range(count)), delay, film.step)
    for number in range(count):
        for kept, data in store.packets(number, store.index(number)):
            packet = av.Packet(data)
            packet.dts, packet.duration = next(times)
            packet.pts, packet.is_keyframe = kept.at, kept.key
            packet.time_base, packet.stream = film.time_base, stream
            yield float(packet.dts * film.time_base), 0, packet


def _copied(source: Any, streams: dict[int, Any]) -> Iterator[Ordered]:
    """The packets of the other streams as the file has them."""
    if not streams:
        return
    at = float("-inf")
    try:
        for packet in source.demux(*(source.streams[number] for number in streams)):
            number = packet.stream_index
            if not packet.size and packet.dts is None:
                continue  # the end of a stream
            if packet.pts is None and packet.dts is None:
                packet.pts = packet.dts = 0  # a cover
            when = packet.dts if packet.dts is not None else packet.pts
            at = max(at, float(when * packet.time_base))
            packet.stream = streams[number]
            yield at, 1, packet
    except av.error.InvalidDataError:
        return  # the pictures' end is told; what sound there is to be had is there


def _check(part: Path, film: Film, frames: int, streams: int, texts: bool, notes: Counter[str]) -> None:
    """Read what was written: all pictures, as many streams. Verdict where something is missing; texts and chapters that
    the container took away are noted."""
    with opened(part) as (written, stream), opened(film.path) as (source, _):
        found = sum(1 for packet in written.demux(moving(written)) if packet.size)
        if found != frames:
            raise Verdict("failed", f"of {frames} frames {found} came back from the joined film: is the disk in order?")
        kept = [one for one in written.streams if one.type in ("audio", "subtitle", "video") and not _is_cover(one)]
        if len(kept) != streams:
            raise Verdict("failed", f"of {streams} streams {len(kept)} came back from the joined film: give .mkv")
        lost = {key.lower() for key in _texts(source.metadata)} - {key.lower() for key in written.metadata}
        if lost and texts:
            notes[f"texts that the container does not hold: {', '.join(sorted(lost))}"] += 1
        if len(written.chapters()) != len(source.chapters()):
            notes[f"of {len(source.chapters())} chapters {len(written.chapters())} are kept by the container"] += 1
        if stream.sample_aspect_ratio != film.aspect and film.aspect not in (None, 1):
            notes["the shape of the pixels, which the container does not hold"] += 1
