"""The Open Inference Protocol's messages over gRPC, generated from `inference.proto` (`runtime/generate_proto.py`)."""

from functools import cache
from importlib import import_module
from typing import Any


@cache
def messages() -> Any:  # noqa: ANN401  generated messages have no types
    """The generated classes. Protobuf's library is a twentieth of a start, and most calls do without it: who first needs it imports it."""
    return import_module("modelward_runtime.proto.inference_pb2")
