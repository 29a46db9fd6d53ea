"""Draw the plan: the literal list of children. Called by `reconcile.py` and, offline, by `offline.py`.

To add a child kind: a builder file here, a line in `draw`, its kind in `names.CHILD_KINDS`, its rule in the chart, a golden.
"""

from dataclasses import replace

from modelward_operator.api.access import TlsMode
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json, Plan
from modelward_operator.plan import names
from modelward_operator.plan.activation import Step, needs_activator, next_step, standing_of
from modelward_operator.plan.certificate import certificate
from modelward_operator.plan.config import boot_config, policy_config
from modelward_operator.plan.deployment import deployment
from modelward_operator.plan.egress import egress
from modelward_operator.plan.endpointslice import endpoint_slice
from modelward_operator.plan.exposure import exposing
from modelward_operator.plan.handover import may_stand
from modelward_operator.plan.history import history
from modelward_operator.plan.horizontalpodautoscaler import horizontal_pod_autoscaler
from modelward_operator.plan.networkpolicy import network_policy
from modelward_operator.plan.poddisruptionbudget import pod_disruption_budget
from modelward_operator.plan.replicas import Replicas, replicas_for
from modelward_operator.plan.role import predict_role
from modelward_operator.plan.rolebinding import predict_binding, review_binding
from modelward_operator.plan.route import route
from modelward_operator.plan.scaledobject import scaled_object
from modelward_operator.plan.service import service
from modelward_operator.plan.serviceaccount import service_account
from modelward_operator.plan.spending import ledgers, spending
from modelward_operator.policies.access.rule import asks_api, authentication_of, tls_of
from modelward_operator.rulings import Ruling


def draw(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> Plan:
    """Return the children in the order in which they are applied: what pods need comes before the pods."""
    replicas, step = _pace(given, spec, ruling, replicas_for(given, spec, ruling))
    ports = given.activator.ports if step else None
    boot, out = boot_config(given, spec, ruling), egress(given, spec, ruling)
    certificates, order = certificate(given, spec)
    address = service(given, has_tls=tls_of(spec).mode is not TlsMode.OFF)
    objects: list[Json] = [
        *service_account(given, spec),  # the pods' identity, unless its owner keeps it
        *_rights(given, spec),  # who may call, and that the pods may ask
        *spending(given, spec, ruling),  # that they may spend from a privacy budget
        boot,  # what to load and how to serve: a change rolls the pods
        policy_config(given, ruling),  # what is enforced live
        *certificates,  # the CA that clients trust, and which certificate stands
        network_policy(given, spec, ruling, out),  # closed before the first pod runs
        address,
        *(
            [endpoint_slice(given, address, step, ports)] if step and ports else ()
        ),  # who answers while there are no pods
        *exposing(given, spec),  # how clients outside come to that address
        *_autoscaler(given, spec, ruling, replicas),  # paused before the number is taken from it
        deployment(given, spec, ruling, replicas, boot["metadata"]["name"]),  # the pods
    ]
    if replicas.expected >= 2:
        objects.append(pod_disruption_budget(given))  # a drain takes one replica at a time
    handover = None if replicas.owned is not None else replicas.expected
    return Plan(
        tuple(map(marked, objects)),
        handover,
        order,
        tuple(ledgers(given, ruling)),
        route=route(given, spec, ruling, ports) if ports else None,
        again=step.again if step else None,
        history=history(given, spec, objects),
        egress=out.words,
    )


def _pace(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, replicas: Replicas) -> tuple[Replicas, Step | None]:
    """Hold the number back while the activator joins; without one, the last replica of a model that may serve stays."""
    if not needs_activator(given, spec):
        kept = 0 if ruling.denied or not spec.scaling.reaches_zero else ruling.replicas.clamp(1)
        return _owned(replicas, max(replicas.expected, kept)), None
    able = tuple(given.activator.pods) if given.activator.ports else ()
    step = next_step(standing_of(given), replicas.expected, able, given.now, may_serve=not ruling.denied)
    return _owned(replicas, step.replicas), step


def _owned(replicas: Replicas, number: int) -> Replicas:
    """Change the number where it is the operator's to say."""
    return replicas if replicas.owned is None else replace(replicas, owned=number, expected=number)


def _autoscaler(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, replicas: Replicas) -> list[Json]:
    """Return the autoscaler of others that is chosen, once the number was let go of."""
    if not may_stand(given, spec, is_owned=replicas.owned is not None):
        return []
    return [*horizontal_pod_autoscaler(given, spec, ruling), *scaled_object(given, spec, ruling, replicas)]


def _rights(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    subjects = authentication_of(spec).allowed_subjects
    granted = [predict_role(given), predict_binding(given, subjects)] if subjects else []
    asking = [review_binding(given, spec, with_activator=needs_activator(given, spec))] if asks_api(spec) else []
    return [*asking, *granted]


def marked(planned: Json) -> Json:
    """Return the object with the hash of what is applied, so that a field which leaves the plan is seen to be gone."""
    metadata = planned["metadata"]
    annotations = {**metadata.get("annotations", {}), names.APPLIED: names.fingerprint_of_object(planned)[:16]}
    return {**planned, "metadata": {**metadata, "annotations": annotations}}
