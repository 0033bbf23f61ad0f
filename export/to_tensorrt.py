"""A TensorRT engine: `python export/to_tensorrt.py FILE.onnx` is `recolor-fast export-tensorrt FILE.onnx`."""

from recolor_fast.machine import starting

if __name__ == "__main__":
    starting.run("recolor_fast.export.to_tensorrt", arguments="to_tensorrt")
