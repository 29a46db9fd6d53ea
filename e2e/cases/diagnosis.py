"""What a person would look at when a case failed: the ModelDeployments, pods, events and the operator's log."""

import httpx
import yaml

from e2e.cases.case import OPERATOR, OPERATOR_NAMESPACE, Case
from e2e.cases.kube import Refused


def diagnose(case: Case) -> str:
    """Collect it all as text; a part that cannot be had says so."""
    parts = [
        ("ModelDeployments", _models(case)),
        ("all", _kubectl(case, "get", "all,networkpolicies,endpointslices", "-o", "wide", "-n", case.namespace)),
        ("events", _kubectl(case, "get", "events", "--sort-by=.lastTimestamp", "-n", case.namespace)),
        ("pods' logs", _logs(case)),
        ("operator's log", _kubectl(case, "logs", f"deployment/{OPERATOR}", "-n", OPERATOR_NAMESPACE, "--tail=60")),
    ]
    return "\n".join(f"--- {title}\n{text}" for title, text in parts)


def _models(case: Case) -> str:
    try:
        models = case.kube.list("ModelDeployment", case.namespace)
    except httpx.HTTPError as error:
        return f"({error})"
    for model in models:
        model["metadata"].pop("managedFields", None)
    return str(yaml.safe_dump_all(models, sort_keys=False))


def _logs(case: Case) -> str:
    try:
        pods = case.kube.list("Pod", case.namespace)
        names = [pod["metadata"]["name"] for pod in pods]
        return "\n".join(f"{name}:\n{case.kube.logs(name, case.namespace, lines=40)}" for name in names)
    except httpx.HTTPError as error:
        return f"({error})"


def _kubectl(case: Case, *arguments: str) -> str:
    try:
        return case.kube.kubectl(*arguments)
    except Refused as refused:
        return f"({refused})"
