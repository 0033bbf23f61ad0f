"""Made-up films for tests: small, gray, of known luma, and whatever else a film's file may hold."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

TICK = Fraction(1, 12800)
HEADER = (
    b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, "
    b"SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, "
    b"BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\nStyle: Default,Arial,16,&Hffffff,"
    b"&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\n\n[Events]\nFormat: Layer, Start, End, Style, Name, "
    b"MarginL, MarginR, MarginV, Effect, Text\n"
)


def pan(count: int, height: int = 48, width: int = 64, white: int = 235, black: int = 16) -> list[np.ndarray]:
    """Luma (height,width) of frames, a soft wave that moves, from `black` to `white`; uint16 where it is above 255."""
    down, across = np.mgrid[:height, :width]
    shades = [(np.sin(across / 9 + 0.2 * number) * np.cos(down / 11) + 1) / 2 for number in range(count)]
    dtype = np.uint8 if white < 256 else np.uint16
    return [np.rint(black + (white - black) * one).astype(dtype) for one in shades]


def write(
    path: Path,
    lumas: Sequence[np.ndarray],
    format: str = "yuv420p",
    codec: str = "ffv1",
    times: Sequence[int] | None = None,
    sound: bool = False,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    texts: dict[str, str] | None = None,
    chapters: Sequence[tuple[float, float, str]] = (),
    matrix: Sequence[int] | None = None,
    **context: Any,
) -> Path:
    """A film of these lumas, shown at `times` in ticks of 1/12800 s (none: 25 a second), without color unless
    `context`, attributes of the encoder, says what makes it so. `sound`: with an AAC stream and subtitles."""
    height, width = lumas[0].shape
    with av.open(str(path), "w", options=container or {}) as out:
        stream: Any = out.add_stream(codec, 25, options, width=width, height=height, time_base=TICK)
        stream.pix_fmt = format
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        if matrix:
            stream.set_display_matrix(matrix)
        out.metadata.update(texts or {})
        if chapters:
            out.set_chapters(
                [
                    {
                        "id": number + 1,
                        "start": round(1e3 * start),
                        "end": round(1e3 * end),
                        "time_base": Fraction(1, 1000),
                    }
                    | {"metadata": {"title": title}}
                    for number, (start, end, title) in enumerate(chapters)
                ]
            )
        speech: Any = out.add_stream("aac", 8000) if sound else None
        lines: Any = out.add_stream("mov_text" if path.suffix == ".mp4" else "subrip") if sound else None
        if sound:
            speech.metadata["language"], lines.metadata["language"] = "deu", "fra"
            lines.codec_context.subtitle_header = HEADER
        out.start_encoding()
        for number, luma in enumerate(lumas):
            frame = av.VideoFrame(width, height, format)
            for plane, level in zip(frame.planes, (luma, 1 << (8 * luma.itemsize - 1), 1 << (8 * luma.itemsize - 1))):
                rows = np.frombuffer(memoryview(plane), luma.dtype).reshape(plane.height, -1)
                rows[:, : plane.width] = level if isinstance(level, np.ndarray) or luma.itemsize == 1 else 512
            frame.pts, frame.time_base = times[number] if times else 512 * number, TICK
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound:
            _sound(out, speech, lines, len(lumas) / 25)
    return path


def _sound(out: Any, speech: Any, lines: Any, seconds: float) -> None:
    for at in range(0, round(8000 * seconds), 1024):
        wave = np.sin(np.arange(at, at + 1024) / 8000 * 2 * np.pi * 440).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]) / 4, "fltp", "stereo")
        frame.sample_rate, frame.pts = 8000, at
        out.mux(speech.encode(frame))
    out.mux(speech.encode(None))
    text = b"hello" if lines.codec_context.name == "subrip" else b"\0\5hello"
    packet = av.Packet(text)
    packet.stream, packet.time_base = lines, Fraction(1, 1000)
    packet.pts = packet.dts = 100
    packet.duration = 200
    out.mux(packet)


def read(path: Path) -> list[tuple[Fraction, list[np.ndarray]]]:
    """When each frame is shown, seconds, and its planes."""
    found = []
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            dtype = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
            planes = [
                np.frombuffer(bytes(plane), dtype).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes
            ]
            assert frame.pts is not None
            assert frame.time_base is not None
            found.append((frame.pts * frame.time_base, planes))
    return found


def packets(path: Path, kind: str) -> list[tuple[float, bytes]]:
    """When each packet of the first stream of a kind is shown, seconds, and its bytes."""
    with av.open(str(path)) as film:
        stream = next(one for one in film.streams if one.type == kind)
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in film.demux(stream)
            if packet.pts is not None
        ]
