"""Condition types and reasons of a ModelDeployment: every word that a user can see in its status.

Positive polarity: True is healthy. Unknown while in progress. A condition whose feature is off is absent. The one exception is
Stalled, whose name and polarity are kstatus' (operator/decisions/0022): it is there only while it is True. crds/README.md prints these
tables (`make generate`).
"""

from enum import StrEnum
from typing import Final


class Type(StrEnum):
    """The aspects, in the order in which Ready looks for its reason."""

    MODEL_VERIFIED = "ModelVerified"
    MODEL_DECRYPTED = "ModelDecrypted"
    MODEL_AVAILABLE = "ModelAvailable"
    WORKLOAD_AVAILABLE = "WorkloadAvailable"
    ROLLOUT_COMPLETE = "RolloutComplete"
    PRIVACY_ENFORCED = "PrivacyEnforced"
    ENDPOINT_SECURED = "EndpointSecured"
    ACCELERATOR_FITS = "AcceleratorFits"
    ENDPOINT_EXPOSED = "EndpointExposed"
    AUTOSCALING = "Autoscaling"
    WITHIN_BUDGET = "WithinBudget"
    READY = "Ready"
    STALLED = "Stalled"


TYPES: Final = {
    Type.READY: "The current spec is served. False: it is not, and the message says why. Unknown: on the way.",
    Type.STALLED: "Ready is False for a reason that waiting does not mend: somebody has to change the spec, the stored model or a policy. "
    "Absent otherwise, and never False. By it Flux and others that read kstatus report a failure at once rather than after their time-out.",
    Type.MODEL_AVAILABLE: "The model was fetched and loaded, as the pods report it.",
    Type.MODEL_VERIFIED: "The stored model has the declared digest, and a signature that counts. Absent without model.digest and "
    "security.verification.",
    Type.MODEL_DECRYPTED: "The model was sealed and a key opened it. Absent without security.encryption.mode Required.",
    Type.PRIVACY_ENFORCED: "Every pod that serves holds requests to the PrivacyPolicy that spec.privacy names; the message says which "
    "generation of it, and which pods. Unknown: not every pod has said so yet. Absent without spec.privacy and at zero replicas.",
    Type.WORKLOAD_AVAILABLE: "Pods run and are ready.",
    Type.ENDPOINT_SECURED: "The pods ask who calls, serve TLS and limit rates as the spec says, and the network policy holds where it is "
    "declared. Not True while a child that says so (network policy, boot.json, policy.json, a grant) could not be written. True "
    "as well where the spec leaves something open: the message says what. Absent with authentication None, TLS off and "
    "neither security.rateLimit nor security.networkPolicy, unless the network is found to be open.",
    Type.ACCELERATOR_FITS: "The devices that the model may get are large enough for it, by the labels of GPU feature discovery and the "
    "size that a pod has reported; the message has the figures. False is a warning, before a pod is put on such a node: Ready stands. "
    "Absent without spec.accelerator, where nodes do not say how much memory their devices have, and before the size is known.",
    Type.ENDPOINT_EXPOSED: "The Gateways take the model's routes, or an Ingress controller has published its address; the message says the "
    "URL, and from where the network policy lets the gateway in. False: a Gateway is not there or refuses, with its own word, or another "
    "model was first. Unknown: nobody has decided yet; Ready waits for a Gateway, and not for an Ingress controller, because some never "
    "say. Absent without spec.exposure.",
    Type.AUTOSCALING: "The number of replicas follows the load, and why it is what it is. False: it does not, because pods do not say "
    "their load, because fewer may run than the load asks for, because nobody could take requests at zero, or because the autoscaler of "
    "others cannot scale; Ready stands. Absent where autoscaler is None or External, once no other is left.",
    Type.WITHIN_BUDGET: "Every CostBudget that selects the model, and every ModelPolicy with a maximum price, lets it have the replicas "
    "that it asks for. False: fewer run than are asked for; the message names each, the tightest first. Ready falls for it only when none "
    "may run. Absent without such a budget or policy.",
    Type.ROLLOUT_COMPLETE: "All pods are of the current revision. False: the new revision cannot start; an old one serves on.",
}


