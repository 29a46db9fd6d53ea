"""What pods run and have loaded, held to a policy: the half of governance that needs no spec. Called by `rule.py`.

A pod says itself what it has loaded: this is a second lock, not the first. Which image it runs, the cluster says.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.facts import Given, Json, Pod
from modelward_operator.plan import names
from modelward_operator.policies.governance.publickey import FINGERPRINT

MUTE_LIMIT: Final = 70.0
"""Seconds after which a pod that is ready and does not report is a violation: the age of a report that is believed, and a minute."""

AUTHENTICATES: Final = frozenset({"TokenReview", "JWT"})
"""What a pod that asks callers who they are reports as `access.authentication`."""


def in_place(policy: ModelPolicySpec, given: Given) -> Iterator[str]:
    """Where pods say that their model came from: asked only without a spec, which says it better."""
    for pod in _serving(given):
        uri = str(pod.loaded.get("model", {}).get("uri", ""))
        if pod.loaded and policy.allowed_uri_prefixes and not is_below(uri, policy.allowed_uri_prefixes):
            yield f"pod {pod.raw['metadata']['name']} has loaded a model from elsewhere than {' or '.join(policy.allowed_uri_prefixes)}"


def is_allowed_image(image: str, allowed: Iterable[str]) -> bool:
    """True for an image that is in the list, or begins with an entry that ends with /, : or @."""
    return any(image == entry or (entry[-1] in "/:@" and image.startswith(entry)) for entry in allowed)


def _in_images(policy: ModelPolicySpec, given: Given, spec: ModelDeploymentSpec | None) -> Iterator[str]:
    """A pod of an earlier spec may run what the present one could not name; what the operator chose itself is allowed."""
    for pod in _serving(given) if policy.allowed_images else ():
        image = _image(pod)
        if not is_allowed_image(image, policy.allowed_images) and not _is_operators(image, given, spec):
            yield f"pod {pod.raw['metadata']['name']} runs the image {image or 'that nobody knows'}, not one of allowedImages"


def _image(pod: Pod) -> str:
    containers = pod.raw.get("spec", {}).get("containers", ())
    return next((str(c.get("image", "")) for c in containers if c["name"] == names.CONTAINER), "")


def _is_operators(image: str, given: Given, spec: ModelDeploymentSpec | None) -> bool:
    """True for the operator's own image, of whichever release, and for one that it keeps for a spec that names none."""
    status: Json = given.raw.get("status", {})
    kept = spec is not None and not spec.runtime.image and status.get("observedGeneration") == given.generation
    return repository_of(image) == repository_of(given.installation.runtime_image) or (
        kept and bool(image) and image == status.get("effective", {}).get("image")
    )


def repository_of(image: str) -> str:
    """Return an image reference without its tag and digest; the colon of a port stands before a slash."""
    path, _, name = image.partition("@")[0].rpartition("/")
    return f"{path}/{name.partition(':')[0]}"


def is_below(uri: str, prefixes: Iterable[str]) -> bool:
    """True for a URI that is one of the prefixes, with or without its last slash, or lies below one."""
    return any(map(f"{uri}/".startswith, prefixes))


def _serving(given: Given) -> list[Pod]:
    pods = [pod for pod in given.pods if not pod.over and "deletionTimestamp" not in pod.raw["metadata"]]
    return sorted(pods, key=lambda pod: str(pod.raw["metadata"]["name"]))


def in_pods(policy: ModelPolicySpec, given: Given, spec: ModelDeploymentSpec | None = None) -> Iterator[str]:
    """What pods run and have loaded under another spec or another trust; `spec` is None where it cannot be read."""
    yield from _in_images(policy, given, spec)
    for pod in _serving(given):
        name = pod.raw["metadata"]["name"]
        if not pod.loaded:
            if pod.mute >= MUTE_LIMIT and _asks_pods(policy):
                yield f"pod {name} is ready and has not said for {MUTE_LIMIT:.0f} s what it has loaded"
            continue
        loaded, signer = pod.loaded.get("model", {}), _reported_signer(pod)
        if policy.require_encryption and loaded.get("encrypted") is not True:
            yield f"pod {name} has loaded a model that was not sealed"
        if policy.require_authentication and _authentication(pod) not in AUTHENTICATES:
            yield f"pod {name} does not report that it authenticates callers"
        if policy.require_digest and loaded.get("verified") is not True:
            yield f"pod {name} has loaded a model whose digest was not declared"
        if policy.require_verification and not signer:
            yield f"pod {name} has loaded a model whose signature was not verified"
        elif policy.trusted_signers and signer not in policy.trusted_signers:
            yield f"pod {name} has loaded a model of the signer {signer}, not one of trustedSigners"


def _asks_pods(policy: ModelPolicySpec) -> bool:
    """True for a policy whose demands are about what a pod has loaded or does, and not only about where from."""
    return any(
        (policy.require_encryption, policy.require_verification, policy.require_digest, policy.require_authentication)
    )


def _authentication(pod: Pod) -> str:
    access = pod.loaded.get("access")
    return str(access.get("authentication")) if isinstance(access, dict) else ""


def _reported_signer(pod: Pod) -> str:
    """Return the fingerprint of the trusted key that the pod reports, a CA's where one is; what has not its form counts as none."""
    signer = pod.loaded.get("model", {}).get("signer")
    found = str(signer.get("authority", signer.get("fingerprint"))) if isinstance(signer, dict) else ""
    return found if FINGERPRINT.fullmatch(found) else ""
