"""The page RESULTS.md: what long runs did. A run of some targets changes their lines and leaves the others."""

import json
import platform
import subprocess
import threading
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from e2e.fuzz.session import Outcome
from e2e.fuzz.target import TARGETS

PAGE = Path(__file__).with_name("RESULTS.md")
FIGURES = Path(__file__).with_name("results.json")
_HEAD = """# The fuzzer's last long runs

Written by `python -m e2e.fuzz --minutes N --write TARGET…`; the figures are in [results.json](results.json). What the targets hold to, and
what was found and mended: [README.md](README.md). Edges are those of the runtime's own Python that the inputs reached.

| target | must hold | inputs | minutes | edges | kept | found | date, commit, atheris, Python |
|---|---|---|---|---|---|---|---|
"""


_writing = threading.Lock()


def write(one: Outcome) -> None:
    """Put this outcome into the page."""
    with _writing:
        figures: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
        figures[one.target] = {
            "inputs": one.runs,
            "minutes": round(one.seconds / 60, 1),
            "edges": one.covered,
            "kept": one.kept,
            "found": sorted(one.findings),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "commit": _commit(),
            "atheris": version("atheris"),
            "python": platform.python_version(),
        }
        figures = {name: figures[name] for name in TARGETS if name in figures}
        FIGURES.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        PAGE.write_text(_HEAD + "".join(_line(name, figure) for name, figure in figures.items()), encoding="utf-8")


def _line(name: str, one: dict[str, Any]) -> str:
    found = "; ".join(one["found"]).replace("|", "\\|") or "nothing"
    when = f"{one['date']}, {one['commit']}, {one['atheris']}, {one['python']}"
    about = TARGETS[name].about
    return f"| `{name}` | {about} | {one['inputs']:,} | {one['minutes']} | {one['edges']} | {one['kept']} | {found} | {when} |\n"


def _commit() -> str:
    run = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=PAGE.parent
    )
    return run.stdout.strip() or "unknown"
