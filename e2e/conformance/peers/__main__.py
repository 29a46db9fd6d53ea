"""The command: `run NAME…` asks servers and writes their reports and RESULTS.md, `table` writes RESULTS.md alone."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from e2e.conformance.peers.asking import NAMES, write_report
from e2e.conformance.results import write_results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    if not __debug__:
        raise SystemExit("rules are assertions: run Python without -O")
    parser = argparse.ArgumentParser(prog="python -m e2e.conformance.peers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="install a server where it is missing, serve the models, ask all rules")
    run.add_argument("names", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    run.add_argument("--log", type=Path, metavar="FILE", help="where the server's own words go")
    commands.add_parser("table", help="write RESULTS.md from the reports")
    options = parser.parse_args(arguments)
    for name in getattr(options, "names", ()):
        print(write_report(name, options.log))
    write_results()
    return 0


if __name__ == "__main__":
    sys.exit(main())
