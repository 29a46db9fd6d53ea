"""Tables for people and JSON for machines; with both, what was measured on. Used by every suite."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def busy() -> str:
    """A warning when the machine has more to do than we asked of it, else nothing."""
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    return (
        f"the machine is busy (load {load:.1f} on {cpus} processors): times are worse than they would be"
        if load > cpus
        else ""
    )


def summary(values: list[float]) -> dict[str, float]:
    """Median and extremes: with a handful of rounds, anything finer would be invented."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Columns as wide as they need; the first to the left, the others to the right."""
    kept = list(rows)
    widths = [max(len(row[column]) for row in kept) for column in range(len(kept[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in kept
    )


def write(suite: str, results: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{suite}.json"
    path.write_text(json.dumps({"suite": suite, "machine": _machine(), **results}, indent=2) + "\n")
    return path


def _machine() -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "loadAverage": os.getloadavg()[0],
        "processor": _processor(),
        "architecture": platform.machine(),
        "kernel": platform.release(),
    }


def _processor() -> str:
    """The model's name as Linux has it; empty elsewhere."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
