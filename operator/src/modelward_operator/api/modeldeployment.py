"""ModelDeployment, the kind that a user applies: one model, where it is, how it runs and who may reach it.

`crd.py` derives the CRD from these classes, `parse.py` reads live objects with them, `reference.py` prints them. Field names
follow KServe, Seldon and the Kubernetes API conventions. There is no field without an enforcement point: a field is added
here in the same change that makes it work.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StrictBool, StrictInt, StringConstraints

from modelward_operator.api.quantity import amount
from modelward_operator.api.security import Security
from modelward_operator.api.storage import MODEL_URI, ModelCache, Storage, is_oci
from modelward_operator.api.types import (
    ListedBy,
    LocalObjectRef,
    Matches,
    ObjectKey,
    ObjectName,
    Quantity,
    Rule,
    Struct,
)

GROUP: Final = "modelward.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "ModelDeployment"
PLURAL: Final = "modeldeployments"
NAME_MAX_LENGTH: Final = 50

Digest = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Matches(
        r"^sha256:[0-9a-f]{64}$",
        "digest must be sha256: and 64 lower-case hexadecimal digits, as `modelward digest PATH` prints it",
    ),
]
LabelKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=317),
    Matches(
        r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        "a key must be a name of at most 63 letters, digits, -, _ and ., after a domain and / where it has one",
    ),
]
LabelValue = Annotated[
    str,
    StringConstraints(max_length=63),
    Matches(
        r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        "a value must be letters, digits, -, _ and ., with a letter or digit at both ends",
    ),
]
ENV_NAMES: Final = (
    r"^(LOG_LEVEL|TZ|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|"
    r"OMP_(DYNAMIC|NUM_THREADS|PLACES|PROC_BIND|SCHEDULE|STACKSIZE|THREAD_LIMIT|WAIT_POLICY)|"
    r"OPENBLAS_(CORETYPE|NUM_THREADS|VERBOSE)|MKL_(DYNAMIC|NUM_THREADS)|"
    r"CUDA_(DEVICE_ORDER|LAUNCH_BLOCKING|MODULE_LOADING|VISIBLE_DEVICES)|NVIDIA_(DRIVER_CAPABILITIES|TF32_OVERRIDE))$"
)
"""Whole names, no prefixes: OMP_TOOL_LIBRARIES and CUDA_INJECTION64_PATH load a library, as LD_PRELOAD does, and a library or a
sitecustomize.py may lie in a Secret that the pod mounts."""
ModelWord = Matches(
    r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
    "must be letters, digits, ., _ and -, with a letter or digit at both ends: clients write it in a URL",
)


class Model(Struct):
    """Which model, and where it is."""

    rules = (
        Rule(
            "!self.uri.startsWith('pvc://') || !has(self.storage)",
            lambda it: not (it.uri.startswith("pvc://") and it.storage),
            "storage is for s3:// and oci:// only: a pvc:// model is read from the mounted volume, so leave storage out",
        ),
        Rule(
            "!self.uri.startsWith('oci://') || !has(self.storage) || !has(self.storage.region)",
            lambda it: not (is_oci(it.uri) and it.storage and it.storage.region),
            "storage.region is for s3:// only: leave it out",
        ),
        Rule(
            "!has(self.cache) || (has(self.digest) && !self.uri.startsWith('pvc://'))",
            lambda it: not it.cache or (it.digest and not it.uri.startswith("pvc://")),
            "cache needs digest, by which pods find a model in it and check it; a pvc:// model is on a volume already and needs none",
        ),
    )

    uri: Annotated[
        str,
        StringConstraints(min_length=1, max_length=2048),
        Matches(
            MODEL_URI,
            "uri must be s3://BUCKET/PREFIX/, s3://BUCKET/KEY.onnx, oci://REGISTRY/REPOSITORY:TAG, oci://REGISTRY/REPOSITORY@sha256:… "
            "or pvc://CLAIM/PATH, with the bucket, the repository or the claim in lower case",
        ),
        Matches(
            r"(^|/)[.][.]?(/|$)", "uri must not contain the path segments . or ..: write the path in full", never=True
        ),
        Matches(r"[\x00-\x20\x7f?#]", "uri must not contain spaces, control characters, ? or #", never=True),
    ] = Field(
        description="Where the model is: s3://BUCKET/KEY.onnx, s3://BUCKET/PREFIX/, oci://REGISTRY/REPOSITORY:TAG (or "
        "@sha256:DIGEST of its manifest) or pvc://CLAIM/PATH. A single .onnx file, or a folder with model.onnx and its external data; an "
        "artifact of a registry is a folder, a layer per file, as `oras push` and `modelward seal` make it.",
        examples=["s3://models/fraud/7/", "oci://registry.example/risk/fraud:7"],
    )
    version: Annotated[str, StringConstraints(min_length=1, max_length=63), ModelWord] = Field(
        default="1",
        description="Version that the endpoint reports and that clients may name.",
        examples=["7"],
    )
    name: Annotated[str, StringConstraints(min_length=1, max_length=253), ModelWord] | None = Field(
        default=None, description="Name under which clients call the model. Absent: metadata.name."
    )
    digest: Digest | None = Field(
        default=None,
        description="Which bytes are meant: a model with another digest does not serve. Of a single file, its SHA-256; of a sealed folder "
        "or artifact, that of manifest.json; of another folder or artifact, that of the sha256sum lines of its files, sorted by path. "
        "`modelward digest PATH` prints it, and so does `modelward seal`. It is not the digest that a registry gives an artifact.",
    )
    storage: Storage | None = Field(
        default=None, description="Endpoint, credentials and CA of the object store or the registry."
    )
    cache: ModelCache | None = Field(
        default=None,
        description="A volume that pods share, so that each model is downloaded once and not once a pod. Absent: each pod keeps its own.",
    )


class Batching(Struct):
    """Requests that arrive while the model runs are joined into one call of the model."""

    max_batch_size: StrictInt = Field(default=32, ge=1, le=4096, description="Most rows in one call of the model.")
    max_delay_microseconds: StrictInt = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="How long the first request may wait for company. 0 adds no delay: batches form only from what queues.",
    )


class SecretKeyRef(Struct):
    """Names one key of a Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: ObjectKey = Field(description="Key in the Secret.")


