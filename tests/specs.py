"""Specs that are accepted, and specs that are refused with the words that tell what to write instead.

Read by tests/integration (the API server's word) and tests/unit (the word of `parse`).
"""

from typing import Any, NamedTuple

import yaml

URI = "model: {uri: s3://models/fraud/7/}"
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
URI_FORM = (
    "uri must be s3://BUCKET/PREFIX/, s3://BUCKET/KEY.onnx, gs://BUCKET/…, https://HOST/PATH, oci://REGISTRY/REPOSITORY:TAG, "
    "oci://REGISTRY/REPOSITORY@sha256:… or pvc://CLAIM/PATH, with the bucket, the host, the repository or the claim in lower case"
)
URI_DOTS = "uri must not contain the path segments . or ..: write the path in full"
URI_SPELLINGS = (
    "uri must not spell . or / of an https:// path as %2e or %2f, nor hold \\, %5c or a segment of dots and ;: "
    "write the path in full"
)
URI_SIGNS = "uri must not contain spaces, control characters, ? or #"
DIGEST = "digest must be sha256: and 64 lower-case hexadecimal digits, as `modelward digest PATH` prints it"
WORD = "must be letters, digits, ., _ and -, with a letter or digit at both ends: clients write it in a URL"
ENDPOINT = "endpoint must be http:// or https://, a host and perhaps a port, without path, query or credentials"
IMAGE = "image must be an image reference without a scheme, for example registry.example:5000/modelward/runtime:0.1.0"
TUNING = [
    "LOG_LEVEL",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "OMP_DYNAMIC",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OMP_SCHEDULE",
    "OMP_STACKSIZE",
    "OMP_THREAD_LIMIT",
    "OMP_WAIT_POLICY",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_VERBOSE",
    "MKL_DYNAMIC",
    "MKL_NUM_THREADS",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_TF32_OVERRIDE",
]
"""Every name that runtime.env takes."""
ENV_NAME = "name must be LOG_LEVEL, TZ, a proxy or one that tunes threads or a GPU, as crds/README.md lists them"
OBJECT = "must be an object's name: lower-case letters, digits, - and ., with a letter or digit at both ends"
NAMESPACE = "must be a namespace's name: lower-case letters, digits and -, with a letter or digit at both ends"
DEVICES = "resources takes cpu, memory and ephemeral-storage; devices go to spec.accelerator"
EXCEEDS = "a request must not exceed its limit: raise the limit or lower the request"
NAME = "metadata.name must be at most 50 lower-case letters, digits and -, begin with a letter and not end with -"
PROVIDER = "keyRef holds what its provider needs and nothing else: name for Secret, vault for Vault, awsKms for AWSKMS"
KEY_REF = "mode Required needs a keyRef that opens the model; mode Disabled takes none"
SIGNED = "encryption.mode Required needs verification.mode Required with at least one signer in trust"
SERVICE = "must be https:// (http:// only for a test), a host and perhaps a port, without path, query or credentials"
VAULT_PATH = "must be a path of Vault without a slash at either end"
TRUST = "trust: [{name: ci, keyRef: {name: ci-pub}}]"
VERIFIED = f"verification: {{mode: Required, {TRUST}}}"
JWT = (
    "issuer: 'https://login.example.com/realms/risk', audiences: [fraud], "
    "jwksUri: 'https://login.example.com/realms/risk/protocol/openid-connect/certs'"
)
CALLERS = "allowedSubjects: [{kind: ServiceAccount, name: checkout, namespace: shop}]"
CIDR = "cidr must be a network in CIDR form without host bits, for example 192.0.2.0/24"
VAULT = "address: 'https://vault.vault.svc:8200', key: models, role: fraud"


CPU = "resources: {requests: {cpu: '1', memory: 1Gi}}"
REPLICAS = "replicas is for autoscaler None and External"
BOUNDS = "minReplicas and maxReplicas are for autoscaler Concurrency, HPA and KEDA"
HIGHEST = "autoscaler Concurrency, HPA and KEDA need maxReplicas"
CROSSED = "minReplicas (1 when absent) must not exceed maxReplicas"
TUNED = (
    "targetConcurrency, targetUtilizationPercent, scaleDownSeconds and fallbackReplicas are for autoscaler Concurrency"
)


def scaled(scaling: str) -> str:
    """Return the YAML of a spec that scales so."""
    return f"{{{URI}, scaling: {{{scaling}}}}}"


def secured(security: str) -> str:
    """Return the YAML of a spec with this security."""
    return f"{{{URI}, security: {{{security}}}}}"


def sealed(key_ref: str) -> str:
    """Return the YAML of a spec whose model must be sealed for this key."""
    return secured(f"encryption: {{mode: Required, keyRef: {{{key_ref}}}}}, {VERIFIED}")


def callers(subject: str) -> str:
    """Return the YAML of a spec that this subject may call."""
    return secured(f"authentication: {{allowedSubjects: [{subject}]}}")


def jwt(fields: str) -> str:
    """Return the YAML of a spec whose callers bring a JWT."""
    return secured(f"authentication: {{mode: JWT, jwt: {{{fields}}}}}")


def egress_to(network: str) -> str:
    """Return the YAML of a spec whose pods may also connect to this network."""
    return secured(f"networkPolicy: {{egress: {{allowTo: [{network}]}}}}")


class Good(NamedTuple):
    """A spec that is accepted."""

    reason: str
    spec: str


class Bad(NamedTuple):
    """A spec that is refused, with a rule's own `message`, or with what the API server says of a bound of the schema."""

    reason: str
    spec: str
    path: str
    message: str
    bound: bool = False


