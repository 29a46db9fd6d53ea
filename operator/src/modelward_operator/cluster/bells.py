"""Whose pass a change is worth: the model's own, all of a namespace's, those that name a privacy policy, or those of every namespace
that a ModelPolicy selects.

Rung by the streams of watch.py with the key of what changed. It puts keys of ModelDeployments on the queue and does nothing else.
A namespace's label names a tenant, which bears on the models of the namespace of that name as well.
A policy that was changed or deleted rings for what it selected before as well: what it denied may serve again.
"""

from collections.abc import Callable

from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.api.parse import Invalid, parse_policy
from modelward_operator.cluster.kinds import MODEL, NAMESPACE, POLICY, PRIVACY
from modelward_operator.cluster.store import Store
from modelward_operator.cluster.surroundings import privacy_policy_of
from modelward_operator.facts import Key
from modelward_operator.plan.names import TENANT_LABEL

Add = Callable[[Key, bool], None]
"""Takes the key of a ModelDeployment, and whether it is live news."""


class Bells:
    """Turns the key of what changed into keys of models."""

    def __init__(self, store: Store, add: Add) -> None:
        self._store, self._add = store, add
        self._before: dict[str, ModelPolicySpec | Invalid] = {}
        self._tenants: dict[str, str] = {}  # the labels of namespaces, by namespace

    def ring(self, key: Key, live: bool) -> None:
        """Ring for every model that the object `key` bears on."""
        if key.kind == POLICY.kind:
            self._ring_policy(key.name)
        elif key.kind == PRIVACY.kind:
            self._ring_privacy(key, live)
        elif key.kind == NAMESPACE.kind:
            self._ring_namespace(key.name)
            self._ring_claimed(key.name)
        else:
            self._add(key, live)

    def _ring_namespace(self, namespace: str) -> None:
        for model in self._store.models_in(namespace):
            self._add(model, False)

    def _ring_privacy(self, policy: Key, live: bool) -> None:
        """Ring for the models that name this policy."""
        for model in self._store.models_in(policy.namespace):
            if privacy_policy_of(self._store.read(MODEL.kind, model.namespace, model.name)) == policy.name:
                self._add(model, live)

    def _ring_claimed(self, namespace: str) -> None:
        """Ring for the namespace whose name this one's label claims as tenant, or claimed until now."""
        labels = self._store.read(NAMESPACE.kind, "", namespace).get("metadata", {}).get("labels") or {}
        before, now = self._tenants.pop(namespace, ""), labels.get(TENANT_LABEL, "")
        if now:
            self._tenants[namespace] = now
        for claimed in {before, now} - {"", namespace} if before != now else ():
            self._ring_namespace(claimed)

    def _ring_policy(self, name: str) -> None:
        raw = self._store.read(POLICY.kind, "", name)
        involved = [spec for spec in (self._before.pop(name, None), parse_policy(raw) if raw else None) if spec]
        if raw:
            self._before[name] = involved[-1]
        for namespace in self._store.namespaces():
            labels = self._store.read(NAMESPACE.kind, "", namespace).get("metadata", {}).get("labels", {})
            if any(isinstance(spec, Invalid) or spec.selects(labels) for spec in involved):
                self._ring_namespace(namespace)
