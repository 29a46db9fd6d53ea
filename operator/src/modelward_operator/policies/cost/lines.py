"""What is known of one model when a budget is evaluated. Made by `cluster/evaluator.py` and by the simulator; read by `pots.py`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One model under a budget. Money is in billionths; rates are per hour."""

    model: str
    spent: int = 0
    """In the budget's period and currency."""
    hourly: int = 0
    """What its pods cost now."""
    price: int | None = None
    """What one more replica costs; None where it is not known."""
    in_use: int = 0
    """Replicas that stand: what its Deployment asks for now."""
    asked: int = 0
    """Replicas that it asks for now."""
    ceiling: int = 0
    """The most that its spec lets it ask for."""
    unpriced: str = ""
    """Why the price is not known, or not in the budget's currency; empty where it is."""
    is_foreign: bool = False
    """True when there is a price, in another currency than the budget's."""
    exists: bool = True
    """False for a model that was deleted: what it spent counts all the same."""

    @property
    def is_counted(self) -> bool:
        """True when a price says what the model's replicas take from the budget."""
        return self.price is not None
