"""Specs with an exposure that are accepted, and those that are refused with the words that tell what to write instead.

Read with the table of specs.py by tests/integration (the API server's word) and tests/unit (the word of `parse`).
"""

from tests.specs import CIDR, NAMESPACE, OBJECT, URI, Bad, Good

GATEWAY = "gateway: {parentRefs: [{name: public}]}"
INGRESS = "ingress: {ingressClassName: nginx}"
INSIDE = "allowFrom: [{namespace: ingress-nginx}]"
HOST = "hostnames: [fraud.example.com]"
WILDCARD = "a hostname takes no wildcard"
DNS = "a hostname must be a DNS name in lower case without scheme, port, path or final dot"
ADDRESS = "a hostname must be a name and no IP address"
ONE_WAY = "exposure takes a gateway or an ingress, one of them"
NO_HOST = "exposure needs a hostname: hostnames for REST, grpcHostnames for gRPC"
APART = "hostnames and grpcHostnames must differ: a Gateway takes one kind of route for a hostname"
NO_GRPC = "grpcHostnames needs a gateway"
NO_TIME = "timeoutSeconds needs a gateway"
CLOSED = "an ingress needs allowFrom: nothing else says where its controller's pods run"
TWICE = "parentRefs names a Gateway twice: leave one out, or give each a sectionName of its own"
PEER = "a peer is a namespace or a cidr, one of them"
BACKEND = "security.tls.mode Secret needs exposure.gateway.backendTls"
ANNOTATION = "an annotation's key must be a domain, / and a name"
SNIPPET = "annotations take none of modelward.dev and no -snippet"


def exposed(fields: str, more: str = "") -> str:
    """Return the YAML of a spec that is exposed so."""
    return f"{{{URI}, exposure: {{{fields}}}{more}}}"


def parents(refs: str) -> str:
    """Return the YAML of a spec with these parentRefs."""
    return exposed(f"{HOST}, gateway: {{parentRefs: [{refs}]}}")


def named(hostname: str) -> str:
    """Return the YAML of a spec with this hostname."""
    return exposed(f"hostnames: ['{hostname}'], {GATEWAY}")


ACCEPTED_EXPOSURES = (
    Good("a gateway of the own namespace", exposed(f"{HOST}, {GATEWAY}")),
    Good(
        "everything about a gateway",
        exposed(
            "hostnames: [fraud.example.com, xn--bcher-kva.example], grpcHostnames: [fraud-grpc.example.com], routing: ModelName, "
            "timeoutSeconds: 3600, allowFrom: [{namespace: envoy-gateway-system}, {cidr: 192.0.2.0/24}, {cidr: '2001:db8::/32'}], "
            "gateway: {parentRefs: [{name: public, namespace: gateways, sectionName: https}, {name: inner}]}"
        ),
    ),
    Good("gRPC alone", exposed(f"grpcHostnames: [fraud.example.com], {GATEWAY}")),
    Good("two listeners of one gateway", parents("{name: a, sectionName: http}, {name: a, sectionName: https}")),
    Good("two gateways of one name", parents("{name: a}, {name: a, namespace: b}")),
    Good("the longest label of a name", named("a" * 63 + ".example")),
    Good("a name of one label, as of a home network", named("models")),
    Good("a name that begins with a number", named("1.example")),
    Good("an ingress of the default class", exposed(f"{HOST}, {INSIDE}, ingress: {{}}")),
    Good(
        "everything about an ingress",
        exposed(
            f"{HOST}, routing: ModelName, allowFrom: [{{cidr: 192.0.2.7/32}}], ingress: {{ingressClassName: nginx, "
            "tls: {secretName: fraud-tls}, annotations: {cert-manager.io/cluster-issuer: letsencrypt, "
            "nginx.ingress.kubernetes.io/proxy-read-timeout: '120'}}"
        ),
    ),
    Good("an ingress with the controller's certificate", exposed(f"{HOST}, {INSIDE}, ingress: {{tls: {{}}}}")),
    Good(
        "a certificate of one's own behind a gateway",
        exposed(
            f"{HOST}, gateway: {{parentRefs: [{{name: a}}], backendTls: {{hostname: fraud.risk.svc, caBundleRef: {{name: corp-ca}}}}}}",
            ", security: {tls: {mode: Secret, secretRef: {name: fraud-cert}}}",
        ),
    ),
    Good(
        "a certificate that the world trusts behind a gateway",
        exposed(
            f"{HOST}, gateway: {{parentRefs: [{{name: a}}], backendTls: {{hostname: fraud.example.com}}}}",
            ", security: {tls: {mode: Secret, secretRef: {name: fraud-cert}}}",
        ),
    ),
    Good("a managed certificate behind a gateway", exposed(f"{HOST}, {GATEWAY}", ", security: {tls: {mode: Managed}}")),
    Good(
        "a certificate of one's own behind an ingress, whose controller is told by annotations",
        exposed(
            f"{HOST}, {INSIDE}, ingress: {{annotations: {{nginx.ingress.kubernetes.io/backend-protocol: HTTPS}}}}",
            ", security: {tls: {mode: Secret, secretRef: {name: fraud-cert}}}",
        ),
    ),
)

