"""All colored photographs of a desk as one zip, made while it is sent: there is one photograph in memory at a time."""

import io
import time
import zipfile
from collections.abc import AsyncIterator, Sequence

from recolor_fast.photographs import images
from recolor_fast.serve import names
from recolor_fast.serve.desk import Gone
from recolor_fast.serve.painter import NotReady, Painter

LEFT_OUT = "left-out.txt"


class _Sent(io.BytesIO):
    """A file of which all that is written is taken away, piece by piece. A zip's writer goes back no further than to
    the head of an entry, which then says the entry's length: not every program finds one that only follows it."""

    def __init__(self) -> None:
        super().__init__()
        self._before = 0

    def tell(self) -> int:
        return self._before + super().tell()

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        assert place >= self._before
        return self._before + super().seek(place - self._before)

    def taken(self) -> bytes:
        data = self.getvalue()
        self._before += len(data)
        super().seek(0)
        self.truncate()
        return data


async def zipped(painter: Painter, key: str, ids: Sequence[str]) -> AsyncIterator[bytes]:
    """The bytes of a zip of these photographs. What is gone by then is not in it; what cannot be written is named in
    LEFT_OUT."""
    sink = _Sent()
    taken = {LEFT_OUT}
    lost: list[str] = []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for id in ids:
            try:
                photograph, done = await painter.file(key, id, patient=True)
            except (Gone, NotReady):
                continue
            except (images.UnreadableImage, ValueError) as error:
                lost.append(f"{painter.desks.get(key, id).name}: {error}\n")
                continue
            name = names.unique(names.colored(photograph.name, done.format), taken)
            taken.add(names.folded(name))
            archive.writestr(_entry(name), done.data)
            del done
            yield sink.taken()
        if lost:
            archive.writestr(_entry(LEFT_OUT), "".join(lost))
    yield sink.taken()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, time.localtime()[:6])
    entry.external_attr = 0o100644 << 16  # a plain file, that its owner may write
    return entry
