"""One condition before it has a time. Made by `aspects.py` and `protection.py`, made a condition by `summarise.py`."""

from dataclasses import dataclass

from modelward_operator.status.conditions import Type


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one aspect."""

    type: Type
    status: str
    reason: str
    message: str
    blocks: bool = True
    """False for what is wrong and tolerated by the spec: Ready does not fall for it."""