class Reason(StrEnum):
    """Reasons of the operator's own; load failures of the runtime come with theirs (`LOAD_FAILURES`)."""

    # Healthy
    SERVING = "Serving"
    SCALED_TO_ZERO = "ScaledToZero"
    LOADED = "Loaded"
    DIGEST_MATCHES = "DigestMatches"
    SIGNATURE_VALID = "SignatureValid"
    DECRYPTED = "Decrypted"
    PODS_READY = "PodsReady"
    SECURED = "Secured"
    EXPOSED = "Exposed"
    NETWORK_OPEN = "NetworkOpen"
    COMPLETE = "Complete"
    POLICY_ENFORCED = "PolicyEnforced"
    PRIVACY_POLICY_OUTDATED = "PrivacyPolicyOutdated"
    AUTOSCALER_ACTIVE = "AutoscalerActive"
    AUTOSCALER_PAUSED = "AutoscalerPaused"
    DEVICE_LARGE_ENOUGH = "DeviceLargeEnough"
    SCALED_BY_LOAD = "ScaledByLoad"
    WITHIN_BUDGET = "WithinBudget"
    # In progress
    STARTING = "Starting"
    FETCHING = "Fetching"
    VERIFYING = "Verifying"
    DECRYPTING = "Decrypting"
    LOADING = "Loading"
    WARMING_UP = "WarmingUp"
    DRAINING = "Draining"
    ROLLING_OUT = "RollingOut"
    CERTIFICATE_PENDING = "CertificatePending"
    CHILD_UNWRITTEN = "ChildUnwritten"
    PRIVACY_POLICY_PENDING = "PrivacyPolicyPending"
    RATE_LIMIT_PENDING = "RateLimitPending"
    ENFORCEMENT_UNKNOWN = "EnforcementUnknown"
    HANDING_OVER = "HandingOver"
    LEDGER_UNREACHABLE = "LedgerUnreachable"
    ROUTE_PENDING = "RoutePending"
    # Not healthy
    SUSPENDED = "Suspended"
    MODEL_POLICY_VIOLATED = "ModelPolicyViolated"
    MODEL_POLICY_INVALID = "ModelPolicyInvalid"
    BUDGET_CLAMPED = "BudgetClamped"
    BUDGET_AT_FLOOR = "BudgetAtFloor"
    BUDGET_EXCEEDED = "BudgetExceeded"
    BUDGET_INVALID = "BudgetInvalid"
    COST_UNKNOWN = "CostUnknown"
    CURRENCY_MISMATCH = "CurrencyMismatch"
    PRICE_ABOVE_MAXIMUM = "PriceAboveMaximum"
    TENANT_AMBIGUOUS = "TenantAmbiguous"
    PRIVACY_POLICY_NOT_FOUND = "PrivacyPolicyNotFound"
    PRIVACY_POLICY_INVALID = "PrivacyPolicyInvalid"
    CALLERS_UNKNOWN = "CallersUnknown"
    POLICY_UNSATISFIABLE = "PolicyUnsatisfiable"
    SIGNATURE_WARNING = "SignatureWarning"
    SIGNATURE_UNREPORTED = "SignatureUnreported"
    ENCRYPTION_UNREPORTED = "EncryptionUnreported"
    AUTHENTICATION_UNREPORTED = "AuthenticationUnreported"
    TLS_UNREPORTED = "TlsUnreported"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_MISMATCH = "CertificateMismatch"
    RATE_LIMIT_NOT_ENFORCED = "RateLimitNotEnforced"
    NETWORK_POLICY_NOT_ENFORCED = "NetworkPolicyNotEnforced"
    GATEWAY_API_NOT_INSTALLED = "GatewayAPINotInstalled"
    GATEWAY_NOT_FOUND = "GatewayNotFound"
    LISTENER_NOT_FOUND = "ListenerNotFound"
    ROUTE_REFUSED = "RouteRefused"
    ROUTE_CONFLICT = "RouteConflict"
    ACTIVATOR_DISABLED = "ActivatorDisabled"
    ACTIVATOR_PORTS_EXHAUSTED = "ActivatorPortsExhausted"
    ACTIVATOR_UNAVAILABLE = "ActivatorUnavailable"
    INVALID_SPEC = "InvalidSpec"
    CHILD_NOT_OWNED = "ChildNotOwned"
    CHILD_REJECTED = "ChildRejected"
    CHILD_OVERRULED = "ChildOverruled"
    POD_CREATION_FAILED = "PodCreationFailed"
    UNSCHEDULABLE = "Unschedulable"
    INSUFFICIENT_GPU = "InsufficientGPU"
    DEVICE_TOO_SMALL = "DeviceTooSmall"
    DEVICE_MAY_BE_TOO_SMALL = "DeviceMayBeTooSmall"
    SERVICE_ACCOUNT_NOT_FOUND = "ServiceAccountNotFound"
    VOLUME_CLAIM_NOT_FOUND = "VolumeClaimNotFound"
    VOLUME_MOUNT_FAILED = "VolumeMountFailed"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105  a reason, not a secret
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"  # noqa: S105  a reason, not a secret
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    CONTAINER_CONFIG_INVALID = "ContainerConfigInvalid"
    CONTAINER_START_FAILED = "ContainerStartFailed"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    CONTAINER_EXITED = "ContainerExited"
    POD_EVICTED = "PodEvicted"
    PODS_NOT_READY = "PodsNotReady"
    AUTOSCALER_INACTIVE = "AutoscalerInactive"
    KEDA_NOT_INSTALLED = "KedaNotInstalled"
    LOAD_UNKNOWN = "LoadUnknown"
    REPLICAS_BOUNDED = "ReplicasBounded"


