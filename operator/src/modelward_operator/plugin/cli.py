"""The command `kubectl modelward`, found by kubectl because it is called `kubectl-modelward` and lies on the PATH.

    kubectl modelward evidence NAME [-n NAMESPACE] [-o text|json] [--context C] [--kubeconfig FILE]

Exit status: 0 the evidence has no gaps, 1 it has some, 2 it could not be read at all.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from modelward_operator.plan.names import MODEL_LABEL, policy_config_name
from modelward_operator.plugin.evidence import Json, Seen, evidence, policy_file_of
from modelward_operator.plugin.kubectl import Kubectl, KubectlError
from modelward_operator.plugin.text import page


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="kubectl modelward", description="What kubectl does not show of ModelWard.")
    commands = parser.add_subparsers(dest="command", required=True)
    asked = commands.add_parser(
        "evidence", help="show what is loaded, who signed it, and which policy which pods enforce"
    )
    asked.add_argument("name", metavar="NAME", help="the ModelDeployment")
    asked.add_argument("-n", "--namespace", default="", help="its namespace; absent: the context's")
    asked.add_argument("-o", "--output", choices=("text", "json"), default="text", help="a page, or JSON for a file")
    asked.add_argument("--context", default="", help="context of the kubeconfig")
    asked.add_argument("--kubeconfig", default="", help="kubeconfig file")
    options = parser.parse_args(arguments)
    chosen = (("--context", options.context), ("--kubeconfig", options.kubeconfig))
    kubectl = Kubectl([part for flag, value in chosen if value for part in (flag, value)])
    try:
        found = gather(kubectl, options.namespace or kubectl.namespace(), options.name)
    except KubectlError as error:
        print(f"kubectl modelward: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found, indent=2) if options.output == "json" else page(found))
    return 1 if found["gaps"] else 0


def gather(kubectl: Kubectl, namespace: str, name: str) -> Json:
    """Read all that the evidence rests on. Raises KubectlError where there is no such model, or no right to see it."""
    model = kubectl.read("modeldeployments.modelward.dev", name, "-n", namespace)
    policy_file = policy_file_of(_perhaps(kubectl, "configmap", policy_config_name(name), "-n", namespace))
    reference = (model["spec"].get("privacy") or {}).get("policyRef", {}).get("name", "")
    policy = _perhaps(kubectl, "privacypolicies.modelward.dev", reference, "-n", namespace) if reference else {}
    pods = kubectl.read("pods", "-n", namespace, "-l", f"{MODEL_LABEL}={name}")["items"]
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return evidence(model, policy_file, policy, _ask(kubectl, namespace, pods), at)


def _perhaps(kubectl: Kubectl, *arguments: str) -> Json:
    """An object, or nothing: that it cannot be read is a gap, not an end."""
    try:
        return kubectl.read(*arguments)
    except KubectlError:
        return {}


def _ask(kubectl: Kubectl, namespace: str, pods: Iterable[Json]) -> Iterator[Seen]:
    for pod in pods:
        try:
            yield Seen(pod, kubectl.report(namespace, pod["metadata"]["name"]))
        except KubectlError as error:
            yield Seen(pod, {}, str(error))


if __name__ == "__main__":
    sys.exit(main())
