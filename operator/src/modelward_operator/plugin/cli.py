"""The command `kubectl modelward`, found by kubectl because it is called `kubectl-modelward` and lies on the PATH.

    kubectl modelward status NAME            the chain of conditions, and what to do next
    kubectl modelward predict NAME -f FILE   one prediction
    kubectl modelward history NAME           which revisions have served; rollback NAME [--to N] goes back to one
    kubectl modelward plan -f FILE           the children that a manifest would get; needs no cluster
    kubectl modelward cost                   what models cost
    kubectl modelward evidence NAME          what is loaded, who signed it, which policy holds
    kubectl modelward doctor                 the installation

All but `plan` take -n, --context, --kubeconfig and --as, before or after the command, and hand them to kubectl; all take -o json.
Exit status: 0 well; 1 not well (gaps, not ready, refused by the endpoint, something failed); 2 it could not be asked, or the API server
refused, or the arguments are wrong. Nothing heavy is imported until a command is known: `--help`, completion and mistakes answer at once.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from modelward_operator import __version__
from modelward_operator.cli import add_plan, describe, told
from modelward_operator.plugin.arguments import (
    Commands,
    add_cost,
    add_doctor,
    add_evidence,
    add_history,
    add_predict,
    add_rollback,
    add_status,
)

HANDED_ON: Final = ("context", "kubeconfig", "as")
"""Options that choose a cluster, or who asks: kubectl's own."""

ADDED: Final[Sequence[Callable[[Commands], argparse.ArgumentParser]]] = (
    add_status,
    add_predict,
    add_history,
    add_rollback,
    add_cost,
    add_evidence,
    add_doctor,
)
"""The commands that ask a cluster, in the order of the list."""

EXAMPLES: Final[Mapping[str, Sequence[str]]] = {
    "status": ("status fraud-scorer -n risk", "status fraud-scorer -n risk -o json"),
    "predict": (
        "predict fraud-scorer -n risk --describe",
        "predict fraud-scorer -n risk -f request.json -o text",
        "predict fraud-scorer -n risk -f - --service-account shop/checkout",
    ),
    "history": ("history fraud-scorer -n risk", "history fraud-scorer -n risk --revision 2"),
    "rollback": ("rollback fraud-scorer -n risk --dry-run", "rollback fraud-scorer -n risk --to 1 --cause 'too slow'"),
    "cost": ("cost -n risk", "cost -A --period Week --time-zone Europe/Berlin --csv"),
    "evidence": ("evidence fraud-scorer -n risk", "evidence fraud-scorer -n risk -o json"),
    "doctor": ("doctor", "doctor --operator-namespace serving"),
    "plan": ("plan -f fraud-scorer.yaml", "plan -f - -n risk -o json"),
}
"""What each command's own --help ends with."""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="kubectl modelward",
        description="What kubectl does not show of ModelWard. It asks by your own kubectl, with your context and your rights.",
        epilog="To begin: `kubectl modelward doctor` for the installation, `kubectl modelward status NAME` for a model. "
        "Exit status: 0 well, 1 not well, 2 it could not be asked.",
    )
    parser.add_argument("--version", action="version", version=f"kubectl modelward {__version__}")
    _add_common(parser, default="")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in ADDED:
        _add_common(add(commands), default=argparse.SUPPRESS)  # what was given before the command stands
    add_plan(commands)
    describe(commands)
    for name, lines in EXAMPLES.items():
        commands.choices[name].formatter_class = argparse.RawDescriptionHelpFormatter
        commands.choices[name].epilog = "\n".join(["examples:", *(f"  kubectl modelward {line}" for line in lines)])
    return parser


def _add_common(parser: argparse.ArgumentParser, *, default: str) -> None:
    parser.add_argument("-n", "--namespace", default=default, help="namespace; absent: the context's")
    parser.add_argument("--context", default=default, help="context of the kubeconfig")
    parser.add_argument("--kubeconfig", default=default, metavar="FILE", help="kubeconfig file")
    parser.add_argument("--as", default=default, metavar="USER", help="ask as somebody else, where that is allowed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = make_parser().parse_args(arguments)
    from modelward_operator.plugin.commands import COMMANDS  # noqa: PLC0415  `--help` and mistakes need none of it
    from modelward_operator.plugin.kubectl import Kubectl, KubectlError  # noqa: PLC0415  nor of this

    chosen = [part for name in HANDED_ON if (value := getattr(options, name)) for part in (f"--{name}", value)]

    def run() -> int:
        try:
            return COMMANDS[options.command](Kubectl(chosen), options)
        except KubectlError as error:
            print(f"kubectl modelward: {error}", file=sys.stderr)
            return 2

    return told("kubectl modelward", run)


if __name__ == "__main__":
    sys.exit(main())
