"""What a replica needs and where it may run: `spec.resources`, `spec.accelerator`, `spec.scheduling`."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StrictInt, StringConstraints

from modelward_operator.api.quantity import amount
from modelward_operator.api.types import LabelKey, LabelValue, ListedBy, Matches, ObjectName, Quantity, Rule, Struct

GPU: Final = "nvidia.com/gpu"
MIG: Final = "nvidia.com/mig-"
SHARED_SUFFIX: Final = ".shared"

ResourceName = Annotated[
    str,
    StringConstraints(max_length=317),
    Matches(
        r"^(cpu|memory|ephemeral-storage)$",
        "resources takes cpu, memory and ephemeral-storage; devices go to spec.accelerator",
    ),
]
ResourceList = Annotated[dict[ResourceName, Quantity], Field(max_length=8)]


class Resources(Struct):
    """CPU and memory of one replica, as in a pod."""

    rules = (
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(key, !(key in self.limits) || "
            "quantity(string(self.requests[key])).compareTo(quantity(string(self.limits[key]))) <= 0)",
            lambda it: all(
                amount(it.requests[key]) <= amount(it.limits[key]) for key in it.requests.keys() & it.limits
            ),
            "a request must not exceed its limit: raise the limit or lower the request",
        ),
    )

    requests: ResourceList = Field(
        default={}, description="What the scheduler sets aside.", examples=[{"cpu": "2", "memory": "4Gi"}]
    )
    limits: ResourceList = Field(
        default={},
        description="What the container may use at most. The model's threads follow the CPU limit.",
        examples=[{"cpu": "4", "memory": "4Gi"}],
    )


class SharingMode(StrEnum):
    """What of a device one replica gets."""

    EXCLUSIVE = "Exclusive"
    SHARED = "Shared"
    PARTITIONED = "Partitioned"


class Sharing(Struct):
    """What of a device one replica gets, and so which resource it asks for."""

    rules = (
        Rule(
            "(self.mode == 'Partitioned') == has(self.profile)",
            lambda it: (it.mode is SharingMode.PARTITIONED) == (it.profile is not None),
            "mode Partitioned needs the profile of a slice, for example 1g.10gb; the other modes take none",
        ),
    )

    mode: SharingMode = Field(
        description="Exclusive: whole devices, on no node that shares or slices them. Shared: a turn on a time-sliced device (or a client "
        "of MPS), whose memory the others use as well. Partitioned: a MIG slice, with memory of its own."
    )
    profile: (
        Annotated[
            str,
            StringConstraints(max_length=32),
            Matches(
                r"^[1-9]g\.[1-9][0-9]{0,3}gb(\.[a-z0-9]{1,8}){0,2}$",
                "profile must be a MIG profile as the node advertises it, for example 1g.10gb or 1g.10gb.me",
            ),
        ]
        | None
    ) = Field(
        default=None, description="For Partitioned: the profile of the slice, what stands behind nvidia.com/mig-."
    )


class Accelerator(Struct):
    """A device that each replica needs."""

    rules = (
        Rule(
            "!(has(self.sharing) || has(self.memory)) || !has(self.resourceName) || self.resourceName.startsWith('nvidia.com/')",
            lambda it: not (it.sharing or it.memory) or it.resource.startswith("nvidia.com/"),
            "sharing and memory are told from the labels of NVIDIA's GPU feature discovery: resourceName must be one of nvidia.com, or "
            "left out",
        ),
        Rule(
            "!(has(self.sharing) && self.sharing.mode == 'Exclusive' && has(self.resourceName)) || "
            "!(self.resourceName.endsWith('.shared') || self.resourceName.startsWith('nvidia.com/mig-'))",
            lambda it: not (it.mode is SharingMode.EXCLUSIVE and is_part(it.resource)),
            "sharing.mode Exclusive asks for whole devices: resourceName must be neither a shared one nor a slice, or left out",
        ),
        Rule(
            "!(has(self.sharing) && self.sharing.mode == 'Shared' && has(self.resourceName)) || "
            "self.resourceName.endsWith('.shared') || !self.resourceName.startsWith('nvidia.com/mig-')",
            lambda it: not (it.mode is SharingMode.SHARED and is_slice(it.resource)),
            "sharing.mode Shared asks for a turn on a device: resourceName must be nvidia.com/gpu, one that ends with .shared, or left out",
        ),
        Rule(
            "!(has(self.sharing) && self.sharing.mode == 'Partitioned' && has(self.resourceName) && has(self.sharing.profile)) || "
            "self.resourceName == 'nvidia.com/mig-' + self.sharing.profile",
            lambda it: (
                not (
                    it.mode is SharingMode.PARTITIONED
                    and it.sharing.profile
                    and it.resource != f"nvidia.com/mig-{it.sharing.profile}"
                )
            ),
            "sharing.mode Partitioned asks for nvidia.com/mig- and its profile: leave resourceName out",
        ),
        Rule(
            "!(has(self.sharing) && self.sharing.mode != 'Exclusive') || !has(self.count) || self.count == 1",
            lambda it: it.mode in {None, SharingMode.EXCLUSIVE} or it.count == 1,
            "a replica uses one share or one slice: count must be 1 with sharing.mode Shared and Partitioned",
        ),
        Rule(
            "!has(self.memory) || quantity(string(self.memory)).compareTo(quantity('1Mi')) >= 0",
            lambda it: it.memory is None or amount(it.memory) >= 2**20,
            "memory is below 1Mi, which every device has",
        ),
    )

    resource_name: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=317),
            Matches(
                r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
                "resourceName must be an extended resource with its domain, for example nvidia.com/gpu",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Extended resource that the node advertises. Absent: nvidia.com/gpu; with sharing.mode Shared nvidia.com/gpu.shared, "
        "with Partitioned the slice of its profile.",
        examples=["nvidia.com/mig-1g.10gb"],
    )
    count: StrictInt = Field(default=1, ge=1, le=64, description="How many of it one replica gets.")
    sharing: Sharing | None = Field(
        default=None,
        description="What of a device one replica gets. Absent: what the node makes of resourceName. With Shared and resourceName "
        "nvidia.com/gpu the replica goes to nodes that share their devices under that name.",
    )
    memory: Quantity | None = Field(
        default=None,
        description="What one replica needs of its device's memory. It goes to nodes whose devices (or slices) have as much, by the labels "
        "of GPU feature discovery: what nvidia-smi calls total, less than a card's name says; one that is shared counts whole. Absent: "
        "to any; AcceleratorFits tells when the model is larger than the devices.",
        examples=["20Gi"],
    )

    @property
    def mode(self) -> SharingMode | None:
        """What of a device one replica gets; None where the node decides."""
        return self.sharing.mode if self.sharing else None

    @property
    def resource(self) -> str:
        """The extended resource that a replica asks for."""
        if self.resource_name:
            return self.resource_name
        if self.sharing and self.sharing.profile:
            return f"{MIG}{self.sharing.profile}"
        return f"{GPU}{SHARED_SUFFIX}" if self.mode is SharingMode.SHARED else GPU


def is_slice(resource: str) -> bool:
    """True for a MIG slice that is not shared in turn."""
    return resource.startswith(MIG) and not resource.endswith(SHARED_SUFFIX)


def is_part(resource: str) -> bool:
    """True for what is less than a device by its name."""
    return resource.startswith(MIG) or resource.endswith(SHARED_SUFFIX)


class TolerationOperator(StrEnum):
    """How a toleration compares."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Struct):
    """A node taint that the pods tolerate, as in a pod."""

    rules = (
        Rule(
            "!(has(self.operator) && self.operator == 'Exists' && has(self.value) && self.value != '')",
            lambda it: not (it.operator == TolerationOperator.EXISTS and it.value),
            "operator Exists takes no value: leave value out, or use Equal",
        ),
        Rule(
            "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            lambda it: it.key is not None or it.operator == TolerationOperator.EXISTS,
            "a toleration without a key tolerates everything and must say so with operator Exists",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            lambda it: it.toleration_seconds is None or it.effect == TaintEffect.NO_EXECUTE,
            "tolerationSeconds needs effect NoExecute",
        ),
    )

    key: LabelKey | None = Field(
        default=None, description="Key of the taint. Absent with operator Exists: every taint."
    )
    operator: TolerationOperator | None = Field(default=None, description="Equal (as when absent) or Exists.")
    value: LabelValue | None = Field(default=None, description="Value of the taint, for Equal.")
    effect: TaintEffect | None = Field(default=None, description="Absent: every effect.")
    toleration_seconds: StrictInt | None = Field(
        default=None, ge=0, le=2_147_483_647, description="How long a NoExecute taint is tolerated."
    )


