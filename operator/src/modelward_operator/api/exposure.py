"""`spec.exposure` of a ModelDeployment: how clients outside the cluster reach it, through a Gateway of the Gateway API or an Ingress.

Read by `modeldeployment.py`; `plan/exposure.py` makes the routes and `policies/access` lets the gateway's pods in. Names and meaning are
those of HTTPRoute, BackendTLSPolicy and Ingress: https://gateway-api.sigs.k8s.io/reference/spec/
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, StrictInt, StringConstraints

from modelward_operator.api.network import is_network
from modelward_operator.api.types import (
    DNS_SUBDOMAIN,
    Distinct,
    LocalObjectRef,
    Matches,
    NamespaceName,
    ObjectName,
    Rule,
    Struct,
    exactly_one,
)

MODEL_HEADER: Final = "modelward-model"
"""Metadata key by which gRPC calls of several models under one hostname are told apart: their paths do not name the model."""

Hostname = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Matches(
        r"[*]",
        "a hostname takes no wildcard: callers are told this very name; the Gateway's listener may have one",
        never=True,
    ),
    Matches(
        r"^([a-z0-9*]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z0-9*]([-a-z0-9]{0,61}[a-z0-9])?$",
        "a hostname must be a DNS name in lower case without scheme, port, path or final dot, for example fraud.example.com; other "
        "alphabets are written as xn--…",
    ),
    Matches(r"(^|[.])[0-9]+$", "a hostname must be a name and no IP address", never=True),
]

AnnotationKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=317),
    Matches(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        "an annotation's key must be a domain, / and a name, for example cert-manager.io/cluster-issuer",
    ),
    Matches(
        r"^modelward[.]dev/|-snippet$",
        "annotations take none of modelward.dev and no -snippet, which would put text of yours into the configuration of a controller that "
        "others share",
        never=True,
    ),
]


class Routing(StrEnum):
    """By what a request is known to be this model's."""

    HOSTNAME = "Hostname"
    MODEL_NAME = "ModelName"


class GatewayPeer(Struct):
    """Where the pods of a gateway, or what acts as one, connect from."""

    rules = (
        exactly_one("namespace", "cidr", "a peer is a namespace or a cidr, one of them"),
        Rule(
            "!has(self.cidr) || (isCIDR(self.cidr) && cidr(self.cidr).masked() == cidr(self.cidr))",
            lambda it: it.cidr is None or is_network(it.cidr),
            "cidr must be a network in CIDR form without host bits, for example 192.0.2.0/24, or 192.0.2.7/32 for one address",
        ),
    )

    namespace: NamespaceName | None = Field(default=None, description="Namespace of the gateway's pods.")
    cidr: Annotated[str, StringConstraints(min_length=1, max_length=43)] | None = Field(
        default=None,
        description="Network of gateways that are no pods, or that use their node's network: a cloud's load balancer, an ingress "
        "controller with hostNetwork.",
        examples=["192.0.2.0/24"],
    )


class ParentRef(Struct):
    """Names a Gateway, and perhaps one of its listeners."""

    name: ObjectName = Field(description="Name of the Gateway.")
    namespace: NamespaceName | None = Field(
        default=None,
        description="Its namespace, whose listener must allow routes from here (allowedRoutes). Absent: the ModelDeployment's own.",
    )
    section_name: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=253),
            Matches(
                DNS_SUBDOMAIN,
                "sectionName must be a listener's name: lower-case letters, digits, - and ., with a letter or digit at both ends",
            ),
        ]
        | None
    ) = Field(default=None, description="One listener of it. Absent: every listener that takes the route.")


class BackendTls(Struct):
    """What the gateway shall expect of the pods' certificate."""

    hostname: Hostname = Field(
        description="Name that the certificate in security.tls.secretRef is for. The gateway sends it as SNI.",
        examples=["fraud.risk.svc"],
    )
    ca_bundle_ref: LocalObjectRef | None = Field(
        default=None,
        description="ConfigMap whose key ca.crt holds the PEM certificates that the gateway trusts. Absent: those that its system trusts.",
    )


def _of(ref: Any) -> tuple[str | None, str]:  # noqa: ANN401  -- of a rule
    return ref.namespace, ref.name


class Gateway(Struct):
    """A Gateway of the Gateway API, to which routes attach."""

    rules = (
        Rule(
            "self.parentRefs.all(one, self.parentRefs.exists_one(other, one.name == other.name && "
            "has(one.__namespace__) == has(other.__namespace__) && "
            "(!has(one.__namespace__) || one.__namespace__ == other.__namespace__) && "
            "(!has(one.sectionName) || !has(other.sectionName) || one.sectionName == other.sectionName)))",
            lambda it: all(
                sum(
                    _of(one) == _of(other)
                    and (one.section_name is None or other.section_name in {None, one.section_name})
                    for other in it.parent_refs
                )
                == 1
                for one in it.parent_refs
            ),
            "parentRefs names a Gateway twice: leave one out, or give each a sectionName of its own",
        ),
    )

    parent_refs: Annotated[list[ParentRef], Field(min_length=1, max_length=4)] = Field(
        description="The Gateways, as in an HTTPRoute. Each decides by its listeners whether it takes the route; EndpointExposed says what "
        "it decided.",
        examples=[[{"name": "public", "namespace": "gateways", "sectionName": "https"}]],
    )
    backend_tls: BackendTls | None = Field(
        default=None,
        description="For security.tls.mode Secret: how the gateway checks the pods' certificate. With mode Managed the operator says it "
        "by itself; both make a BackendTLSPolicy, which Gateway API 1.4 and newer have.",
    )


