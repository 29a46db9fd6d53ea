"""What the serving pods run as: a ServiceAccount of the model's own, or one that its owner keeps (`spec.serviceAccount`).

    spec names one ──▶ the pods run as it, none is made
    otherwise ───────▶ one of the model's name is made, with the labels and annotations by which clouds know a workload

While pods of the revision before still run as another account, that one stands and keeps its grants: a token dies with its account, and
with it would the calls that these pods answer.
"""

from collections.abc import Iterator

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names


def account_name(given: Given, spec: ModelDeploymentSpec) -> str:
    """Return the ServiceAccount that new pods run as."""
    return (spec.service_account and spec.service_account.name) or given.key.name


def accounts_in_use(given: Given, spec: ModelDeploymentSpec) -> list[str]:
    """Return that account, and those that pods of this model's own Deployment still run as."""
    planned = account_name(given, spec)
    return [planned, *sorted(set(_of_pods(given)) - {planned})]


def pods_of(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    """Return the subjects of a RoleBinding that mean the pods."""
    return [
        {"kind": "ServiceAccount", "name": name, "namespace": given.key.namespace}
        for name in accounts_in_use(given, spec)
    ]


def service_account(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    """Return the ServiceAccount of the model's own; no token is mounted by itself: a room that needs one adds a volume with it."""
    named = spec.service_account.name if spec.service_account else None
    # Of two of one name the user's is the one that is meant, unless the operator had made it before.
    if given.key.name not in accounts_in_use(given, spec) or (named == given.key.name and not _stands(given)):
        return []
    account = names.child(given, "v1", "ServiceAccount", given.key.name, automountServiceAccountToken=False)
    if spec.service_account is None:
        return [account]
    metadata = account["metadata"]
    metadata["labels"] = {**spec.service_account.labels, **metadata["labels"]}
    if spec.service_account.annotations:
        metadata["annotations"] = dict(spec.service_account.annotations)
    return [account]


def _stands(given: Given) -> bool:
    """True while the one that the operator made is there."""
    live = given.child("ServiceAccount", given.key.name)
    return bool(live) and _controller(live) == given.uid


def _of_pods(given: Given) -> Iterator[str]:
    """Of pods that anybody else made with our labels the account counts for nothing: it would be granted what is this model's."""
    workload = given.child("Deployment", given.key.name).get("metadata", {}).get("uid", "")
    ours = {owned["metadata"].get("uid") for owned in given.replica_sets if _controller(owned) == workload}
    for pod in given.pods:
        name = pod.raw.get("spec", {}).get("serviceAccountName", "")
        if name and not pod.over and workload and _controller(pod.raw) in ours:
            yield name


def _controller(obj: Json) -> str:
    return next((str(o["uid"]) for o in obj["metadata"].get("ownerReferences", ()) if o.get("controller")), "")
