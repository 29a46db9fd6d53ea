"""The command. Exit status: 0 nothing was found, 1 something was."""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import e2e.fuzz.targets  # noqa: F401  registers them
from e2e.fuzz import corpus, results
from e2e.fuzz.replay import Found, try_one
from e2e.fuzz.session import Outcome, fuzz, keep
from e2e.fuzz.target import TARGETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m e2e.fuzz", description="Coverage-guided fuzzing; see e2e/fuzz/README.md."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"absent: all of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N", help="for each target")
    parser.add_argument(
        "--keep", action="store_true", help="put what was found worth keeping, and what broke, into e2e/fuzz/corpus/"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many targets at a time")
    parser.add_argument("--write", action="store_true", help="write the page e2e/fuzz/RESULTS.md")
    parser.add_argument("--again", action="store_true", help="only try what is kept again")
    given = parser.parse_args(arguments)
    names = given.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}; there are: {', '.join(TARGETS)}")
    if given.again:
        return sum(_again(name) for name in names) and 1
    with ThreadPoolExecutor(given.jobs) as lanes:
        outcomes = list(lanes.map(lambda name: _fuzz(name, given), names))
    return 1 if any(outcome.findings for outcome in outcomes) else 0


def _fuzz(name: str, given: argparse.Namespace) -> Outcome:
    target = TARGETS[name]
    outcome = fuzz(target, given.minutes * 60)
    print(
        f"{name}: {outcome.runs:,} inputs in {outcome.seconds:.0f} s, {outcome.covered} edges, {outcome.kept} kept",
        flush=True,
    )
    for what, data in outcome.findings.items():
        print(f"  FOUND {what}\n    {data[:400]!r}", flush=True)
        if given.keep:
            corpus.add_crash(name, data, what)
    if given.keep:
        keep(target)
    if given.write:
        results.write(outcome)
    return outcome


def _again(name: str) -> int:
    failed = 0
    for data in [*TARGETS[name].seeds, *corpus.load(name)]:
        try:
            try_one(TARGETS[name], data)
        except Found as found:
            failed += 1
            print(found)
    return failed


if __name__ == "__main__":
    sys.exit(main())
