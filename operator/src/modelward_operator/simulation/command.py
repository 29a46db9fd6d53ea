"""`modelward-operator simulate`: try numbers on a request trace before paying for them. Documented in operator/SIMULATE.md.

Called by `cli.py`; what it takes stands in `arguments.py`. Exit status: 0 simulated, 1 the trace or the manifest is wrong, 2 a file
cannot be read or written.
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from modelward_operator.simulation.case import BadCase, left_out, read_cases
from modelward_operator.simulation.outcome import Note, Outcome
from modelward_operator.simulation.page import page
from modelward_operator.simulation.plot import svg
from modelward_operator.simulation.replay import Options, replay
from modelward_operator.simulation.rhythm import Rhythm, make_trace
from modelward_operator.simulation.trace import BadTrace, Trace, read_trace, write_trace


def simulate(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    try:
        if options.make_trace:
            return _make(options)
        return _simulate(options)
    except (BadTrace, BadCase, yaml.YAMLError, UnicodeDecodeError) as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None:  # of a pipe that nobody reads, or a disk that is full: told by `cli.py`
            raise
        print(f"simulate: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


def _simulate(options: argparse.Namespace) -> int:
    if not (options.trace and options.spec):
        raise BadCase("--trace and --spec are needed, or --make-trace")
    with sys.stdin if options.trace == "-" else Path(options.trace).open(encoding="utf-8-sig", newline="") as lines:
        trace = read_trace(lines)
    documents = list(yaml.safe_load_all(Path(options.spec).read_text(encoding="utf-8")))
    cases = read_cases(documents)
    if ignored := left_out(documents):
        print(f"simulate: not looked at: {', '.join(ignored)}", file=sys.stderr)
    chosen = Options(options.parallel, options.start_seconds, options.service, options.seed)
    outcomes = [replay(case, trace, chosen) for case in cases]
    document = _document(trace, chosen, outcomes)
    if options.out:
        _write(Path(options.out), document, outcomes)
    print(json.dumps(document, indent=2) if options.json else page(trace, chosen, outcomes))
    return 0


def _make(options: argparse.Namespace) -> int:
    text = "".join(write_trace(make_trace(Rhythm(options.days, options.peak, options.seconds, options.seed))))
    if options.make_trace == "-":
        sys.stdout.write(text)
    else:
        Path(options.make_trace).write_text(text, encoding="utf-8")
    return 0


def _document(trace: Trace, options: Options, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    told = {
        "requests": trace.requests,
        "seconds": trace.length,
        "begins": trace.begins.isoformat() if trace.begins else None,
    }
    return {"trace": told, "options": asdict(options), "models": [outcome.document() for outcome in outcomes]}


def _write(folder: Path, document: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for outcome in outcomes:
        (folder / f"{outcome.name}.svg").write_text(svg(outcome), encoding="utf-8")
        (folder / f"{outcome.name}.csv").write_text(_sheet(outcome.timeline), encoding="utf-8")


def _sheet(timeline: Sequence[Note]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in fields(Note)])
    writer.writerows([[getattr(note, field.name) for field in fields(Note)] for note in timeline])
    return out.getvalue()
