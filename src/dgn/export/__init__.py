"""Models as files for other programs: MindIR, ONNX."""