REASONS: Final = {
    Reason.SERVING: "Every pod of the current revision that is ready serves the model.",
    Reason.SCALED_TO_ZERO: "Zero replicas are wanted, and none run. With scaling.minReplicas 0 the next request starts one, which "
    "answers it.",
    Reason.LOADED: "The ready pods have loaded the model.",
    Reason.DIGEST_MATCHES: "The stored model has the declared digest.",
    Reason.SIGNATURE_VALID: "The model is signed by a signer of security.verification.trust; the message names the signer.",
    Reason.DECRYPTED: "The model was sealed, and a key of security.encryption.keyRef opened it; the message names the key.",
    Reason.PODS_READY: "At least one pod is ready.",
    Reason.SECURED: "The endpoint is as the spec wants it. The message says authentication, TLS, ingress and egress, and what is open.",
    Reason.EXPOSED: "Clients outside reach the model at status.url, where their DNS leads its hostname to status.exposure.addresses.",
    Reason.NETWORK_OPEN: "As Secured, but a connection that the network policy forbids went through: the network plug-in enforces none. "
    "Nobody declared security.networkPolicy, so the model is Ready all the same.",
    Reason.COMPLETE: "All pods are of the current revision.",
    Reason.POLICY_ENFORCED: "Every ready pod reports that it enforces the present generation of the PrivacyPolicy.",
    Reason.PRIVACY_POLICY_OUTDATED: "As PolicyEnforced, but rules that came after the PrivacyPolicy was stored refuse it; the message says "
    "which. It holds as it is, and what they refuse can only be changed to what they accept.",
    Reason.AUTOSCALER_ACTIVE: "The HorizontalPodAutoscaler or ScaledObject is in charge and able to scale.",
    Reason.AUTOSCALER_PAUSED: "No replica may run: the autoscaler of others does nothing until that ends, and then has its number back.",
    Reason.DEVICE_LARGE_ENOUGH: "Every device that the model may get is large enough for it.",
    Reason.SCALED_BY_LOAD: "The operator follows the requests in flight and queued in the pods; the message says the number and why.",
    Reason.LOAD_UNKNOWN: "Pods that serve have not said their load for two minutes (an older serving image, a network that is closed to "
    "the operator, a process that hangs): they count as fully used, and the last replica does not go.",
    Reason.REPLICAS_BOUNDED: "The load asks for more replicas than may run: a denial or a budget holds the number lower.",
    Reason.WITHIN_BUDGET: "No budget is in the way of the replicas that the model asks for; the message says what was spent of each.",
    Reason.STARTING: "The pods exist or are about to, and have not reported yet.",
    Reason.FETCHING: "The model is being read from its store.",
    Reason.VERIFYING: "The signature and the digest are being checked.",
    Reason.DECRYPTING: "The key is being unwrapped and the model decrypted in memory.",
    Reason.LOADING: "ONNX Runtime is building its session.",
    Reason.WARMING_UP: "The first inference is under way.",
    Reason.DRAINING: "The pod ends; requests in flight are being answered.",
    Reason.ROLLING_OUT: "Pods of the new revision replace those of the old one, which serves until then.",
    Reason.CERTIFICATE_PENDING: "A certificate is being issued, or was and the kubelet has not handed it to every pod yet. Ready stands "
    "while the pods serve one that counts.",
    Reason.CHILD_UNWRITTEN: "A child could not be written: the API server, or a webhook that it asks, did not answer. It is tried again.",
    Reason.PRIVACY_POLICY_PENDING: "Not every ready pod has said yet that it enforces the present generation of the PrivacyPolicy; the "
    "kubelet brings a change to running pods within about a minute.",
    Reason.RATE_LIMIT_PENDING: "Not every ready pod has said yet that it holds callers to security.rateLimit as it is now; the kubelet "
    "brings a change to running pods within about a minute. Until then the limit before holds, or none.",
    Reason.ENFORCEMENT_UNKNOWN: "security.networkPolicy is declared, and whether the network plug-in enforces it is not known: it was not "
    "tried yet (a pod must have been ready for ten seconds), or it lets the operator in itself, by a network or its namespace, and no "
    "other model's policy shows it, or some do and some do not. Ready stands.",
    Reason.HANDING_OVER: "The number of replicas changes hands, in steps, so that two are never in charge; the message says whom it "
    "waits for.",
    Reason.LEDGER_UNREACHABLE: "A ready pod cannot ask the ledger of the privacy budget. No budget is exceeded: once what it has reserved "
    "is spent, its calls get 503. It looks again every few seconds, and is asked about it at least once a minute.",
    Reason.ROUTE_PENDING: "No controller has decided yet about a route, a BackendTLSPolicy or an Ingress; the message says which. One that "
    "knows no BackendTLSPolicy never does.",
    Reason.SUSPENDED: "spec.suspend is true. Set it to false to serve again.",
    Reason.MODEL_POLICY_VIOLATED: "A ModelPolicy forbids this model: it is scaled to zero. The message names the policy and each "
    "violation.",
    Reason.MODEL_POLICY_INVALID: "A ModelPolicy that may select the namespace is stored and cannot be read, as after a change of the "
    "operator's version; the message names it and lists every field. What runs keeps running, a new model gets no "
    "pods, and nothing changes, unless the model is suspended or another ModelPolicy forbids it.",
    Reason.BUDGET_CLAMPED: "More replicas are asked for than a CostBudget can afford. Raise its limit, ask for fewer, or wait for the next "
    "period.",
    Reason.BUDGET_AT_FLOOR: "A CostBudget can afford its floor and nothing above it. Raise its limit, or wait for the next period.",
    Reason.BUDGET_EXCEEDED: "The limit of a CostBudget is reached and its onExceeded goes to zero: the model has no pods until the period "
    "ends, or somebody with the right to `relax` costbudgets raises the limit or sets an override.",
    Reason.BUDGET_INVALID: "A stored CostBudget cannot be read, for example because its time zone does not exist: the model keeps what it "
    "has and does not grow. Correct the budget.",
    Reason.COST_UNKNOWN: "A CostBudget denies what it cannot count, and the model's nodes have no price. Add it to a PriceBook.",
    Reason.CURRENCY_MISMATCH: "The model's nodes have a price in another currency than a CostBudget. Use one currency.",
    Reason.PRICE_ABOVE_MAXIMUM: "More replicas are asked for than the maximumPricePerHour of a ModelPolicy pays for.",
    Reason.TENANT_AMBIGUOUS: "A sealed model in a namespace without the label modelward.dev/tenant, whose name another namespace's label "
    "gives as its tenant: it is scaled to zero. An administrator labels this namespace.",
    Reason.PRIVACY_POLICY_NOT_FOUND: "The PrivacyPolicy that spec.privacy names does not exist in this namespace: the model is scaled to "
    "zero until it does.",
    Reason.PRIVACY_POLICY_INVALID: "The PrivacyPolicy that spec.privacy names is stored and cannot be read, as after a change of the "
    "operator's version; the message lists every field. What runs keeps running, held to the policy before, and nothing of the model "
    "changes, unless it is suspended or a ModelPolicy forbids it.",
    Reason.CALLERS_UNKNOWN: "The PrivacyPolicy gives each caller a privacy budget and security.authentication.mode is None, so that nobody "
    "knows who calls: the model is scaled to zero. Authenticate callers, or give the budget the scope All.",
    Reason.POLICY_UNSATISFIABLE: "A pod cannot enforce the PrivacyPolicy as it is (it names a tensor that the model lacks, a key that is "
    "not there, a field that an older image does not know) and holds on to the one before, or does not become ready. The message is the "
    "pod's.",
    Reason.SIGNATURE_WARNING: "No signature holds, and security.verification.mode is Warn: the model serves. The message says why.",
    Reason.SIGNATURE_UNREPORTED: "A pod serves and does not report who signed its model.",
    Reason.ENCRYPTION_UNREPORTED: "A pod serves and does not report that its model was sealed.",
    Reason.AUTHENTICATION_UNREPORTED: "A pod serves and does not report the authentication that the spec asks for.",
    Reason.TLS_UNREPORTED: "A pod serves and does not report a certificate.",
    Reason.CERTIFICATE_EXPIRED: "A pod serves a certificate that has expired. With security.tls.mode Secret, renew it in the Secret.",
    Reason.CERTIFICATE_MISMATCH: "A pod serves another certificate than the one that the operator issued: somebody replaced the Secret, or "
    "the kubelet cannot refresh it.",
    Reason.RATE_LIMIT_NOT_ENFORCED: "A pod cannot use the policy.json that holds security.rateLimit, and goes on with the limit before, or "
    "with none; the message is its own.",
    Reason.NETWORK_POLICY_NOT_ENFORCED: "security.networkPolicy is declared, and a connection that it forbids went through, or, where it "
    "cannot be tried, one that other models' forbid: the network plug-in does not enforce it. Install one that does, or leave "
    "security.networkPolicy out.",
    Reason.GATEWAY_API_NOT_INSTALLED: "spec.exposure names a Gateway and the cluster does not know the kinds of the Gateway API. The model "
    "serves inside; the operator notices within 10 s when they are installed.",
    Reason.GATEWAY_NOT_FOUND: "A Gateway that spec.exposure names does not exist.",
    Reason.LISTENER_NOT_FOUND: "A Gateway has no listener of the name that sectionName gives; the message lists those it has.",
    Reason.ROUTE_REFUSED: "A Gateway does not take a route or a BackendTLSPolicy, for example because its listener allows no routes of "
    "this namespace (NotAllowedByListeners) or none of the hostnames (NoMatchingListenerHostname). The message is its controller's.",
    Reason.ROUTE_CONFLICT: "Another model's route asks for the same hostname and path, and is older: requests go there. The message names "
    "it.",
    Reason.ACTIVATOR_DISABLED: "scaling.minReplicas is 0 and the chart was installed with activator.enabled false: nobody could take a "
    "request while there are no pods, so one replica stays.",
    Reason.ACTIVATOR_PORTS_EXHAUSTED: "scaling.minReplicas is 0 and all ports of the activator are other models': one replica stays.",
    Reason.ACTIVATOR_UNAVAILABLE: "The model has no pods, and no ready pod of the activator knows it: requests are refused until one does.",
    Reason.INVALID_SPEC: "The stored spec cannot be read; the message lists every field. What runs keeps running, unless a "
    "ModelPolicy forbids it.",
    Reason.CHILD_NOT_OWNED: "An object with a name that this model needs belongs to somebody else. Delete or rename one of the two.",
    Reason.CHILD_REJECTED: "The API server refused a child; the message is its own.",
    Reason.CHILD_OVERRULED: "An admission webhook of the cluster changes a child that says who may call, connect or do what: it does not "
    "count as written. Exempt what carries app.kubernetes.io/managed-by: modelward from the webhook, or the field from its rule. What it "
    "changes in a Deployment or a Service stands, and the message of Ready says so.",
    Reason.POD_CREATION_FAILED: "The Deployment's controller may not create pods: a quota, Pod Security or an admission webhook.",
    Reason.UNSCHEDULABLE: "No node fits the pod; the message is the scheduler's.",
    Reason.INSUFFICIENT_GPU: "No node has the accelerator free; the message is the scheduler's, what each replica asks for, and which "
    "devices the nodes have, by pool.",
    Reason.DEVICE_TOO_SMALL: "No device that the model may get is large enough for it, or none has what accelerator.memory asks for, or "
    "runtime.cuda.memoryLimit is smaller than the model. Take larger devices, or a smaller model.",
    Reason.DEVICE_MAY_BE_TOO_SMALL: "Of the nodes that the model may go to, some have devices that are too small for it. Set "
    "accelerator.memory, which keeps it from these.",
    Reason.SERVICE_ACCOUNT_NOT_FOUND: "The ServiceAccount that spec.serviceAccount names does not exist in this namespace.",
    Reason.VOLUME_CLAIM_NOT_FOUND: "A PersistentVolumeClaim that the spec names does not exist in this namespace.",
    Reason.VOLUME_MOUNT_FAILED: "The kubelet cannot mount a volume of the pod.",
    Reason.SECRET_NOT_FOUND: "A Secret that the spec names does not exist in this namespace.",
    Reason.SECRET_KEY_NOT_FOUND: "A Secret that the spec names lacks a key.",
    Reason.CONFIG_MAP_NOT_FOUND: "A ConfigMap that the spec names (a CA bundle, a trusted signer's public key) does not exist in this "
    "namespace, or lacks the key.",
    Reason.CONTAINER_CONFIG_INVALID: "The kubelet cannot make the container from its configuration.",
    Reason.CONTAINER_START_FAILED: "The container cannot be started.",
    Reason.IMAGE_PULL_FAILED: "The serving image cannot be pulled.",
    Reason.OUT_OF_MEMORY: "The container was killed at its memory limit. Raise resources.limits.memory.",
    Reason.CONTAINER_EXITED: "The container ended by itself; the message has the exit code and its last words.",
    Reason.POD_EVICTED: "The node evicted the pod.",
    Reason.PODS_NOT_READY: "Pods run, but none is ready.",
    Reason.AUTOSCALER_INACTIVE: "The HorizontalPodAutoscaler or ScaledObject cannot scale, as for want of metrics-server; the message is "
    "its own. The number of replicas stands.",
    Reason.KEDA_NOT_INSTALLED: "scaling.autoscaler is KEDA and the cluster does not know ScaledObjects. The number of replicas stands; the "
    "operator notices within 10 s when KEDA is installed.",
}

