"""What serve takes."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting


class Arguments(NamedTuple):
    """Serve a page to color photographs with, and an HTTP API, until Ctrl-C.

    Its address is the last line on stdout. Nothing leaves this machine. Exit code: 2 wrong usage, 4 no usable
    model or provider, 130 interrupted, 143 ended by SIGTERM.
    """

    host: str = "127.0.0.1"
    """Address to listen on: this machine alone may use 127.0.0.1, every machine that reaches it 0.0.0.0. Give a --token
    then."""
    port: int = 8765
    """Port to listen on; 0: any free one."""
    token: str = ""
    """What requests must know: at least 16 letters and digits. RECOLOR_FAST_TOKEN in the environment does the same,
    unseen by other users of this machine."""
    name: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A host name that browsers call the server by, beside localhost and addresses. Repeatable."""
    model: Annotated[
        tyro.conf.UseAppendAction[tuple[Path, ...]], tyro.conf.arg(metavar="FILE.onnx", help_behavior_hint="")
    ] = ()
    """Exported .onnx file to color with, of the graph chroma or hints; default: the colorizer that comes with the
    package. Repeatable: who uses the page chooses."""
    provider: Literal["auto", "cpu", "cuda", "tensorrt", "openvino"] = "auto"
    """Where the model runs."""
    threads: int | None = None
    """Processors to use; default: all that this process may use."""
    state: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder, this user's alone, where the page's photographs are kept; default: recolor_fast in $XDG_STATE_HOME or in
    ~/.local/state."""
    clear: tyro.conf.FlagCreatePairsOff[bool] = False
    """Remove every visitor's photographs from --state, and end."""
    max_bytes: int = 64 * 2**20
    """Bytes that a file may have."""
    max_pixels: int = 64 * 10**6
    """Pixels that a photograph may have."""
    queue: int = 64
    """Photographs that may wait or be worked on; more are refused for the moment (status 429)."""
    timeout: float = 300.0
    """Seconds that a photograph may take, waiting included."""
    open: bool = True
    """Show the page in this machine's browser, where there is a screen."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    return tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python -m recolor_fast.serve"))
