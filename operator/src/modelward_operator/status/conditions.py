"""Condition types and reasons of a ModelDeployment: every word that a user can see in its status.

Positive polarity: True is healthy. Unknown while in progress. A condition whose feature is off is absent. crds/README.md prints
these tables (`make generate`).
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
    READY = "Ready"


TYPES: Final = {
    Type.READY: "The current spec is served. False: it is not, and the message says why. Unknown: on the way.",
    Type.MODEL_AVAILABLE: "The model was fetched and loaded, as the pods report it.",
    Type.MODEL_VERIFIED: "The stored model has the declared digest, and a signature that counts. Absent without model.digest and "
    "security.verification.",
    Type.MODEL_DECRYPTED: "The model was sealed and a key opened it. Absent without security.encryption.mode Required.",
    Type.PRIVACY_ENFORCED: "Every pod that serves holds requests to the PrivacyPolicy that spec.privacy names; the message says which "
    "generation of it, and which pods. Unknown: not every pod has said so yet. Absent without spec.privacy and at zero replicas.",
    Type.WORKLOAD_AVAILABLE: "Pods run and are ready.",
    Type.ENDPOINT_SECURED: "The pods ask who calls and serve TLS as the spec says, and the network policy holds where it is declared. Not "
    "True while a child that says so (network policy, boot.json, policy.json, a grant) could not be written. True "
    "as well where the spec leaves something open: the message says what. Absent with authentication None, TLS off and no "
    "security.networkPolicy, unless the network is found to be open.",
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
    NETWORK_OPEN = "NetworkOpen"
    COMPLETE = "Complete"
    POLICY_ENFORCED = "PolicyEnforced"
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
    # Not healthy
    SUSPENDED = "Suspended"
    MODEL_POLICY_VIOLATED = "ModelPolicyViolated"
    TENANT_AMBIGUOUS = "TenantAmbiguous"
    PRIVACY_POLICY_NOT_FOUND = "PrivacyPolicyNotFound"
    CALLERS_UNKNOWN = "CallersUnknown"
    POLICY_UNSATISFIABLE = "PolicyUnsatisfiable"
    SIGNATURE_WARNING = "SignatureWarning"
    SIGNATURE_UNREPORTED = "SignatureUnreported"
    ENCRYPTION_UNREPORTED = "EncryptionUnreported"
    AUTHENTICATION_UNREPORTED = "AuthenticationUnreported"
    TLS_UNREPORTED = "TlsUnreported"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_MISMATCH = "CertificateMismatch"
    NETWORK_POLICY_NOT_ENFORCED = "NetworkPolicyNotEnforced"
    INVALID_SPEC = "InvalidSpec"
    CHILD_NOT_OWNED = "ChildNotOwned"
    CHILD_REJECTED = "ChildRejected"
    POD_CREATION_FAILED = "PodCreationFailed"
    UNSCHEDULABLE = "Unschedulable"
    INSUFFICIENT_GPU = "InsufficientGPU"
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


REASONS: Final = {
    Reason.SERVING: "Every pod of the current revision that is ready serves the model.",
    Reason.SCALED_TO_ZERO: "Zero replicas are wanted, and none run.",
    Reason.LOADED: "The ready pods have loaded the model.",
    Reason.DIGEST_MATCHES: "The stored model has the declared digest.",
    Reason.SIGNATURE_VALID: "The model is signed by a signer of security.verification.trust; the message names the signer.",
    Reason.DECRYPTED: "The model was sealed, and a key of security.encryption.keyRef opened it; the message names the key.",
    Reason.PODS_READY: "At least one pod is ready.",
    Reason.SECURED: "The endpoint is as the spec wants it. The message says authentication, TLS, ingress and egress, and what is open.",
    Reason.NETWORK_OPEN: "As Secured, but a connection that the network policy forbids went through: the network plug-in enforces none. "
    "Nobody declared security.networkPolicy, so the model is Ready all the same.",
    Reason.COMPLETE: "All pods are of the current revision.",
    Reason.POLICY_ENFORCED: "Every ready pod reports that it enforces the present generation of the PrivacyPolicy.",
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
    Reason.SUSPENDED: "spec.suspend is true. Set it to false to serve again.",
    Reason.MODEL_POLICY_VIOLATED: "A ModelPolicy forbids this model: it is scaled to zero. The message names the policy and each "
    "violation.",
    Reason.TENANT_AMBIGUOUS: "A sealed model in a namespace without the label modelward.dev/tenant, whose name another namespace's label "
    "gives as its tenant: it is scaled to zero. An administrator labels this namespace.",
    Reason.PRIVACY_POLICY_NOT_FOUND: "The PrivacyPolicy that spec.privacy names does not exist in this namespace: the model is scaled to "
    "zero until it does.",
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
    Reason.NETWORK_POLICY_NOT_ENFORCED: "security.networkPolicy is declared, and a connection that it forbids went through: the network "
    "plug-in does not enforce it. Install one that does, or leave security.networkPolicy out.",
    Reason.INVALID_SPEC: "The stored spec cannot be read; the message lists every field. What runs keeps running, unless a "
    "ModelPolicy forbids it.",
    Reason.CHILD_NOT_OWNED: "An object with a name that this model needs belongs to somebody else. Delete or rename one of the two.",
    Reason.CHILD_REJECTED: "The API server refused a child; the message is its own.",
    Reason.POD_CREATION_FAILED: "The Deployment's controller may not create pods: a quota, Pod Security or an admission webhook.",
    Reason.UNSCHEDULABLE: "No node fits the pod; the message is the scheduler's.",
    Reason.INSUFFICIENT_GPU: "No node has the accelerator free; the message is the scheduler's.",
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
}

LOAD_FAILURES: Final = {
    "UnsupportedScheme": "The URI's scheme is none that the runtime can read.",
    "BucketNotFound": "The bucket does not exist.",
    "ModelNotFound": "Nothing lies at the URI, or it names nothing that could.",
    "AccessDenied": "The store refused the credentials, or they may not read this object.",
    "SourceUnreachable": "The store does not answer. It is tried again with back-off.",
    "CertificateInvalid": "The store's certificate is not trusted. Name its CA in storage.caBundleRef.",
    "FetchStalled": "No byte arrived for 60 s; the pod starts again.",
    "Truncated": "Fewer bytes arrived than the store had announced.",
    "OutOfSpace": "The model does not fit on the pod's disk.",
    "NoModelFile": "The folder holds no model.onnx.",
    "AmbiguousModelFile": "The folder holds several .onnx files, and none is named model.onnx.",
    "DigestMismatch": "The stored model is not the one that model.digest names.",
    "InvalidModel": "The file is not a model that ONNX Runtime can load.",
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