LOAD_FAILURES: Final = {
    "UnsupportedScheme": "The URI's scheme is none that the runtime can read.",
    "BucketNotFound": "The bucket does not exist.",
    "ModelNotFound": "Nothing lies at the URI, or it names nothing that could.",
    "AccessDenied": "The store refused the credentials, or they may not read this object.",
    "SourceUnreachable": "The store does not answer, or not with the model. It is tried again with back-off, and when it asks to be.",
    "CertificateInvalid": "The store's certificate is not trusted. Name its CA in storage.caBundleRef.",
    "FetchStalled": "No byte arrived for 60 s; the pod starts again.",
    "Truncated": "Fewer bytes arrived than the store had announced.",
    "OutOfSpace": "The model does not fit on the pod's disk.",
    "NoModelFile": "The folder holds no model.onnx.",
    "AmbiguousModelFile": "The folder holds several .onnx files, and none is named model.onnx.",
    "DigestMismatch": "The stored model is not the one that model.digest names.",
    "InvalidModel": "The file is not a model that ONNX Runtime can load, or a web page came in place of it.",
    "UnsupportedOpset": "The model uses an operator set that this ONNX Runtime does not know yet.",
    "UnsupportedTypes": "The model has inputs or outputs that are no tensors.",
    "ExternalDataOutsideFolder": "The model names a weights file outside its own folder.",
    "ExternalDataMissing": "The model names a weights file that is not there.",
    "NotSealed": "security.encryption.mode is Required and the stored model is not sealed.",
    "SealedWithoutKey": "The stored model is sealed and the spec names no key: set security.encryption.",
    "SignatureMissing": "A signature is required and the stored model has none.",
    "SignatureInvalid": "The stored bytes are not those that were signed, or the signature has not the one form that counts.",
    "SignerUntrusted": "The model is signed by a key that is not in security.verification.trust, or by a certificate that does not "
    "hold: expired, of another CA, or not for code signing.",
    "SealInvalid": "The folder is not a sealed model of the format: its manifest, its keys or its set of files is wrong.",
    "SealMismatch": "The model is sealed for another tenant, another model.name or another model.version.",
    "KeyNotFound": "None of the keys that the model was sealed for is at hand.",
    "KeyWrong": "The key at hand has the right ID and does not open the model.",
    "KeyDenied": "The key service refuses: no right, or the key is revoked or disabled.",
    "KeyServiceUnreachable": "The key service does not answer. It is tried again with back-off; pods that serve go on.",
    "DecryptionFailed": "The bytes are not those that were encrypted: they were changed, cut or swapped.",
    "PolicyUnsatisfiable": "The PrivacyPolicy does not fit the model, or names a key that is not there. Another one is waited for.",
    "ConfigInvalid": "The runtime cannot read its configuration.",
    "ServingCertificateUnusable": "The certificate for the model's ports is missing, or its key does not fit. The pod waits for another.",
}
"""What the runtime reports when a load fails, spelled as it spells them (the file contract `runtime/v1`)."""