ACCEPTED = (
    Good("the least", URI),
    Good("a single file", "model: {uri: s3://models/fraud/model.onnx}"),
    Good("a whole bucket", "model: {uri: s3://my.bucket-1}"),
    Good("a folder of a volume", "model: {uri: pvc://models/fraud/7/}"),
    Good("a whole volume, with the shortest name", "model: {uri: pvc://m}"),
    Good("a file of a web server", "model: {uri: 'https://models.example/fraud/7/model.onnx'}"),
    Good("a folder of a web server with a port", "model: {uri: 'https://10.0.0.7:8443/fraud/7/'}"),
    Good("a whole web server", "model: {uri: 'https://models.example'}"),
    Good(
        "a web server with credentials, a private CA and a shared cache",
        f"model: {{uri: 'https://models.example/f%20g/~a+b.onnx', digest: 'sha256:{HEX}', storage: {{secretRef: {{name: web}}, "
        "caBundleRef: {name: corp-ca}}, cache: {claimName: model-cache, sizeLimit: 50Gi}}",
    ),
    Good("a Google bucket, with an underscore", "model: {uri: 'gs://my_models.example/fraud/7/'}"),
    Good(
        "a Google bucket with a key, and what speaks like it",
        "model: {uri: gs://models/a.onnx, storage: {secretRef: {name: gs-read}, endpoint: 'https://storage.example'}}",
    ),
    Good(
        "a web server's Secret beside that of AWS KMS",
        "{model: {uri: 'https://m.example/a/', storage: {secretRef: {name: web}}}, security: {encryption: {mode: Required, "
        "keyRef: {provider: AWSKMS, awsKms: {key: alias/a, region: eu-central-1, secretRef: {name: kms}}}}, "
        + VERIFIED
        + "}}",
    ),
    Good("an artifact by its tag", "model: {uri: 'oci://registry.example/risk/fraud-scorer:v7_1.2'}"),
    Good("an artifact of a registry with a port", "model: {uri: 'oci://127.0.0.1:5000/fraud:7'}"),
    Good("an artifact by its digest", f"model: {{uri: 'oci://registry.example/a__b/c.d@sha256:{HEX}'}}"),
    Good("an artifact by both", f"model: {{uri: 'oci://registry.example/fraud:7@sha256:{HEX}'}}"),
    Good(
        "a registry with a pull secret and a mirror",
        "model: {uri: 'oci://registry.example/fraud:7', storage: {secretRef: {name: pull}, endpoint: 'http://mirror:5000'}}",
    ),
    Good(
        "a registry's Secret beside that of AWS KMS",
        "{model: {uri: 'oci://r.example/a:7', storage: {secretRef: {name: pull}}}, security: {encryption: {mode: Required, "
        "keyRef: {provider: AWSKMS, awsKms: {key: alias/a, region: eu-central-1, secretRef: {name: kms}}}}, "
        + VERIFIED
        + "}}",
    ),
    Good(
        "a shared cache",
        f"model: {{uri: s3://models/a/, digest: 'sha256:{HEX}', cache: {{claimName: model-cache, sizeLimit: 50Gi}}}}",
    ),
    Good("dots within a path segment", "model: {uri: s3://models/v1.2/..hidden/a..b.onnx}"),
    Good("a digest", f"model: {{uri: s3://models/a/, digest: 'sha256:{HEX}'}}"),
    Good(
        "a name and a version that clients write",
        "model: {uri: s3://models/a/, name: Fraud_v1.2-x, version: 2026-11-23.rc1}",
    ),
    Good(
        "a store with credentials and a private CA",
        "model: {uri: s3://models/a/, storage: {endpoint: 'https://minio.storage.svc:9000', region: eu-central-1, "
        "secretRef: {name: s3-read}, caBundleRef: {name: corp-ca}}}",
    ),
    Good("a store without TLS", "model: {uri: s3://models/a/, storage: {endpoint: 'http://10.0.0.7:9000/'}}"),
    Good("a store by its IPv6 address", "model: {uri: s3://models/a/, storage: {endpoint: 'http://[fd00::7]:9000'}}"),
    Good("a private CA on the way to AWS", "model: {uri: s3://models/a/, storage: {caBundleRef: {name: proxy-ca}}}"),
    Good("the operator's own image, written out", f"{{{URI}, runtime: {{image: ''}}}}"),
    Good("an image by digest", f"{{{URI}, runtime: {{image: 'registry.example:5000/a/b:1.0@sha256:{HEX}'}}}}"),
    Good(
        "requests that are followed, at the bounds", f"{{{URI}, observability: {{slowRequestMilliseconds: 3600000}}}}"
    ),
    Good("traces with their defaults", f"{{{URI}, observability: {{tracing: {{endpoint: 'http://collector:4318'}}}}}}"),
    Good(
        "traces of none but those who ask",
        f"{{{URI}, observability: {{tracing: {{endpoint: 'https://[2001:db8::1]:4318/', sampling: '0'}}}}}}",
    ),
    Good("batching with its defaults", f"{{{URI}, runtime: {{batching: {{}}}}}}"),
    Good(
        "batching at its bounds",
        f"{{{URI}, runtime: {{batching: {{maxBatchSize: 4096, maxDelayMicroseconds: 1000000}}}}}}",
    ),
    Good("padded batches", f"{{{URI}, runtime: {{batching: {{padding: PowersOfTwo}}}}}}"),
    Good(
        "a GPU used otherwise than by default",
        f"{{{URI}, accelerator: {{}}, runtime: {{cuda: {{tf32: false, graphs: true, tensorRt: true, convolutionSearch: Exhaustive, "
        "memoryLimit: 16Mi}}}",
    ),
    Good(
        "environment from a value, an empty value and a Secret",
        f"{{{URI}, runtime: {{env: [{{name: OMP_NUM_THREADS, value: x}}, {{name: TZ, value: ''}}, "
        "{name: HTTPS_PROXY, valueFrom: {secretKeyRef: {name: s, key: k}}}]}}",
    ),
    Good(
        "every variable that may be set",
        f"{{{URI}, runtime: {{env: [{', '.join(f'{{name: {name}, value: x}}' for name in TUNING)}]}}}}",
    ),
    Good("whole numbers as quantities", f"{{{URI}, resources: {{requests: {{cpu: 2, memory: 1073741824}}}}}}"),
    Good(
        "every way to write a quantity",
        f"{{{URI}, resources: {{limits: {{cpu: 1500m, memory: 1.5Gi, ephemeral-storage: 1e9}}}}}}",
    ),
    Good(
        "a request that equals its limit in another unit",
        f"{{{URI}, resources: {{requests: {{cpu: 1000m}}, limits: {{cpu: 1}}}}}}",
    ),
    *(
        Good(
            reason,
            f"{{{URI}, resources: {{requests: {{memory: {request!r}}}, limits: {{memory: {limit!r}}}}}}}",
        )
        for reason, request, limit in (
            ("what is below a billionth counts as one", "0.9n", "0.1n"),
            ("and between two as the higher one", "1.5n", "1.1n"),
            ("an exponent far below", "2e-99", "1e-99"),
            ("binary quantities end at 63 bits", "9Ei", "8Ei"),
            ("and so in small units", "12345678901234567890Ki", "9007199254740992Ki"),
            ("a binary fraction below a billionth", "0.0000000000002Ki", "0.0000000000001Ki"),
        )
    ),
    Good(
        "a request without a limit of its own",
        f"{{{URI}, resources: {{requests: {{cpu: 8}}, limits: {{memory: 1Gi}}}}}}",
    ),
    Good("one GPU by default", f"{{{URI}, accelerator: {{}}}}"),
    Good("slices of a GPU", f"{{{URI}, accelerator: {{resourceName: nvidia.com/mig-1g.10gb, count: 2}}}}"),
    Good(
        "everything about scheduling",
        f"{{{URI}, scheduling: {{nodeSelector: {{example.com/pool: gpu, plain: ''}}, priorityClassName: high, runtimeClassName: nvidia, "
        "tolerations: [{operator: Exists}, {key: a, value: b, effect: NoSchedule}, "
        "{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 30}]}}",
    ),
    Good("no replicas", f"{{{URI}, scaling: {{replicas: 0}}}}"),
    Good(
        "replicas that somebody else sets on this object", f"{{{URI}, scaling: {{autoscaler: External, replicas: 3}}}}"
    ),
    Good("replicas that somebody else sets on the Deployment", f"{{{URI}, scaling: {{autoscaler: External}}}}"),
    Good("one number by name", scaled("autoscaler: None, replicas: 2")),
    Good("bounds that differ", scaled("minReplicas: 1, maxReplicas: 4")),
    Good(
        "bounds that are equal, for an autoscaler that is named",
        scaled("autoscaler: Concurrency, minReplicas: 2, maxReplicas: 2"),
    ),
    Good("a highest number alone", scaled("autoscaler: Concurrency, maxReplicas: 4")),
    Good(
        "everything about concurrency, to zero",
        scaled(
            "autoscaler: Concurrency, minReplicas: 0, maxReplicas: 4, targetConcurrency: '0.5', targetUtilizationPercent: 80, "
            "idleSeconds: 30, scaleDownSeconds: 0, fallbackReplicas: 2, activation: {holdSeconds: 120, maxHeld: 1000}"
        ),
    ),
    Good("a target with decimals", scaled("minReplicas: 1, maxReplicas: 4, targetConcurrency: '12.125'")),
    Good(
        "an HPA by CPU and memory",
        f"{{{URI}, {CPU}, scaling: {{autoscaler: HPA, maxReplicas: 4, hpa: {{cpuUtilizationPercent: 80, "
        "memoryUtilizationPercent: 90, scaleDownSeconds: 60}}}",
    ),
    Good(
        "KEDA to zero",
        scaled(
            "autoscaler: KEDA, minReplicas: 0, maxReplicas: 4, activation: {}, keda: {pollingSeconds: 5, cooldownSeconds: 30, triggers: "
            "[{type: aws-sqs-queue, metadata: {queueLength: '5', x.y_z-1: a}, authenticationRef: {name: queue}}, "
            "{type: cron, metadata: {start: 0 8 * * *}}]}"
        ),
    ),
    Good(
        "to zero behind a managed certificate",
        f"{{{URI}, scaling: {{minReplicas: 0, maxReplicas: 2}}, security: {{tls: {{mode: Managed}}}}}}",
    ),
    Good("each strategy", f"{{{URI}, rollout: {{strategy: Recreate}}}}"),
    Good("no former revision is kept", f"{{{URI}, rollout: {{revisionHistoryLimit: 0}}}}"),
    Good(
        "two other namespaces",
        f"{{{URI}, security: {{networkPolicy: {{allowFrom: [{{namespace: shop}}, {{namespace: a-1}}]}}}}}}",
    ),
    Good("suspended", f"{{{URI}, suspend: true}}"),
    Good("a sealed model with a key in a Secret", sealed("provider: Secret, name: fraud-kek")),
    Good("a sealed model with a key in Vault", sealed(f"provider: Vault, vault: {{{VAULT}}}")),
    Good(
        "everything about Vault",
        sealed(
            f"provider: Vault, vault: {{{VAULT}, mount: teams/transit, authPath: kubernetes-eu, namespace: teams/risk, "
            "caBundleRef: {name: vault-ca}}"
        ),
    ),
    Good(
        "everything about AWS KMS",
        sealed(
            "provider: AWSKMS, awsKms: {key: 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd', region: eu-central-1, "
            "endpoint: 'https://kms.internal:8443', secretRef: {name: kms-user}}"
        ),
    ),
    Good(
        "one Secret for the store and the key",
        "{model: {uri: s3://m/a/, storage: {secretRef: {name: aws}}}, security: {encryption: {mode: Required, keyRef: "
        "{provider: AWSKMS, awsKms: {key: alias/a, region: eu-central-1, secretRef: {name: aws}}}}, " + VERIFIED + "}}",
    ),
    Good("encryption that is off and says so", secured("encryption: {mode: Disabled}")),
    Good("a signature and no encryption", secured(VERIFIED)),
    Good("a signature that only warns", secured(f"verification: {{mode: Warn, {TRUST}}}")),
    Good(
        "two signers, in one ConfigMap",
        secured(
            "verification: {mode: Required, trust: [{name: ci, keyRef: {name: keys, key: ci.pem}}, "
            "{name: alice, keyRef: {name: keys, key: alice.pem}}]}"
        ),
    ),
    Good("tokens for the usual audience, written out", secured("authentication: {mode: TokenReview}")),
    Good("the same with nothing written", secured("authentication: {}")),
    Good(
        "callers of each kind",
        secured(
            "authentication: {audience: fraud.risk, allowedSubjects: [{kind: ServiceAccount, name: checkout, namespace: shop}, "
            "{kind: User, name: 'oidc:alice@example.com'}, {kind: Group, name: 'system:serviceaccounts:web'}]}"
        ),
    ),
    Good("callers with a JWT", jwt(JWT)),
    Good(
        "everything about a JWT",
        jwt(
            f"{JWT}, algorithms: [ES256, EdDSA], usernameClaim: 'https://example.com/name', usernamePrefix: 'risk:', "
            "groupsClaim: groups, groupsPrefix: 'risk:', caBundleRef: {name: login-ca}"
        ),
    ),
    Good("an open endpoint, which must be written", secured("authentication: {mode: None}")),
    Good("an open endpoint that names nobody", secured("authentication: {mode: None, allowedSubjects: []}")),
    Good("a managed certificate", secured("tls: {mode: Managed}")),
    Good("a certificate of one's own", secured("tls: {mode: Secret, secretRef: {name: fraud-cert}}")),
    Good("no TLS, written out", secured("tls: {mode: 'Off'}")),
    Good("every limit", secured("rateLimit: {requestsPerSecond: '0.5', burst: 1, concurrency: 4}")),
    Good("a limit of what is under way alone", secured("rateLimit: {concurrency: 1}")),
    Good("an open way out", secured("networkPolicy: {egress: {mode: Open}}")),
    Good(
        "networks besides",
        egress_to(
            "{cidr: 192.0.2.0/24, port: 443}, {cidr: 192.0.2.0/24, port: 80}, {cidr: '2001:db8::/32'}, {cidr: 0.0.0.0/0}"
        ),
    ),
)

