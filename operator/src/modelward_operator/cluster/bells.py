"""Whose pass a change is worth: the model's own, all of a namespace's, those that name a privacy policy or a Gateway, those that a kind
which comes or goes bears on, those of every namespace that a ModelPolicy selects, or, for a PriceBook, all. And what the accountant must
look at: a model's pods, or every price.

Rung by the streams of watch.py with the key of what changed. It puts keys of ModelDeployments on the queue and does nothing else.
A Node's kubelet writes it every few minutes; it rings only when its labels or what it has for pods are others. A Gateway's controller
writes how many routes it has; it rings only when it listens elsewhere.
A namespace's label names a tenant, which bears on the models of the namespace of that name as well.
A CostBudget wakes the evaluator of its namespace, which rings for the models whose number changes.
A policy that was changed or deleted rings for what it selected before as well: what it denied may serve again.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.api.parse import Invalid, parse_policy
from modelward_operator.api.scaling import Autoscaler
from modelward_operator.cluster.budgets import Wake
from modelward_operator.cluster.kinds import (
    BUDGET,
    EXPOSING,
    GATEWAY,
    MODEL,
    NAMESPACE,
    NODE,
    POLICY,
    PRICES,
    PRIVACY,
    SCALED_OBJECT,
)
from modelward_operator.cluster.prices import Prices
from modelward_operator.cluster.store import Store
from modelward_operator.cluster.surroundings import privacy_policy_of
from modelward_operator.facts import Json, Key
from modelward_operator.plan.names import TENANT_LABEL

Add = Callable[[Key, bool], None]
"""Takes the key of a ModelDeployment, and whether it is live news."""


class Bells:
    """Turns the key of what changed into keys of models."""

    def __init__(
        self,
        store: Store,
        add: Add,
        *,
        prices: Prices | None = None,
        pods_changed: Callable[[Key], None] = lambda _model: None,
        prices_changed: Callable[[], None] = lambda: None,
        wake: Wake = lambda _namespace: None,
    ) -> None:
        self._store, self._add, self._prices = store, add, prices
        self._pods_changed, self._prices_changed, self._wake = pods_changed, prices_changed, wake
        self._before: dict[str, ModelPolicySpec | Invalid] = {}
        self._special: Final[Mapping[str, Callable[[Key, bool], None]]] = {
            POLICY.kind: lambda policy, _live: self._ring_policy(policy.name),
            BUDGET.kind: lambda budget, _live: self._wake(budget.namespace),
            PRIVACY.kind: self._ring_privacy,
            NAMESPACE.kind: self._ring_around,
            GATEWAY.kind: self._ring_gateway,
            NODE.kind: self._ring_node,
            PRICES.kind: self._ring_prices,
        }
        """What a change of another kind than the model's own objects does."""
        self._gateways: dict[Key, Json] = {}  # what is kept of them
        self._tenants: dict[str, str] = {}  # the labels of namespaces, by namespace

    def ring(self, key: Key, live: bool) -> None:
        """Ring for every model that the object `key` bears on."""
        if not key.name:
            self._ring_kind(key)
        elif special := self._special.get(key.kind):
            special(key, live)
        else:
            self._add(key, live)
            self._pods_changed(key)

    def _ring_around(self, key: Key, live: bool) -> None:
        self._ring_namespace(key.name)
        self._ring_claimed(key.name)

    def _ring_node(self, key: Key, live: bool) -> None:
        if self._prices and self._prices.has_moved(key.name):
            self._prices_changed()

    def _ring_prices(self, key: Key, live: bool) -> None:
        self._prices_changed()
        for namespace in self._store.namespaces():
            self._ring_namespace(namespace)

    def _ring_namespace(self, namespace: str) -> None:
        for model in self._store.models_in(namespace):
            self._add(model, False)

    def _ring_kind(self, kind: Key) -> None:
        """Ring where a CustomResourceDefinition of others came or went, for the models that want an object of it."""
        is_kedas = kind.kind == SCALED_OBJECT.kind
        for model, spec in self._specs(kind.namespace, Autoscaler.KEDA if is_kedas else "parentRefs"):
            if is_kedas:
                is_wanted = (spec.get("scaling") or {}).get("autoscaler") == Autoscaler.KEDA
            else:
                is_wanted = kind.kind in _OF_GATEWAYS and bool(_gateways_of(spec, model))
            if is_wanted:
                self._add(model, False)

    def _ring_gateway(self, gateway: Key, live: bool) -> None:
        """Ring for the models that a Gateway exposes, or shall: they may be in any namespace.

        Its controller writes it for every route that comes or goes; that alone rings for nobody.
        """
        found = self._store.read(GATEWAY.kind, gateway.namespace, gateway.name)
        before, now = self._gateways.pop(gateway, {}), {part: found[part] for part in ("spec", "status") if found}
        if now:
            self._gateways[gateway] = now
        if now == before:
            return
        for model, spec in self._specs("", "parentRefs"):
            if (gateway.namespace, gateway.name) in _gateways_of(spec, model):
                self._add(model, live)

    def _specs(self, namespace: str, saying: str) -> Iterator[tuple[Key, Json]]:
        """Yield the models of a namespace, or of all, that may say this word, with their specs as they are written: few are parsed."""
        for each in [namespace] if namespace else self._store.namespaces():
            for model in self._store.models_in(each, saying):
                yield model, self._store.read(MODEL.kind, model.namespace, model.name).get("spec", {})

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


_OF_GATEWAYS: Final = frozenset({GATEWAY.kind, *(resource.kind for resource in EXPOSING if resource.is_optional)})


def _gateways_of(spec: Json, model: Key) -> set[tuple[str, str]]:
    """Return namespace and name of the Gateways that a spec names, whether or not the rest of it can be read."""
    refs = ((spec.get("exposure") or {}).get("gateway") or {}).get("parentRefs") or ()
    return {(ref.get("namespace") or model.namespace, ref.get("name", "")) for ref in refs}
