"""What is asked of the JSON of a run by those that read it: bars, tables and pictures."""

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Any]
"""As `command.py` keeps it."""


def alone_in(figures: Figures, case: str) -> Mapping[str, Any]:
    """The model alone, measured beside ours in that case; in a run of before that was done, once a round. Empty: not at all."""
    found: Mapping[str, Any] = figures.get("aloneIn", {}).get(case) or figures["alone"].get(case.partition(" ")[0], {})
    return found