REFUSED = (
    Bad("no spec at all", "", "spec", "Required value", bound=True),
    Bad("no model", "{suspend: true}", "spec.model", "Required value", bound=True),
    Bad("no uri", "model: {version: '1'}", "spec.model.uri", "Required value", bound=True),
    Bad("an empty uri", "model: {uri: ''}", "spec.model.uri", "should be at least 1 chars long", bound=True),
    Bad("a scheme that this version cannot read", "model: {uri: 'hf://models/a/'}", "spec.model.uri", URI_FORM),
    Bad("a web server without TLS", "model: {uri: 'http://models.example/a.onnx'}", "spec.model.uri", URI_FORM),
    Bad(
        "a user and a password in the URI", "model: {uri: 'https://me:secret@host/a.onnx'}", "spec.model.uri", URI_FORM
    ),
    Bad("a web server in upper case", "model: {uri: 'https://Models.example/a.onnx'}", "spec.model.uri", URI_FORM),
    Bad("a web server without a name", "model: {uri: 'https:///a.onnx'}", "spec.model.uri", URI_FORM),
    Bad("a signed URL", "model: {uri: 'https://models.example/a.onnx?X-Sig=1'}", "spec.model.uri", URI_SIGNS),
    Bad("a Google bucket in upper case", "model: {uri: 'gs://Models/a/'}", "spec.model.uri", URI_FORM),
    Bad("no Google bucket", "model: {uri: 'gs:///a/'}", "spec.model.uri", URI_FORM),
    Bad(
        "a region of a web server",
        "model: {uri: 'https://models.example/a.onnx', storage: {region: eu-central-1}}",
        "spec.model",
        "storage.region is for s3:// only: leave it out",
    ),
    Bad(
        "a region of Google's",
        "model: {uri: 'gs://models/a/', storage: {region: eu-central-1}}",
        "spec.model",
        "storage.region is for s3:// only: leave it out",
    ),
    Bad(
        "an endpoint beside a web server's own",
        "model: {uri: 'https://models.example/a.onnx', storage: {endpoint: 'https://mirror.example'}}",
        "spec.model",
        "an https:// model is where its URI says, so leave endpoint out",
    ),
    Bad(
        "a cache of a web server's model without a digest",
        "model: {uri: 'https://models.example/a.onnx', cache: {claimName: c, sizeLimit: 50Gi}}",
        "spec.model",
        "cache needs digest, by which pods find a model in it and check it",
    ),
    Bad("a path without a scheme", "model: {uri: models/a/}", "spec.model.uri", URI_FORM),
    Bad("a scheme in upper case", "model: {uri: 'S3://models/a/'}", "spec.model.uri", URI_FORM),
    Bad("no bucket", "model: {uri: 's3:///a/'}", "spec.model.uri", URI_FORM),
    Bad("a bucket in upper case", "model: {uri: 's3://Models/a/'}", "spec.model.uri", URI_FORM),
    Bad("no claim", "model: {uri: 'pvc://'}", "spec.model.uri", URI_FORM),
    Bad("an artifact without a tag", "model: {uri: 'oci://registry.example/fraud'}", "spec.model.uri", URI_FORM),
    Bad("a registry without a repository", "model: {uri: 'oci://registry.example/'}", "spec.model.uri", URI_FORM),
    Bad("a repository in upper case", "model: {uri: 'oci://registry.example/Fraud:7'}", "spec.model.uri", URI_FORM),
    Bad("a folder of an artifact", "model: {uri: 'oci://registry.example/fraud:7/a'}", "spec.model.uri", URI_FORM),
    Bad("a digest cut short", "model: {uri: 'oci://registry.example/fraud@sha256:abc'}", "spec.model.uri", URI_FORM),
    Bad("a user in the URI", "model: {uri: 'oci://me:secret@registry.example/fraud:7'}", "spec.model.uri", URI_FORM),
    Bad(
        "a region of a registry",
        "model: {uri: 'oci://registry.example/fraud:7', storage: {region: eu-central-1}}",
        "spec.model",
        "storage.region is for s3:// only: leave it out",
    ),
    Bad(
        "a shared cache of what nobody can tell apart",
        "model: {uri: s3://models/a/, cache: {claimName: model-cache, sizeLimit: 50Gi}}",
        "spec.model",
        "cache needs digest, by which pods find a model in it",
    ),
    Bad(
        "a cache of a volume",
        f"model: {{uri: pvc://models/a/, digest: 'sha256:{HEX}', cache: {{claimName: c, sizeLimit: 50Gi}}}}",
        "spec.model",
        "a pvc:// model is on a volume already and needs none",
    ),
    Bad(
        "a cache of nothing",
        f"model: {{uri: s3://models/a/, digest: 'sha256:{HEX}', cache: {{claimName: c, sizeLimit: 500k}}}}",
        "spec.model.cache",
        "sizeLimit must be 1Mi or more",
    ),
    Bad(
        "a cache without end",
        f"model: {{uri: s3://models/a/, digest: 'sha256:{HEX}', cache: {{claimName: c}}}}",
        "spec.model.cache.sizeLimit",
        "Required value",
        bound=True,
    ),
    Bad("a path that climbs", "model: {uri: s3://models/a/../b/}", "spec.model.uri", URI_DOTS),
    Bad("a path that ends by climbing", "model: {uri: pvc://models/..}", "spec.model.uri", URI_DOTS),
    Bad("a segment that says nothing", "model: {uri: s3://models/./a}", "spec.model.uri", URI_DOTS),
    Bad("a path that climbs when decoded", "model: {uri: 'https://h/a/%2e%2E/b/'}", "spec.model.uri", URI_SPELLINGS),
    Bad("a slash in disguise", "model: {uri: 'https://h/a/..%2Fb/m.onnx'}", "spec.model.uri", URI_SPELLINGS),
    Bad("a backslash", "model: {uri: 'https://h/a/..\\\\b/m.onnx'}", "spec.model.uri", URI_SPELLINGS),
    Bad("dots that some servers cut free", "model: {uri: 'https://h/a/..;/b/m.onnx'}", "spec.model.uri", URI_SPELLINGS),
    Bad("a space", "model: {uri: 's3://models/a b/'}", "spec.model.uri", URI_SIGNS),
    Bad("a line break at the end", 'model: {uri: "s3://models/a/\\n"}', "spec.model.uri", URI_SIGNS),
    Bad("a query", "model: {uri: 's3://models/a?versionId=1'}", "spec.model.uri", URI_SIGNS),
    Bad(
        "a uri without end",
        f"model: {{uri: s3://models/{'a' * 2048}}}",
        "spec.model.uri",
        "may not be more than 2048",
        bound=True,
    ),
    Bad(
        "a volume with an object store's settings",
        "model: {uri: pvc://models/a/, storage: {region: eu-central-1}}",
        "spec.model",
        "storage is for stores that are fetched from: a pvc:// model is read from the mounted volume, so leave storage out",
    ),
    Bad(
        "a version that is no segment of a URL",
        "model: {uri: s3://models/a/, version: 1/2}",
        "spec.model.version",
        WORD,
    ),
    Bad(
        "a version as a number",
        "model: {uri: s3://models/a/, version: 7}",
        "spec.model.version",
        "must be of type string",
        bound=True,
    ),
    Bad("a name that is no segment of a URL", "model: {uri: s3://models/a/, name: a/b}", "spec.model.name", WORD),
    Bad(
        "a digest that is cut",
        f"model: {{uri: s3://models/a/, digest: 'sha256:{HEX[:-1]}'}}",
        "spec.model.digest",
        DIGEST,
    ),
    Bad(
        "a digest in upper case",
        f"model: {{uri: s3://models/a/, digest: 'sha256:{HEX.upper()}'}}",
        "spec.model.digest",
        DIGEST,
    ),
    Bad(
        "a digest of another kind", f"model: {{uri: s3://models/a/, digest: 'md5:{HEX}'}}", "spec.model.digest", DIGEST
    ),
    Bad(
        "an endpoint without a scheme",
        "model: {uri: s3://models/a/, storage: {endpoint: 'minio:9000'}}",
        "spec.model.storage.endpoint",
        ENDPOINT,
    ),
    Bad(
        "an endpoint with a path",
        "model: {uri: s3://models/a/, storage: {endpoint: 'https://minio/s3/'}}",
        "spec.model.storage.endpoint",
        ENDPOINT,
    ),
    Bad(
        "an endpoint with credentials",
        "model: {uri: s3://models/a/, storage: {endpoint: 'https://me:secret@minio'}}",
        "spec.model.storage.endpoint",
        ENDPOINT,
    ),
    Bad(
        "a region that is none",
        "model: {uri: s3://models/a/, storage: {region: EU Central}}",
        "spec.model.storage.region",
        "region must be lower-case letters, digits and -, for example eu-central-1",
    ),
    Bad(
        "a private CA without TLS",
        "model: {uri: s3://models/a/, storage: {endpoint: 'http://minio', caBundleRef: {name: ca}}}",
        "spec.model.storage",
        "caBundleRef needs TLS: write the endpoint with https://, or leave caBundleRef out",
    ),
    Bad(
        "a reference without a name",
        "model: {uri: s3://models/a/, storage: {secretRef: {}}}",
        "spec.model.storage.secretRef.name",
        "Required value",
        bound=True,
    ),
    Bad(
        "a reference into another namespace",
        "model: {uri: s3://models/a/, storage: {secretRef: {name: other/s3}}}",
        "spec.model.storage.secretRef.name",
        OBJECT,
    ),
    Bad(
        "an image with a scheme",
        f"{{{URI}, runtime: {{image: 'https://registry.example/a'}}}}",
        "spec.runtime.image",
        IMAGE,
    ),
    Bad("an image with a space", f"{{{URI}, runtime: {{image: 'a b'}}}}", "spec.runtime.image", IMAGE),
    Bad(
        "slow is what takes no time",
        f"{{{URI}, observability: {{slowRequestMilliseconds: 0}}}}",
        "spec.observability.slowRequestMilliseconds",
        "should be greater than or equal to 1",
        bound=True,
    ),
    Bad(
        "a collector with a path",
        f"{{{URI}, observability: {{tracing: {{endpoint: 'http://collector:4318/v1/traces'}}}}}}",
        "spec.observability.tracing.endpoint",
        ENDPOINT,
    ),
    Bad(
        "a collector with a password",
        f"{{{URI}, observability: {{tracing: {{endpoint: 'http://a:b@collector:4318'}}}}}}",
        "spec.observability.tracing.endpoint",
        ENDPOINT,
    ),
    Bad(
        "more than all requests",
        f"{{{URI}, observability: {{tracing: {{endpoint: 'http://c', sampling: '1.1'}}}}}}",
        "spec.observability.tracing.sampling",
        'sampling must be a decimal number from "0" to "1" in quotes',
    ),
    Bad(
        "a batch of nothing",
        f"{{{URI}, runtime: {{batching: {{maxBatchSize: 0}}}}}}",
        "spec.runtime.batching.maxBatchSize",
        "should be greater than or equal to 1",
        bound=True,
    ),
    Bad(
        "a padding that nobody knows",
        f"{{{URI}, runtime: {{batching: {{padding: Tens}}}}}}",
        "spec.runtime.batching.padding",
        "Unsupported value",
        bound=True,
    ),
    Bad(
        "a GPU's memory in which no model runs",
        f"{{{URI}, accelerator: {{}}, runtime: {{cuda: {{memoryLimit: 1Mi}}}}}}",
        "spec.runtime.cuda",
        "memoryLimit is below 16Mi, in which no model runs",
    ),
    Bad(
        "a GPU used that is not there",
        f"{{{URI}, runtime: {{cuda: {{tf32: false}}}}}}",
        "spec",
        "runtime.cuda says how a GPU is used: it needs spec.accelerator",
    ),
    Bad(
        "a delay of more than a second",
        f"{{{URI}, runtime: {{batching: {{maxDelayMicroseconds: 1000001}}}}}}",
        "spec.runtime.batching.maxDelayMicroseconds",
        "should be less than or equal to 1000000",
        bound=True,
    ),
    Bad(
        "fewer threads than none",
        f"{{{URI}, runtime: {{threads: -1}}}}",
        "spec.runtime.threads",
        "should be greater than or equal to 0",
        bound=True,
    ),
    Bad(
        "a start that nobody can make",
        f"{{{URI}, runtime: {{startupTimeoutSeconds: 5}}}}",
        "spec.runtime.startupTimeoutSeconds",
        "should be greater than or equal to 10",
        bound=True,
    ),
    Bad(
        "a variable twice",
        f"{{{URI}, runtime: {{env: [{{name: TZ, value: x}}, {{name: TZ, value: y}}]}}}}",
        "spec.runtime.env",
        "Duplicate value",
        bound=True,
    ),
    *(
        Bad(
            reason,
            f"{{{URI}, runtime: {{env: [{{name: {name}, value: x}}]}}}}",
            "spec.runtime.env[0].name",
            ENV_NAME,
        )
        for reason, name in (
            ("credentials by the back door", "AWS_REGION"),
            ("a variable of the runtime", "MODELWARD_X"),
            ("a variable of the pod", "POD_NAME"),
            ("a variable's name with a dash", "A-B"),
            ("modules of one's own", "PYTHONPATH"),
            ("a library of one's own", "LD_PRELOAD"),
            ("a tuning that loads a library", "OMP_TOOL_LIBRARIES"),
            ("an injection into the driver", "CUDA_INJECTION64_PATH"),
            ("certificates of one's own", "SSL_CERT_FILE"),
            ("a name that only begins like a good one", "TZDIR"),
            ("a name that only ends like a good one", "MY_TZ"),
            ("a proxy in mixed case", "Https_Proxy"),
        )
    ),
    Bad(
        "a value and a source",
        f"{{{URI}, runtime: {{env: [{{name: TZ, value: x, valueFrom: {{secretKeyRef: {{name: s, key: k}}}}}}]}}}}",
        "spec.runtime.env[0]",
        "set exactly one of value and valueFrom",
    ),
    Bad(
        "neither value nor source",
        f"{{{URI}, runtime: {{env: [{{name: TZ}}]}}}}",
        "spec.runtime.env[0]",
        "set exactly one of value and valueFrom",
    ),
    Bad(
        "a GPU among the resources",
        f"{{{URI}, resources: {{limits: {{nvidia.com/gpu: 1}}}}}}",
        "spec.resources.limits",
        DEVICES,
    ),
    Bad(
        "more asked for than allowed",
        f"{{{URI}, resources: {{requests: {{cpu: 2}}, limits: {{cpu: 1500m}}}}}}",
        "spec.resources",
        EXCEEDS,
    ),
    Bad(
        "more asked for than allowed, in another unit",
        f"{{{URI}, resources: {{requests: {{memory: 1Gi}}, limits: {{memory: 1G}}}}}}",
        "spec.resources",
        EXCEEDS,
    ),
    *(
        Bad(
            reason,
            f"{{{URI}, resources: {{requests: {{memory: {request!r}}}, limits: {{memory: {limit!r}}}}}}}",
            "spec.resources",
            EXCEEDS,
        )
        for reason, request, limit in (
            ("a billionth more than allowed", "2n", "1n"),
            ("a billionth more after rounding", "1.1n", "1n"),
            ("a decimal quantity beyond 63 bits", "99E", "98E"),
            ("a difference in the last of many digits", "10000000000000000000000000000001", "1e31"),
            ("a decimal beyond the end of the binary ones", "9223372036854775808", "9Ei"),
        )
    ),
    Bad(
        "a negative number",
        f"{{{URI}, resources: {{requests: {{cpu: -1}}}}}}",
        "spec.resources.requests.cpu",
        "should be greater than or equal to 0",
        bound=True,
    ),
    Bad(
        "a negative quantity",
        f"{{{URI}, resources: {{requests: {{memory: -1Gi}}}}}}",
        "spec.resources.requests.memory",
        "should match",
        bound=True,
    ),
    Bad(
        "a quantity in words",
        f"{{{URI}, resources: {{requests: {{cpu: two}}}}}}",
        "spec.resources.requests.cpu",
        "should match",
        bound=True,
    ),
    Bad(
        "no device",
        f"{{{URI}, accelerator: {{count: 0}}}}",
        "spec.accelerator.count",
        "should be greater than or equal to 1",
        bound=True,
    ),
    Bad(
        "a device without its domain",
        f"{{{URI}, accelerator: {{resourceName: gpu}}}}",
        "spec.accelerator.resourceName",
        "resourceName must be an extended resource with its domain, for example nvidia.com/gpu",
    ),
    Bad(
        "a label's key that is none",
        f"{{{URI}, scheduling: {{nodeSelector: {{'a b': c}}}}}}",
        "spec.scheduling.nodeSelector",
        "a key must be a name of at most 63 letters, digits, -, _ and ., after a domain and / where it has one",
    ),
    Bad(
        "a label's value that is none",
        f"{{{URI}, scheduling: {{nodeSelector: {{a: b c}}}}}}",
        "spec.scheduling.nodeSelector",
        "a value must be letters, digits, -, _ and ., with a letter or digit at both ends",
    ),
    Bad(
        "a toleration that exists and has a value",
        f"{{{URI}, scheduling: {{tolerations: [{{key: a, operator: Exists, value: b}}]}}}}",
        "spec.scheduling.tolerations[0]",
        "operator Exists takes no value: leave value out, or use Equal",
    ),
    Bad(
        "a toleration of everything by omission",
        f"{{{URI}, scheduling: {{tolerations: [{{effect: NoSchedule}}]}}}}",
        "spec.scheduling.tolerations[0]",
        "a toleration without a key tolerates everything and must say so with operator Exists",
    ),
    Bad(
        "seconds for a taint that evicts nobody",
        f"{{{URI}, scheduling: {{tolerations: [{{key: a, effect: NoSchedule, tolerationSeconds: 5}}]}}}}",
        "spec.scheduling.tolerations[0]",
        "tolerationSeconds needs effect NoExecute",
    ),
    Bad(
        "an autoscaler of a later version",
        scaled("autoscaler: Predictive"),
        "spec.scaling.autoscaler",
        '"Concurrency"',
        bound=True,
    ),
    Bad("two who own the number", scaled("minReplicas: 1, maxReplicas: 4, replicas: 2"), "spec.scaling", REPLICAS),
    Bad("bounds of a fixed number", scaled("autoscaler: None, minReplicas: 1, maxReplicas: 4"), "spec.scaling", BOUNDS),
    Bad("bounds that leave one number", scaled("minReplicas: 2, maxReplicas: 2"), "spec.scaling", BOUNDS),
    Bad("a lowest number alone", scaled("minReplicas: 2"), "spec.scaling", BOUNDS),
    Bad("an autoscaler without a bound", scaled("autoscaler: Concurrency, minReplicas: 2"), "spec.scaling", HIGHEST),
    Bad("bounds the wrong way round", scaled("minReplicas: 4, maxReplicas: 2"), "spec.scaling", CROSSED),
    Bad(
        "a lowest number above the default",
        scaled("autoscaler: Concurrency, minReplicas: 3, maxReplicas: 2"),
        "spec.scaling",
        CROSSED,
    ),
    Bad(
        "an HPA to zero",
        f"{{{URI}, {CPU}, scaling: {{autoscaler: HPA, minReplicas: 0, maxReplicas: 2, hpa: {{cpuUtilizationPercent: 80}}}}}}",
        "spec.scaling",
        "autoscaler HPA keeps at least one replica",
    ),
    Bad("a target of nobody", scaled("replicas: 1, targetConcurrency: '8'"), "spec.scaling", TUNED),
    Bad("a utilization of nobody", scaled("targetUtilizationPercent: 70"), "spec.scaling", TUNED),
    Bad("a pause of nobody", scaled("autoscaler: External, scaleDownSeconds: 0"), "spec.scaling", TUNED),
    Bad(
        "idle with one replica",
        scaled("minReplicas: 1, maxReplicas: 4, idleSeconds: 60"),
        "spec.scaling",
        "idleSeconds is for",
    ),
    Bad(
        "nothing to activate",
        scaled("maxReplicas: 4, minReplicas: 1, activation: {}"),
        "spec.scaling",
        "activation is for",
    ),
    Bad("an HPA without an aim", scaled("autoscaler: HPA, maxReplicas: 4"), "spec.scaling", "autoscaler HPA needs hpa"),
    Bad(
        "an aim of nobody",
        f"{{{URI}, {CPU}, scaling: {{minReplicas: 1, maxReplicas: 4, hpa: {{cpuUtilizationPercent: 80}}}}}}",
        "spec.scaling",
        "autoscaler HPA needs hpa",
    ),
    Bad(
        "an empty aim",
        scaled("autoscaler: HPA, maxReplicas: 4, hpa: {}"),
        "spec.scaling.hpa",
        "hpa needs something to aim at",
    ),
    Bad(
        "a share of a request that there is not",
        scaled("autoscaler: HPA, maxReplicas: 4, hpa: {cpuUtilizationPercent: 80}"),
        "spec",
        "set resources.requests.cpu",
    ),
    Bad(
        "a share of memory that is not requested",
        f"{{{URI}, {CPU.replace('memory', 'ephemeral-storage')}, scaling: {{autoscaler: HPA, maxReplicas: 4, "
        "hpa: {memoryUtilizationPercent: 80}}}",
        "spec",
        "set resources.requests.memory",
    ),
    Bad(
        "KEDA without a trigger",
        scaled("autoscaler: KEDA, maxReplicas: 4"),
        "spec.scaling",
        "autoscaler KEDA needs keda",
    ),
    Bad(
        "a trigger that is a sentence",
        scaled("autoscaler: KEDA, maxReplicas: 4, keda: {triggers: [{type: My Queue, metadata: {a: b}}]}"),
        "spec.scaling.keda.triggers[0].type",
        "type must be the name of a KEDA scaler",
    ),
    Bad(
        "a parameter that is none",
        scaled("autoscaler: KEDA, maxReplicas: 4, keda: {triggers: [{type: cron, metadata: {'a b': b}}]}"),
        "spec.scaling.keda.triggers[0].metadata",
        "metadata takes the parameters of the KEDA scaler, by name",
    ),
    *(
        Bad(
            f"a target of {target or 'nothing'}",
            scaled(f"minReplicas: 1, maxReplicas: 4, targetConcurrency: '{target}'"),
            "spec.scaling.targetConcurrency",
            "targetConcurrency must be a decimal number above 0",
        )
        for target in ("0", "0.0", "0.000", "-1", "1e3", "01", "8.", "1.2345", "1234567")
    ),
    Bad(
        "a share above all of it",
        scaled("minReplicas: 1, maxReplicas: 4, targetUtilizationPercent: 101"),
        "spec.scaling.targetUtilizationPercent",
        "should be less than or equal to 100",
        bound=True,
    ),
    Bad(
        "a certificate that nobody may show",
        f"{{{URI}, scaling: {{minReplicas: 0, maxReplicas: 2}}, security: {{tls: {{mode: Secret, secretRef: {{name: a}}}}}}}}",
        "spec",
        "scaling.minReplicas: 0 needs security.tls.mode Managed or Off",
    ),
    Bad(
        "an issuer's CA that nobody may read",
        f"{{{URI}, scaling: {{minReplicas: 0, maxReplicas: 2}}, security: {{authentication: {{mode: JWT, "
        f"jwt: {{{JWT}, caBundleRef: {{name: a}}}}}}}}}}",
        "spec",
        "scaling.minReplicas: 0 takes no authentication.jwt.caBundleRef",
    ),
    Bad(
        "fewer replicas than none",
        f"{{{URI}, scaling: {{replicas: -1}}}}",
        "spec.scaling.replicas",
        "should be greater than or equal to 0",
        bound=True,
    ),
    Bad(
        "more replicas than can be meant",
        f"{{{URI}, scaling: {{replicas: 1001}}}}",
        "spec.scaling.replicas",
        "should be less than or equal to 1000",
        bound=True,
    ),
    Bad(
        "a strategy that is none",
        f"{{{URI}, rollout: {{strategy: Canary}}}}",
        "spec.rollout.strategy",
        '"Recreate"',
        bound=True,
    ),
    Bad(
        "a history without an end",
        f"{{{URI}, rollout: {{revisionHistoryLimit: 101}}}}",
        "spec.rollout.revisionHistoryLimit",
        "should be less than or equal to 100",
        bound=True,
    ),
    Bad(
        "every namespace",
        f"{{{URI}, security: {{networkPolicy: {{allowFrom: [{{namespace: '*'}}]}}}}}}",
        "spec.security.networkPolicy.allowFrom[0].namespace",
        NAMESPACE,
    ),
    Bad(
        "a namespace twice",
        f"{{{URI}, security: {{networkPolicy: {{allowFrom: [{{namespace: a}}, {{namespace: a}}]}}}}}}",
        "spec.security.networkPolicy.allowFrom",
        "Duplicate value",
        bound=True,
    ),
    Bad(
        "a key provider of a later version",
        sealed("provider: GCPKMS, name: a"),
        "spec.security.encryption.keyRef.provider",
        '"AWSKMS"',
        bound=True,
    ),
    Bad("a Secret without a name", sealed("provider: Secret"), "spec.security.encryption.keyRef", PROVIDER),
    Bad(
        "Vault by the name of a Secret",
        sealed("provider: Vault, name: kek"),
        "spec.security.encryption.keyRef",
        PROVIDER,
    ),
    Bad(
        "two providers at once",
        sealed(f"provider: Secret, name: kek, vault: {{{VAULT}}}"),
        "spec.security.encryption.keyRef",
        PROVIDER,
    ),
    Bad(
        "AWS KMS with Vault's part",
        sealed(f"provider: AWSKMS, vault: {{{VAULT}}}"),
        "spec.security.encryption.keyRef",
        PROVIDER,
    ),
    Bad(
        "encryption without a key",
        secured(f"encryption: {{mode: Required}}, {VERIFIED}"),
        "spec.security.encryption",
        KEY_REF,
    ),
    Bad(
        "a key for nothing",
        secured("encryption: {mode: Disabled, keyRef: {provider: Secret, name: kek}}"),
        "spec.security.encryption",
        KEY_REF,
    ),
    Bad(
        "encryption without verification",
        secured("encryption: {mode: Required, keyRef: {provider: Secret, name: kek}}"),
        "spec.security",
        SIGNED,
    ),
    Bad(
        "encryption with a signature that only warns",
        secured(
            f"encryption: {{mode: Required, keyRef: {{provider: Secret, name: kek}}}}, verification: {{mode: Warn, {TRUST}}}"
        ),
        "spec.security",
        SIGNED,
    ),
    Bad(
        "verification that trusts nobody",
        secured("verification: {mode: Required, trust: []}"),
        "spec.security.verification.trust",
        "should have at least 1 items",
        bound=True,
    ),
    Bad(
        "verification without a word about trust",
        secured("verification: {mode: Required}"),
        "spec.security.verification.trust",
        "Required value",
        bound=True,
    ),
    Bad(
        "more signers than can be meant",
        secured(
            "verification: {mode: Required, trust: ["
            + ", ".join(f"{{name: s{n}, keyRef: {{name: keys}}}}" for n in range(17))
            + "]}"
        ),
        "spec.security.verification.trust",
        "must have at most 16 items",
        bound=True,
    ),
    Bad(
        "one signer twice",
        secured("verification: {mode: Warn, trust: [{name: ci, keyRef: {name: a}}, {name: ci, keyRef: {name: b}}]}"),
        "spec.security.verification.trust",
        "Duplicate value",
        bound=True,
    ),
    Bad(
        "a signer whose name is a path",
        secured("verification: {mode: Required, trust: [{name: ../ci, keyRef: {name: a}}]}"),
        "spec.security.verification.trust[0].name",
        "name must be lower-case letters, digits and -, with a letter or digit at both ends",
    ),
    Bad(
        "a public key by a path",
        secured("verification: {mode: Required, trust: [{name: ci, keyRef: {name: a, key: keys/ci.pem}}]}"),
        "spec.security.verification.trust[0].keyRef.key",
        "key must be a key of a Secret or ConfigMap",
    ),
    Bad(
        "credentials in Vault's address",
        sealed("provider: Vault, vault: {address: 'https://root:s@vault:8200', key: models, role: fraud}"),
        "spec.security.encryption.keyRef.vault.address",
        SERVICE,
    ),
    Bad(
        "a private CA for a Vault without TLS",
        sealed(
            "provider: Vault, vault: {address: 'http://vault:8200', key: models, role: fraud, caBundleRef: {name: ca}}"
        ),
        "spec.security.encryption.keyRef.vault",
        "caBundleRef needs TLS: write the address with https://, or leave caBundleRef out",
    ),
    Bad(
        "a mount of Vault that climbs out",
        sealed(f"provider: Vault, vault: {{{VAULT}, mount: ../sys}}"),
        "spec.security.encryption.keyRef.vault.mount",
        VAULT_PATH,
    ),
    Bad(
        "a Transit key by a path",
        sealed("provider: Vault, vault: {address: 'https://vault:8200', key: a/b, role: fraud}"),
        "spec.security.encryption.keyRef.vault.key",
        "must be a name in Vault",
    ),
    Bad(
        "AWS KMS in no region",
        sealed("provider: AWSKMS, awsKms: {key: alias/models}"),
        "spec.security.encryption.keyRef.awsKms.region",
        "Required value",
        bound=True,
    ),
    Bad(
        "two Secrets for the same variables",
        "{model: {uri: s3://m/a/, storage: {secretRef: {name: s3}}}, security: {encryption: {mode: Required, keyRef: "
        "{provider: AWSKMS, awsKms: {key: alias/a, region: eu-central-1, secretRef: {name: kms}}}}, " + VERIFIED + "}}",
        "spec",
        "model.storage.secretRef and security.encryption.keyRef.awsKms.secretRef fill the same variables of the pod",
    ),
    Bad(
        "a KMS key that is none",
        sealed("provider: AWSKMS, awsKms: {key: 'a b', region: eu-central-1}"),
        "spec.security.encryption.keyRef.awsKms.key",
        "key must be a KMS key's ID or ARN, or an alias as alias/NAME",
    ),
    Bad(
        "a word for a truth value", f"{{{URI}, suspend: 'yes'}}", "spec.suspend", "must be of type boolean", bound=True
    ),
    Bad(
        "a JWT without an issuer",
        secured("authentication: {mode: JWT}"),
        "spec.security.authentication",
        "mode JWT needs jwt; the other modes take none",
    ),
    Bad(
        "an issuer that nobody asks",
        secured(f"authentication: {{jwt: {{{JWT}}}}}"),
        "spec.security.authentication",
        "mode JWT needs jwt; the other modes take none",
    ),
    Bad(
        "an audience beside those of the JWT",
        secured(f"authentication: {{mode: JWT, audience: a, jwt: {{{JWT}}}}}"),
        "spec.security.authentication",
        "audience is for mode TokenReview; under JWT write jwt.audiences",
    ),
    Bad(
        "callers of an open endpoint",
        secured(f"authentication: {{mode: None, {CALLERS}}}"),
        "spec.security.authentication",
        "mode None lets everybody in whom the network lets in, so leave allowedSubjects out",
    ),
    Bad(
        "authentication by word of mouth",
        secured("authentication: {mode: Basic}"),
        "spec.security.authentication.mode",
        "Unsupported value",
        bound=True,
    ),
    Bad(
        "an audience with a space",
        secured("authentication: {audience: 'a b'}"),
        "spec.security.authentication.audience",
        "must be printable ASCII without spaces, spelled as the token spells it",
    ),
    Bad(
        "a ServiceAccount of no namespace",
        callers("{kind: ServiceAccount, name: checkout}"),
        "spec.security.authentication.allowedSubjects[0]",
        "a ServiceAccount needs a namespace; a User and a Group have none",
    ),
    Bad(
        "a user in a namespace",
        callers("{kind: User, name: alice, namespace: shop}"),
        "spec.security.authentication.allowedSubjects[0]",
        "a ServiceAccount needs a namespace; a User and a Group have none",
    ),
    Bad(
        "a ServiceAccount by its user name",
        callers("{kind: ServiceAccount, name: 'system:serviceaccount:shop:checkout', namespace: shop}"),
        "spec.security.authentication.allowedSubjects[0]",
        "a ServiceAccount's name must be lower-case letters, digits, - and .",
    ),
    Bad(
        "a user with a line break",
        callers('{kind: User, name: "alice\\nbob"}'),
        "spec.security.authentication.allowedSubjects[0].name",
        "name must not contain control characters",
    ),
    Bad(
        "keys that anybody on the way can change",
        jwt("issuer: a, audiences: [a], jwksUri: 'http://login.example.com/certs'"),
        "spec.security.authentication.jwt.jwksUri",
        "jwksUri must be https://, a host and a path, without credentials",
    ),
    *(
        Bad(
            f"keys at {place}, which is no host and port",
            jwt(f"issuer: a, audiences: [a], jwksUri: 'https://{place}/certs'"),
            "spec.security.authentication.jwt.jwksUri",
            "jwksUri must be https://, a host and a path, without credentials",
        )
        for place in ("login.example.com:99999", "login.example.com:", "[::1", "a\N{ACCOUNT OF}b")
    ),
    Bad(
        "a JWT for everybody's service",
        jwt("issuer: a, audiences: [], jwksUri: 'https://login.example.com/certs'"),
        "spec.security.authentication.jwt.audiences",
        "should have at least 1 items",
        bound=True,
    ),
    *(
        Bad(
            f"the algorithm {algorithm}",
            jwt(f"{JWT}, algorithms: [{algorithm}]"),
            "spec.security.authentication.jwt.algorithms[0]",
            "Unsupported value",
            bound=True,
        )
        for algorithm in ("none", "HS256")
    ),
    Bad(
        "an issuer that names Kubernetes' own users",
        jwt(f"{JWT}, usernamePrefix: 'system:'"),
        "spec.security.authentication.jwt.usernamePrefix",
        "a prefix must not begin with system:",
    ),
    Bad(
        "users without a prefix",
        jwt(f"{JWT}, usernamePrefix: ''"),
        "spec.security.authentication.jwt.usernamePrefix",
        "should be at least 1 chars long",
        bound=True,
    ),
    Bad(
        "groups that are Kubernetes' own",
        jwt(f"{JWT}, groupsClaim: groups, groupsPrefix: 'system:x'"),
        "spec.security.authentication.jwt.groupsPrefix",
        "a prefix must not begin with system:",
    ),
    Bad(
        "a certificate of one's own that is nowhere",
        secured("tls: {mode: Secret}"),
        "spec.security.tls",
        "mode Secret needs secretRef; the other modes take none",
    ),
    Bad(
        "a managed certificate in a Secret of one's own",
        secured("tls: {mode: Managed, secretRef: {name: a}}"),
        "spec.security.tls",
        "mode Secret needs secretRef; the other modes take none",
    ),
    Bad("TLS of no mode", secured("tls: {}"), "spec.security.tls.mode", "Required value", bound=True),
    Bad(
        "a limit of nothing",
        secured("rateLimit: {}"),
        "spec.security.rateLimit",
        "rateLimit must limit something: set requestsPerSecond or concurrency",
    ),
    Bad(
        "a rate without a burst",
        secured("rateLimit: {requestsPerSecond: '1'}"),
        "spec.security.rateLimit",
        "requestsPerSecond and burst go together",
    ),
    Bad(
        "a burst of no rate",
        secured("rateLimit: {burst: 5, concurrency: 1}"),
        "spec.security.rateLimit",
        "requestsPerSecond and burst go together",
    ),
    Bad(
        "no calls at all",
        secured("rateLimit: {requestsPerSecond: '0.0', burst: 1}"),
        "spec.security.rateLimit.requestsPerSecond",
        "requestsPerSecond must be more than 0",
    ),
    Bad(
        "a rate as a quantity",
        secured("rateLimit: {requestsPerSecond: 1k, burst: 1}"),
        "spec.security.rateLimit.requestsPerSecond",
        "requestsPerSecond must be a decimal number as text",
    ),
    Bad(
        "an open way out with a list",
        secured("networkPolicy: {egress: {mode: Open, allowTo: [{cidr: 192.0.2.0/24}]}}"),
        "spec.security.networkPolicy.egress",
        "mode Open opens everything, so leave allowTo out",
    ),
    *(
        Bad(reason, egress_to(f"{{cidr: '{cidr}'}}"), "spec.security.networkPolicy.egress.allowTo[0]", CIDR)
        for reason, cidr in (
            ("a network with host bits", "192.0.2.7/24"),
            ("an address that is no network", "192.0.2.7"),
            ("a network mask", "192.0.2.0/255.255.255.0"),
            ("a prefix that is too long", "192.0.2.0/33"),
            ("a prefix with a zero in front", "192.0.2.0/024"),
            ("an IPv4 network as IPv6", "::ffff:192.0.2.0/120"),
            ("a name for a network", "example.com/24"),
        )
    ),
    Bad(
        "a port that is none",
        egress_to("{cidr: 192.0.2.0/24, port: 0}"),
        "spec.security.networkPolicy.egress.allowTo[0].port",
        "should be greater than or equal to 1",
        bound=True,
    ),
)

