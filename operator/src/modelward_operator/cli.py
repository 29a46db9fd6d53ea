"""The command `modelward-operator`: `run` in the cluster, `plan` and `simulate` on anybody's machine.

Imports nothing heavy until a command is known: `--help` and mistakes answer at once. `plugin/cli.py` takes `plan` from here.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from modelward_operator import __version__
from modelward_operator.simulation.arguments import add_simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 1 the manifest is wrong or the model may not serve, 2 the arguments are."""
    parser = argparse.ArgumentParser(prog="modelward-operator", description="The Kubernetes operator of ModelWard.")
    parser.add_argument("--version", action="version", version=f"modelward-operator {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="run the operator in a cluster; the chart sets its environment variables")
    add_plan(commands)
    add_simulate(commands)
    describe(commands)
    options = parser.parse_args(arguments)
    command = COMMANDS[options.command]
    return command(options) if options.command == "run" else told("modelward-operator", lambda: command(options))


def told(command: str, run: Callable[[], int]) -> int:
    """Run what prints; return its exit status, also where nobody reads on, nothing more can be written, or somebody stops it."""
    try:
        status = run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
        if isinstance(error, BrokenPipeError):  # whoever read it has seen enough; 0 would say that all is well
            return 128 + signal.SIGPIPE
        print(f"{command}: {error}", file=sys.stderr)
        return 2
    return status


def _run(_options: argparse.Namespace) -> int:
    from modelward_operator.main import run  # noqa: PLC0415  kopf and its likes, for this one alone

    return run()


def _plan(options: argparse.Namespace) -> int:
    from modelward_operator.offline import plan  # noqa: PLC0415  pydantic and every kind

    return plan(options)


def _simulate(options: argparse.Namespace) -> int:
    from modelward_operator.simulation.command import simulate  # noqa: PLC0415  likewise

    return simulate(options)


COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "run": _run,
    "plan": _plan,
    "simulate": _simulate,
}


def describe(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Let each command's own --help begin with what the list of commands says of it."""
    for entry in commands._get_subactions():  # noqa: SLF001  argparse keeps the words for the list alone
        words = str(entry.help)
        commands.choices[entry.dest].description = f"{words[:1].upper()}{words[1:]}."


def add_plan(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command `plan` and its options."""
    asked = commands.add_parser("plan", help="print the children that a ModelDeployment would get; needs no cluster")
    asked.add_argument("-f", "--filename", required=True, metavar="FILE", help="manifest, or - for standard input")
    asked.add_argument("-n", "--namespace", default="default", help="namespace, where the manifest names none")
    asked.add_argument(
        "--runtime-image",
        default="modelward-runtime",
        metavar="IMAGE",
        help="serving image, where the manifest names none",
    )
    asked.add_argument(
        "--operator-namespace",
        default="modelward-system",
        metavar="NAMESPACE",
        help="where the operator runs, for the NetworkPolicy (default %(default)s)",
    )
    asked.add_argument(
        "-o", "--output", choices=("yaml", "json"), default="yaml", help="manifests, or one JSON document"
    )
    return asked


if __name__ == "__main__":
    sys.exit(main())
