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
    """A volume is the kubelet's to reach; a registry is its URI's host, unless an endpoint stands in for it."""
    scheme, _, rest = spec.model.uri.partition("://")
    storage = spec.model.storage
    if scheme == "pvc":
        return
    if storage and storage.endpoint:
        yield storage.endpoint
    elif scheme == "s3":
        yield f"https://s3.{(storage and storage.region) or REGION}.amazonaws.com"
    else:
        yield f"https://{rest.partition('/')[0]}"
