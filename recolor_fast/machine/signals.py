"""Being asked to stop: the first SIGINT, SIGTERM or SIGHUP in good order, mostly a second one at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(BaseException):
    """A signal asked to stop; no Exception, so that nothing takes it for a failure. `code`: the exit code for it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number).name
        self.code = 128 + number


class Signals:
    """What a signal does inside `stoppable`: raise Stopped, at once or at the end of a held block.

    Where several processes stop `together`, it is only noted (`asked`): `heed` stops this one, when all have agreed.
    """

    def __init__(self) -> None:
        self.together = False
        self._holding = False
        self._pending: int | None = None

    @property
    def asked(self) -> bool:
        """Whether a signal has come that nothing was raised for."""
        return self._pending is not None

    def heed(self) -> NoReturn:
        """Stop for the signal that came, here or in another process."""
        raise Stopped(self._pending or signal.SIGTERM)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block that no signal interrupts; Stopped is raised at its end."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        self._stop()

    @contextmanager
    def released(self, when: bool) -> Iterator[None]:
        """Inside a held block, a part that a signal does interrupt, where `when` says so."""
        if when:
            self._holding = False
            self._stop()  # for a signal since the held block began
        yield
        self._holding = True

    def _stop(self) -> None:
        if self.together:
            return
        number, self._pending = self._pending, None
        if number is not None:
            raise Stopped(number)

    def receive(self, number: int) -> None:
        """A signal has come."""
        if not (self._holding or self.together):
            raise Stopped(number)
        self._pending = number


def importing() -> None:
    """Until `imported`, which a verb calls once it has begun, Ctrl-C ends the process with a line, not a traceback.

    For programs that import torch first, which takes seconds. An ignored signal stays so (nohup)."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def imported() -> None:
    """Ctrl-C raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: object) -> None:
    os.write(2, b"interrupted before it began\n")
    os._exit(128 + number)


def _pass(number: int, frame: object) -> None:
    """Do nothing, as SIG_IGN, which new processes would inherit."""


@contextmanager
def stoppable(once: bool = False) -> Iterator[Signals]:
    """A block in which the first signal raises Stopped; the next one does what it does by default, which is the end.

    `once`: the next one does nothing, where stopping takes a few seconds at most and must not be broken off.
    Ignored signals stay so (nohup). In a thread other than the main one, where Python lets nothing handle signals, they
    are left as they are.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def stop(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, _pass if once else signal.SIG_DFL)
        signals.receive(number)

    before = {number: handler for number in NUMBERS if (handler := signal.getsignal(number)) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, stop)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