class IngressTls(Struct):
    """That the Ingress ends TLS, and with which certificate."""

    secret_name: ObjectName | None = Field(
        default=None,
        description="Secret with tls.crt and tls.key for the hostnames, which the controller reads (and cert-manager makes, where "
        "annotations ask it to). Absent: the controller's default certificate.",
    )


class Ingress(Struct):
    """An Ingress, for clusters without a Gateway."""

    ingress_class_name: ObjectName | None = Field(
        default=None, description="IngressClass, as in an Ingress. Absent: the cluster's default.", examples=["nginx"]
    )
    tls: IngressTls | None = Field(
        default=None, description="TLS towards the clients. Absent: plain HTTP, and tokens travel in clear."
    )
    annotations: Annotated[
        dict[AnnotationKey, Annotated[str, StringConstraints(max_length=1024)]], Field(max_length=16)
    ] = Field(
        default={},
        description="Put on the Ingress: what its controller or cert-manager reads, such as time limits. Ingress has no standard word for "
        "pods that speak TLS: with security.tls the controller must be told here.",
        examples=[{"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"}],
    )


class Exposure(Struct):
    """How clients outside the cluster reach the model."""

    rules = (
        exactly_one("gateway", "ingress", "exposure takes a gateway or an ingress, one of them"),
        Rule(
            "(has(self.hostnames) && size(self.hostnames) > 0) || (has(self.grpcHostnames) && size(self.grpcHostnames) > 0)",
            lambda it: bool(it.hostnames or it.grpc_hostnames),
            "exposure needs a hostname: hostnames for REST, grpcHostnames for gRPC",
        ),
        Rule(
            "!has(self.hostnames) || !has(self.grpcHostnames) || !self.hostnames.exists(name, name in self.grpcHostnames)",
            lambda it: not set(it.hostnames) & set(it.grpc_hostnames),
            "hostnames and grpcHostnames must differ: a Gateway takes one kind of route for a hostname",
        ),
        Rule(
            "!has(self.ingress) || !has(self.grpcHostnames) || size(self.grpcHostnames) == 0",
            lambda it: it.ingress is None or not it.grpc_hostnames,
            "grpcHostnames needs a gateway: an Ingress has no standard word for gRPC",
        ),
        Rule(
            "!has(self.ingress) || !has(self.timeoutSeconds)",
            lambda it: it.ingress is None or it.timeout_seconds is None,
            "timeoutSeconds needs a gateway: tell an Ingress controller by ingress.annotations",
        ),
        Rule(
            "!has(self.ingress) || (has(self.allowFrom) && size(self.allowFrom) > 0)",
            lambda it: it.ingress is None or bool(it.allow_from),
            "an ingress needs allowFrom: nothing else says where its controller's pods run, and the network policy lets nobody else in",
        ),
    )

    hostnames: Annotated[list[Hostname], Field(max_length=8), Distinct()] = Field(
        default=[],
        description="Names under which clients call the model over REST; your DNS leads them to the gateway. The first is in status.url.",
        examples=[["fraud.example.com"]],
    )
    grpc_hostnames: Annotated[list[Hostname], Field(max_length=8), Distinct()] = Field(
        default=[],
        description="Names under which clients call it over gRPC, other ones than for REST: the Gateway API gives a hostname of a listener "
        "to HTTPRoutes or to GRPCRoutes. Absent: no gRPC from outside.",
        examples=[["fraud-grpc.example.com"]],
    )
    routing: Routing = Field(
        default=Routing.HOSTNAME,
        description="Hostname: the hostnames are this model's alone; every path and call goes to it. ModelName: models share them; REST is "
        f"routed by the path /v2/models/NAME, and gRPC, whose paths name no model, by the metadata {MODEL_HEADER}: NAME, which clients "
        "must send (tritonclient: headers). NAME is model.name. /v2 and /v2/health are not reachable then.",
    )
    timeout_seconds: StrictInt | None = Field(
        default=None,
        ge=1,
        le=3600,
        description="After which the gateway gives up a REST request, where it can be told (timeouts of an HTTPRoute; not every gateway "
        "heeds them). Set it above the time of a cold start with scaling.minReplicas 0. Absent: the gateway's own limit, often 15 s.",
        examples=[60],
    )
    allow_from: Annotated[list[GatewayPeer], Field(max_length=16)] = Field(
        default=[],
        description="Where the gateway's or the ingress controller's pods run: the network policy lets them in. Absent: the namespaces of "
        "the Gateways, where many implementations run their pods (Istio, NGINX Gateway Fabric, kgateway); others do in one of their own "
        "(Envoy Gateway: envoy-gateway-system). Protects against nothing: who may reach the gateway may knock, and authentication stays "
        "as it is. Needed for an ingress.",
        examples=[[{"namespace": "envoy-gateway-system"}]],
    )
    gateway: Gateway | None = Field(
        default=None, description="By the Gateway API: an HTTPRoute, and a GRPCRoute for grpcHostnames."
    )
    ingress: Ingress | None = Field(default=None, description="By an Ingress, REST alone.")
