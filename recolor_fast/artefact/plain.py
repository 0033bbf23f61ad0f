"""Files that may be artefacts: read, and refused unless they are one plain ONNX model with everything inside."""

import os
import re
from pathlib import Path

from recolor_fast.artefact.signatures import BadArtefact

MAX_BYTES = 2**31 - 1  # of an ONNX file: protobuf's own limit
_ELSE = "give the .onnx file of an export"
_KINDS = (  # what files that are no ONNX begin with, byte by byte, and what they are
    (
        rb"PK\x03\x04|\x80[\x02-\x05]",
        "a PyTorch file, never loaded as it may hold code; export its run to .onnx",
    ),
    (rb".{4}ORTM", "a model in onnxruntime's own format (.ort); " + _ELSE),
    (rb"[fp]trt", "a TensorRT engine, which is never loaded as it is native code; " + _ELSE),
    (rb"\s*<", "a web page or other markup, perhaps of a failed download; " + _ELSE),
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with git lfs pull"),
)
_SUFFIXES = {  # for files whose first bytes say nothing
    **dict.fromkeys((".engine", ".plan", ".trt"), _KINDS[2][1]),
    **dict.fromkeys((".pt", ".pt2", ".pth", ".ckpt"), _KINDS[0][1]),
    ".ort": _KINDS[1][1],
}


def read(path: str | Path) -> bytes:
    """The bytes of a regular file that may be a model. Raises BadArtefact."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a folder; reading a FIFO would wait, and a device has no end
            raise BadArtefact(f"{path}: a folder or no regular file; {_ELSE}")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(64)
            kind = next((what for start, what in _KINDS if re.match(start, head, re.S)), None)
            if kind := kind or _SUFFIXES.get(path.suffix.lower()):
                raise BadArtefact(f"{path}: {kind}")
            if not head:
                raise BadArtefact(f"{path}: the file is empty; {_ELSE}")
            if size > MAX_BYTES:
                raise BadArtefact(f"{path}: {size:,} bytes, an ONNX file has at most {MAX_BYTES:,}; {_ELSE}")
            return head + file.read(MAX_BYTES)
    except OSError as error:
        raise BadArtefact(f"{path}: cannot be read ({error.strerror}); {_ELSE}") from error
    except MemoryError as error:
        raise BadArtefact(f"{path}: {size:,} bytes do not fit into memory; {_ELSE}") from error


# The fields of ONNX's messages below which code and other files can be referred to (onnx.proto3): the number of a field
# and what it is. "refused" and "external" are what an artefact must not have.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "functions"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external", 14: "location"},
}
_REFUSED = {
    "training": "a training graph",
    "functions": "functions of its own",
    "external": "external data, tensors that lie in other files",
    "location": "external data, tensors that lie in other files",
}
_DEEPEST = 32  # messages inside each other; an If inside an If takes three
MOST_FIELDS = 4_000_000  # of all messages: an export has some thousands; keeps the walk below some seconds


def check(data: bytes, path: str | Path) -> None:
    """Raises BadArtefact unless these are the bytes of one plain ONNX model: standard operators, everything inside.

    Walks protobuf's wire format, as onnxruntime would take operators of its own (among them EPContext, native code)
    and files that tensors name. Any occurrence counts, also one that a parser would overwrite by a later one.
    """
    budget = MOST_FIELDS
    waiting = [("model", 0, len(data), 0)]
    try:
        while waiting:
            message, at, end, depth = waiting.pop()
            if depth > _DEEPEST:
                raise BadArtefact(f"{path}: graphs nested more than {_DEEPEST} deep; export it again")
            known = _MESSAGES[message]
            while at < end:
                budget -= 1
                if not budget:
                    raise BadArtefact(f"{path}: more than {MOST_FIELDS:,} values, as no export has; {_ELSE}")
                tag, at = _varint(data, at, end)
                field, wire, start = tag >> 3, tag & 7, at
                if wire == 0:
                    value, at = _varint(data, at, end)
                elif wire == 2:
                    value, start = _varint(data, at, end)
                    at = start + value
                elif wire in (1, 5):
                    at += 8 if wire == 1 else 4
                if wire not in (0, 1, 2, 5) or not 0 < field < 2**29 or at > end:
                    raise IndexError
                kind = known.get(field)
                if kind in _REFUSED and not (kind == "location" and wire == 0 and value == 0):
                    raise BadArtefact(f"{path}: it has {_REFUSED[kind]}, which is refused; export it again as one file")
                if kind == "domain" and wire == 2 and (domain := data[start:at]) not in (b"", b"ai.onnx"):
                    name = domain[:40].decode(errors="replace")
                    raise BadArtefact(
                        f"{path}: it has operators of {name!r}, expected those of ONNX alone (no custom operators, no "
                        "compiled EPContext); export it again"
                    )
                if kind in _MESSAGES and wire == 2:
                    waiting.append((kind, start, at, depth + 1))
    except IndexError:
        raise BadArtefact(f"{path}: cut off, damaged or no ONNX model at all; {_ELSE}") from None


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A protobuf integer and where it ends. IndexError where there is none before `end`."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise IndexError
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError
