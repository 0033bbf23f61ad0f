"""What is done with the photographs on desks: colored in the order they came, painted anew, shown and written."""

import asyncio
import traceback
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import cv2
import numpy as np

from recolor_fast.artefact import runtime
from recolor_fast.artefact.hints import Hint, draw
from recolor_fast.coloring import palette
from recolor_fast.coloring.coloring import count, eight, restored
from recolor_fast.photographs import images, pictures, restoring
from recolor_fast.serve.colorizers import Model, Seen
from recolor_fast.serve.desk import Desks, Gone, NoRoom
from recolor_fast.serve.facts import Photograph
from recolor_fast.serve.work import EVERY, Done, Stopping, Work, encoded
from recolor_fast.settings import Settings

KEPT = 64 * 2**20  # bytes of pictures that were read last, to be shown and written again
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # a third larger than usual, in a fraction of the time
IN_COLOR = "it came in color; these are a model's colors, not its own"


class NotReady(Exception):
    """The photograph is not colored yet, or could not be; the text is a sentence."""


class BadHints(ValueError):
    """Colors that lie outside the photograph, or that its model does not follow."""


class Prepared(NamedTuple):
    """What models see of a photograph."""

    source: np.ndarray
    """uint8 (S,S), see images.source."""
    small: np.ndarray
    """uint8 (S,S): its gray alone, for the palette."""


class Looked(NamedTuple):
    """A picture as it is to be colored: restored and inverted where that is wished."""

    seen: Prepared
    tone: np.ndarray
    """Of the print, float32 (2,256); (2,0) where it has none."""
    facts: dict[str, Any]
    """Of the Photograph."""


class Painter:
    """Colors what waits on desks, and does what visitors ask. All methods belong to one event loop."""

    def __init__(self, desks: Desks, work: Work) -> None:
        self.desks, self.work = desks, work
        self._more = asyncio.Event()
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._pictures: OrderedDict[str, tuple[pictures.Picture, int]] = OrderedDict()

    # --- what waits ---

    async def run(self) -> None:
        """Color what waits, and what comes to wait, until cancelled."""
        workers = count(self.work.limits.threads) + 1  # one is read while another is painted
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker())

    def wake(self) -> None:
        """Something waits."""
        self._more.set()

    async def _worker(self) -> None:
        while True:
            self._more.clear()
            taken = await asyncio.to_thread(self.desks.take)
            if taken is None:
                await self._more.wait()
                continue
            try:
                await self._color(*taken)
            except Stopping:
                return self._again(*taken)
            except asyncio.CancelledError:
                self._again(*taken)
                raise

    def _again(self, key: str, photograph: Photograph) -> None:
        """Let it wait again: its work did not end the server, it was the other way round."""
        with suppress(Gone):
            if self.desks.get(key, photograph.id).status == "working":
                self.desks.change(key, photograph.id, False, status="waiting", tries=photograph.tries - 1)

    async def _color(self, key: str, photograph: Photograph) -> None:
        """Color a photograph; it is ready or failed then."""
        try:
            async with self._turn(photograph.id):
                await self._paint_first(key, self.desks.get(key, photograph.id))  # its model may be another one by now
            return
        except Gone:
            return
        except Stopping:
            raise
        except (images.UnreadableImage, BadHints, RuntimeError, NoRoom) as error:
            reason = str(error)
        except MemoryError:
            reason = "there is not enough memory for it"
        except Exception as error:
            traceback.print_exc()
            reason = f"an unexpected error, {type(error).__name__}, of which the server's messages say more"
        with suppress(Gone):
            await asyncio.to_thread(self.desks.change, key, photograph.id, False, status="failed", reason=reason)

    async def _paint_first(self, key: str, photograph: Photograph) -> None:
        name = photograph.model if photograph.model in self.work.models else next(iter(self.work.models))
        model = self.work.models[name]

        def read() -> Looked:
            return looked(model, self._read(key, photograph.id), photograph)

        seen, tone, found = await self.work.run(read, pixels=_room(photograph), patient=True)
        if name != photograph.model:
            found["notes"] += (f"colored by {name}: the model {photograph.model} is not there any more",)
        await self._paint(key, photograph._replace(**found), name, photograph.hints, seen, tone, found, patient=True)

    async def _paint(
        self,
        key: str,
        photograph: Photograph,
        name: str,
        hints: Sequence[Hint],
        seen: Prepared,
        tone: np.ndarray,
        changes: Mapping[str, Any],
        patient: bool = False,
    ) -> Photograph:
        """A photograph painted by a model of this name as hints say, with other changes. Raises BadHints."""
        model = self.work.models[name]
        try:
            artefact = _following(model) if hints else model.plain
            size = artefact.options.size
            planes = draw(hints, photograph.width, photograph.height, size) if hints else None
        except ValueError as error:
            raise BadHints(str(error)) from error
        cbcr = await self.work.paint(Seen(artefact, seen.source, planes), patient)
        arrays = {"cbcr": cbcr, "tone": tone, **seen._asdict()}
        facts = {
            "model": name,
            "hints": tuple(hints),
            "size": len(seen.source),
            "painter": (artefact.name, artefact.sha256),
            "prepared": _how(model),
        }
        return await asyncio.to_thread(self.desks.paint, key, photograph.id, arrays, **facts, **changes)

    # --- what visitors ask ---

    async def change(
        self,
        key: str,
        id: str,
        look: Mapping[str, float] | None = None,
        hints: Sequence[Hint] | None = None,
        model: str | None = None,
        restore: bool | None = None,
        negative: bool | None = None,
    ) -> Photograph:
        """A photograph with another look, hints or model, restored or not, inverted or not, painted by then. NotReady
        where it cannot be painted now; ValueError for hints that lie outside or that the model does not follow, and for
        another model."""
        if model is not None and model not in self.work.models:
            raise ValueError(f"model {model!r}: expected one of {', '.join(self.work.models)}")
        async with self._turn(id):
            photograph = self.desks.get(key, id)
            changes: dict[str, Any] = {} if look is None else {"look": {**photograph.look, **look}}
            wanted = photograph.model if model is None else model
            given = photograph.hints if hints is None else tuple(hints)
            altered = photograph._replace(
                restore=photograph.restore if restore is None else restore,
                negative=photograph.negative if negative is None else negative,
            )
            changes |= {"restore": altered.restore, "negative": altered.negative}
            if photograph.status != "ready" and given != photograph.hints:
                raise NotReady(f"colors are put on a photograph that is colored; this one is {_state(photograph)}")
            if photograph.status != "ready" or altered._replace(model=wanted, hints=given) == photograph:
                changes |= {"model": wanted}
                if photograph.status == "failed" and model is not None:
                    changes |= {"status": "waiting", "reason": "", "tries": 0}
                changed = await asyncio.to_thread(self.desks.change, key, id, **changes)
                self.wake()
                return changed
            photograph, arrays = await asyncio.to_thread(self.desks.painted, key, id)
            if wanted not in self.work.models:
                raise ValueError(f"model {wanted}: it is not there any more; choose another one")
            if altered == photograph:
                seen, tone = await self._seen(key, photograph, arrays, wanted), arrays["tone"]
            else:
                seen, tone, found = await self._looked(key, altered, wanted)
                changes |= found
            return await self._paint(key, photograph, wanted, given, seen, tone, changes)

    async def palette(self, key: str, id: str, x: float, y: float) -> list[str]:
        """Colors, #rrggbb, for a place of a photograph, the most plausible first. ValueError for a place outside or a
        model that knows none, NotReady."""
        photograph, arrays = await self._painted(key, id)
        if photograph.model not in self.work.models:
            raise ValueError(f"model {photograph.model}: it is not there any more; choose another one")
        artefact = _following(self.work.models[photograph.model])
        seen = await self._seen(key, photograph, arrays, photograph.model)
        cbcr = await self.work.paint(Seen(artefact, seen.source, None))
        return palette.of_painted(artefact, seen.small, cbcr, (photograph.height, photograph.width), x, y)

    async def gray(self, key: str, id: str, side: int | None) -> bytes:
        """A photograph's luminance as a PNG of 8 bits, upright, of at most `side` pixels a side. Raises
        images.UnreadableImage."""
        photograph = self.desks.get(key, id)
        picture = await self._picture(key, photograph)
        return await self.work.run(_png, picture.gray, side, pixels=_room(photograph))

    async def chroma(self, key: str, id: str) -> bytes:
        """Cb and Cr, uint8 (2,S,S), then the tone, float32 (2,256), little endian, where there is one. NotReady."""
        _, arrays = await self._painted(key, id)
        return arrays["cbcr"].tobytes() + arrays["tone"].astype("<f4").tobytes()

    async def file(self, key: str, id: str, patient: bool = False) -> tuple[Photograph, Done]:
        """The colored file. NotReady, images.UnreadableImage, and ValueError where its format cannot hold it."""
        photograph, arrays = await self._painted(key, id)
        picture = await self._picture(key, photograph, patient)
        name, digest = photograph.painter
        some = next(iter(self.work.models.values())).plain
        painter = some._replace(name=name, sha256=digest)  # of what painted it, no more is said, and it may be gone
        look: dict[str, Any] = dict(photograph.look)
        settings = replace(EVERY, restore=photograph.restore, negative=photograph.negative, **look)
        given = picture, arrays["cbcr"], painter, settings
        return photograph, await self.work.run(_file, *given, pixels=_room(photograph), patient=patient)

    async def _painted(self, key: str, id: str) -> tuple[Photograph, dict[str, np.ndarray]]:
        photograph = self.desks.get(key, id)
        if photograph.status != "ready":
            raise NotReady(f"this photograph is {_state(photograph)}")
        return await asyncio.to_thread(self.desks.painted, key, id)

    async def _seen(self, key: str, photograph: Photograph, arrays: Mapping[str, np.ndarray], name: str) -> Prepared:
        """What a model sees of a photograph, from what is kept where that fits."""
        model = self.work.models[name]
        if photograph.prepared == _how(model):
            return Prepared(arrays["source"], arrays["small"])
        return (await self._looked(key, photograph, name)).seen

    async def _looked(self, key: str, photograph: Photograph, name: str) -> Looked:
        """A photograph as a model of this name is to color it."""
        picture = await self._picture(key, photograph)
        return await self.work.run(looked, self.work.models[name], picture, photograph, pixels=_room(photograph))

    async def _picture(self, key: str, photograph: Photograph, patient: bool = False) -> pictures.Picture:
        """A photograph as it was read, from memory where it was not long ago."""
        known = f"{key}.{photograph.id}"
        if known in self._pictures:
            self._pictures.move_to_end(known)
            return self._pictures[known][0]
        picture = await self.work.run(self._read, key, photograph.id, pixels=_room(photograph), patient=patient)
        self.desks.get(key, photograph.id)  # nothing of what was removed meanwhile is kept
        size = picture.gray.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes) + photograph.bytes
        self._pictures[known] = picture, size
        while sum(size for _, size in self._pictures.values()) > KEPT:
            self._pictures.popitem(last=False)
        return picture

    def forget(self, key: str, id: str = "") -> None:
        """Keep no picture of a photograph, or of a whole desk, in memory."""
        for known in [known for known in self._pictures if known.startswith(f"{key}.{id}")]:
            del self._pictures[known]

    def _read(self, key: str, id: str) -> pictures.Picture:
        return pictures.read(self.desks.original(key, id), self.work.limits.pixels, strict=False)

    def _turn(self, id: str) -> asyncio.Lock:
        """What one holds who paints a photograph."""
        return self._turns.setdefault(id, asyncio.Lock())


