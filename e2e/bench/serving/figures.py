"""What is asked of the JSON of a run by those that read it: bars, tables and pictures."""

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Any]
"""As `command.py` keeps it."""


def alone_in(figures: Figures, case: str) -> Mapping[str, Any]:
    """The model alone as measured beside ours in that case; where a run has it by model only, that. May be empty."""
    found: Mapping[str, Any] = figures.get("aloneIn", {}).get(case) or figures["alone"].get(case.partition(" ")[0], {})
    return found
