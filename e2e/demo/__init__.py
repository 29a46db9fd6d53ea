"""`make demo`: real models, one manifest each, predictions compared with onnxruntime run by hand. See `__main__`."""