IMAGE_PREFIX = (
    "an image must be HOST/PATH/ or HOST/PATH: or HOST/PATH@ for all that begins so, or a whole image reference"
)
SELECTED = "namespaceSelector: {matchLabels: {tier: prod}}"
ACCEPTED_POLICIES = (
    Good("encryption for some namespaces", f"{{{SELECTED}, requireEncryption: true}}"),
    Good("verification everywhere", "{namespaceSelector: {}, requireVerification: true}"),
    Good("signers by fingerprint", f"{{{SELECTED}, requireVerification: true, trustedSigners: ['sha256:{HEX}']}}"),
    Good("digests alone", f"{{{SELECTED}, requireDigest: true}}"),
    Good("authentication alone", f"{{{SELECTED}, requireAuthentication: true}}"),
    Good("a privacy policy alone", f"{{{SELECTED}, requirePrivacyPolicy: true}}"),
    Good(
        "images by folder, repository and digest",
        f"{{{SELECTED}, allowedImages: ['registry.example:5000/', 'modelward/', 'ghcr.example/ml/runtime:', 'ml/runtime@', "
        f"'ml/runtime:0.1.0', 'ml/runtime@sha256:{HEX}']}}",
    ),
    Good(
        "prefixes alone",
        f"{{{SELECTED}, allowedUriPrefixes: ['s3://models/', 's3://models/risk/fraud-v2/', 'pvc://claim/']}}",
    ),
    Good(
        "registries", f"{{{SELECTED}, allowedUriPrefixes: ['oci://registry.example:5000/risk/', 'oci://r.example/']}}"
    ),
)
REFUSED_POLICIES = (
    Bad("no namespaces", "{requireEncryption: true}", "spec.namespaceSelector", "Required value", bound=True),
    Bad(
        "nothing required",
        f"{{{SELECTED}}}",
        "spec",
        "a policy must require something: set one of the fields that begin with require, or allowedUriPrefixes, allowedImages or "
        "maximumPricePerHour",
    ),
    Bad(
        "signers that nobody must have",
        f"{{{SELECTED}, requireEncryption: true, trustedSigners: ['sha256:{HEX}']}}",
        "spec",
        "trustedSigners needs requireVerification: true, or a model without verification would pass",
    ),
    Bad(
        "a fingerprint in upper case",
        f"{{{SELECTED}, requireVerification: true, trustedSigners: ['sha256:{HEX.upper()}']}}",
        "spec.trustedSigners[0]",
        "a fingerprint must be sha256: and 64 lower-case hexadecimal digits",
    ),
    Bad(
        "a prefix that lets the neighbours in",
        f"{{{SELECTED}, allowedUriPrefixes: ['s3://models']}}",
        "spec.allowedUriPrefixes[0]",
        "a prefix must be s3://BUCKET/, oci://REGISTRY/ or pvc://CLAIM/",
    ),
    Bad(
        "a registry that lets its neighbours in",
        f"{{{SELECTED}, allowedUriPrefixes: ['oci://registry.example']}}",
        "spec.allowedUriPrefixes[0]",
        "a prefix must be s3://BUCKET/, oci://REGISTRY/ or pvc://CLAIM/",
    ),
    Bad(
        "a scheme that no model has",
        f"{{{SELECTED}, allowedUriPrefixes: ['https://models/']}}",
        "spec.allowedUriPrefixes[0]",
        "a prefix must be s3://BUCKET/, oci://REGISTRY/ or pvc://CLAIM/",
    ),
    Bad(
        "an image that lets every port of a host in",
        f"{{{SELECTED}, allowedImages: ['registry.example:']}}",
        "spec.allowedImages[0]",
        IMAGE_PREFIX,
    ),
    Bad(
        "an image with a scheme",
        f"{{{SELECTED}, allowedImages: ['https://registry.example/ml/']}}",
        "spec.allowedImages[0]",
        IMAGE_PREFIX,
    ),
    Bad(
        "an image of any name",
        f"{{{SELECTED}, allowedImages: ['']}}",
        "spec.allowedImages[0]",
        "at least 1 chars long",
        bound=True,
    ),
    Bad(
        "a label that is none",
        "{namespaceSelector: {matchLabels: {'my label': a}}, requireEncryption: true}",
        "spec.namespaceSelector.matchLabels",
        "a key must be a name of at most 63 letters",
    ),
)

NAMES = (
    ("the longest", "a" * 50, ""),
    ("one more", "a" * 51, NAME),
    ("a digit in front", "7-fraud", NAME),
    ("a dot", "fraud.v7", NAME),
)


def model(spec: str, name: str = "table") -> dict[str, Any]:
    """Return a ModelDeployment with the spec that the YAML says."""
    body = yaml.safe_load(spec)
    kind = {"apiVersion": "modelward.dev/v1alpha1", "kind": "ModelDeployment"}
    return {**kind, "metadata": {"name": name}, **({"spec": body} if body else {})}


def policy(spec: str, name: str = "table") -> dict[str, Any]:
    """Return a ModelPolicy with the spec that the YAML says."""
    kind = {"apiVersion": "modelward.dev/v1alpha1", "kind": "ModelPolicy"}
    return {**kind, "metadata": {"name": name}, "spec": yaml.safe_load(spec)}
