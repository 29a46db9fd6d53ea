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
    has_activator: bool = True
    """False: nobody takes requests while a model has no pods, and no model may go to zero for want of them."""


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
    outdated: str = ""
    """What rules that came after it was stored refuse of it, field by field. It holds as it is."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies around a ModelDeployment and bears on it."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Of its Namespace; empty where nothing of this model depends on them and they cost a request."""
    policies: Sequence[Policy] = ()
    trust: Mapping[str, Json] = field(default_factory=dict)
    """The ConfigMaps that spec.security.verification.trust names, those that exist, by name; read only where a policy names signers."""
    privacy: Mapping[str, PrivacyPolicy] = field(default_factory=dict)
    """The PrivacyPolicy that spec.privacy names, by name; empty when it is not there or cannot be read."""
    tenant_claimed_by: str = ""
    """Another Namespace whose label says that its tenant is the name of this one, while this one has no such label."""
    unread: str = ""
    """What is wrong with that PrivacyPolicy, with its name, where it is stored and cannot be read: what it demands is not known."""
    unread_policies: Sequence[str] = ()
    """The same of each ModelPolicy that cannot be read and may select the namespace."""


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
    by_others: bool = False
    """True where `enforced` is what trying other models' NetworkPolicies showed."""
    lets_operator_in: bool = False
    """True where trying this model's tells nothing: it lets the operator's namespace in, or a network that may hold it."""
    disagree: bool = False
    """True where `enforced` is not known and trying other models' NetworkPolicies showed both."""
    stale_after: float | None = None
    """Seconds after which asking again may tell more, without an event or a ring."""


@dataclass(frozen=True, slots=True)
class WayIn:
    """What is known of what shall expose the model to clients outside, besides its own routes, which are children."""

    gateways: Mapping[tuple[str, str], Json] = field(default_factory=dict)
    """The Gateways that the spec names, those that exist, by namespace and name: `listeners`, `addresses` and `conditions`."""
    hidden: frozenset[tuple[str, str]] = frozenset()
    """Those in namespaces where the operator reads none."""
    rivals: Sequence[Json] = ()
    """Live routes of other models that ask for what one of this model's asks for, oldest first."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The public side of the operator's CA, read for models with a managed certificate."""

    bundle: str = ""
    """PEM of every CA certificate that clients shall trust; empty where none was read."""
    signer: str = ""
    """Fingerprint of the CA that signs now."""
    known: frozenset[str] = frozenset()
    """Fingerprints of all in the bundle."""
    vouched: frozenset[str] = frozenset()
    """UIDs of the model's records that hold a certificate which a CA of the bundle signed, and say what stands in it."""


@dataclass(frozen=True, slots=True)
class Activator:
    """What is known of the activator, as far as one model is concerned that may have no pods."""

    ports: tuple[int, int] | None = None
    """Of its pods, for this model alone: HTTP and gRPC. None: every port is taken, or the model needs none."""
    pods: Sequence[str] = ()
    """Addresses of its ready pods that know this model's route, sorted: they said so, or an earlier leader put them behind its Service."""
    bundle: str = ""
    """PEM of the CA under which it shows certificates; empty where it was not read."""
    calls: int = 0
    """Requests of the model that it holds or passes on now."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What the built-in autoscaler wants for a model, from what its pods and the activator report."""

    wanted: int
    """Replicas; the rooms' bounds have not been applied to it."""
    why: str
    """In words for the status: the measured concurrency, over which window, against which target."""
    since: datetime
    """When this number was decided first. Aware, UTC."""
    lost: int = 0
    """Ready pods that have not said their load for long."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one CostBudget leaves to one model now."""

    budget: str
    """Its name."""
    maximum: int
    """Replicas; `rulings.NO_LIMIT` where the budget bounds nothing now."""
    is_suspended: bool = False
    """True when its ladder has reached Suspend."""
    reason: str = ""
    """Why less than the spec asks for may run, one of `policies/cost/reasons.py`; empty while the budget is no obstacle."""
    message: str = ""
    """For the condition: the budget, what was spent of what, until when."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model costs, and what its budgets leave to it."""

    hourly: str = ""
    """Price of all its pods for an hour, a decimal number; empty where it is not known."""
    currency: str = ""
    price: int | None = None
    """What one replica costs per hour, in billionths of the currency's unit; None where it is not known."""
    unpriced: str = ""
    """Why the price is not known; empty where it is."""
    allowances: Sequence[Allowance] = ()
    """One for each CostBudget that selects the model."""


