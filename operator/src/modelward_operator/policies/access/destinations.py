"""Where the pods of a spec must be able to connect for their model: its store, and the proxies on the way. Used by `rule.py`.

Other rooms say for themselves what theirs need (`Slot.EGRESS`): the key service, sinks.
"""

from collections.abc import Iterator
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec

PROXIES: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
REGION: Final = "us-east-1"


def destinations(spec: ModelDeploymentSpec) -> Iterator[str]:
    """Yield URLs of which host and port count."""
    yield from _store(spec)
    for variable in spec.runtime.env:
        if variable.name.upper() in PROXIES and variable.value:
            yield variable.value if "://" in variable.value else f"http://{variable.value}"


def _store(spec: ModelDeploymentSpec) -> Iterator[str]:
    """A volume is the kubelet's to reach; a registry is its URI's host."""
    scheme, _, rest = spec.model.uri.partition("://")
    if scheme == "s3":
        storage = spec.model.storage
        region = (storage and storage.region) or REGION
        yield (storage and storage.endpoint) or f"https://s3.{region}.amazonaws.com"
    elif scheme != "pvc":
        yield f"https://{rest.partition('/')[0]}"
