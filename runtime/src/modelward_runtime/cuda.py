"""What is asked of the CUDA runtime library itself, where there is one: memory of the GPU, and pages that it may copy from directly.

Used by `metrics.py` and `bound.py`, in a process whose ONNX Runtime has loaded the library. Where there is none, nothing is known and
nothing is pinned. Source: the CUDA Runtime API, sections "Memory Management" (cudaMemGetInfo, cudaHostRegister).
"""

import ctypes
import weakref
from functools import cache
from typing import Any, Final

from modelward_runtime.model import Array

_LIBRARIES: Final = ("libcudart.so.13", "libcudart.so.12")


@cache
def _library() -> Any:  # noqa: ANN401  ctypes has no type for it
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def memory() -> tuple[int, int] | None:
    """Bytes in use and in all, of the GPU or the part of it that this process sees, by whomever they are used."""
    library = _library()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if library is None or library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) != 0:
        return None
    return total.value - free.value, total.value


def pin(array: Array) -> bool:
    """Keep the array's pages in place while it lives, so that the GPU copies from them without a detour."""
    library, address = _library(), ctypes.c_void_p(array.ctypes.data)
    if library is None or not array.nbytes or library.cudaHostRegister(address, ctypes.c_size_t(array.nbytes), 0) != 0:
        return False
    weakref.finalize(array, library.cudaHostUnregister, address)
    return True
