"""The embedded cluster's commands: `python3 e2e/cluster up|down|status|build [PROGRAM…]|images`.

Standard library only: this runs on the system's python3, before any virtual environment exists.
"""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # the repository: modules are e2e.cluster.X in every setting

from e2e.cluster.binaries import PROGRAMS, binary, build  # noqa: E402
from e2e.cluster.failures import ClusterError, StepFailed  # noqa: E402
from e2e.cluster.progress import Screen  # noqa: E402


def _build(arguments: argparse.Namespace, screen: Screen) -> None:
    programs = arguments.programs or list(PROGRAMS)
    build(programs, screen)
    for program in programs:
        print(binary(program))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="e2e/cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("build", help="build the cluster's programs (all, or those named) and print their paths")
    one.add_argument("programs", nargs="*", metavar="PROGRAM", help=", ".join(PROGRAMS))
    one.set_defaults(run=_build)
    return parser


def main() -> int:
    """Run one command; 0 done, 1 failed with a message, 130 interrupted."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments, Screen())
    except KeyboardInterrupt:
        print("\ninterrupted; the next run goes on from here", file=sys.stderr)
        return 130
    except ClusterError as error:
        print(error.report() if isinstance(error, StepFailed) else error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
