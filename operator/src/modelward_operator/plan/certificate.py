"""The managed certificate: which one stands, and when another must be issued. Called by `draw.py`; `cluster/issuer.py` carries it out.

    ModelDeployment ──owns──▶ ConfigMap NAME-tls-HASH, the record of one certificate (public) ──owns──▶ Secret NAME-tls, its key
                    ──owns──▶ ConfigMap NAME-tls, the CA that clients trust

The operator may create Secrets and nothing else, not even delete them: to take one away it deletes the record, and the garbage collector
does the rest, for that Secret alone. See operator/decisions/0006-who-holds-the-tls-key.md.

    no record ──▶ issue ──▶ stands ──two thirds of its life, other names, a CA that is gone, the Secret is missing──▶ record is pruned ──┐
        ▲                                                                                                                         │
        └─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from modelward_operator.api.access import TlsMode
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json, Order
from modelward_operator.plan import names
from modelward_operator.plan.activation import needs_activator

FIELDS: Final = ("tls.crt", "sha256", "notBefore", "notAfter", "dnsNames", "issuer")
"""What a record holds: the certificate, its hash, its times, its names, and the fingerprint of the CA that signed it."""
_SHA256: Final = re.compile("[0-9a-f]{64}")
PATIENCE: Final = timedelta(minutes=3)
"""For which a Secret may be told missing after it was made: the kubelet repeats an old failure for two."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one record says."""

    raw: Json
    sha256: str
    not_before: datetime
    not_after: datetime
    dns_names: tuple[str, ...]
    issuer: str

    @property
    def renewal(self) -> datetime:
        """When a successor is issued."""
        return self.not_before + (self.not_after - self.not_before) * 2 / 3

    @property
    def made(self) -> datetime:
        """When it was issued; from a little earlier on it counts, for clocks that are behind."""
        return datetime.fromisoformat(self.raw["metadata"]["creationTimestamp"])

    @property
    def is_issued(self) -> bool:
        """True once its Secret exists."""
        return names.ISSUED in self.raw["metadata"].get("annotations", {})


def dns_names(given: Given) -> tuple[str, ...]:
    """Return the names under which clients of the cluster call the model.

    None that another namespace could claim: a bare name means another Service in each of them, `NAME.NAMESPACE` may be a host of the world,
    and clients trust one CA for all.
    """
    host = f"{given.key.name}.{given.key.namespace}.svc"
    return (host, f"{host}.{given.installation.cluster_domain}")


def certificate(given: Given, spec: ModelDeploymentSpec) -> tuple[list[Json], Order | None]:
    """Return the ConfigMaps that shall stand, and what must be issued before pods can start."""
    if not is_managed(spec) or not given.authority.bundle:
        return [], None
    bundle = given.authority.bundle + (given.activator.bundle if needs_activator(given, spec) else "")
    published = names.child(given, "v1", "ConfigMap", names.tls_name(given.key.name), data={"ca.crt": bundle})
    if standing := current_record(given):
        return [published, planned_record(given, standing.raw["data"])], None
    return [published], None if any(records(given)) else Order(dns_names(given))


def is_managed(spec: ModelDeploymentSpec) -> bool:
    """True when the operator issues the certificate."""
    return spec.security.tls is not None and spec.security.tls.mode is TlsMode.MANAGED


def current_record(given: Given) -> Record | None:
    """Return the record of the certificate that stands: the newest that is good. One that nobody vouches for is none, and is pruned."""
    good = [record for record in records(given) if record.is_issued and _is_good(record, given)]
    return max(good, key=lambda record: (record.not_before, record.sha256), default=None)


def records(given: Given) -> Iterator[Record]:
    """Yield this model's records, good or not. What has not the form of one is none."""
    for child in given.children:
        owners = child["metadata"].get("ownerReferences", ())
        if child["kind"] != "ConfigMap" or not any(owner["uid"] == given.uid for owner in owners):
            continue
        if "deletionTimestamp" not in child["metadata"] and (record := _read(child)):
            yield record


def planned_record(given: Given, data: Mapping[str, str]) -> dict[str, Any]:
    """Return the record with these data, as it is made and as it stands."""
    name = f"{names.tls_name(given.key.name)}-{data['sha256'][:10]}"
    kept = {field: data[field] for field in FIELDS}
    return names.child(given, "v1", "ConfigMap", name, immutable=True, data=kept)


def _read(child: Json) -> Record | None:
    data = child.get("data") or {}
    if any(field not in data for field in FIELDS) or not _SHA256.fullmatch(data["sha256"]):
        return None  # its hash becomes a part of a name
    try:
        begin, end = (datetime.fromisoformat(data[field]) for field in ("notBefore", "notAfter"))
    except ValueError:
        return None
    if begin.tzinfo is None or end.tzinfo is None:
        return None
    return Record(child, data["sha256"], begin, end, tuple(data["dnsNames"].split()), data["issuer"])


def _is_good(record: Record, given: Given) -> bool:
    return (
        given.now < record.renewal
        and record.issuer in given.authority.known
        and record.raw["metadata"]["uid"] in given.authority.vouched
        and record.dns_names == dns_names(given)
        and not _is_missing(record, given)
    )


def _is_missing(record: Record, given: Given) -> bool:
    """True when the kubelet says that the Secret is gone: nobody else may look."""
    told = f'secret "{names.tls_name(given.key.name)}" not found'
    return given.now - record.made > PATIENCE and any(told in pod.warning for pod in given.pods)