@dataclass(frozen=True, slots=True)
class DevicePool:
    """Nodes that the cloud calls one pool, and what they have."""

    name: str
    """Empty for nodes of no pool."""
    nodes: int
    cordoned: int
    devices: Mapping[str, int]
    """All together, by extended resource; whether they are free is not known."""
    products: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Devices:
    """What the cluster's nodes have for a model with an accelerator."""

    is_known: bool = False
    """False where Nodes may not be read, or none was asked for."""
    pools: Sequence[DevicePool] = ()
    """Those with devices first."""
    memories: Sequence[int] = ()
    """Bytes of a replica's part of a device, on each node that could take one and says so, ascending."""

    @property
    def least(self) -> int:
        """The smallest part that it may get."""
        return min(self.memories, default=0)

    @property
    def most(self) -> int:
        """The largest."""
        return max(self.memories, default=0)


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
    way_in: WayIn = field(default_factory=WayIn)
    authority: Authority = field(default_factory=Authority)
    activator: Activator = field(default_factory=Activator)
    demand: Demand | None = None
    """None: the built-in autoscaler has not heard enough to say, or is not in charge."""
    cost: Cost = field(default_factory=Cost)
    devices: Devices = field(default_factory=Devices)
    may_upgrade: bool = False
    """True when it is the model's turn to be rolled to the operator's present serving image."""
    unserved: frozenset[str] = frozenset()
    """Kinds of others that the API server does not serve now: their CustomResourceDefinition is not installed."""

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
class Route:
    """What the activator shall know of one model, and who may connect to its ports there."""

    body: Json
    """One of `routes` in routes.json."""
    callers: tuple[str, ...]
    """Namespaces, and networks in CIDR form, sorted."""

    @property
    def http_port(self) -> int:
        """The first of its two ports, which names the route."""
        return int(self.body["ports"]["http"])


@dataclass(frozen=True, slots=True)
class History:
    """What the model's history shall be after this pass."""

    limit: int
    """Former revisions that are kept, besides the one that serves."""
    data: Json = field(default_factory=dict)
    """Of the revision that serves and has not been noted down; empty where there is none."""
    hash: str = ""
    """Of that revision: what it is, without when."""
    cause: str = ""
    """Why it was made, in its author's words."""


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
    route: Route | None = None
    """Set for a model that the activator must be able to take over."""
    again: float | None = None
    """Seconds after which the plan is another one by the clock alone."""
    history: History | None = None
    """None: the history stays as it is."""
    egress: Sequence[str] = ()
    """In words for the status: which ways out of the pods the NetworkPolicy opens, and which it could not."""
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
    """`NotOwned` (it exists and is somebody else's), `Rejected` (the API server said 4xx), `Unwritten` (5xx, time-out) or `Overruled`
    (what it was written as was changed on the way, as by an admission webhook, where it says who may do what)."""
    message: str


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A child that was written and is not quite what the plan says, because the API server was told otherwise: by an admission webhook."""

    kind: str
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What one apply did: how many writes, which children were refused, and which were written and adjusted on the way."""

    writes: int = 0
    refusals: Sequence[Refusal] = ()
    adjustments: Sequence[Adjustment] = ()
    revision: Json = field(default_factory=dict)
    """`status.revision` after this pass; empty where nothing has been noted down."""
    unrecorded: bool = False
    """True when a revision was due and could not be noted down: it is tried again."""

    def __add__(self, other: "Applied") -> "Applied":
        """Return both together."""
        return Applied(
            self.writes + other.writes,
            (*self.refusals, *other.refusals),
            (*self.adjustments, *other.adjustments),
        )
