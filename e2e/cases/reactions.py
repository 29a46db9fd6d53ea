"""The table of how soon each autoscaler answers to the same load, printed and written as JSON to .reports/reaction-times.json."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from e2e.cases.place import REPOSITORY


@dataclass(frozen=True)
class Reaction:
    """Seconds from the moment when the load began."""

    decided: float
    """Until the Deployment was told the number that the load needs."""
    ready: float
    """Until so many pods were ready."""


@dataclass(frozen=True)
class Row:
    """One autoscaler's reactions, one for each round."""

    autoscaler: str
    rounds: Sequence[Reaction]

    def median(self, what: str) -> float:
        """Return the median of `decided` or `ready`."""
        return float(statistics.median(getattr(reaction, what) for reaction in self.rounds))

    def cell(self, what: str) -> str:
        """Return the median with the extremes."""
        seconds = sorted(getattr(reaction, what) for reaction in self.rounds)
        return f"{self.median(what):.1f} ({seconds[0]:.1f} to {seconds[-1]:.1f})"


def write(rows: Sequence[Row]) -> str:
    """Write the JSON; return the table in Markdown."""
    report = REPOSITORY / ".reports" / "reaction-times.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(
        json.dumps({row.autoscaler: [asdict(one) for one in row.rounds] for row in rows}, indent=1) + "\n"
    )
    lines = [f"| {row.autoscaler} | {row.cell('decided')} | {row.cell('ready')} |" for row in rows]
    head = ["| autoscaler | decided, s | all ready, s |", "|---|---|---|"]
    return "\n".join(["", f"median of {len(rows[0].rounds)} rounds (fastest to slowest)", "", *head, *lines, ""])
