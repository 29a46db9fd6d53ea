"""What a run came to, for people and for machines."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from e2e.chaos.run import MODELS, Seen

PAGE: Final = Path(__file__).parent / "RESULTS.md"


def violations(seen: Seen) -> int:
    """How many there were."""
    return len(seen.violations) + sum(len(one.violations) for one in seen.rounds)


def as_json(seen: Seen, seed: int) -> dict[str, Any]:
    """The whole of it."""
    rounds = [
        {
            "fault": r.fault,
            "seconds": round(r.seconds, 1),
            "acts": r.acts,
            "violations": list(r.violations),
            "stoodStill": round(r.stood, 1),
        }
        for r in seen.rounds
    ]
    return {
        "seed": seed,
        "models": MODELS,
        "rounds": rounds,
        "violations": seen.violations,
        "writes": seen.writes,
        "starts": seen.starts,
        "pods": seen.pods,
        "podSeconds": {
            "lived": round(seen.lived),
            "charged": round(seen.charged),
            "estimated": round(seen.estimated),
        },
        "acts": seen.acts,
    }


def as_table(seen: Seen) -> str:
    """A line for each fault."""
    rows = [
        (
            "fault",
            "rounds",
            "acts of users",
            "converged after, s (median, worst)",
            "machine stood still, s",
            "violations",
        ),
        *_rows(seen),
    ]
    rows.insert(1, tuple("---" for _ in rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_page(seen: Seen, seed: int) -> str:
    """The page RESULTS.md."""
    acts = ", ".join(f"{name} {count}" for name, count in sorted(seen.acts.items()))
    of_all = "\n".join(f"* {line}" for line in seen.violations) or "None."
    of_rounds = "\n".join(f"* {one.fault}: {line}" for one in seen.rounds for line in one.violations) or "None."
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    return f"""# Faults injected, rounds, violations

Written by `uv run python -m e2e.chaos --write` ({datetime.now(UTC):%d %B %Y}, {machine}, seed {seed}).
What each fault does, `faults.py` says, and what counts as a violation, [README.md](README.md).

{as_table(seen)}

Two operators, {MODELS} models and more. People did {sum(seen.acts.values())} things meanwhile ({acts}).
Operators were started {seen.starts} times and wrote {seen.writes} times; {seen.pods} pods were made, which
were there for {seen.lived:.0f} s; the cost ledgers charged {seen.charged:.0f} s, {seen.estimated:.0f} s of them as an estimate.
Violations after faults:

{of_rounds}

Violations of the run as a whole (a write by an operator that was deposed, pods replaced without need, an error in a log):

{of_all}
"""


def _rows(seen: Seen) -> Sequence[tuple[str, ...]]:
    faults = list(dict.fromkeys(one.fault for one in seen.rounds))
    rows = []
    for fault in sorted(faults):
        rounds = [one for one in seen.rounds if one.fault == fault]
        times = sorted(one.seconds for one in rounds)
        wrong = sum(len(one.violations) for one in rounds)
        figures = f"{times[len(times) // 2]:.1f}, {times[-1]:.1f}"
        stood = f"{sum(one.stood for one in rounds):.0f}"
        rows.append((fault, str(len(rounds)), str(sum(one.acts for one in rounds)), figures, stood, str(wrong)))
    return rows
