"""What to do next, for every reason that is not simply well: the source of `kubectl modelward status` and operator/tasks/troubleshoot.md.

Sorted by the condition in which a reason is met first; what a reason means stands in `conditions.py`. `{name}` and `{namespace}` are the
model's. A test holds that no reason is missing. Pure words: nothing here looks at a cluster.
"""

from collections.abc import Mapping
from typing import Final

from modelward_operator.status.conditions import Reason, Type

HEALTHY: Final = frozenset(
    {
        Reason.SERVING,
        Reason.SCALED_TO_ZERO,
        Reason.LOADED,
        Reason.DIGEST_MATCHES,
        Reason.SIGNATURE_VALID,
        Reason.DECRYPTED,
        Reason.PODS_READY,
        Reason.SECURED,
        Reason.COMPLETE,
        Reason.EXPOSED,
        Reason.DEVICE_LARGE_ENOUGH,
        Reason.POLICY_ENFORCED,
        Reason.AUTOSCALER_ACTIVE,
        Reason.AUTOSCALER_PAUSED,
        Reason.SCALED_BY_LOAD,
        Reason.WITHIN_BUDGET,
    }
)
"""Reasons after which there is nothing to do."""

_LOGS: Final = "`kubectl logs -n {namespace} -l modelward.dev/model={name} --tail=50`"
_PODS: Final = "`kubectl describe pods -n {namespace} -l modelward.dev/model={name}`"
_WAIT: Final = "Nothing, it is on the way. If it stays for minutes: "

