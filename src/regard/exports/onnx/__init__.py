"""A network as an ONNX file: its logits, its attention and its maps, to be run without torch."""
