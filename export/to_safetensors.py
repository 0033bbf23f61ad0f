"""Weights for release: `python export/to_safetensors.py [RUN]` is `recolor-fast export-safetensors [RUN]`."""

from recolor_fast.machine import starting

if __name__ == "__main__":
    starting.run("recolor_fast.export.to_safetensors", arguments="to_safetensors")
