"""Values that travel through one reconcile pass: what was found, what shall be, what was done.

`cluster/gather.py` makes a `Given`; the pure parts (`api`, `policies`, `plan`, `status`) read it and nothing else;
`plan/` makes a `Plan`; `cluster/apply.py` answers with an `Applied`. Live Kubernetes objects are raw JSON, never changed
in place. An absent fact is an empty value, not None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.api.privacypolicy import PrivacyPolicySpec

Json = Mapping[str, Any]
"""A Kubernetes object, or a part of one, as JSON. Read only."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names what is reconciled. The queue carries keys, never events: a pass always looks at the present."""

    namespace: str
    name: str
    kind: str = "ModelDeployment"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Installation:
    """What the operator was installed with."""

    namespace: str
    runtime_image: str
    cluster_domain: str = "cluster.local"
    """Behind `.svc` in the full names of Services."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One serving pod: the live object, what its runtime reports, and the newest Warning about it."""

    raw: Json
    report: Json = field(default_factory=dict)
    """The runtime's GET /report, or empty when it could not be read (not running yet, time-out)."""
    warning: str = ""
    """Message of the newest Warning event, read only for pods that wait without a telling reason."""
    last_loaded: Json = field(default_factory=dict)
    """The newest report of this very container that said Ready, however old: what a container has loaded, it keeps."""
    mute: float = 0.0
    """Seconds since the kubelet first called the pod Ready and its runtime was asked in vain what it has loaded."""

    @property
    def loaded(self) -> Json:
        """The report in which the pod says what it has loaded; empty when it never has."""
        return self.report if self.report.get("state") == "Ready" else self.last_loaded

    @property
    def over(self) -> bool:
        """True when the pod ended for good (evicted, refused by its node): its ReplicaSet made another, and it may lie there for days."""
        return self.raw.get("status", {}).get("phase") in {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class Policy:
    """A ModelPolicy that selects the model's namespace."""

    name: str
    spec: ModelPolicySpec


@dataclass(frozen=True, slots=True)
class PrivacyPolicy:
    """The PrivacyPolicy that the model names, as it is now."""

    name: str
    generation: int
    spec: PrivacyPolicySpec


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies around a ModelDeployment and bears on it."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Of its Namespace; empty where nothing of this model depends on them and they cost a request."""
    policies: Sequence[Policy] = ()
    trust: Mapping[str, Json] = field(default_factory=dict)
    """The ConfigMaps that spec.security.verification.trust names, those that exist, by name; read only where a policy names signers."""
    privacy: Mapping[str, PrivacyPolicy] = field(default_factory=dict)
    """The PrivacyPolicy that spec.privacy names, by name; empty when it is not there."""
    tenant_claimed_by: str = ""
    """Another Namespace whose label says that its tenant is the name of this one, while this one has no such label."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a NetworkPolicy needs to know of a Service: its pods, and which of their ports stands behind which of its own."""

    selector: Mapping[str, str] = field(default_factory=dict)
    """Empty where no selector says which pods."""
    ports: Mapping[int, int | str] = field(default_factory=dict)
    """The pods' port, by number or name, behind each TCP port of the Service."""
    external_name: str = ""
    """The host that the Service is another name for."""
    is_hidden: bool = False
    """True when the operator has no right to read it."""


@dataclass(frozen=True, slots=True)
class Network:
    """What is known of the ways to and from the pods."""

    api_server: Sequence[tuple[str, int]] = ()
    """Addresses and ports of the API server, those behind its Service among them; empty where they could not be read."""
    services: Mapping[str, Service] = field(default_factory=dict)
    """Services by the host name that a URL gives them; without those that do not exist, or could not be read this time."""
    hosts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Addresses by host name, of those that could be looked up."""
    enforced: bool | None = None
    """False: a connection that the NetworkPolicy forbids went through. True: it did not. None: not known."""
    stale_after: float | None = None
    """Seconds after which these facts may be others, without an event that tells."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The public side of the operator's CA, read for models with a managed certificate."""

    bundle: str = ""
    """PEM of every CA certificate that clients shall trust; empty where none was read."""
    signer: str = ""
    """Fingerprint of the CA that signs now."""
    known: frozenset[str] = frozenset()
    """Fingerprints of all in the bundle."""


@dataclass(frozen=True, slots=True)
class Given:
    """Everything that one pass may know about one ModelDeployment."""

    key: Key
    raw: Json
    """The live ModelDeployment."""
    children: Sequence[Json]
    """Live objects of the kinds in `plan.names.CHILD_KINDS` that carry the model's label or a name that the plan would use."""
    replica_sets: Sequence[Json]
    pods: Sequence[Pod]
    installation: Installation
    now: datetime
    """Aware, UTC."""
    around: Surroundings = field(default_factory=Surroundings)
    network: Network = field(default_factory=Network)
    authority: Authority = field(default_factory=Authority)

    @property
    def uid(self) -> str:
        """The ModelDeployment's UID, which its children carry as owner."""
        return str(self.raw["metadata"]["uid"])

    @property
    def generation(self) -> int:
        """The generation of the spec that this pass speaks of."""
        return int(self.raw["metadata"].get("generation", 0))

    def child(self, kind: str, name: str) -> Json:
        """Return the live child of that kind and name, or an empty object."""
        return next((c for c in self.children if c["kind"] == kind and c["metadata"]["name"] == name), {})


@dataclass(frozen=True, slots=True)
class Order:
    """A certificate to be issued: the Secret is made beside the plan, because its content is nobody's to plan."""

    dns_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The children that shall exist, each complete but for what others own. What is ours and not here is pruned, but for a partial plan."""

    objects: Sequence[Json]
    handover_replicas: int | None = None
    """Set when the Deployment leaves `spec.replicas` to somebody else: the value that stands while ownership changes hands."""
    certificate: Order | None = None
    """Set when a certificate must be issued before the pods can start."""
    ledgers: Sequence[Json] = ()
    """Objects that nobody owns and that are made where they are missing, never changed and never pruned."""
    partial: bool = False
    """True when the plan is not all that shall exist: nothing is pruned."""

    def find(self, kind: str) -> Json:
        """Return the one planned object of that kind, or an empty object."""
        return next((o for o in self.objects if o["kind"] == kind), {})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A child that could not be written, and why."""

    kind: str
    name: str
    reason: str
    """`NotOwned` (it exists and is somebody else's), `Rejected` (the API server said 4xx) or `Unwritten` (5xx, time-out)."""
    message: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What one apply did: how many writes, and which children were refused."""

    writes: int = 0
    refusals: Sequence[Refusal] = ()
