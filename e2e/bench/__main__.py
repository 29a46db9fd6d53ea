"""`python -m e2e.bench SUITE`: runs one suite, inside the embedded cluster's network if it needs one. Exits 1 when a bar is missed."""

from __future__ import annotations

import argparse
import sys

import httpx

from e2e.bench import access, apply, policy, sealed
from e2e.demo.inside import enter_cluster
from e2e.demo.kube import KubectlError

# The suites that exist. Each takes the number of rounds and says whether its bars were held.
SUITES = {
    "apply": apply.run,  # from `kubectl apply` to the first prediction, by stage; memory; writes of an unchanged object
    "access": access.run,  # what the door costs a call whose token is known, next to the same server without a door
    "sealed": sealed.run,  # a sealed model's start next to the plain one's; memory; decryption next to bare AES-GCM
    "policy": policy.run,  # what a privacy policy costs a call; text searched for personal data: speed, precision, recall
}
WITHOUT_CLUSTER = {"access", "policy", "sealed"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="e2e.bench", description=__doc__)
    parser.add_argument("suite", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count; one more comes first to warm up")
    arguments = parser.parse_args()
    if arguments.suite not in SUITES:
        print(f"bench: unknown SUITE '{arguments.suite}'; there are: {', '.join(SUITES)}", file=sys.stderr)
        return 2
    try:
        if arguments.suite not in WITHOUT_CLUSTER:
            enter_cluster("e2e.bench")
    except (RuntimeError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    try:
        return 0 if SUITES[arguments.suite](arguments.rounds) else 1
    except (KubectlError, TimeoutError, httpx.HTTPError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
