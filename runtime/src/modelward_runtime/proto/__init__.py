"""Generated from inference.proto by `runtime/generate_proto.py`; nothing here is written by hand but the .proto."""
