"""How a verb starts and ends: its words are read before what takes seconds is imported; errors are exit codes."""

import atexit
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import NoReturn, Protocol

from recolor_fast.machine import processors, signals
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import say

PROGRAM = "recolor-fast"  # the console script
Codes = Mapping[type[Exception], int]  # exit codes of what a verb's users can mend beside UserErrors


class Main(Protocol):
    """The main function of a verb: takes its words, by default the command line's, and returns the exit code."""

    def __call__(self, argv: list[str] | None = None) -> int: ...


def run(module: str, arguments: str = "") -> NoReturn:
    """End this process as `module.main()` does, the words of the command line being its arguments.

    A verb calls it in its first lines, where it is the program and not yet imported. `arguments` is the module of
    recolor_fast.arguments whose `parse` knows the words: --help and wrong ones end there, before torch is imported.
    """
    signals.importing()
    processors.spin_briefly()
    if os.environ.get("NO_COLOR"):
        os.environ.setdefault("PYTHON_TYRO_ANSI_CODES", "False")  # of --help and of errors, read on import
    sys.exit(ended(partial(_begun, module, arguments)))


def _begun(module: str, arguments: str) -> int:
    with _lasting():
        if arguments:
            importlib.import_module(f"recolor_fast.arguments.{arguments}").parse(sys.argv[1:])
        main: Main = importlib.import_module(module).main
    signals.imported()
    return main()


@contextmanager
def _lasting() -> Iterator[None]:
    """A block after which all it made is there to stay: nobody looks for garbage among it until the process ends.

    What imports make is searched many times over else, which is a sixth of torch's import.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # or what they hold would outlive Python: of torch's processes a thread, a crash


def usage(otherwise: str) -> str:
    """What --help calls this program: `recolor-fast VERB` where that started it, which argv[0] then says."""
    return sys.argv[0] if sys.argv[0].startswith(f"{PROGRAM} ") else otherwise


def verb(
    stopped: str = "interrupted", unread: str = "", told: Codes | None = None
) -> Callable[[Callable[[list[str]], int]], Main]:
    """Make a function of a verb's words its `main`, which `ended` keeps to exit codes; the options are those of it."""

    def wrap(work: Callable[[list[str]], int]) -> Main:
        @wraps(work)
        def main(argv: list[str] | None = None) -> int:
            words = sys.argv[1:] if argv is None else argv
            return ended(partial(work, words), stopped, unread, told)

        return main

    return wrap


def ended(
    work: Callable[[], int],
    stopped: str = "interrupted",
    unread: str = "",
    told: Codes | None = None,
) -> int:
    """The exit code of `work()`: what it returns, or what becomes of what it raises, in one line on stderr.

    The line begins with "error: ". A UserError has its `exit_code`, others that `told` lists theirs (the nearest class
    decides); a missing module that an extra brings is 2. Without "error: ", Stopped and KeyboardInterrupt are 128 and
    the signal's number, after the line `stopped`, in which {signal} is its name; output that nobody reads is 1, after
    the line `unread`, if any. SystemExit, as --help raises it, has its own. Anything else is raised: a traceback, and
    Python's exit code 1.
    """
    try:
        return work()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            raise
        return int(stop.code or 0)
    except (signals.Stopped, KeyboardInterrupt) as stop:
        number = signal.Signals[stop.signal] if isinstance(stop, signals.Stopped) else signal.SIGINT
        say(stopped.format(signal=number.name))
        return 128 + number
    except BrokenPipeError:  # --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more when it ends
        if unread:
            say(unread)
        return 1
    except ModuleNotFoundError as error:
        from recolor_fast.machine import extras

        if not (lacking := extras.lacking(error.name or "")):
            raise
        say(f"error: {lacking}")
        return 2
    except Exception as error:
        code = _code(error, told or {})
        if code is None:
            raise
        say(f"error: {error}")
        return code


def _code(error: Exception, told: Codes) -> int | None:
    """The exit code of an error that users are told, None of a bug."""
    for kind in type(error).__mro__:
        if kind in told:
            return told[kind]
        if kind is UserError and isinstance(error, UserError):
            return error.exit_code
    return None
