"""ONNX export: one graph for whole sequences, one for single steps of a stream."""
