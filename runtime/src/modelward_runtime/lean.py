"""Imports NumPy without what no server reads: the docstrings of its compiled parts, and the names that type checkers look at.

Called by the two threads that import for a start (`load.py`, `serve.py`), before anything of theirs imports NumPy. Both lie in modules of
their own and take a fifth of its import: nobody asks the first for anything, and `numpy.linalg` takes names for annotations from the
second. Whoever imports `numpy.typing` later gets it whole. What NumPy computes is the same. Where a version of it has no such modules, it
is imported as ever.
"""

import importlib
import sys
import threading
from types import ModuleType
from typing import Final

_DOCSTRINGS: Final = ("numpy._core._add_newdocs", "numpy._core._add_newdocs_scalars")
_TYPES: Final = "numpy._typing"
_importing: Final = threading.Lock()  # stand-ins are put up and taken away by one thread at a time


def import_numpy() -> None:
    """Import it, if nobody has; who imports it meanwhile waits for that."""
    with _importing:
        if "numpy" in sys.modules:
            return
        types = _StandIn(_TYPES)
        sys.modules.update({name: _StandIn(name) for name in _DOCSTRINGS})
        sys.modules[_TYPES] = types
        try:
            importlib.import_module("numpy")
        finally:
            if sys.modules.get(_TYPES) is types:
                del sys.modules[_TYPES]


class _StandIn(ModuleType):
    """A module with every name that is asked for."""

    def __getattr__(self, name: str) -> "type[_Anything]":
        if name.startswith("__"):  # what Python's import looks for, and does without
            raise AttributeError(name)
        return _Anything


class _Anything:
    """A type that takes any parameters."""

    def __class_getitem__(cls, _parameters: object) -> "type[_Anything]":
        return cls
