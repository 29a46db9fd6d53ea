"""Read what lies around a ModelDeployment and bears on it: its namespace's labels, the policies over it, the privacy policy that it names,
the public keys it trusts.

    operator serves every namespace   store ──▶ Namespaces, ModelPolicies         watched once for all models, no request
    operator serves some namespaces   API ────▶ the Namespace, only for a model that is sealed or verified   (kept 30 s)
                                                ModelPolicies are the cluster's: not read, admission alone enforces them
    the model names a PrivacyPolicy   store ──▶ it; before it counts as missing, the API is asked
    a policy names trusted signers    API ────▶ the trust ConfigMaps of the model                            (kept 10 s)

Called by gather.py, once a pass. What cannot be read is Unreadable, so that the last ruling holds; a ConfigMap that is not there is an
absent fact.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from modelward_operator.api.parse import Invalid, may_select, parse, parse_policy, parse_privacy
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import CONFIG_MAP, NAMESPACE, PRIVACY, Resource
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Json, Key, Policy, PrivacyPolicy, Surroundings
from modelward_operator.plan.names import TENANT_LABEL

NAMESPACE_AGE: Final = 30.0
TRUST_AGE: Final = 10.0
"""Seconds for which an answer is believed. Who loads under a new trust is a new container, and so a new pass."""
REMEMBERED: Final = 10_000


class Surveyor:
    """Reads surroundings through one store and one client."""

    def __init__(self, client: Client, store: Store, *, clusterwide: bool, clock: Callable[[], float]) -> None:
        self._client, self._store, self._clusterwide, self._clock = client, store, clusterwide, clock
        self._answers: dict[tuple[str, str, str], tuple[float, Json]] = {}

    async def read(self, key: Key, raw: Json) -> Surroundings:
        """Return what lies around the model `key`, whose live object is `raw`. Raises Unreadable."""
        labels = await self._labels(key.namespace, raw)
        policies, unread_policies = self._policies(labels) if self._clusterwide else ((), ())
        trust = await self._trust(key.namespace, raw, policies)
        privacy, unread = await self._privacy(key.namespace, privacy_policy_of(raw))
        claimant = self._claimant(key.namespace, raw, labels)
        return Surroundings(labels, policies, trust, privacy, claimant, unread, unread_policies)

    async def _labels(self, namespace: str, raw: Json) -> Mapping[str, str]:
        found: Json
        if self._clusterwide:
            found = self._store.read(NAMESPACE.kind, "", namespace)
        elif _is_bound_to_tenant(raw):
            found = await self._recent(NAMESPACE, "", namespace, NAMESPACE_AGE)
        else:
            return {}
        if not found:
            raise Unreadable(f"the namespace {namespace} is not known yet")
        labels: Mapping[str, str] = found["metadata"].get("labels") or {}
        return labels

    def _claimant(self, namespace: str, raw: Json, labels: Mapping[str, str]) -> str:
        """Return another namespace that is labelled as the tenant which this one would be by its name alone."""
        if not self._clusterwide or labels.get(TENANT_LABEL) or not _is_bound_to_tenant(raw):
            return ""
        return next(iter(self._store.labelled(TENANT_LABEL, namespace)), "")

    def _policies(self, labels: Mapping[str, str]) -> tuple[Sequence[Policy], Sequence[str]]:
        """Return the policies over a namespace, and what is wrong with each that cannot be read and may be one of them."""
        found: list[Policy] = []
        unread: list[str] = []
        for raw in self._store.policies():
            name, spec = raw["metadata"]["name"], parse_policy(raw)
            if isinstance(spec, Invalid):  # stored under another schema: what it demands is not known
                if may_select(raw, labels):
                    unread.append(f"ModelPolicy {name} (generation {_generation(raw)}) cannot be read: {spec}")
            elif spec.selects(labels):
                found.append(Policy(name, spec))
        return tuple(found), tuple(sorted(unread))

    async def _privacy(self, namespace: str, name: str) -> tuple[Mapping[str, PrivacyPolicy], str]:
        """Return the policy that the model names, or what is wrong with it.

        Without it the model loses its pods: an event under way must not look like absence.
        """
        if not name:
            return {}, ""
        raw: Json = self._store.read(PRIVACY.kind, namespace, name)
        if not raw:
            try:
                raw = await self._client.get(PRIVACY, namespace, name)
            except NotFound:
                return {}, ""
        generation, spec = _generation(raw), parse_privacy(raw)
        if not isinstance(spec, Invalid):
            return {name: PrivacyPolicy(name, generation, spec)}, ""
        stored = parse_privacy(raw, stored=True)
        if isinstance(stored, Invalid):
            return {}, f"PrivacyPolicy {name} (generation {generation}) cannot be read: {stored}"
        return {name: PrivacyPolicy(name, generation, stored, outdated=str(spec))}, ""

    async def _trust(self, namespace: str, raw: Json, policies: Sequence[Policy]) -> Mapping[str, Json]:
        if not any(policy.spec.trusted_signers for policy in policies):
            return {}
        spec = parse(raw)
        if isinstance(spec, Invalid) or spec.security.verification is None:
            return {}
        names = sorted({signer.key_ref.name for signer in spec.security.verification.trust})
        found = {name: await self._recent(CONFIG_MAP, namespace, name, TRUST_AGE) for name in names}
        return {name: config_map for name, config_map in found.items() if config_map}

    async def _recent(self, resource: Resource, namespace: str, name: str, age: float) -> Json:
        """Return what the API said of an object not long ago, or ask it; empty when it is not there."""
        ref = (resource.kind, namespace, name)
        told_at, answer = self._answers.get(ref, (float("-inf"), {}))
        if self._clock() - told_at < age:
            return answer
        try:
            answer = await self._client.get(resource, namespace, name)
        except NotFound:
            answer = {}
        if len(self._answers) >= REMEMBERED:
            self._answers.clear()
        self._answers[ref] = (self._clock(), answer)
        return answer


def privacy_policy_of(raw: Json) -> str:
    """Return the PrivacyPolicy that a raw ModelDeployment names, or an empty string; its spec may be one that cannot be parsed."""
    reference = _map(_map(_map(raw.get("spec")).get("privacy")).get("policyRef"))
    return str(reference.get("name") or "")


def _generation(raw: Json) -> int:
    return int(raw["metadata"].get("generation", 0))


def _map(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _is_bound_to_tenant(raw: Json) -> bool:
    """True when the model's boot.json names the tenant. Read from the raw object: the spec may be one that cannot be parsed."""
    security = _map(_map(raw.get("spec")).get("security"))
    return bool(security.get("encryption") or security.get("verification"))
