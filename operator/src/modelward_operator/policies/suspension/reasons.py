"""Reasons that the suspension room gives."""

from typing import Final

SUSPENDED: Final = "Suspended"
"""spec.suspend is true: the model has no pods until it is false again."""