VERIFY_FAILURES: Final = frozenset(
    {"DigestMismatch", "SignatureMissing", "SignatureInvalid", "SignerUntrusted", "SealInvalid", "SealMismatch"}
)
"""Load failures that speak of ModelVerified."""

STALLING: Final = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.MODEL_POLICY_VIOLATED,
        Reason.MODEL_POLICY_INVALID,
        Reason.TENANT_AMBIGUOUS,
        Reason.PRIVACY_POLICY_INVALID,
        Reason.CALLERS_UNKNOWN,
        "UnsupportedScheme",
        "NoModelFile",
        "AmbiguousModelFile",
        "InvalidModel",
        "UnsupportedOpset",
        "UnsupportedTypes",
        "ExternalDataOutsideFolder",
        "ExternalDataMissing",
        "NotSealed",
        "SealedWithoutKey",
        "KeyWrong",
        "DecryptionFailed",
        "ConfigInvalid",
        *VERIFY_FAILURES,
    }
)
"""Why Ready may be False without an end: what is stored and what is declared contradict each other, or a policy. Not among them is what
comes about by itself while a namespace is being filled: a Secret, a bucket, a right, a node, an object that garbage collection takes."""

ENDPOINT_FAILURES: Final = frozenset({"ServingCertificateUnusable"})
"""Load failures that speak of EndpointSecured."""

POLICY_FAILURES: Final = frozenset({"PolicyUnsatisfiable"})
"""Failures at start-up that speak of PrivacyEnforced."""

DECRYPT_FAILURES: Final = frozenset(
    {
        "NotSealed",
        "SealedWithoutKey",
        "KeyNotFound",
        "KeyWrong",
        "KeyDenied",
        "KeyServiceUnreachable",
        "DecryptionFailed",
    }
)
"""Load failures that speak of ModelDecrypted; all that are in no set speak of ModelAvailable."""