REFUSED_EXPOSURES = (
    Bad("an exposure by nothing", exposed(HOST), "spec.exposure", ONE_WAY),
    Bad("an exposure by both", exposed(f"{HOST}, {INSIDE}, {GATEWAY}, {INGRESS}"), "spec.exposure", ONE_WAY),
    Bad("no hostname", exposed(GATEWAY), "spec.exposure", NO_HOST),
    Bad("empty lists of hostnames", exposed(f"hostnames: [], grpcHostnames: [], {GATEWAY}"), "spec.exposure", NO_HOST),
    Bad(
        "one hostname for both",
        exposed(f"{HOST}, grpcHostnames: [b.example, fraud.example.com], {GATEWAY}"),
        "spec.exposure",
        APART,
    ),
    Bad("gRPC by an ingress", exposed(f"grpcHostnames: [a.example], {INSIDE}, {INGRESS}"), "spec.exposure", NO_GRPC),
    Bad(
        "a time limit for an ingress",
        exposed(f"{HOST}, timeoutSeconds: 60, {INSIDE}, {INGRESS}"),
        "spec.exposure",
        NO_TIME,
    ),
    Bad("an ingress whose controller may not come in", exposed(f"{HOST}, {INGRESS}"), "spec.exposure", CLOSED),
    *(
        Bad(reason, named(hostname), "spec.exposure.hostnames[0]", message)
        for reason, hostname, message in (
            ("a wildcard", "*.example.com", WILDCARD),
            ("nothing but a wildcard", "*", WILDCARD),
            ("a wildcard within", "a.*.example.com", WILDCARD),
            ("upper case", "Fraud.example.com", DNS),
            ("a URL for a hostname", "https://fraud.example.com", DNS),
            ("a port in a hostname", "fraud.example.com:443", DNS),
            ("a path in a hostname", "fraud.example.com/v2", DNS),
            ("a final dot", "fraud.example.com.", DNS),
            ("an empty label", "fraud..example.com", DNS),
            ("a label that ends with a hyphen", "fraud-.example.com", DNS),
            ("an underscore in a hostname", "fraud_x.example.com", DNS),
            ("a label of 64 letters", "a" * 64 + ".example", DNS),
            ("a hostname with a space", "fraud example.com", DNS),
            ("a hostname of two lines", "a.example\n\nb.example", DNS),
            ("another alphabet", "bücher.example", DNS),
            ("an address for a hostname", "192.0.2.7", ADDRESS),
            ("an address with brackets", "[2001:db8::1]", DNS),
            ("a configuration for a hostname", "a.example; location / {}", DNS),
        )
    ),
    Bad("an empty hostname", named(""), "spec.exposure.hostnames[0]", "should be at least 1 chars long", bound=True),
    Bad(
        "a hostname that is too long",
        named("a." * 126 + "example"),
        "spec.exposure.hostnames[0]",
        "Too long",
        bound=True,
    ),
    Bad(
        "a hostname twice",
        exposed(f"hostnames: [a.example, a.example], {GATEWAY}"),
        "spec.exposure.hostnames",
        "Duplicate value",
        bound=True,
    ),
    Bad(
        "a wildcard for gRPC",
        exposed(f"grpcHostnames: ['*.example.com'], {GATEWAY}"),
        "spec.exposure.grpcHostnames[0]",
        WILDCARD,
    ),
    Bad(
        "a routing of a later version",
        exposed(f"{HOST}, routing: Header, {GATEWAY}"),
        "spec.exposure.routing",
        '"ModelName"',
        bound=True,
    ),
    Bad(
        "a time limit of nothing",
        exposed(f"{HOST}, timeoutSeconds: 0, {GATEWAY}"),
        "spec.exposure.timeoutSeconds",
        "should be greater",
        bound=True,
    ),
    Bad(
        "a time limit of a day",
        exposed(f"{HOST}, timeoutSeconds: 86400, {GATEWAY}"),
        "spec.exposure.timeoutSeconds",
        "should be less",
        bound=True,
    ),
    Bad(
        "no gateway at all", parents(""), "spec.exposure.gateway.parentRefs", "should have at least 1 items", bound=True
    ),
    Bad("a gateway twice", parents("{name: a}, {name: a}"), "spec.exposure.gateway", TWICE),
    Bad(
        "a listener twice",
        parents("{name: a, sectionName: b}, {name: a, sectionName: b}"),
        "spec.exposure.gateway",
        TWICE,
    ),
    Bad(
        "a gateway and a listener of it",
        parents("{name: a}, {name: a, sectionName: b}"),
        "spec.exposure.gateway",
        TWICE,
    ),
    Bad(
        "a gateway without a name",
        parents("{namespace: a}"),
        "spec.exposure.gateway.parentRefs[0].name",
        "Required value",
        bound=True,
    ),
    Bad("a gateway in a path", parents("{name: ../public}"), "spec.exposure.gateway.parentRefs[0].name", OBJECT),
    Bad(
        "a gateway in every namespace",
        parents("{name: a, namespace: '*'}"),
        "spec.exposure.gateway.parentRefs[0].namespace",
        NAMESPACE,
    ),
    Bad(
        "a listener in upper case",
        parents("{name: a, sectionName: HTTPS}"),
        "spec.exposure.gateway.parentRefs[0].sectionName",
        "sectionName must be a listener's name",
    ),
    Bad(
        "a peer that is both",
        exposed(f"{HOST}, allowFrom: [{{namespace: a, cidr: 192.0.2.0/24}}], {GATEWAY}"),
        "spec.exposure.allowFrom[0]",
        PEER,
    ),
    Bad("a peer that is nobody", exposed(f"{HOST}, allowFrom: [{{}}], {GATEWAY}"), "spec.exposure.allowFrom[0]", PEER),
    Bad(
        "a peer with host bits",
        exposed(f"{HOST}, allowFrom: [{{cidr: 192.0.2.7/24}}], {GATEWAY}"),
        "spec.exposure.allowFrom[0]",
        CIDR,
    ),
    Bad(
        "every namespace as a peer",
        exposed(f"{HOST}, allowFrom: [{{namespace: '*'}}], {GATEWAY}"),
        "spec.exposure.allowFrom[0].namespace",
        NAMESPACE,
    ),
    Bad(
        "a certificate of one's own that the gateway knows nothing of",
        exposed(f"{HOST}, {GATEWAY}", ", security: {tls: {mode: Secret, secretRef: {name: a}}}"),
        "spec",
        BACKEND,
    ),
    Bad(
        "what to expect of a managed certificate",
        exposed(
            f"{HOST}, gateway: {{parentRefs: [{{name: a}}], backendTls: {{hostname: a.example}}}}",
            ", security: {tls: {mode: Managed}}",
        ),
        "spec",
        BACKEND,
    ),
    Bad(
        "what to expect where there is no TLS",
        exposed(f"{HOST}, gateway: {{parentRefs: [{{name: a}}], backendTls: {{hostname: a.example}}}}"),
        "spec",
        BACKEND,
    ),
    *(
        Bad(
            reason,
            exposed(f"{HOST}, {INSIDE}, ingress: {{annotations: {{'{key}': x}}}}"),
            "spec.exposure.ingress.annotations",
            message,
        )
        for reason, key, message in (
            ("an annotation without a domain", "rewrite", ANNOTATION),
            ("an annotation of two parts too many", "a.example/b/c", ANNOTATION),
            ("a snippet of configuration", "nginx.ingress.kubernetes.io/configuration-snippet", SNIPPET),
            ("a snippet of a server", "nginx.ingress.kubernetes.io/server-snippet", SNIPPET),
            ("an annotation of ours", "modelward.dev/applied", SNIPPET),
        )
    ),
)
