"""The status of a ModelDeployment, as schema: what `status/summarise.py` may write, and nothing else.

It holds only what changes with spec or pods; moving counters are metrics. There is no phase.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from modelward_operator.api.types import ListedBy, Struct

Text = Annotated[str, StringConstraints(max_length=2048)]
ShortText = Annotated[str, StringConstraints(max_length=512)]
Time = Annotated[str, StringConstraints(max_length=32)]


class ConditionStatus(StrEnum):
    """Kubernetes' three answers."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Struct):
    """One aspect of health; True is healthy. See crds/README.md for every type and reason."""

    type: Annotated[str, StringConstraints(max_length=64)] = Field(description="Which aspect.")
    status: ConditionStatus = Field(description="True, False, or Unknown while in progress.")
    reason: Annotated[str, StringConstraints(max_length=64)] = Field(description="Why, in one documented word.")
    message: Text = Field(description="Why, in a sentence that names the pod and the last error.")
    observed_generation: int = Field(ge=0, description="The metadata.generation that this speaks of.")
    last_transition_time: Time = Field(
        description="When status last changed.", json_schema_extra={"format": "date-time"}
    )


class ModelStatus(Struct):
    """What the ready pods report to have loaded, not what was wished."""

    digest: ShortText | None = Field(default=None, description="Digest of the loaded model.")
    short_digest: ShortText | None = Field(
        default=None, description="Its first 12 digits, for the table of kubectl get."
    )
    version: ShortText | None = Field(default=None, description="Version that the endpoint reports.")
    signer: ShortText | None = Field(
        default=None, description="Who signed it, as security.verification.trust names the key or the CA."
    )
    signer_fingerprint: ShortText | None = Field(
        default=None,
        description="SHA-256 of the signer's public key as DER. ModelPolicy.spec.trustedSigners lists it, or that of a trusted CA.",
    )
    encrypted: bool | None = Field(default=None, description="True when the model was sealed. Absent when it was not.")
    key_id: ShortText | None = Field(default=None, description="ID of the key-encryption key that opened it.")
    key_version: ShortText | None = Field(default=None, description="Version of that key.")
    verified_time: Time | None = Field(
        default=None, description="When the pod verified it.", json_schema_extra={"format": "date-time"}
    )
    size_bytes: int | None = Field(default=None, ge=0, description="Size of the stored model.")
    execution_provider: ShortText | None = Field(
        default=None, description="What computes: CPUExecutionProvider or CUDAExecutionProvider."
    )
    last_failure: Text | None = Field(
        default=None, description="Last load failure of the current revision, until it is loaded."
    )


class PrivacyStatus(Struct):
    """The privacy policy that every serving pod has said to enforce, the last time that all of them did."""

    policy: ShortText | None = Field(default=None, description="Name of the PrivacyPolicy.")
    generation: int | None = Field(default=None, ge=0, description="Its metadata.generation.")


class Heard(Struct):
    """What some running containers have said that they loaded; the operator reads it back when it starts anew."""

    containers: Annotated[list[Annotated[str, StringConstraints(max_length=16)]], Field(max_length=2048)] = Field(
        description="Hashes of the IDs of those that said it."
    )
    encrypted: bool | None = Field(default=None, description="True when the model was sealed.")
    verified: bool | None = Field(default=None, description="True when its digest was declared, and is that.")
    signer_fingerprint: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        default=None, description="SHA-256 of the signer's public key as DER."
    )
    signer_authority: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        default=None, description="The same of the CA that vouches for the signer."
    )
    uri: Text | None = Field(default=None, description="Where it came from.")
    authentication: ShortText | None = Field(default=None, description="How callers are asked who they are.")


class Address(Struct):
    """Where clients inside the cluster connect."""

    http: ShortText | None = Field(default=None, description="OIP v2 over REST.")
    grpc: ShortText | None = Field(default=None, description="OIP v2 over gRPC, HOST:PORT.")
    ca_bundle: ShortText | None = Field(
        default=None,
        description="With tls.mode Managed: the ConfigMap whose key ca.crt holds the PEM certificates that clients trust. It may hold two, "
        "for a while before and after the CA changes: mount it, or read it again now and then.",
    )


