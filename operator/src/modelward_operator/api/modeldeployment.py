"""ModelDeployment, the kind that a user applies: one model, where it is, how it runs and who may reach it.

`crd.py` derives the CRD from these classes, `parse.py` reads live objects with them, `reference.py` prints them. Field names
follow KServe, Seldon and the Kubernetes API conventions. There is no field without an enforcement point: a field is added
here, or in the file of its section, in the same change that makes it work.
"""

from typing import Final

from pydantic import Field, StrictBool

from modelward_operator.api.access import TlsMode
from modelward_operator.api.exposure import Exposure
from modelward_operator.api.model import Model
from modelward_operator.api.observability import Observability
from modelward_operator.api.pods import PodIdentity, PodMetadata
from modelward_operator.api.quantity import amount
from modelward_operator.api.rollout import Rollout
from modelward_operator.api.runtime import Runtime
from modelward_operator.api.scaling import Scaling
from modelward_operator.api.scheduling import Accelerator, Resources, Scheduling
from modelward_operator.api.security import Security
from modelward_operator.api.storage import scheme
from modelward_operator.api.types import LocalObjectRef, Rule, Struct

GROUP: Final = "modelward.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "ModelDeployment"
PLURAL: Final = "modeldeployments"
NAME_MAX_LENGTH: Final = 50


class Privacy(Struct):
    """What the model may receive, return, log and keep."""

    policy_ref: LocalObjectRef = Field(
        description="PrivacyPolicy of the same namespace. Without it the model does not serve; to change or remove a reference takes the "
        "verb `relax` on modeldeployments."
    )


def _share_of_a_request(resource: str) -> Rule:
    """An HPA can aim at a share of what is requested only where something is. A limit counts as a request, as Kubernetes has it."""
    return Rule(
        f"!(has(self.scaling) && has(self.scaling.hpa) && has(self.scaling.hpa.{resource}UtilizationPercent)) || "
        f"(has(self.resources) && ((has(self.resources.requests) && '{resource}' in self.resources.requests) || "
        f"(has(self.resources.limits) && '{resource}' in self.resources.limits)))",
        lambda it: (
            not (it.scaling.hpa and getattr(it.scaling.hpa, f"{resource}_utilization_percent"))
            or resource in {*it.resources.requests, *it.resources.limits}
        ),
        f"scaling.hpa.{resource}UtilizationPercent is a share of what a replica requests: set resources.requests.{resource}",
    )


class ModelDeploymentSpec(Struct):
    """The desired state of one served model."""

    rules = (
        Rule(
            "!(has(self.model.storage) && has(self.model.storage.secretRef) && has(self.security) && "
            "has(self.security.encryption) && has(self.security.encryption.keyRef) && "
            "has(self.security.encryption.keyRef.awsKms) && has(self.security.encryption.keyRef.awsKms.secretRef)) || "
            "!self.model.uri.startsWith('s3://') || "
            "self.model.storage.secretRef.name == self.security.encryption.keyRef.awsKms.secretRef.name",
            lambda it: len(set(_aws_secrets(it))) <= 1,
            "model.storage.secretRef and security.encryption.keyRef.awsKms.secretRef fill the same variables of the pod: "
            "leave one of them out, or name the same Secret",
        ),
        _share_of_a_request("cpu"),
        _share_of_a_request("memory"),
        Rule(
            "!(has(self.runtime) && has(self.runtime.cuda)) || has(self.accelerator)",
            lambda it: it.runtime.cuda is None or it.accelerator is not None,
            "runtime.cuda says how a GPU is used: it needs spec.accelerator",
        ),
        Rule(
            "!(has(self.runtime) && has(self.runtime.maxBodySize) && has(self.resources) && has(self.resources.limits) && "
            "'memory' in self.resources.limits) || quantity(string(self.runtime.maxBodySize)).add(quantity(string("
            "self.runtime.maxBodySize))).compareTo(quantity(string(self.resources.limits['memory']))) <= 0",
            lambda it: (
                it.runtime.max_body_size is None
                or "memory" not in it.resources.limits
                or 2 * amount(it.runtime.max_body_size) <= amount(it.resources.limits["memory"])
            ),
            "two bodies of runtime.maxBodySize, packed and unpacked, must fit into resources.limits.memory: lower one or raise the other",
        ),
        Rule(
            "!(has(self.scaling) && has(self.scaling.minReplicas) && self.scaling.minReplicas == 0 && has(self.security) && "
            "has(self.security.tls) && self.security.tls.mode == 'Secret')",
            lambda it: not (it.scaling.reaches_zero and it.security.tls and it.security.tls.mode is TlsMode.SECRET),
            "scaling.minReplicas: 0 needs security.tls.mode Managed or Off: at zero replicas nobody may show a certificate whose key is in "
            "a Secret of yours",
        ),
        Rule(
            "!(has(self.scaling) && has(self.scaling.minReplicas) && self.scaling.minReplicas == 0 && has(self.security) && "
            "has(self.security.authentication) && has(self.security.authentication.jwt) && "
            "has(self.security.authentication.jwt.caBundleRef))",
            lambda it: not (it.scaling.reaches_zero and _issuers_ca(it)),
            "scaling.minReplicas: 0 takes no authentication.jwt.caBundleRef: at zero replicas nobody reads ConfigMaps of yours, so the "
            "issuer's certificate must be one that the world trusts",
        ),
        Rule(
            "!(has(self.exposure) && has(self.exposure.gateway)) || has(self.exposure.gateway.backendTls) == "
            "(has(self.security) && has(self.security.tls) && self.security.tls.mode == 'Secret')",
            lambda it: (
                not (it.exposure and it.exposure.gateway)
                or (it.exposure.gateway.backend_tls is not None)
                == (it.security.tls is not None and it.security.tls.mode is TlsMode.SECRET)
            ),
            "security.tls.mode Secret needs exposure.gateway.backendTls, which says what certificate the gateway shall expect; the other "
            "modes take none",
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
    pod_metadata: PodMetadata | None = Field(
        default=None, description="More labels and annotations of the pods. Absent: the operator's own."
    )
    service_account: PodIdentity | None = Field(
        default=None, description="What the pods run as. Absent: a ServiceAccount of the model's name, made for it."
    )
    scaling: Scaling = Field(default=Scaling(), description="How many replicas.")
    rollout: Rollout = Field(default=Rollout(), description="How a new revision replaces the old one.")
    security: Security = Field(default=Security(), description="What protects the model and its endpoint.")
    privacy: Privacy | None = Field(
        default=None,
        description="What the model may receive, return, log and keep. Absent: no rules, no log, no audit.",
    )
    observability: Observability | None = Field(
        default=None, description="How single requests are followed. Absent: they are not."
    )
    exposure: Exposure | None = Field(
        default=None,
        description="How clients outside the cluster reach the model, as operator/tasks/expose.md shows. Absent: they do not.",
    )


def _issuers_ca(spec: ModelDeploymentSpec) -> bool:
    authentication = spec.security.authentication
    return bool(authentication and authentication.jwt and authentication.jwt.ca_bundle_ref)


def _aws_secrets(spec: ModelDeploymentSpec) -> list[str]:
    storage, encryption = spec.model.storage, spec.security.encryption
    kms = encryption.key_ref.aws_kms if encryption and encryption.key_ref else None
    stores = storage.secret_ref if storage and scheme(spec.model.uri) == "s3" else None
    refs = (stores, kms.secret_ref if kms else None)
    return [ref.name for ref in refs if ref]
