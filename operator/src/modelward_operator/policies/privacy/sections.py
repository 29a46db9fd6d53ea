"""The sections of policy.json that a PrivacyPolicy makes, in the form of the file contract `runtime/v1`. Called by `rule.py`.

The names are those of the CRD, but for Secrets, which become the files where they are mounted, and for sinks, which become flat.
"""

from collections.abc import Mapping
from typing import Any, Final

from modelward_operator.api.auditing import Audit, FileSink, Logging, LoggingMode, Retention, Sink, SinkType
from modelward_operator.api.privacyinput import Input
from modelward_operator.api.privacyoutput import Output
from modelward_operator.facts import Given, PrivacyPolicy
from modelward_operator.plan import names
from modelward_operator.policies.privacy.epsilon import epsilon_section

SECTIONS: Final = ("privacy", "logging", "audit")


def sections(given: Given, policy: PrivacyPolicy) -> Mapping[str, Any]:
    """Return the sections by name; what the policy leaves out is off, and absent."""
    spec = policy.spec
    found: dict[str, Any] = {"privacy": {"policy": policy.name, "policyGeneration": policy.generation}}
    if spec.input:
        found["privacy"]["input"] = _input(spec.input)
    if spec.output:
        found["privacy"]["output"] = _output(spec.output, given, policy)
    if spec.logging and spec.logging.mode is not LoggingMode.NONE:
        found["logging"] = _logging(spec.logging)
    if spec.audit:
        found["audit"] = _audit(spec.audit)
    return found


def _plain(struct: Input | Output | Retention) -> dict[str, Any]:
    return struct.model_dump(mode="json", by_alias=True, exclude_none=True)


def _input(rules: Input) -> dict[str, Any]:
    section = _plain(rules)
    if section.pop("hashKeyRef", None):
        section["hashKeyFile"] = f"{names.PRIVACY_DIR}/key"
    return section


def _output(rules: Output, given: Given, policy: PrivacyPolicy) -> dict[str, Any]:
    section = _plain(rules)
    if rules.differential_privacy:
        section["differentialPrivacy"] = epsilon_section(given, policy, rules.differential_privacy)
    return section


def _logging(rules: Logging) -> dict[str, Any]:
    section: dict[str, Any] = {"mode": rules.mode.value, "samplePercent": rules.sample_percent}
    if rules.sink:
        section["sink"] = _sink("logging", rules.sink)
    return section | _retention(rules.retention)


def _audit(rules: Audit) -> dict[str, Any]:
    section: dict[str, Any] = {
        "required": rules.required,
        "durability": rules.durability.value,
        "sink": _sink("audit", rules.sink),
        "signingKeyFile": f"{names.AUDIT_KEY_DIR}/key.pem",
        "checkpointRecords": rules.checkpoint_records,
        "checkpointSeconds": rules.checkpoint_seconds,
    }
    if rules.input_hash_key_ref:
        section["inputHashKeyFile"] = f"{names.AUDIT_HASH_DIR}/key"
    return section | _retention(rules.retention)


def _retention(rules: Retention | None) -> dict[str, Any]:
    return {"retention": _plain(rules)} if rules else {}


def _sink(section: str, sink: Sink) -> dict[str, Any]:
    if sink.type is SinkType.FILE:
        files = sink.file or FileSink()
        return {"type": "File", "directory": names.SINK_DIRS[section], "maxFileBytes": files.max_file_bytes}
    if sink.s3 is None:
        return {"type": "Stdout"}
    store = {"type": "S3", "uri": sink.s3.uri, "endpoint": sink.s3.endpoint, "region": sink.s3.region}
    if sink.s3.ca_bundle_ref:
        store["caBundleFile"] = f"{names.SINK_CA_DIRS[section]}/ca.crt"
    return {name: value for name, value in store.items() if value is not None}
