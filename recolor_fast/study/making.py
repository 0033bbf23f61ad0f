"""A study's file made of folders: all versions of a photograph through one pipeline; or found to be of the same."""

import hashlib
import json
import secrets
import sys
from pathlib import Path

from tqdm import tqdm

from recolor_fast.arguments.study import Serve
from recolor_fast.machine import bars
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import say
from recolor_fast.photographs import encoders, images, walk
from recolor_fast.study.study import APPLICATION, SCHEMA, TRUTH, Definition, database, now, stored, versions


def photographs(folder: Path) -> dict[str, Path]:
    """Image files below a folder by relative path without suffix, but hidden ones and what systems leave there.

    UserError where two have the same.
    """
    if not folder.is_dir():
        raise UserError(f"folder {folder}: expected a folder of images")
    by_name: dict[str, Path] = {}
    for path in sorted(one.source for one in walk.find([str(folder)], None) if not one.left):
        if path.suffix.lower() not in images.SUFFIXES or not path.is_file():
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in by_name:
            raise UserError(f"{by_name[name]} and {path} are both called {name}: expected one image of a name")
        by_name[name] = path
    return by_name


def matched(truth: Path, systems: tuple[str, ...]) -> dict[str, dict[str, Path]]:
    """The files of a study by system and photograph, the truth first; every system has every photograph.

    A system that lacks one is an error rather than a smaller study: skipping is the user's to decide.
    """
    by_system = {TRUTH: photographs(truth)}
    if not by_system[TRUTH]:
        raise UserError(f"truth {truth}: no images in it")
    for text in systems:
        name, separator, folder = text.partition("=")
        if not separator or not name.strip() or not folder:
            raise UserError(f"system {text!r}: expected NAME=FOLDER")
        if name in by_system:
            raise UserError(f"system {name!r}: the name is taken; give each system another (truth is the truth's)")
        files = photographs(Path(folder))
        missing = [photograph for photograph in by_system[TRUTH] if photograph not in files]
        if missing:
            raise UserError(
                f"system {name}: {folder} has no image for {len(missing)} of {len(by_system[TRUTH])} photographs, the "
                f"first is {missing[0]}; add them, or take them out of {truth}"
            )
        if extra := len(files) - len(by_system[TRUTH]):
            say(f"system {name}: {extra} images without a photograph in {truth} are left out")
        by_system[name] = {photograph: files[photograph] for photograph in by_system[TRUTH]}
    return by_system


def shown_size(sizes: list[tuple[int, int]], limit: int) -> tuple[int, int]:
    """Height and width at which all versions of a photograph are shown, of their sizes, the truth's first.

    Never more pixels than the smallest version has: an enlarged one among others would be known by its blur.
    """
    height, width = sizes[0]
    scale = min(limit, *(max(size) for size in sizes)) / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def prepare(files: list[Path], limit: int) -> list[tuple[str, bytes]]:
    """SHA-256 of each file of a photograph, the truth's first, and the BMP it is shown as; all of one size."""
    pixels, digests = [], []
    for path in files:
        data = path.read_bytes()
        try:
            rgb = images.read_rgb(data)
        except images.UnreadableImage as error:
            raise UserError(f"{path}: {error}") from error
        digests.append(hashlib.sha256(data).hexdigest())
        pixels.append(rgb)
        height, width = pixels[0].shape[:2]
        expected = rgb.shape[0] * width / height
        if abs(rgb.shape[1] - expected) > max(1, 0.02 * expected):
            raise UserError(
                f"{path}: {rgb.shape[1]} x {rgb.shape[0]} pixels are not the shape of the truth, {width} x {height}; "
                "resize one of the two folders, as its shape would tell a picture's origin"
            )
        if digests[0] in digests[1:]:
            raise UserError(f"{path} is the truth's own file, byte for byte: is this the system's folder?")
    height, width = shown_size([rgb.shape[:2] for rgb in pixels], limit)
    shown = [encoders.encode(images.resize(rgb, height, width), None, "BMP", 100) for rgb in pixels]
    return list(zip(digests, shown))


def make(path: Path, truth: Path, systems: tuple[str, ...], count: int, size: int, seed: int) -> None:
    """Write a new study's file: whole, or not at all. UserError, one sentence for the user."""
    if not 32 <= size <= 1024:
        raise UserError(f"size {size}: expected 32 to 1024 pixels")
    if seed < 0:
        raise UserError(f"seed {seed}: expected 0 or more")
    files = matched(truth, systems)
    if not 1 <= count <= len(files[TRUTH]):
        raise UserError(
            f"images {count}: expected 1 to {len(files[TRUTH])}, the photographs in {truth}, as no participant sees "
            "one twice; give other --images or more photographs"
        )
    definition = Definition(secrets.token_hex(8), count, size, seed, list(files), now(), versions())
    part = path.with_name(f".{definition.id}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch(exist_ok=False)
        with database(part, write=True) as db:
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute("INSERT INTO study VALUES (?)", [json.dumps(definition._asdict())])
            for name in tqdm(files[TRUTH], unit="photograph", file=sys.stderr, disable=not bars.drawn()):
                pictures = prepare([files[system][name] for system in files], size)
                db.executemany(
                    "INSERT INTO picture (photograph, system, sha256, bmp) VALUES (?, ?, ?, ?)",
                    [(name, system, digest, bmp) for system, (digest, bmp) in zip(files, pictures)],
                )
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def check_same(path: Path, arguments: Serve) -> None:
    """UserError if what was given is not what the study was made of. Folders may have moved, files may not differ."""
    study = stored(path)
    for name, value in (("images", arguments.images), ("size", arguments.size), ("seed", arguments.seed)):
        if value not in (None, getattr(study, name)):
            raise UserError(
                f"{name} {value}: {path} was made with {getattr(study, name)}; leave it out, or make another"
            )
    if arguments.truth is None and not arguments.systems:
        return
    if arguments.truth is None or not arguments.systems:
        raise UserError("give both --truth and --systems, or neither, to resume an existing study")
    files = matched(arguments.truth, arguments.systems)
    if sorted(files) != sorted(study.systems):
        raise UserError(
            f"systems {', '.join(files)}: {path} was made of {', '.join(study.systems)}; make another study"
        )
    with database(path) as db:
        digests = {(row[0], row[1]): row[2] for row in db.execute("SELECT photograph, system, sha256 FROM picture")}
    if len(files[TRUTH]) * len(files) != len(digests):
        raise UserError(f"{len(files[TRUTH])} photographs: {path} was made of another number; make another study")
    for system, paths in files.items():
        for photograph, file in paths.items():
            if digests.get((photograph, system)) != hashlib.sha256(file.read_bytes()).hexdigest():
                raise UserError(f"{file}: not the file that {path} was made of; make another study with it")
