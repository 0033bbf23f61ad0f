"""A run -> one ONNX file, proven against torch: `python export/to_onnx.py [RUN]` is `recolor-fast export [RUN]`."""

from recolor_fast.machine import starting

if __name__ == "__main__":
    starting.run("recolor_fast.export.to_onnx", arguments="to_onnx")
