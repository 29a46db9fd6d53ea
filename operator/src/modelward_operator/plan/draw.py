"""Draw the plan: the literal list of children. Called by `reconcile.py` and, offline, by `cli.py`.

To add a child kind: a builder file here, a line in `draw`, its kind in `names.CHILD_KINDS`, its rule in the chart, a golden.
"""

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json, Plan
from modelward_operator.plan import names
from modelward_operator.plan.config import boot_config, policy_config
from modelward_operator.plan.deployment import deployment
from modelward_operator.plan.networkpolicy import network_policy
from modelward_operator.plan.poddisruptionbudget import pod_disruption_budget
from modelward_operator.plan.replicas import replicas_for
from modelward_operator.plan.service import service
from modelward_operator.plan.serviceaccount import service_account
from modelward_operator.plan.spending import ledgers, spending
from modelward_operator.rulings import Ruling


def draw(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> Plan:
    """Return the children in the order in which they are applied: what pods need comes before the pods."""
    replicas = replicas_for(given, ruling)
    boot = boot_config(given, spec, ruling)
    objects: list[Json] = [
        service_account(given),  # the pods' identity
        *spending(given, ruling),  # that they may spend from a privacy budget
        boot,  # what to load and how to serve: a change rolls the pods
        policy_config(given, ruling),  # what is enforced live
        network_policy(given, ruling),  # closed before the first pod runs
        service(given),  # the address
        deployment(given, spec, ruling, replicas, boot["metadata"]["name"]),  # the pods
    ]
    if replicas.expected >= 2:
        objects.append(pod_disruption_budget(given))  # a drain takes one replica at a time
    return Plan(
        tuple(map(marked, objects)),
        None if replicas.owned is not None else replicas.expected,
        ledgers=tuple(ledgers(given, ruling)),
    )


def marked(planned: Json) -> Json:
    """Return the object with the hash of what is applied, so that a field which leaves the plan is seen to be gone."""
    metadata = planned["metadata"]
    annotations = {**metadata.get("annotations", {}), names.APPLIED: names.fingerprint(planned)[:16]}
    return {**planned, "metadata": {**metadata, "annotations": annotations}}
