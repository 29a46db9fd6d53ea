"""What a platform team puts on the pods of a model and on their identity: `spec.podMetadata`, `spec.serviceAccount`."""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from modelward_operator.api.types import LabelKey, LabelValue, Matches, ObjectName, Rule, Struct

_OURS: Final = r"([-a-z0-9.]+\.)?modelward\.dev/.+"
LABELS_OF_OTHERS: Final = (
    rf"^({_OURS}|app\.kubernetes\.io/(managed-by|name)|pod-template-hash|controller-revision-hash)$"
)
"""The operator's, by which pods are selected, and those that Kubernetes' controllers set."""
ANNOTATIONS_OF_OTHERS: Final = (
    rf"^({_OURS}|container\.apparmor\.security\.beta\.kubernetes\.io/.+|(container\.)?seccomp\.security\.alpha\.kubernetes\.io/.+|"
    r"kubectl\.kubernetes\.io/last-applied-configuration)$"
)
"""The operator's, and those that take the pod's confinement away."""

_Label = Annotated[
    LabelKey,
    Matches(
        LABELS_OF_OTHERS,
        "labels takes no key of modelward.dev, app.kubernetes.io/name, app.kubernetes.io/managed-by, pod-template-hash or "
        "controller-revision-hash: the operator and Kubernetes find the pods by them",
        never=True,
    ),
]
_Annotation = Annotated[
    LabelKey,
    Matches(
        ANNOTATIONS_OF_OTHERS,
        "annotations takes no key of modelward.dev, which are the operator's, and none that sets AppArmor or seccomp: the pods run under "
        "the profiles of the container runtime",
        never=True,
    ),
]
Labels = Annotated[dict[_Label, LabelValue], Field(max_length=32)]
Annotations = Annotated[dict[_Annotation, Annotated[str, StringConstraints(max_length=4096)]], Field(max_length=32)]


class PodMetadata(Struct):
    """Labels and annotations for the pods, beside those of the operator."""

    labels: Labels = Field(
        default={},
        description="More labels of the pods, for those who count, select or inject by them. No selector of the operator uses them; what a "
        "Service, a NetworkPolicy or a webhook of yours does with them is its own.",
        examples=[{"cost-center": "fraud", "azure.workload.identity/use": "true"}],
    )
    annotations: Annotations = Field(
        default={},
        description="More annotations of the pods. A change rolls them, as a change of a label does.",
        examples=[{"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}],
    )


class PodIdentity(Struct):
    """The ServiceAccount that the pods run as."""

    rules = (
        Rule(
            "has(self.name) != ((has(self.labels) && size(self.labels) > 0) || (has(self.annotations) && size(self.annotations) > 0))",
            lambda it: (it.name is not None) != bool(it.labels or it.annotations),
            "serviceAccount is either name, an account that you keep, or labels and annotations for the one that the operator makes",
        ),
    )

    name: ObjectName | None = Field(
        default=None,
        description="A ServiceAccount of the same namespace that you keep: the operator makes none then, grants this one what the pods "
        "need (to ask who may call, to spend a privacy budget), and every pod that runs as it holds that too. To write it takes the right "
        "to `impersonate` that account, or to create pods. Absent: one of the model's own name is made, and is this model's alone.",
    )
    labels: Labels = Field(default={}, description="Labels of the ServiceAccount that the operator makes.")
    annotations: Annotations = Field(
        default={},
        description="Annotations of the ServiceAccount that the operator makes, by which clouds know a workload's identity. A change rolls "
        "the pods: some clouds read them only when a pod is made.",
        examples=[{"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/fraud-models"}],
    )
