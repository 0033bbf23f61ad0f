"""What a run becomes for others: an ONNX artefact, a file of weights, a TensorRT engine."""
