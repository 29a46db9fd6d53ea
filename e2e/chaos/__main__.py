"""The command. Exit status: 0 no violation, 1 at least one."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from e2e.cases import previous
from e2e.chaos import report
from e2e.chaos.faults import FAULTS, version_before
from e2e.chaos.run import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m e2e.chaos", description="Faults done to the operator; see e2e/chaos/README.md."
    )
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="how often each fault is done")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", metavar="FAULT", help="this fault, may be given several times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON as well")
    parser.add_argument("--write", action="store_true", help="write the page e2e/chaos/RESULTS.md")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where logs stay")
    given = parser.parse_args(arguments)
    chosen = [fault for fault in FAULTS if not given.only or fault.name in given.only]
    if not chosen or given.rounds < 1:
        parser.error(f"there are: {', '.join(fault.name for fault in FAULTS)}")
    try:
        previous.sources()
    except previous.Absent as absent:
        print(f"not done: the version before: {absent}")
        chosen = [fault for fault in chosen if fault.do is not version_before]
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        seen = asyncio.run(run(chosen, given.rounds, given.seed, folder, lambda line: print(line, flush=True)))
    made = report.as_json(seen, given.seed)
    print(report.as_table(seen))
    for violation in seen.violations[:20]:
        print(f"VIOLATION {violation}")
    if given.json:
        given.json.write_text(json.dumps(made, indent=2) + "\n")
    if given.write:
        report.PAGE.write_text(report.as_page(seen, given.seed), encoding="utf-8")
    return 1 if report.violations(seen) else 0


if __name__ == "__main__":
    sys.exit(main())
