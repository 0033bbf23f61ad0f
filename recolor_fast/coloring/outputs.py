"""What is there already of a job's output, and what takes its place: reading inputs, putting outputs; no model."""

import os
import stat
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from recolor_fast.coloring.folder import A_COPY, COARSE, DONE, IN_COLOR, MEANWHILE, UNKNOWN, Job, Plan, Verdict, reason
from recolor_fast.machine.files import inherit, replacing
from recolor_fast.photographs import images, pictures, provenance
from recolor_fast.photographs.walk import state

MAX_BYTES = 2**30  # of a file that is read whole


# --- what is there -------------------------------------------------------------------------------------------------


def done(
    job: Job,
    plan: Plan,
    lists: provenance.Lists | None = None,
    in_color: Callable[[Path], bool] = lambda path: True,
) -> Verdict | None:
    """The verdict on a job whose output exists: done before, if it is a complete picture of the right size, no older
    than the input and made the same way, else failed, as nothing is overwritten unasked. None where it is to be done.

    What made it its tag or `lists` say; where neither does, it counts as done, with a note. `in_color` tells whether an
    input is in color. A JPEG's headers and end marker are looked at, other formats are decoded.
    """
    if job.target is None or plan.in_place or not os.path.lexists(job.target) or replaced(job, plan):
        return None
    if plan.overwrite:
        return _meanwhile(job, plan, lists or provenance.Lists())
    try:
        if not stat.S_ISREG(job.target.stat().st_mode):
            raise ValueError("not a regular file")
        slack = COARSE if plan.keep_times else 0
        if os.path.exists(job.source) and job.target.stat().st_mtime_ns + slack < job.source.stat().st_mtime_ns:
            raise ValueError("it is older than the input")
        data = images.read(job.target)
        images.check(data, plan.max_pixels)
        header = images.header(BytesIO(data)) or images.Header("", 0, 0)
        sides, expected = (header.width, header.height), (job.width, job.height)
        if job.width and sorted(sides) != sorted(expected):  # a header may or may not tell the upright sides
            raise ValueError(f"{sides[0]} x {sides[1]} pixels, expected {expected[0]} x {expected[1]}")
    except (OSError, ValueError) as error:
        why = f"its output {job.target} exists and is not this picture ({reason(error)}); --overwrite replaces it"
        return Verdict("failed", why)
    planned, copy = making(job, plan), _is_copy(job, data)
    made = provenance.of(data) or (lists or provenance.Lists()).of(job.target, data)
    leaves_color = planned.get("input") == provenance.GRAY
    if (copy or made) and plan.kept is not None:
        plan.kept[job.target] = state(job.source), state(job.target)
    if copy:  # whatever made the input
        return Verdict("skipped", DONE, () if leaves_color and in_color(job.source) else (A_COPY,))
    if not made:
        return Verdict("skipped", DONE, (UNKNOWN,))
    if differs := provenance.differences(made, planned):
        why = f"its output {job.target} was made differently: {', '.join(differs)}; --overwrite makes it anew"
        return Verdict("failed", why)
    if leaves_color and made.get("input") == provenance.ANY and in_color(job.source):
        why = f"its output {job.target} has new colors, and the input is in color, which is left alone now"
        return Verdict("failed", f"{why}: remove the output, or give --color recolor")
    return Verdict("skipped", DONE)


def making(job: Job, plan: Plan) -> provenance.Made:
    """What makes a job's output: but in place, where it is gone, also the size of its input, which tells of another,
    of a TIFF of several pages whether all are in it, and what was done to the picture where that is known."""
    size = {"input_bytes": job.size} if job.size and not plan.in_place else {}
    several = {"pages": plan.pages} if job.pages > 1 else {}
    hinted = {} if plan.hints is None else {"hints": plan.hints.digest(job.source)}
    restored = {"restored": job.restored} if job.restored else {}
    return {**provenance.written(plan.made, job.format), **size, **several, **hinted, **restored}


def replaced(job: Job, plan: Plan) -> bool:
    """Whether a followed input has changed since its output was made or found done, and the output has not."""
    if job.target is None or not plan.kept or job.target not in plan.kept:
        return False
    source, target = plan.kept[job.target]
    return source != state(job.source) and target == state(job.target)


def _meanwhile(job: Job, plan: Plan, lists: provenance.Lists) -> Verdict | None:
    """The verdict on an output that is to be overwritten, but was made the same way since this run began."""
    assert job.target is not None
    try:
        status = job.target.stat()
        since = max(plan.begun.since, job.source.stat().st_mtime_ns) if plan.begun else None
        made_at = status.st_ctime_ns  # st_mtime may be the input's
        if since is None or made_at < since or not stat.S_ISREG(status.st_mode):
            return None
        data = images.read(job.target)
    except OSError:
        return None
    made, planned = provenance.of(data) or lists.of(job.target, data), making(job, plan)
    same = made and made.get("input") == planned.get("input") and not provenance.differences(made, planned)
    return Verdict("skipped", MEANWHILE) if same else None