class EnvSource(Struct):
    """Where an environment variable's value comes from."""

    secret_key_ref: SecretKeyRef = Field(description="A key of a Secret.")


class EnvVar(Struct):
    """One environment variable of the serving container."""

    rules = (
        Rule(
            "has(self.value) != has(self.valueFrom)",
            lambda it: (it.value is None) != (it.value_from is None),
            "set exactly one of value and valueFrom",
        ),
    )

    name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=128),
        Matches(
            ENV_NAMES,
            "name must be LOG_LEVEL, TZ, a proxy or one that tunes threads or a GPU, as crds/README.md lists them, since others can change "
            "what the image does: bake them into an image for runtime.image; credentials go to model.storage.secretRef",
        ),
    ] = Field(
        description="Name of the variable, one of those that cannot change what the serving image does: `LOG_LEVEL`, `TZ`; `HTTP_PROXY`, "
        "`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, also in lower case; `OMP_` and `DYNAMIC`, `NUM_THREADS`, `PLACES`, `PROC_BIND`, "
        "`SCHEDULE`, `STACKSIZE`, `THREAD_LIMIT` or `WAIT_POLICY`; `OPENBLAS_` and `CORETYPE`, `NUM_THREADS` or `VERBOSE`; `MKL_` and "
        "`DYNAMIC` or `NUM_THREADS`; `CUDA_` and `DEVICE_ORDER`, `LAUNCH_BLOCKING`, `MODULE_LOADING` or `VISIBLE_DEVICES`; `NVIDIA_` and "
        "`DRIVER_CAPABILITIES` or `TF32_OVERRIDE`.",
        examples=["OMP_WAIT_POLICY"],
    )
    value: Annotated[str, StringConstraints(max_length=4096)] | None = Field(default=None, description="Its value.")
    value_from: EnvSource | None = Field(default=None, description="Its source, instead of a value.")


class Runtime(Struct):
    """How the serving process runs."""

    image: Annotated[
        str,
        StringConstraints(max_length=512),
        Matches(
            r"^([A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[A-Za-z0-9._-]+)*(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]{64})?)?$",
            "image must be an image reference without a scheme, for example registry.example:5000/modelward/runtime:0.1.0",
        ),
    ] = Field(
        default="",
        description="Serving image. Empty: the one that the operator was installed with when this spec was last changed.",
    )
    batching: Batching | None = Field(default=None, description="Dynamic batching. Absent: off.")
    threads: StrictInt = Field(
        default=0, ge=0, le=1024, description="Threads of one inference. 0: the container's CPU limit."
    )
    env: Annotated[list[EnvVar], Field(max_length=64), ListedBy("name")] = Field(
        default=[], description="More environment variables for the serving container."
    )
    startup_timeout_seconds: StrictInt = Field(
        default=1800,
        ge=10,
        le=86_400,
        description="How long a pod may take to fetch and load the model before it is restarted.",
    )


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