class WhenUnsatisfiable(StrEnum):
    """What becomes of a pod that would be one too many in its domain."""

    DO_NOT_SCHEDULE = "DoNotSchedule"
    SCHEDULE_ANYWAY = "ScheduleAnyway"


class NodeInclusion(StrEnum):
    """Whether nodes that a pod cannot run on count when it is spread."""

    HONOR = "Honor"
    IGNORE = "Ignore"


class TopologySpreadConstraint(Struct):
    """How evenly the model's pods are spread over domains of nodes, as in a pod. Which pods count, the operator says: this model's."""

    rules = (
        Rule(
            "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
            lambda it: it.min_domains is None or it.when_unsatisfiable is WhenUnsatisfiable.DO_NOT_SCHEDULE,
            "minDomains needs whenUnsatisfiable DoNotSchedule",
        ),
    )

    max_skew: StrictInt = Field(
        ge=1, le=1000, description="By how many pods a domain may have more than the one with the fewest."
    )
    topology_key: LabelKey = Field(
        description="Label of nodes whose values are the domains.", examples=["topology.kubernetes.io/zone"]
    )
    when_unsatisfiable: WhenUnsatisfiable = Field(
        description="DoNotSchedule: the pod waits. ScheduleAnyway: it goes where it is least uneven."
    )
    min_domains: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="How many domains there must be at least, for DoNotSchedule. Absent: 1.",
    )
    node_affinity_policy: NodeInclusion | None = Field(
        default=None, description="Honor (as when absent): only nodes that match the nodeSelector count."
    )
    node_taints_policy: NodeInclusion | None = Field(
        default=None,
        description="Honor: tainted nodes count only where the taint is tolerated. Ignore (as when absent): all count.",
    )


class Scheduling(Struct):
    """Where the pods may run."""

    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(
        default={}, description="Labels that the node must have."
    )
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = Field(
        default=[],
        description="Taints that the pods tolerate.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    priority_class_name: ObjectName | None = Field(default=None, description="PriorityClass of the pods.")
    runtime_class_name: ObjectName | None = Field(
        default=None, description="RuntimeClass of the pods, for example nvidia or a sandbox."
    )
    topology_spread_constraints: Annotated[
        list[TopologySpreadConstraint], Field(max_length=8), ListedBy("topology_key", also=("when_unsatisfiable",))
    ] = Field(
        default=[],
        description="How evenly the pods are spread over zones, nodes or what you label. Each revision is counted by itself, so that a "
        "rollout ends even as well.",
    )
