"""Memory that large bodies are read to, so placed that numpy and ONNX Runtime take the tensor in it as it lies.

Used by `body.py` and `grpc_message.py`. What is not filled costs nothing: the kernel gives pages when they are written.
"""

import ctypes
from typing import Final

import numpy as np

_ALIGNED: Final = 64  # bytes, as memory of ONNX Runtime's own
_Byte: Final = ctypes.c_char  # whose address is cheaper to have than numpy's own word for it


def make_aligned(size: int, at: int) -> memoryview:
    """So many bytes; the one at offset `at` is aligned."""
    memory = np.empty(size + _ALIGNED, np.uint8)
    start = -(ctypes.addressof(_Byte.from_buffer(memory.data)) + at) % _ALIGNED
    return memory.data[start : start + size]
