"""How a verb starts: its words are read first, then what takes seconds is imported."""

import importlib
import os
import signal
import sys
from typing import NoReturn

from recolor_fast import extras, signals
from recolor_fast.errors import UserError


def run(module: str, arguments: str = "") -> NoReturn:
    """End this process as `module.main()` does, the words of the command line being its arguments.

    A verb calls it in its first lines, where it is the program and not yet imported. `arguments` is the module of
    recolor_fast.arguments whose `parse` knows the words: --help and wrong ones end there, before torch is imported.
    Exit code 2, in one line, where an extra is not installed; 130 for Ctrl-C at any time, imports included.
    """
    signals.importing()
    try:
        if arguments:
            importlib.import_module(f"recolor_fast.arguments.{arguments}").parse(sys.argv[1:])
        main = importlib.import_module(module).main
        signals.imported()
        code = main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 128 + signal.SIGINT
    except BrokenPipeError:  # --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more when it ends
        code = 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except ModuleNotFoundError as error:
        if not (lacking := extras.lacking(error.name or "")):
            raise
        print(f"error: {lacking}", file=sys.stderr)
        code = 2
    sys.exit(code)
