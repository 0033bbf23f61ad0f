"""recolor_fast: a fast, correct trainer of GAN image colorizers. Run a verb: recolor-fast VERB.

From Python: `from recolor_fast import Colorizer, Hint, load_run, runtime`; `from recolor_fast.train import train`.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recolor_fast.artefact import runtime
    from recolor_fast.artefact.hints import Hint
    from recolor_fast.coloring.colorizer import Colorizer
    from recolor_fast.runs.learned import load_run

# From 1.29 on onnxruntime's wheels for Linux send to Microsoft which models are loaded, unless this is set before they
# are imported; its own disable_telemetry_events() comes too late. Nothing is to leave the machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Imported when first asked for: a verb's --help must wait for none of them.
PUBLIC = {
    "Colorizer": "coloring.colorizer",
    "Hint": "artefact.hints",
    "load_run": "runs.learned",  # imports torch
    "runtime": "artefact.runtime",
}
__all__ = ["Colorizer", "Hint", "load_run", "runtime"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    module = import_module(f"{__name__}.{PUBLIC[name]}")
    return module if name == "runtime" else getattr(module, name)
