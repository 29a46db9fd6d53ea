"""Draw the plan: the literal list of children. Called by `reconcile.py` and, offline, by `cli.py`.

To add a child kind: a builder file here, a line in `draw`, its kind in `names.CHILD_KINDS`, its rule in the chart, a golden.
"""

from modelward_operator.api.access import TlsMode
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json, Plan
from modelward_operator.plan import names
from modelward_operator.plan.certificate import certificate
from modelward_operator.plan.config import boot_config, policy_config
from modelward_operator.plan.deployment import deployment
from modelward_operator.plan.networkpolicy import network_policy
from modelward_operator.plan.poddisruptionbudget import pod_disruption_budget
from modelward_operator.plan.replicas import replicas_for
from modelward_operator.plan.role import predict_role
from modelward_operator.plan.rolebinding import predict_binding, review_binding
from modelward_operator.plan.service import service
from modelward_operator.plan.serviceaccount import service_account
from modelward_operator.plan.spending import ledgers, spending
from modelward_operator.policies.access.rule import asks_api, authentication_of, tls_of
from modelward_operator.rulings import Ruling


def draw(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> Plan:
    """Return the children in the order in which they are applied: what pods need comes before the pods."""
    replicas = replicas_for(given, ruling)
    boot = boot_config(given, spec, ruling)
    certificates, order = certificate(given, spec)
    objects: list[Json] = [
        service_account(given),  # the pods' identity
        *_rights(given, spec),  # who may call, and that the pods may ask
        *spending(given, ruling),  # that they may spend from a privacy budget
        boot,  # what to load and how to serve: a change rolls the pods
        policy_config(given, ruling),  # what is enforced live
        *certificates,  # the CA that clients trust, and which certificate stands
        network_policy(given, spec, ruling),  # closed before the first pod runs
        service(given, has_tls=tls_of(spec).mode is not TlsMode.OFF),  # the address
        deployment(given, spec, ruling, replicas, boot["metadata"]["name"]),  # the pods
    ]
    if replicas.expected >= 2:
        objects.append(pod_disruption_budget(given))  # a drain takes one replica at a time
    handover = None if replicas.owned is not None else replicas.expected
    return Plan(tuple(map(marked, objects)), handover, order, tuple(ledgers(given, ruling)))


def _rights(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    subjects = authentication_of(spec).allowed_subjects
    granted = [predict_role(given), predict_binding(given, subjects)] if subjects else []
    return [*([review_binding(given)] if asks_api(spec) else []), *granted]


def marked(planned: Json) -> Json:
    """Return the object with the hash of what is applied, so that a field which leaves the plan is seen to be gone."""
    metadata = planned["metadata"]
    annotations = {**metadata.get("annotations", {}), names.APPLIED: names.fingerprint(planned)[:16]}
    return {**planned, "metadata": {**metadata, "annotations": annotations}}