BY_CONDITION: Final[Mapping[Type, Mapping[str, str]]] = {
    Type.MODEL_VERIFIED: {
        "DigestMismatch": "Find out who changed what lies at spec.model.uri. If the new bytes are the right ones, put "
        "their digest (`modelward digest "
        "PATH`) into spec.model.digest; if not, put the right bytes back, or `kubectl modelward rollback {name} -n {namespace}`.",
        "SignatureMissing": "Sign the model (`modelward seal`, or `model_signing sign` for a plain one), upload the "
        "signature beside it; or take "
        "security.verification back to Warn, where policies allow that.",
        "SignatureInvalid": "Do not serve these bytes: they are not those that were signed. Upload the model again "
        "from where it was signed.",
        "SignerUntrusted": "Compare the message's fingerprint with the keys in security.verification.trust: have the "
        "model signed by one of those, or add the "
        "signer's public key once you know whose it is.",
        "SealInvalid": "Seal the model again with `modelward seal`, and upload the folder whole, with nothing added.",
        "SealMismatch": "Seal it again for this tenant, model.name and model.version, or correct these in the spec; "
        "the message names both sides.",
        Reason.VERIFYING: _WAIT + _LOGS,
        Reason.SIGNATURE_WARNING: "It serves unsigned or wrongly signed. Have it signed by a trusted signer, then set "
        "security.verification.mode to Required.",
        Reason.SIGNATURE_UNREPORTED: "The serving image is too old to verify, or not ours: take spec.runtime.image "
        "out, or name a present one.",
    },
    Type.MODEL_DECRYPTED: {
        "NotSealed": "Seal the model with `modelward seal` and upload that, or take security.encryption out (which "
        "needs the right to `relax`).",
        "SealedWithoutKey": "Say in security.encryption.keyRef where the key is.",
        "KeyNotFound": "Put the key whose ID the message names under security.encryption.keyRef, or `modelward rewrap` "
        "the model to one that is there.",
        "KeyWrong": "A key of that ID is there and is another one. Put back the key that sealed the model.",
        "KeyDenied": "Let the pods' ServiceAccount use the key (Vault role, IAM policy), or find out why it was revoked.",
        "KeyServiceUnreachable": "See whether the key service runs and whether status.effective.egress lists its "
        "address; pods try again by themselves.",
        "DecryptionFailed": "Do not serve these bytes: they were changed after they were sealed. Upload the sealed folder again.",
        Reason.DECRYPTING: _WAIT + _LOGS,
        Reason.ENCRYPTION_UNREPORTED: "The serving image is too old to open sealed models, or not ours: take "
        "spec.runtime.image out, or name a present one.",
    },
    Type.MODEL_AVAILABLE: {
        "UnsupportedScheme": "Use one of the schemes that spec.model.uri describes: `kubectl explain mdep.spec.model.uri`.",
        "BucketNotFound": "Correct the bucket in spec.model.uri, or spec.model.storage.endpoint or region.",
        "ModelNotFound": "Look what lies there (`aws s3 ls`, `oras manifest fetch`, the volume) and correct spec.model.uri.",
        "AccessDenied": "Check the keys in the Secret of spec.model.storage.secretRef, and that they may list and read this prefix.",
        "SourceUnreachable": "Check spec.model.storage.endpoint, and that status.effective.egress lists its address. "
        "Pods try again by themselves.",
        "CertificateInvalid": "Put the CA that signed the store's certificate into a ConfigMap, and name it in "
        "spec.model.storage.caBundleRef.",
        "FetchStalled": "The store or the network stops in the middle. The pod tries again; if it goes on, look at the store's side.",
        "Truncated": "The stored object is shorter than its store says, or something between cuts it off. Upload it again.",
        "OutOfSpace": "Raise the node's ephemeral storage or the pod's limit of it, or serve from a volume (pvc://).",
        "NoModelFile": "Put a model.onnx into the folder, or let spec.model.uri name the .onnx file.",
        "AmbiguousModelFile": "Call one of the files model.onnx, or let spec.model.uri name it.",
        "InvalidModel": "Try it where it was made: `modelward serve PATH`. Export it again; the message is ONNX Runtime's. Of a web page: "
        "correct spec.model.uri or spec.model.storage.endpoint.",
        "UnsupportedOpset": "Export with the operator set that the message names, or use a newer serving image.",
        "UnsupportedTypes": "Export the model with tensors as inputs and outputs (for scikit-learn: the option zipmap=False).",
        "ExternalDataOutsideFolder": "Save the model with its weights in its own folder (`onnx.save(..., save_as_external_data=True)`).",
        "ExternalDataMissing": "Upload the weights file that the message names beside the model.",
        "ConfigInvalid": "Operator and serving image do not fit together: take spec.runtime.image out, or name one of "
        "the operator's release.",
        Reason.FETCHING: "Nothing, the model is on the way. Large ones take a while; the message says how far it is, if the pod says so. "
        + _LOGS,
        Reason.LOADING: _WAIT + _LOGS,
        Reason.WARMING_UP: _WAIT + _LOGS,
    },
    Type.WORKLOAD_AVAILABLE: {
        Reason.STARTING: _WAIT + _PODS,
        Reason.DRAINING: "Nothing: the pod ends when its last request is answered.",
        Reason.POD_CREATION_FAILED: "The message names the quota, the Pod Security level or the webhook: raise it, "
        "correct it, or ask who keeps it.",
        Reason.UNSCHEDULABLE: "Ask for less in spec.resources, loosen spec.scheduling, or add a node; the message "
        "counts the nodes and why each was passed over.",
        Reason.INSUFFICIENT_GPU: "Free a device, add a node that has one, or check spec.accelerator.resourceName: `kubectl get nodes -o "
        "custom-columns=NAME:.metadata.name,HAS:.status.allocatable`. With rollout.strategy Auto an update goes on in place after 30 s.",
        Reason.VOLUME_CLAIM_NOT_FOUND: "Create the PersistentVolumeClaim that the message names in {namespace}, or "
        "correct its name in the spec.",
        Reason.VOLUME_MOUNT_FAILED: "The message is the kubelet's: " + _PODS,
        Reason.SERVICE_ACCOUNT_NOT_FOUND: "Create the ServiceAccount that spec.serviceAccount names in {namespace}, or take the name out.",
        Reason.SECRET_NOT_FOUND: "Create the Secret that the message names in {namespace}, or correct its name in the spec.",
        Reason.SECRET_KEY_NOT_FOUND: "Add the key that the message names to the Secret; its keys must be called as "
        "`kubectl explain` of the field says.",
        Reason.CONFIG_MAP_NOT_FOUND: "Create the ConfigMap that the message names in {namespace}, with the key that it "
        "names, or correct the spec.",
        Reason.CONTAINER_CONFIG_INVALID: "The message is the kubelet's: " + _PODS,
        Reason.CONTAINER_START_FAILED: "The message is the kubelet's. Is spec.runtime.image a serving image, and does "
        "the node run pods of Pod Security "
        "`restricted`? " + _PODS,
        Reason.IMAGE_PULL_FAILED: "Check the image's name and that the node may pull it (pull secrets, registry, architecture): "
        + _PODS,
        Reason.OUT_OF_MEMORY: "Raise spec.resources.limits.memory: a model needs up to a third more while it loads "
        "than when it serves, and requests need room.",
        Reason.CONTAINER_EXITED: "Read its last words: `kubectl logs -n {namespace} -l modelward.dev/model={name} --previous --tail=50`.",
        Reason.POD_EVICTED: "The node was short of what the message says. Request what the pod uses "
        "(spec.resources.requests), or relieve the node.",
        Reason.PODS_NOT_READY: "Is the node there (`kubectl get nodes`)? Does the process answer? " + _LOGS,
    },
    Type.ROLLOUT_COMPLETE: {
        Reason.ROLLING_OUT: "Nothing, it is on the way; the former revision serves until then. Back to it: `kubectl "
        "modelward rollback {name} -n {namespace}`.",
    },
    Type.PRIVACY_ENFORCED: {
        "PolicyUnsatisfiable": "Correct the PrivacyPolicy: it names a tensor that the model lacks, a key that is not "
        "there, or a field that the serving image "
        "does not know. The message is the pod's, and the policy before it holds meanwhile.",
        Reason.PRIVACY_POLICY_PENDING: "Nothing: the kubelet brings a change to running pods within about a minute.",
        Reason.LEDGER_UNREACHABLE: "Can the pods reach the API server, and does the PrivacyLedger exist? `kubectl get "
        "privacyledgers -n {namespace}`; " + _LOGS,
        Reason.PRIVACY_POLICY_NOT_FOUND: "Create the PrivacyPolicy that spec.privacy.policyRef names in {namespace}, or correct the name.",
        Reason.PRIVACY_POLICY_INVALID: "Correct the fields of the PrivacyPolicy that the message lists. They got in under another "
        "version of the CRD: `kubectl modelward doctor`.",
        Reason.PRIVACY_POLICY_OUTDATED: "Correct the PrivacyPolicy as the message says, at a time of your choice: another volume for its "
        "records replaces the pods. Who does it may need the right to `relax` privacypolicies.",
        Reason.CALLERS_UNKNOWN: "Authenticate callers (spec.security.authentication), or give the policy's budget the scope All.",
    },
    Type.ENDPOINT_SECURED: {
        "ServingCertificateUnusable": "With tls.mode Secret put a certificate and its own key into the Secret "
        "(tls.crt, tls.key). With Managed delete the "
        "Secret {name}-tls: the operator makes another.",
        Reason.CERTIFICATE_PENDING: "Nothing: it is issued, or the kubelet brings it to the pods within about two minutes.",
        Reason.RATE_LIMIT_PENDING: "Nothing: the kubelet brings a change to running pods within about a minute. Where a "
        "pod stays behind, its image is older than the operator, or its node cannot mount the ConfigMap {name}-policy: "
        "`kubectl describe pod -n {namespace} -l modelward.dev/model={name}`.",
        Reason.RATE_LIMIT_NOT_ENFORCED: "The message is the pod's: correct the PrivacyPolicy that the model names, or "
        "take an image of your own (spec.runtime.image) that knows the field.",
        Reason.AUTHENTICATION_UNREPORTED: "The serving image is too old to ask who calls, or not ours: take "
        "spec.runtime.image out, or name a present one.",
        Reason.TLS_UNREPORTED: "The serving image is too old to serve TLS, or not ours: take spec.runtime.image out, "
        "or name a present one.",
        Reason.CERTIFICATE_EXPIRED: "Renew it in the Secret of security.tls; pods take it without a restart. With "
        "Managed: is the operator running? "
        "`kubectl modelward doctor`",
        Reason.CERTIFICATE_MISMATCH: "Somebody replaced the Secret {name}-tls: delete it, and the operator makes another.",
        Reason.ENFORCEMENT_UNKNOWN: "Nothing, for the first ten seconds. Where the policy lets the operator in (a CIDR, its "
        "namespace), only another model's can show it: serve one that lets in namespaces alone, or try a connection yourself. Where "
        "other models' differ, see whether the network plug-in runs on every node.",
        Reason.NETWORK_POLICY_NOT_ENFORCED: "Install a network plug-in that enforces NetworkPolicies, or leave "
        "security.networkPolicy out and know that the "
        "endpoint is open to the cluster.",
        Reason.NETWORK_OPEN: "The cluster enforces no NetworkPolicy: install a network plug-in that does, or know that "
        "authentication alone guards the model.",
    },
    Type.ACCELERATOR_FITS: {
        Reason.DEVICE_TOO_SMALL: "Ask for larger devices (spec.scheduling, spec.accelerator), or serve a smaller "
        "model: the message has both sizes.",
        Reason.DEVICE_MAY_BE_TOO_SMALL: "Set spec.accelerator.memory: it keeps the pods from nodes whose devices are too small.",
    },
    Type.ENDPOINT_EXPOSED: {
        Reason.ROUTE_PENDING: "Nothing, if a moment helps. Else see whether the controller that the message waits for "
        "runs, and serves this class.",
        Reason.GATEWAY_API_NOT_INSTALLED: "Install the Gateway API and a controller for it, or expose the model by an Ingress.",
        Reason.GATEWAY_NOT_FOUND: "Create the Gateway that the message names, or correct spec.exposure: `kubectl get gateways -A`.",
        Reason.LISTENER_NOT_FOUND: "Take one of the listeners that the message lists for sectionName, or leave it out.",
        Reason.ROUTE_REFUSED: "Have the listener allow routes of {namespace} and this hostname, or ask for one that it "
        "allows; the message is its "
        "controller's.",
        Reason.ROUTE_CONFLICT: "Give one of the two models another hostname or path: the message names the other.",
    },
    Type.AUTOSCALING: {
        Reason.LOAD_UNKNOWN: "Can the operator reach the pods' port 8082, and is the serving image a present one? "
        "`kubectl modelward doctor`; " + _LOGS,
        Reason.REPLICAS_BOUNDED: "See WithinBudget and Ready for what holds the number lower.",
        Reason.HANDING_OVER: "Nothing, unless it stays: the message says whom it waits for (an autoscaler of others that is not running).",
        Reason.AUTOSCALER_INACTIVE: "Install or repair what the autoscaler measures with (metrics-server, KEDA's "
        "trigger); the message is its own.",
        Reason.KEDA_NOT_INSTALLED: "Install KEDA, or choose another scaling.autoscaler.",
        Reason.ACTIVATOR_DISABLED: "Install with activator.enabled=true, or set scaling.minReplicas to 1.",
        Reason.ACTIVATOR_PORTS_EXHAUSTED: "Set scaling.minReplicas to 1 for models that are called all day: each model "
        "at 0 holds two ports of the activator.",
        Reason.ACTIVATOR_UNAVAILABLE: "Is the activator running? `kubectl modelward doctor`",
    },
    Type.WITHIN_BUDGET: {
        Reason.BUDGET_CLAMPED: "Raise the CostBudget's limit, ask for fewer replicas, or wait for the next period: "
        "`kubectl modelward cost -n {namespace}`.",
        Reason.BUDGET_AT_FLOOR: "Raise the CostBudget's limit, or wait for the next period: `kubectl modelward cost -n {namespace}`.",
        Reason.BUDGET_EXCEEDED: "Raise the CostBudget's limit or set an override (which needs the right to `relax`), "
        "or wait for the next period.",
        Reason.BUDGET_INVALID: "Correct the CostBudget: `kubectl describe costbudgets -n {namespace}`.",
        Reason.COST_UNKNOWN: "Give the nodes a price: `kubectl get pricebooks`; the message names the node.",
        Reason.CURRENCY_MISMATCH: "Use one currency in the PriceBook and in the CostBudget.",
        Reason.PRICE_ABOVE_MAXIMUM: "Ask for fewer replicas or cheaper ones, or ask who keeps the ModelPolicy that the message names.",
    },
    Type.READY: {
        Reason.SUSPENDED: "Set spec.suspend to false when it shall serve again.",
        Reason.MODEL_POLICY_VIOLATED: "Bring the spec to what the ModelPolicy asks for (the message lists it), or ask "
        "the administrators who keep it.",
        Reason.MODEL_POLICY_INVALID: "Have who keeps the ModelPolicy that the message names correct the fields that it lists. They got in "
        "under another version of the CRD: `kubectl modelward doctor`.",
        Reason.TENANT_AMBIGUOUS: "Have an administrator set the label modelward.dev/tenant on namespace {namespace}.",
        Reason.INVALID_SPEC: "Correct the fields that the message lists. They got in under another version of the CRD: "
        "`kubectl modelward doctor`.",
        Reason.CHILD_NOT_OWNED: "Delete or rename the object that the message names, or give the model another name.",
        Reason.CHILD_REJECTED: "The message is the API server's: a quota, a policy or a webhook of yours forbids a "
        "child, or `kubectl modelward doctor`.",
        Reason.CHILD_OVERRULED: "Exempt what carries app.kubernetes.io/managed-by: modelward from the webhook that the message names.",
        Reason.CHILD_UNWRITTEN: "Nothing, it is tried again. If it stays, see whether the API server and the webhook "
        "that the message names answer.",
    },
}

REMEDIES: Final[Mapping[str, str]] = {
    str(reason): words for reasons in BY_CONDITION.values() for reason, words in reasons.items()
}


def remedy(reason: str, name: str, namespace: str) -> str:
    """Return what to do next about a reason; empty where there is nothing to do, or the reason is a newer operator's."""
    return REMEDIES.get(reason, "").replace("{name}", name).replace("{namespace}", namespace)
