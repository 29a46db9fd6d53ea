"""Where the pods of a spec must be able to connect: their model's store, the proxies on the way, the collector of their traces.

Used by `rule.py`.

Other rooms say for themselves what theirs need (`Slot.EGRESS`): the key service, sinks.
"""

from collections.abc import Iterator
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.plan import names

PROXIES: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
REGION: Final = "us-east-1"
GOOGLE: Final = "https://storage.googleapis.com"


def destinations(spec: ModelDeploymentSpec) -> Iterator[str]:
    """Yield URLs of which host and port count."""
    yield from _store(spec)
    if spec.observability and spec.observability.tracing:
        yield spec.observability.tracing.endpoint
    for variable in spec.runtime.env:
        if variable.name.upper() in PROXIES and variable.value:
            yield variable.value if "://" in variable.value else f"http://{variable.value}"


def _store(spec: ModelDeploymentSpec) -> Iterator[str]:
    """A volume is the kubelet's to reach; a registry or web server is its URI's host, unless an endpoint stands in for it.

    An identity of the cloud stands in for credentials: then also who gives it some.
    """
    scheme, _, rest = spec.model.uri.partition("://")
    storage = spec.model.storage
    if scheme == "pvc":
        return
    if storage and storage.endpoint:
        yield storage.endpoint
    elif scheme == "s3":
        region = (storage and storage.region) or REGION
        yield f"https://s3.{region}.amazonaws.com"
        if spec.service_account and not (storage and storage.secret_ref):
            yield f"https://sts.{region}.amazonaws.com"
            yield names.EKS_POD_IDENTITY
    elif scheme == "gs":
        yield GOOGLE
    else:
        yield f"https://{rest.partition('/')[0]}"
