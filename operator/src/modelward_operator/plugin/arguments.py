"""What each command of the plugin takes. Called by `cli.py`, which adds the options that choose a cluster.

Nothing heavy is imported here: `--help`, completion and mistakes need no more than this.
"""

import argparse
import re
from typing import Final, TypeAlias

from modelward_operator.api.period import Period

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  argparse has no public name for it

LONGEST: Final = 86_400
"""Seconds that somebody may wait for an answer."""
_NAME: Final = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")


def add_status(commands: Commands) -> argparse.ArgumentParser:
    """Add the command `status` and its options."""
    asked = commands.add_parser("status", help="show the chain of conditions, and what to do next about each")
    asked.add_argument("name", type=_model_name, metavar="NAME", help="the ModelDeployment")
    asked.add_argument("-o", "--output", choices=("text", "json"), default="text", help="a page, or JSON")
    return asked


def add_predict(commands: Commands) -> argparse.ArgumentParser:
    """Add the command `predict` and its options."""
    asked = commands.add_parser(
        "predict", help="ask a model for a prediction: JSON of the Open Inference Protocol in, JSON out"
    )
    asked.add_argument("name", type=_model_name, metavar="NAME", help="the ModelDeployment")
    what = asked.add_mutually_exclusive_group(required=True)
    what.add_argument("-f", "--filename", metavar="FILE", help="the request, or - for standard input")
    what.add_argument("--describe", action="store_true", help="print which tensors it takes and gives instead")
    who = asked.add_mutually_exclusive_group()
    who.add_argument(
        "--service-account",
        default="",
        metavar="[NAMESPACE/]NAME",
        help="ask as this one; absent: the first of allowedSubjects",
    )
    who.add_argument(
        "--token-file", default="", metavar="FILE", help="ask with the token in this file, or - for standard input"
    )
    asked.add_argument(
        "--ca-file",
        default="",
        metavar="FILE",
        help="trust these certificates; absent: those that the operator publishes",
    )
    asked.add_argument(
        "--timeout",
        type=_patience,
        default=60.0,
        metavar="SECONDS",
        help="how long to wait for the answer, a start from zero included (default %(default)g)",
    )
    asked.add_argument(
        "--operator-namespace",
        default="modelward-system",
        metavar="NAMESPACE",
        help="where the activator runs, for a model at zero (default %(default)s)",
    )
    asked.add_argument(
        "-o",
        "--output",
        choices=("json", "text"),
        default="json",
        help="the answer as it came, or its tensors in lines",
    )
    return asked


def add_history(commands: Commands) -> argparse.ArgumentParser:
    """Add the command `history` and its options."""
    asked = commands.add_parser(
        "history", help="show which revisions have served, with which bytes, since when and why"
    )
    asked.add_argument("name", type=_model_name, metavar="NAME", help="the ModelDeployment")
    asked.add_argument("--revision", type=int, metavar="N", help="show this one in full")
    asked.add_argument("-o", "--output", choices=("text", "json"), default="text", help="a table, or JSON")
    return asked


def add_rollback(commands: Commands) -> argparse.ArgumentParser:
    """Add the command `rollback` and its options."""
    asked = commands.add_parser(
        "rollback", help="change the spec back to what a revision served, but for scaling and protection"
    )
    asked.add_argument("name", type=_model_name, metavar="NAME", help="the ModelDeployment")
    asked.add_argument(
        "--to", type=int, metavar="N", help="the revision; absent: the last one that served something else"
    )
    asked.add_argument(
        "--cause", default="", metavar="TEXT", help="why, for the history; absent: that it was rolled back"
    )
    asked.add_argument("--no-pin", action="store_true", help="do not declare the digest that the revision served")
    asked.add_argument(
        "--dry-run",
        action="store_true",
        help="ask the API server whether it would take the change, and leave all as it is",
    )
    asked.add_argument("--force", action="store_true", help="patch an object that Flux, Argo CD or Helm owns")
    asked.add_argument("-o", "--output", choices=("text", "json"), default="text", help="a page, or JSON")
    return asked


def add_cost(commands: Commands) -> argparse.ArgumentParser:
    """Add the command `cost` and its options."""
    asked = commands.add_parser("cost", help="show what models cost, what is left of budgets, and what idle ones waste")
    asked.add_argument("-A", "--all-namespaces", action="store_true", help="the models of every namespace")
    asked.add_argument(
        "--period",
        choices=[str(period) for period in Period],
        default=str(Period.MONTH),
        help="the period that now runs; default: Month",
    )
    asked.add_argument(
        "--time-zone", default="UTC", metavar="ZONE", help="where it begins, for example Europe/Berlin; default: UTC"
    )
    asked.add_argument("--no-idle", action="store_true", help="do not ask the pods how long nobody has called")
    form = asked.add_mutually_exclusive_group()
    form.add_argument(
        "-o", "--output", choices=("text", "json", "csv"), default="text", help="a page, or a file's contents"
    )
    form.add_argument("--json", dest="output", action="store_const", const="json", help="the same as -o json")
    form.add_argument(
        "--csv", dest="output", action="store_const", const="csv", help="the same as -o csv: the models' rows"
    )
    return asked


def add_evidence(commands: Commands) -> argparse.ArgumentParser:
    """Add the command `evidence` and its options."""
    asked = commands.add_parser(
        "evidence", help="show what is loaded, who signed it, and which policy which pods enforce"
    )
    asked.add_argument("name", type=_model_name, metavar="NAME", help="the ModelDeployment")
    asked.add_argument("-o", "--output", choices=("text", "json"), default="text", help="a page, or JSON for a file")
    return asked


def add_doctor(commands: Commands) -> argparse.ArgumentParser:
    """Add the command `doctor` and its options."""
    asked = commands.add_parser(
        "doctor", help="examine the installation: CRDs, operator, leader, clocks, rights, watches, admission, images"
    )
    asked.add_argument(
        "--operator-namespace",
        default="",
        metavar="NAMESPACE",
        help="where the operator runs; absent: where one is found, else modelward-system",
    )
    asked.add_argument("-o", "--output", choices=("text", "json"), default="text", help="a page, or JSON")
    return asked


def _model_name(text: str) -> str:
    """Return the name as it was given. Raises ArgumentTypeError for what kubectl would take for something else."""
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a ModelDeployment: lower-case letters, digits and -")
    return text


def _patience(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"it must be more than 0 and at most {LONGEST}, not {text}")
    return seconds
