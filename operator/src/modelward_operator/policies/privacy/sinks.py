"""What a PrivacyPolicy needs in the pod beside policy.json: key Secrets, a sink's volume, CA and credentials, and a way out. Called by
`rule.py`.

A change here rolls the pods, where a change of policy.json alone does not.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelward_operator.api.auditing import FileSink, S3Sink, Sink, SinkType
from modelward_operator.api.privacypolicy import PrivacyPolicySpec
from modelward_operator.api.quantity import MOST, amount
from modelward_operator.api.types import SecretKeyRef
from modelward_operator.plan import names
from modelward_operator.plan.quantity import canonical
from modelward_operator.rulings import Addition, Slot, volume

DEFAULT_SIZE: Final = "1Gi"
"""Of the folder of a File sink without a claim."""
DEFAULT_REGION: Final = "us-east-1"


def needs_of(spec: PrivacyPolicySpec) -> Iterator[Addition]:
    """Yield what the pods need for this policy."""
    if spec.input and spec.input.hash_key_ref:
        yield _secret("privacy-key", names.PRIVACY_DIR, spec.input.hash_key_ref, "key")
    if spec.audit:
        yield _secret("audit-key", names.AUDIT_KEY_DIR, spec.audit.signing_key_ref, "key.pem")
        if spec.audit.input_hash_key_ref:
            yield _secret("audit-hash-key", names.AUDIT_HASH_DIR, spec.audit.input_hash_key_ref, "key")
        yield from _sink("audit", spec.audit.sink)
    if spec.logging and spec.logging.sink:
        yield from _sink("logging", spec.logging.sink)


def _secret(name: str, folder: str, ref: SecretKeyRef, file: str) -> Addition:
    """One key of a Secret as one file. Every user of the pod may read it, and there is one: the runtime's."""
    items = [{"key": ref.key, "path": file}]
    return volume(name, folder, {"secret": {"secretName": ref.name, "items": items, "defaultMode": 0o444}})


def _sink(section: str, sink: Sink) -> Iterator[Addition]:
    if sink.type is SinkType.FILE:
        yield volume(f"{section}-log", names.SINK_DIRS[section], _folder(sink.file or FileSink()), writable=True)
    if sink.s3:
        yield from _store(section, sink.s3)


def _folder(files: FileSink) -> Mapping[str, Any]:
    if files.claim_name:
        return {"persistentVolumeClaim": {"claimName": files.claim_name}}
    return {"emptyDir": {"sizeLimit": canonical(files.size_limit or DEFAULT_SIZE)}}


def folder_bytes(files: FileSink) -> int:
    """Return what a folder without a claim may hold before the kubelet evicts the pod."""
    return min(int(amount(files.size_limit or DEFAULT_SIZE)), MOST)


def _store(section: str, store: S3Sink) -> Iterator[Addition]:
    yield Addition(Slot.CREDENTIALS, f"MODELWARD_{section.upper()}_AWS", store.secret_ref.name)
    bucket = store.uri.split("/")[2]
    address = store.endpoint or f"https://{bucket}.s3.{store.region or DEFAULT_REGION}.amazonaws.com"
    yield Addition(Slot.EGRESS, address, address)
    if store.ca_bundle_ref:
        source = {"name": store.ca_bundle_ref.name, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        yield volume(f"{section}-ca", names.SINK_CA_DIRS[section], {"configMap": source})
