"""The command. Exit status: 0 everything held, 1 something did not."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from e2e.soak import report
from e2e.soak.judge import judge
from e2e.soak.run import Options, soak


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m e2e.soak", description="A soak of the serving process; see e2e/soak/README.md."
    )
    parser.add_argument(
        "--requests", type=int, default=100_000, metavar="N", help="how many, over both transports together"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-batching", action="store_true", help="the server without batching")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON as well")
    parser.add_argument("--write", action="store_true", help="write the page e2e/soak/RESULTS.md")
    given = parser.parse_args(arguments)
    if given.requests < 1000:
        parser.error("--requests: fewer than 1000 say nothing")
    options = Options(given.requests, given.seed, not given.no_batching)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        seen = soak(options, Path(folder), lambda line: print(line, flush=True))
    verdicts = judge(seen)
    made = report.as_json(options, seen, verdicts)
    for verdict in verdicts:
        print(f"{'ok ' if verdict.held else 'NOT'} {verdict.what}: {verdict.figures}")
    for finding in seen.tally.findings[:10]:
        print(f"    {finding}")
    for trace in seen.traces[:3]:
        print(f"    {trace}")
    print(
        f"{made['requests']:,} requests in {made['seconds']} s, {made['cpu_seconds_of_the_server']} s of a processor: {made['answers']}"
    )
    if given.json:
        report.write(made, given.json)
    if given.write:
        report.PAGE.write_text(report.as_page(made), encoding="utf-8")
    return 0 if all(verdict.held for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