class Accelerator(Struct):
    """A device that each replica needs."""

    resource_name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=317),
        Matches(
            r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
            "resourceName must be an extended resource with its domain, for example nvidia.com/gpu",
        ),
    ] = Field(
        default="nvidia.com/gpu",
        description="Extended resource that the node advertises.",
        examples=["nvidia.com/mig-1g.10gb"],
    )
    count: StrictInt = Field(default=1, ge=1, le=64, description="How many of it one replica gets.")


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


class Autoscaler(StrEnum):
    """Who decides the number of replicas."""

    NONE = "None"
    EXTERNAL = "External"


class Scaling(Struct):
    """How many replicas."""

    autoscaler: Autoscaler = Field(
        default=Autoscaler.NONE,
        description="None: `replicas` is the number. External: somebody else decides, through /scale of this object (which sets "
        "`replicas`) or, while `replicas` is absent, through /scale of the Deployment, whose replicas the operator then leaves alone.",
    )
    replicas: StrictInt | None = Field(
        default=None, ge=0, le=1000, description="Replicas. Absent with None: 1. The path of /scale."
    )


class RolloutStrategy(StrEnum):
    """How a new revision replaces the old one."""

    AUTO = "Auto"
    ROLLING_UPDATE = "RollingUpdate"
    RECREATE = "Recreate"


class Rollout(Struct):
    """How a new revision replaces the old one."""

    strategy: RolloutStrategy = Field(
        default=RolloutStrategy.AUTO,
        description="RollingUpdate: the new pod first, then the old one goes. Recreate: the old ones go first. Auto: RollingUpdate, and in "
        "place, one at a time, when an accelerator for the extra pod cannot be had for 30 s.",
    )


class Privacy(Struct):
    """What the model may receive, return, log and keep."""

    policy_ref: LocalObjectRef = Field(
        description="PrivacyPolicy of the same namespace. Without it the model does not serve; to change or remove a reference takes the "
        "verb `relax` on modeldeployments."
    )


class ModelDeploymentSpec(Struct):
    """The desired state of one served model."""

    rules = (
        Rule(
            "!(has(self.model.storage) && has(self.model.storage.secretRef) && has(self.security) && "
            "has(self.security.encryption) && has(self.security.encryption.keyRef) && "
            "has(self.security.encryption.keyRef.awsKms) && has(self.security.encryption.keyRef.awsKms.secretRef)) || "
            "self.model.uri.startsWith('oci://') || "
            "self.model.storage.secretRef.name == self.security.encryption.keyRef.awsKms.secretRef.name",
            lambda it: len(set(_aws_secrets(it))) <= 1,
            "model.storage.secretRef and security.encryption.keyRef.awsKms.secretRef fill the same variables of the pod: "
            "leave one of them out, or name the same Secret",
        ),
    )

    suspend: StrictBool = Field(
        default=False, description="True: no pods, until it is false again. Everything else is kept."
    )
    model: Model = Field(description="Which model, and where it is.")
    runtime: Runtime = Field(default=Runtime(), description="How the serving process runs.")
    resources: Resources = Field(default=Resources(), description="CPU and memory of one replica.")
    accelerator: Accelerator | None = Field(
        default=None, description="A GPU or another device for each replica. Absent: CPU only."
    )
    scheduling: Scheduling = Field(default=Scheduling(), description="Where the pods may run.")
    scaling: Scaling = Field(default=Scaling(), description="How many replicas.")
    rollout: Rollout = Field(default=Rollout(), description="How a new revision replaces the old one.")
    security: Security = Field(default=Security(), description="What protects the model and its endpoint.")
    privacy: Privacy | None = Field(
        default=None,
        description="What the model may receive, return, log and keep. Absent: no rules, no log, no audit.",
    )


def _aws_secrets(spec: ModelDeploymentSpec) -> list[str]:
    storage, encryption = spec.model.storage, spec.security.encryption
    kms = encryption.key_ref.aws_kms if encryption and encryption.key_ref else None
    refs = (storage.secret_ref if storage and not is_oci(spec.model.uri) else None, kms.secret_ref if kms else None)
    return [ref.name for ref in refs if ref]
