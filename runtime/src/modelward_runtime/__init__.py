"""The serving runtime of ModelWard."""

from typing import Final

__version__: Final = "0.1.0"
