"""How the serving process runs: `spec.runtime`."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StrictBool, StrictInt, StringConstraints

from modelward_operator.api.quantity import amount
from modelward_operator.api.types import (
    ListedBy,
    LocalObjectRef,
    Matches,
    Quantity,
    Rule,
    SecretKeyRef,
    Struct,
    exactly_one,
)

DRAIN_SECONDS: Final = 5
REQUEST_TIMEOUT_SECONDS: Final = 30
MAX_BODY_SIZE: Final = "64Mi"
SPARE_SECONDS: Final = 5
"""What a pod has to end in, after its last request."""

ENV_NAMES: Final = (
    r"^(LOG_LEVEL|TZ|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|"
    r"OMP_(DYNAMIC|NUM_THREADS|PLACES|PROC_BIND|SCHEDULE|STACKSIZE|THREAD_LIMIT|WAIT_POLICY)|"
    r"OPENBLAS_(CORETYPE|NUM_THREADS|VERBOSE)|MKL_(DYNAMIC|NUM_THREADS)|"
    r"CUDA_(DEVICE_ORDER|LAUNCH_BLOCKING|MODULE_LOADING|VISIBLE_DEVICES)|NVIDIA_(DRIVER_CAPABILITIES|TF32_OVERRIDE))$"
)
"""Whole names, no prefixes: OMP_TOOL_LIBRARIES and CUDA_INJECTION64_PATH load a library, as LD_PRELOAD does, and a library or a
sitecustomize.py may lie in a Secret that the pod mounts."""


class Padding(StrEnum):
    """How many rows a call of the model has."""

    NONE = "None"
    POWERS_OF_TWO = "PowersOfTwo"


class Batching(Struct):
    """Requests that arrive while the model runs are joined into one call of the model."""

    max_batch_size: StrictInt = Field(default=32, ge=1, le=4096, description="Most rows in one call of the model.")
    max_delay_microseconds: StrictInt = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="How long the first request may wait for company. 0 adds no delay: batches form only from what queues.",
    )
    padding: Padding = Field(
        default=Padding.NONE,
        description="PowersOfTwo: calls have 1, 2, 4 … or maxBatchSize rows and no number between; what was filled in is cut off again. It "
        "helps engines that prepare each shape: all are prepared before the pod is ready. Of no effect on a model whose rows are not "
        "computed apart, which is tried before it serves.",
    )


class EnvSource(Struct):
    """Where an environment variable's value comes from."""

    secret_key_ref: SecretKeyRef = Field(description="A key of a Secret.")


class EnvVar(Struct):
    """One environment variable of the serving container."""

    rules = (exactly_one("value", "value_from", "set exactly one of value and valueFrom"),)

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


class ConvolutionSearch(StrEnum):
    """How cuDNN's algorithm of a convolution is found."""

    HEURISTIC = "Heuristic"
    EXHAUSTIVE = "Exhaustive"
    DEFAULT = "Default"


class Cuda(Struct):
    """How ONNX Runtime uses a GPU."""

    rules = (
        Rule(
            "!has(self.memoryLimit) || quantity(string(self.memoryLimit)).compareTo(quantity('16Mi')) >= 0",
            lambda it: it.memory_limit is None or amount(it.memory_limit) >= 2**24,
            "memoryLimit is below 16Mi, in which no model runs",
        ),
    )

    tf32: StrictBool = Field(
        default=True,
        description="Matrix products of 32-bit floats with 10 bits of mantissa, several times as fast on GPUs that have it; false: with "
        "all 23.",
    )
    graphs: StrictBool = Field(
        default=False,
        description="Capture the model's run as a CUDA graph, one for each number of rows, and replay it in one launch: for small models, "
        "whose launches cost more than their work. The whole model must be able to run on the GPU, and its other axes must be fixed. "
        "Implies batching.padding.",
    )
    tensor_rt: StrictBool = Field(
        default=False,
        description="Let TensorRT compute what it can, if the image has it. Engines are built anew at each start, which can take minutes: "
        "they hold weights, and are written to no disk.",
    )
    convolution_search: ConvolutionSearch = Field(
        default=ConvolutionSearch.HEURISTIC,
        description="Exhaustive tries every algorithm the first time that a shape comes: slower to start, faster to run.",
    )
    memory_limit: Quantity | None = Field(
        default=None,
        description="Most GPU memory that ONNX Runtime's arena takes, for a GPU that others use too. Absent: what it needs.",
        examples=["8Gi"],
    )


class UpgradePolicy(StrEnum):
    """When a model takes the serving image of an upgraded operator."""

    ON_SPEC_CHANGE = "OnSpecChange"
    ROLLING = "Rolling"