def _is_copy(job: Job, data: bytes) -> bool:
    """Whether an output is a copy of its input, byte for byte."""
    try:
        return len(data) == job.size and images.read(job.source) == data
    except OSError:
        return False


def as_copy(job: Job, data: bytes, plan: Plan) -> Job:
    """A job as one that copies the file, whose bytes are given. Raises Verdict where that was done or is impossible."""
    if job.target is None:
        return job._replace(format="")
    if job.whole is None:
        raise Verdict(
            "failed",
            f"in color, and cannot be copied to {job.target}, as the suffix is not its own or the place is an input's: "
            "give another output, or --color recolor",
        )
    copy = job._replace(target=job.whole, format="")
    if os.path.lexists(job.whole) and not plan.overwrite and not replaced(copy, plan):
        if os.path.isfile(job.whole) and images.read(job.whole) == data:
            if plan.kept is not None:
                plan.kept[job.whole] = job.state, state(job.whole)
            raise Verdict("skipped", DONE)
        raise Verdict("failed", f"its output {job.whole} exists and is not this file; --overwrite replaces it")
    return copy


# --- reading and putting -------------------------------------------------------------------------------------------


def fetch(job: Job, plan: Plan, lists: provenance.Lists) -> bytes:
    """The bytes of a job's file. Raises Verdict where there is nothing to do, and OSError."""
    verdict = job.verdict or (None if job.replay else done(job, plan, lists, partial(shows_color, plan=plan)))
    if verdict:
        raise verdict
    if job.size > MAX_BYTES:
        raise Verdict("failed", f"too large: {job.size:,} bytes, expected at most {MAX_BYTES:,}")
    return job.source.read_bytes()


def shows_color(path: Path, plan: Plan) -> bool:
    """Whether a file is a picture in color; also where it cannot be read, as then it was not to be colored."""
    try:
        return pictures.read(images.read(path), plan.max_pixels).is_color is not False
    except (OSError, images.UnreadableImage):
        return True


def put(job: Job, data: bytes, plan: Plan) -> tuple[str, ...]:
    """Put a job's output in its place, whole, in a folder that is made where missing; returns notes. Raises OSError."""
    assert job.target is not None
    notes: tuple[str, ...] = ()
    try:
        if not os.path.isdir(job.target.parent):  # what is made for each would raise and look as well
            job.target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise Verdict("failed", f"its folder {job.target.parent} cannot be made: a file is in its place") from None
    if os.path.exists(job.target) and not os.path.isfile(job.target):
        raise Verdict("failed", f"its output {job.target} is no regular file, so it is not replaced")
    if plan.in_place and job.state != state(job.source):
        raise _changed(colored_in_place(job, images.read(job.source), plan))
    if job.format and not plan.in_place and not provenance.of(data):
        try:
            provenance.enlist(job.target, data, making(job, plan))
        except OSError as error:
            notes = (f"what made it could not be noted in {provenance.LIST}: {reason(error)}",)
    new = not (plan.overwrite or plan.in_place or replaced(job, plan))
    try:
        with replacing(job.target, folder=plan.in_place, exclusive=new) as file:
            file.write(data)
            file.flush()  # before times are set
            if plan.in_place:
                inherit(job.source, file)
            if plan.keep_times and job.times:
                os.utime(file.fileno() if os.utime in os.supports_fd else file.name, ns=job.times)
    except FileExistsError:
        raise _changed(done(job, plan, in_color=partial(shows_color, plan=plan))) from None
    if plan.kept is not None:
        plan.kept[job.target] = job.state, state(job.target)
    return notes


def _changed(verdict: Verdict | None) -> Verdict:
    """The verdict on a job whose place another one has written to meanwhile, given that on what is there now."""
    if verdict and verdict.status == "skipped":
        return Verdict("skipped", MEANWHILE, verdict.notes)
    return verdict or Verdict("failed", "it was changed while it was being colored: color it again")


# --- in place -----------------------------------------------------------------------------------------------------


def colored_in_place(job: Job, data: bytes, plan: Plan) -> Verdict | None:
    """The verdict on a file that has color, or says that it was colored, and is to be replaced; None where it may be.

    With `overwrite` colors that are none of the photograph's own, as its tag says, are made anew if differently.
    """
    made, has_color = provenance.of(data), tinted(data)
    differs = provenance.differences(made, making(job, plan)) if made else []
    if differs and not plan.overwrite:
        return Verdict("failed", f"colored before, differently: {', '.join(differs)}; --overwrite colors it anew")
    if differs or not (made or has_color):
        return None
    return Verdict("skipped", IN_COLOR if has_color else DONE)


def tinted(data: bytes) -> bool:
    """Whether an image file has any color, were it but a tint: in more than one pixel in a thousand the channels are
    more than 4 levels apart. Stricter than Picture.is_color, as what a model has colored may pass for toned. Raises
    images.UnreadableImage."""
    rgb = images.read_rgb(data, 64)  # a large one at a fraction of its sides
    red, green, blue = cv2.split(rgb)
    spread = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    return int(np.count_nonzero(spread > 4)) * 1000 > spread.size
