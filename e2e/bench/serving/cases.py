"""What is measured: each model, by each encoding, with one connection and with sixteen."""

from dataclasses import dataclass
from typing import Final

from e2e.bench.serving.asking import ENCODINGS
from e2e.bench.serving.models import MODELS

CONNECTIONS: Final = (1, 16)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    model: str
    encoding: str
    connections: int

    @property
    def name(self) -> str:
        """As in the table and in the JSON."""
        return f"{self.model} {self.encoding} {self.connections}"


CASES: Final = tuple(Case(model, encoding, many) for model in MODELS for encoding in ENCODINGS for many in CONNECTIONS)
OPEN_LOOP_SHARE: Final = 0.7
"""Of the best peer's capacity: the constant rate of the open loop."""