class ExposureStatus(Struct):
    """Where clients outside call, as spec.exposure and the Gateways' listeners say; EndpointExposed says whether they come through."""

    url: ShortText | None = Field(default=None, description="OIP v2 over REST. Absent while its listener is not known.")
    grpc: ShortText | None = Field(default=None, description="OIP v2 over gRPC, HOST:PORT.")
    addresses: Annotated[list[Annotated[str, StringConstraints(max_length=253)]], Field(max_length=16)] = Field(
        default=[],
        description="Addresses of the Gateways or the Ingress, to which DNS should lead the hostnames.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class ScalingStatus(Struct):
    """What the autoscaler Concurrency asks for, and why; written when the number changes, not when the load does."""

    wanted: int | None = Field(
        default=None, ge=0, description="Replicas that the load asks for, within minReplicas and maxReplicas."
    )
    why: ShortText | None = Field(
        default=None,
        description="What was measured when this number was decided, over which window, against which target.",
    )
    since: Time | None = Field(
        default=None,
        description="When this number was decided.",
        json_schema_extra={"format": "date-time"},
    )


class Effective(Struct):
    """Values derived by the operator; the spec itself is never changed."""

    image: ShortText | None = Field(default=None, description="Serving image in use.")
    replicas: int | None = Field(
        default=None,
        ge=0,
        description="Replicas that the operator asks for; absent when an external autoscaler owns them.",
    )
    egress: Annotated[list[ShortText], Field(max_length=64)] = Field(
        default=[],
        description="Where the pods may connect: what each destination was opened as, and what could not be opened.",
    )
    model_size_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Size of the model as a pod last reported it, kept for AcceleratorFits. Absent without an accelerator.",
    )
    strategy: ShortText | None = Field(default=None, description="Rollout strategy in use: Surge, InPlace or Recreate.")


class CostStatus(Struct):
    """What the pods cost that are bound to nodes now. It changes with pods or prices; what was spent is in CostLedgers."""

    hourly: ShortText | None = Field(
        default=None, description="Price of all of them for an hour, a decimal number. Absent: not known."
    )
    currency: ShortText | None = Field(default=None, description="Currency of hourly, as in the PriceBook.")
    unknown: Text | None = Field(
        default=None, description="Why the price of some pod is not known: a reason and a sentence. Absent: it is."
    )


class RevisionStatus(Struct):
    """The revision that serves, or served last. `kubectl modelward history NAME` shows all that are kept."""

    number: int = Field(
        ge=1, description="Its number, counted from 1. Its ControllerRevision is called NAME-rev-NUMBER."
    )
    oldest: int = Field(ge=1, description="The oldest one that is kept.")
    hash: Annotated[str, StringConstraints(max_length=16)] = Field(
        description="Of what it is: the spec without scaling, suspend and rollout, and the digest that its pods loaded."
    )
    served_time: Time = Field(
        description="When the operator first saw it serve.", json_schema_extra={"format": "date-time"}
    )


class ModelDeploymentStatus(Struct):
    """The observed state, computed by one function and written once a pass."""

    observed_generation: int | None = Field(
        default=None,
        ge=-1,
        description="The metadata.generation that this status speaks of; -1 before anybody has looked.",
    )
    replicas: int | None = Field(default=None, ge=0, description="Pods that exist; the status of /scale.")
    ready_replicas: int | None = Field(default=None, ge=0, description="Pods that serve.")
    selector: ShortText | None = Field(default=None, description="Label selector of the pods, for /scale.")
    url: ShortText | None = Field(
        default=None,
        description="Where clients call over REST: outside the cluster while EndpointExposed is True, else inside.",
    )
    address: Address | None = Field(default=None, description="Addresses inside the cluster, by protocol.")
    exposure: ExposureStatus | None = Field(
        default=None, description="Addresses outside the cluster. Absent without spec.exposure."
    )
    model: ModelStatus | None = Field(default=None, description="What the ready pods have loaded.")
    revision: RevisionStatus | None = Field(
        default=None, description="The revision that serves, or served last. Absent before anything has."
    )
    privacy: PrivacyStatus | None = Field(
        default=None, description="The privacy policy in force. Absent without spec.privacy and while nothing serves."
    )
    effective: Effective | None = Field(default=None, description="Values that the operator derived.")
    cost: CostStatus | None = Field(
        default=None, description="What the model costs now. Absent while no PriceBook exists and nothing is known."
    )
    scaling: ScalingStatus | None = Field(
        default=None, description="What the load asks for. Absent unless the autoscaler is Concurrency."
    )
    heard: Annotated[list[Heard], Field(max_length=16)] = Field(
        default=[],
        description="What running containers have said that they loaded, for a restart of the operator. Kept under a ModelPolicy only.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    conditions: Annotated[list[Condition], Field(max_length=16), ListedBy("type")] = Field(
        default=[], description="Health by aspect."
    )
