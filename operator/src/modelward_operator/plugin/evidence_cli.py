"""`kubectl modelward evidence`: reads what `evidence.py` compares, by the user's own kubectl. Called by `commands.py`."""

import argparse
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from modelward_operator.plan.names import MODEL_LABEL, policy_config_name
from modelward_operator.plugin.evidence import Json, Seen, evidence, policy_file_of
from modelward_operator.plugin.kubectl import MODELS, Kubectl, KubectlError
from modelward_operator.plugin.text import page


def show_evidence(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Run the command; return its exit status: 0 there are no gaps, 1 there are."""
    found = gather(kubectl, options.namespace or kubectl.namespace(), options.name)
    print(json.dumps(found, indent=2) if options.output == "json" else page(found))
    return 1 if found["gaps"] else 0


def gather(kubectl: Kubectl, namespace: str, name: str) -> Json:
    """Read all that the evidence rests on. Raises KubectlError where there is no such model, or no right to see it."""
    model = kubectl.read(MODELS, name, "-n", namespace)
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
