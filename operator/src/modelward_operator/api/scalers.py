"""What the autoscalers of others are given: `spec.scaling.hpa` and `spec.scaling.keda`. Read through `scaling.py`."""

from typing import Annotated

from pydantic import Field, StrictInt, StringConstraints

from modelward_operator.api.types import LocalObjectRef, Matches, Rule, Struct

SCALE_DOWN_LIMIT = 3600
"""Seconds; what autoscaling/v2 takes at most."""

TriggerType = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    Matches(
        r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$",
        "type must be the name of a KEDA scaler, for example prometheus or aws-sqs-queue",
    ),
]
MetadataKey = Annotated[
    str,
    StringConstraints(max_length=128),
    Matches(r"^[A-Za-z][A-Za-z0-9_.-]*$", "metadata takes the parameters of the KEDA scaler, by name"),
]


class Hpa(Struct):
    """What the HorizontalPodAutoscaler aims at: the mean over the pods, as a share of what a replica requests."""

    rules = (
        Rule(
            "has(self.cpuUtilizationPercent) || has(self.memoryUtilizationPercent)",
            lambda it: it.cpu_utilization_percent or it.memory_utilization_percent,
            "hpa needs something to aim at: cpuUtilizationPercent, memoryUtilizationPercent or both",
        ),
    )

    cpu_utilization_percent: StrictInt | None = Field(
        default=None, ge=1, le=1000, description="CPU in use, of resources.requests.cpu. Absent: not looked at."
    )
    memory_utilization_percent: StrictInt | None = Field(
        default=None, ge=1, le=1000, description="Memory in use, of resources.requests.memory. Absent: not looked at."
    )
    scale_down_seconds: StrictInt = Field(
        default=300,
        ge=0,
        le=SCALE_DOWN_LIMIT,
        description="How long a lower number must have been enough before replicas go.",
    )


class KedaTrigger(Struct):
    """One scaler of KEDA, as in a ScaledObject."""

    type: TriggerType = Field(description="Which scaler.", examples=["prometheus"])
    metadata: Annotated[
        dict[MetadataKey, Annotated[str, StringConstraints(max_length=4096)]], Field(min_length=1, max_length=64)
    ] = Field(
        description="Its parameters, as KEDA documents them; every value in quotes.",
        examples=[{"serverAddress": "http://prometheus.monitoring.svc:9090", "query": "sum(rate(x[1m]))"}],
    )
    authentication_ref: LocalObjectRef | None = Field(
        default=None, description="TriggerAuthentication of the same namespace."
    )


class Keda(Struct):
    """What the ScaledObject says beside the bounds."""

    triggers: Annotated[list[KedaTrigger], Field(min_length=1, max_length=16)] = Field(
        description="What is measured; the one that asks for most replicas counts.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    polling_seconds: StrictInt = Field(
        default=30, ge=1, le=3600, description="How often KEDA looks while there are no replicas."
    )
    cooldown_seconds: StrictInt = Field(
        default=300,
        ge=0,
        le=86_400,
        description="How long no trigger must have been active before the last replica goes.",
    )
