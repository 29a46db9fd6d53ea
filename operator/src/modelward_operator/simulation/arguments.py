"""What `simulate` takes. Called by `modelward_operator.cli`; nothing heavy is imported here."""

import argparse
from typing import Final

from modelward_operator.simulation.rhythm import Rhythm
from modelward_operator.simulation.trace import ServiceTime

USUAL: Final = Rhythm()


def add_simulate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    told = commands.add_parser(
        "simulate", help="replay a request trace on specs, and print latency, cold starts and cost; needs no cluster"
    )
    told.add_argument("--trace", metavar="CSV", help="the trace: time,requests,seconds; or - for standard input")
    told.add_argument(
        "--spec", metavar="YAML", help="ModelDeployments to compare, with PriceBooks, CostBudgets and Nodes beside them"
    )
    told.add_argument(
        "--parallel",
        type=_at_least_one,
        default=1,
        metavar="N",
        help="requests that one replica works on at once; default: 1",
    )
    told.add_argument(
        "--start-seconds",
        type=_positive,
        default=30.0,
        metavar="S",
        help="how long a pod takes to be ready; default: 30",
    )
    told.add_argument(
        "--service",
        type=ServiceTime,
        choices=[*ServiceTime],
        default=ServiceTime.CONSTANT,
        help="how the service times of single requests are distributed; default: constant",
    )
    told.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of the times at which requests arrive; default: 1"
    )
    told.add_argument("--out", metavar="DIR", help="write report.json, and NAME.csv and NAME.svg for each model there")
    told.add_argument("--json", action="store_true", help="print JSON instead of the page")
    told.add_argument(
        "--make-trace",
        metavar="CSV",
        help="write a synthetic trace (days, weeks, bursts) and end; - is standard output",
    )
    told.add_argument(
        "--days", type=_at_least_one, default=USUAL.days, metavar="N", help="with --make-trace: its length; default: 7"
    )
    told.add_argument(
        "--peak",
        type=_positive,
        default=USUAL.peak,
        metavar="RATE",
        help="with --make-trace: requests a second at noon; default: 4",
    )
    told.add_argument(
        "--seconds",
        type=_positive,
        default=USUAL.seconds,
        metavar="S",
        help="with --make-trace: mean service time; default: 1.5",
    )


def _at_least_one(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100_000:
        raise argparse.ArgumentTypeError("must be from 1 to 100000")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 86400")
    return value
