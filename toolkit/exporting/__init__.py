"""A run's model for other programs: ONNX, safetensors, Keras."""
