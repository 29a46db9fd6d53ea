"""The two RoleBindings: who may call the model, and that its pods may ask who may."""

from collections.abc import Iterable

from modelward_operator.api.access import Subject, SubjectKind
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.role import RBAC
from modelward_operator.plan.serviceaccount import pods_of


def predict_binding(given: Given, subjects: Iterable[Subject]) -> Json:
    """Return the RoleBinding of `allowedSubjects` to their Role; each once, sorted, so that their order is no change."""
    drawn = {names.canonical_json(found): found for found in map(_subject, subjects)}
    name = names.predict_role_name(given.key.name)
    return _binding(given, name, "Role", name, [drawn[key] for key in sorted(drawn)])


def review_binding(given: Given, spec: ModelDeploymentSpec, *, with_activator: bool) -> Json:
    """Return the RoleBinding that lets the pods make LocalSubjectAccessReviews in their namespace; it lets them read nothing.

    The activator asks the same while there are no pods.
    """
    asking = pods_of(given, spec)
    if with_activator:
        asking.append({"kind": "ServiceAccount", "name": names.ACTIVATOR, "namespace": given.installation.namespace})
    return _binding(given, names.review_binding_name(given.key.name), "ClusterRole", names.REVIEW_ROLE, asking)


def _binding(given: Given, name: str, kind: str, role: str, subjects: list[Json]) -> Json:
    reference = {"apiGroup": RBAC, "kind": kind, "name": role}
    return names.child(given, f"{RBAC}/v1", "RoleBinding", name, roleRef=reference, subjects=subjects)


def _subject(subject: Subject) -> Json:
    if subject.kind is SubjectKind.SERVICE_ACCOUNT:
        return {"kind": "ServiceAccount", "name": subject.name, "namespace": subject.namespace}
    return {"apiGroup": RBAC, "kind": subject.kind.value, "name": subject.name}
