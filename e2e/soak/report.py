"""What a soak saw, as JSON and as the page RESULTS.md. Called by the command."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from e2e.soak.judge import Seen, Verdict, cut
from e2e.soak.run import SERVER, Options

PAGE = Path(__file__).with_name("RESULTS.md")
_PACKAGES = ("onnxruntime", "grpcio", "httptools", "numpy", "msgspec")


def as_json(options: Options, seen: Seen, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything."""
    last = seen.samples[-1]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "kernel": platform.release()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "options": asdict(options),
        "server": SERVER,
        "seconds": round(last.seconds),
        "requests": sum(seen.tally.kinds.values()),
        "cpu_seconds_of_the_server": round(seen.after.cpu_seconds, 1),
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "kinds": dict(sorted(seen.tally.kinds.items())),
        "answers": dict(sorted(seen.tally.answers.items())),
        "found_by": dict(sorted(seen.tally.found_by.items())),
        "findings": [*seen.tally.findings, *seen.traces[:10]],
        "windows": [asdict(window) for window in cut(seen.samples)],
        "before": asdict(seen.before),
        "after": asdict(seen.after),
    }


def as_page(report: dict[str, Any]) -> str:
    """The page."""
    machine, versions = report["machine"], report["versions"]
    lines = [
        "# The soak's last long run",
        "",
        f"Written by `python -m e2e.soak --requests {report['options']['requests']} --write`; what it does: [README.md](README.md).",
        "",
        f"{report['date']}, commit {report['commit']}, {machine['cores']} cores of {machine['processor']}, Linux {machine['kernel']}, "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + ". The machine did other work meanwhile.",
        "",
        _spent(report),
        "",
        "| must hold | | seen |",
        "|---|---|---|",
        *(f"| {v['what']} | {'yes' if v['held'] else '**no**'} | {v['figures']} |" for v in report["verdicts"]),
        "",
        "| requests so far | RSS MiB | of it anonymous | descriptors | threads |",
        "|---|---|---|---|---|",
        *(
            f"| {w['requests']:,} | {w['rss'] / 2**20:.1f} | {w['own'] / 2**20:.1f} | {w['descriptors']:.0f} | {w['threads']:.0f} |"
            for w in report["windows"]
        ),
        "",
        "Medians of a tenth of the requests each, after a warm-up of another tenth.",
        "",
        "| answer | how often |",
        "|---|---|",
        *(f"| {name} | {count:,} |" for name, count in report["answers"].items()),
        "",
        "`none`: the caller was gone, or never said a whole request.",
        "",
        "| what was sent | how often |",
        "|---|---|",
        *(f"| {name} | {count:,} |" for name, count in report["kinds"].items()),
    ]
    if report["found_by"]:
        lines += ["", "| what was wrong | how often |", "|---|---|"]
        lines += [f"| {name} | {count:,} |" for name, count in report["found_by"].items()]
    if report["findings"]:
        lines += ["", "What was wrong:", "", *(f"* `{finding}`" for finding in report["findings"])]
    return "\n".join(lines) + "\n"


def _spent(report: dict[str, Any]) -> str:
    cpu = report["cpu_seconds_of_the_server"]
    return f"{report['requests']:,} requests in {report['seconds']:,} s, {cpu:,.0f} s of a processor for the server."


def write(report: dict[str, Any], file: Path) -> None:
    """The JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=PAGE.parent
    )
    return found.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
