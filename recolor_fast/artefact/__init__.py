"""What a trained generator becomes: graphs, ONNX files in runtimes, and the proof that both agree."""