def looked(model: Model, picture: pictures.Picture, photograph: Photograph) -> Looked:
    """A file's picture as a model is to color it, and what is known of it."""
    picture, new = restoring.of_picture(picture, photograph.restore, photograph.negative)
    gray, options = eight(picture.gray), model.plain.options
    seen = Prepared(images.source(gray, options, new.border), images.resize(gray, options.size, options.size))
    tone = np.empty((2, 0), np.float32) if picture.tone is None else picture.tone.astype(np.float32)
    height, width = gray.shape
    found = {
        "width": width,
        "height": height,
        "notes": (*picture.notes, *([IN_COLOR] if picture.is_color else [])),
        "in_color": bool(picture.is_color),
        "toned": picture.tone is not None,
        "curve": new.points,
    }
    return Looked(seen, tone, found)


def _file(picture: pictures.Picture, cbcr: np.ndarray, artefact: runtime.Artefact, settings: Settings) -> Done:
    picture, new = restored(picture, settings)
    return encoded(picture, cbcr, artefact, settings, new)


def _how(model: Model) -> tuple[int, str, str]:
    options = model.plain.options
    return options.size, options.equalize, options.blur


def _following(model: Model) -> runtime.Artefact:
    if model.following is None:
        name = model.plain.name
        raise ValueError(f"model {name}: it follows no colors that one chooses; choose a model that does")
    return model.following


def _state(photograph: Photograph) -> str:
    return f"failed: {photograph.reason}" if photograph.status == "failed" else photograph.status


def _room(photograph: Photograph) -> float:
    """What work on a photograph takes, in pixels, as Work counts it."""
    return photograph.width * photograph.height + photograph.bytes / 4


def _png(gray: np.ndarray, side: int | None) -> bytes:
    shown, longest = eight(gray), max(gray.shape)
    if side is not None and side < longest:
        height, width = (max(1, round(one * side / longest)) for one in shown.shape)
        shown = cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".png", shown, PNG)[1].tobytes()
