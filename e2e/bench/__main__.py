"""`python -m e2e.bench SUITE`: runs one suite, inside the embedded cluster's network if it needs one. Exits 1 when a bar is missed."""

from __future__ import annotations

import argparse
import os
import signal
import sys

import httpx

from e2e.bench import access, activator, apply, decisions, policy, scaling, sealed, sources
from e2e.bench.limits import suite as limits
from e2e.bench.operator import suite as operator
from e2e.bench.serving import command as serving
from e2e.bench.serving.failures import ImpossibleError
from e2e.cluster.failures import ClusterError
from e2e.demo.inside import enter_cluster
from e2e.demo.kube import KubectlError

# The suites that exist. Each takes the number of rounds and says whether its bars were held.
SUITES = {
    "apply": apply.run,  # from `kubectl apply` to the first prediction, by stage; memory; writes of an unchanged object
    "access": access.run,  # what the door costs a call whose token is known, next to the same server without a door
    "activator": activator.run,  # what the activator adds to a call while it is in the path, over REST and gRPC
    "decisions": decisions.run,  # how many models the autoscaler decides about in a second, on one core
    "limits": limits.run,  # a model's latency and throughput under CPU limits, for the defaults and what else could be
    "operator": operator.run,  # how many models the operator holds, beside others, on a real API server; no cluster
    "scaling": scaling.run,  # replicas after a burst; requests at zero; what the activator adds
    "sealed": sealed.run,  # a sealed model's start next to the plain one's; memory; decryption next to bare AES-GCM
    "sources": sources.run,  # a model of 1 GB: our fetch beside curl, a restart with it on disk, probes meanwhile
    "serving": serving.run,  # our server beside others: throughput, latency, work, start, memory; PEERS=all
    "policy": policy.run,  # what a privacy policy costs a call; text searched for personal data: speed, precision, recall
}
ROUNDS = {"serving": 3, "sources": 5}  # where it is not seven
WITHOUT_CLUSTER = {"access", "activator", "decisions", "limits", "operator", "policy", "sealed", "serving", "sources"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="e2e.bench", description=__doc__)
    parser.add_argument("suite", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument(
        "--rounds",
        type=int,
        default=int(os.environ.get("ROUNDS") or 0),
        help="rounds that count, default $ROUNDS, or the suite's own number; most suites warm up with one more",
    )
    arguments = parser.parse_args()
    if arguments.suite not in SUITES:
        print(f"bench: unknown SUITE '{arguments.suite}'; there are: {', '.join(SUITES)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended as well
    try:
        if arguments.suite not in WITHOUT_CLUSTER:
            enter_cluster("e2e.bench")
    except (RuntimeError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    try:
        return 0 if SUITES[arguments.suite](arguments.rounds or ROUNDS.get(arguments.suite, 7)) else 1
    except (ClusterError, ImpossibleError, KubectlError, TimeoutError, httpx.HTTPError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