class Runtime(Struct):
    """How the serving process runs."""

    rules = (
        Rule(
            "!(has(self.upgradePolicy) && self.upgradePolicy == 'Rolling' && has(self.image) && self.image != '')",
            lambda it: not (it.upgrade_policy is UpgradePolicy.ROLLING and it.image),
            "upgradePolicy Rolling follows the operator's own serving image: leave image out",
        ),
        Rule(
            "!has(self.maxBodySize) || (quantity(string(self.maxBodySize)).compareTo(quantity('1Ki')) >= 0 && "
            "quantity(string(self.maxBodySize)).compareTo(quantity('1Gi')) <= 0)",
            lambda it: it.max_body_size is None or 2**10 <= amount(it.max_body_size) <= 2**30,
            "maxBodySize must be 1Ki or more and 1Gi or less",
        ),
        Rule(
            "!has(self.terminationGracePeriodSeconds) || self.terminationGracePeriodSeconds >= "
            f"(has(self.drainSeconds) ? self.drainSeconds : {DRAIN_SECONDS}) + "
            f"(has(self.requestTimeoutSeconds) ? self.requestTimeoutSeconds : {REQUEST_TIMEOUT_SECONDS}) + {SPARE_SECONDS}",
            lambda it: it.grace_seconds >= it.last_request_seconds + SPARE_SECONDS,
            f"terminationGracePeriodSeconds must be at least drainSeconds ({DRAIN_SECONDS} when absent), requestTimeoutSeconds "
            f"({REQUEST_TIMEOUT_SECONDS} when absent) and {SPARE_SECONDS} more, or requests are cut off when a pod ends",
        ),
    )

    image: Annotated[
        str,
        StringConstraints(max_length=512),
        Matches(
            r"^([A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[A-Za-z0-9._-]+)*(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]{64})?)?$",
            "image must be an image reference without a scheme, for example registry.example:5000/modelward/runtime:0.1.0",
        ),
    ] = Field(
        default="",
        description="Serving image. Empty: the one that the operator was installed with when this spec was last changed, or with "
        "upgradePolicy Rolling the one that it is installed with now.",
    )
    image_pull_secrets: Annotated[list[LocalObjectRef], Field(max_length=16), ListedBy("name")] = Field(
        default=[],
        description="Secrets of type kubernetes.io/dockerconfigjson with which the kubelet pulls the serving image. Those of the "
        "ServiceAccount count only where this is empty. A model in a registry has model.storage.secretRef.",
        examples=[[{"name": "registry"}]],
    )
    upgrade_policy: UpgradePolicy = Field(
        default=UpgradePolicy.ON_SPEC_CHANGE,
        description="OnSpecChange: upgrading the operator restarts no pod; the model takes the new serving image when its spec changes. "
        "Rolling: the pods are rolled to the new image, a bounded number of models at a time (the chart's runtime.upgrades.maxConcurrent); "
        "one whose new pods do not become ready holds its place, so that a bad image stops after so many.",
    )
    batching: Batching | None = Field(default=None, description="Dynamic batching. Absent: off.")
    threads: StrictInt = Field(
        default=0, ge=0, le=1024, description="Threads of one inference. 0: the container's CPU limit."
    )
    cuda: Cuda | None = Field(
        default=None, description="How a GPU is used, with spec.accelerator. Absent: as the defaults of its fields say."
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
    request_timeout_seconds: StrictInt | None = Field(
        default=None,
        ge=1,
        le=3600,
        description="How long a request may take, waiting included; then it gets 504, or DEADLINE_EXCEEDED over gRPC. A caller's own "
        f"deadline may be shorter. Absent: {REQUEST_TIMEOUT_SECONDS}.",
    )
    max_body_size: Quantity | None = Field(
        default=None,
        description="Largest body of a request, unpacked; a larger one gets 413, or RESOURCE_EXHAUSTED over gRPC. Two of them must fit "
        f"into the memory limit beside the model. Absent: {MAX_BODY_SIZE}.",
        examples=["256Mi"],
    )
    drain_seconds: StrictInt | None = Field(
        default=None,
        ge=DRAIN_SECONDS,
        le=600,
        description="How long a pod that is to end still takes requests: until every load balancer in front has heard of it. Longer for "
        f"those that hear late, outside the cluster. Absent: {DRAIN_SECONDS}.",
    )
    termination_grace_period_seconds: StrictInt | None = Field(
        default=None,
        ge=1,
        le=7200,
        description="After how long the kubelet kills a pod that is to end. Absent: drainSeconds, requestTimeoutSeconds and "
        f"{SPARE_SECONDS} more. Longer: for what a sidecar of yours, or a slow log store, needs besides.",
    )

    @property
    def last_request_seconds(self) -> int:
        """How long after its end was asked for a pod may still be answering."""
        return (self.drain_seconds or DRAIN_SECONDS) + (self.request_timeout_seconds or REQUEST_TIMEOUT_SECONDS)

    @property
    def grace_seconds(self) -> int:
        """After how long the kubelet kills a pod that is to end."""
        return self.termination_grace_period_seconds or self.last_request_seconds + SPARE_SECONDS
