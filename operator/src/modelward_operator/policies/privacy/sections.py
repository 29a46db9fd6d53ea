"""The sections of policy.json that a PrivacyPolicy makes, in the form of the file contract `runtime/v1`. Called by `rule.py`.

The names are those of the CRD, but for Secrets, which become the files where they are mounted, and for sinks, which become flat. What
images of before do not know stays out for them: they refuse a file with a field that they do not know, and a new pod would not turn ready.
"""

from collections.abc import Mapping
from typing import Any, Final

from modelward_operator.api.auditing import Audit, FileSink, Logging, LoggingMode, Retention, Sink, SinkType
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.privacyinput import Input
from modelward_operator.api.privacyoutput import Output
from modelward_operator.facts import Given, PrivacyPolicy
from modelward_operator.plan import names
from modelward_operator.plan.image import template_inputs
from modelward_operator.plan.upgrade import image_for, image_in_use
from modelward_operator.policies.privacy.epsilon import epsilon_section
from modelward_operator.policies.privacy.sinks import folder_bytes

SECTIONS: Final = ("privacy", "logging", "audit")


def sections(given: Given, model: ModelDeploymentSpec, policy: PrivacyPolicy) -> Mapping[str, Any]:
    """Return the sections by name; what the policy leaves out is off, and absent."""
    spec = policy.spec
    bounded = bool(spec.audit and spec.audit.required) and _is_of_today(given, model)
    found: dict[str, Any] = {"privacy": {"policy": policy.name, "policyGeneration": policy.generation}}
    if spec.input:
        found["privacy"]["input"] = _input(spec.input)
    if spec.output:
        found["privacy"]["output"] = _output(spec.output, given, policy)
    if spec.logging and spec.logging.mode is not LoggingMode.NONE:
        found["logging"] = _logging(spec.logging, bounded=bounded)
    if spec.audit:
        found["audit"] = _audit(spec.audit, bounded=bounded)
    return found


def _is_of_today(given: Given, model: ModelDeploymentSpec) -> bool:
    """True where the pods get this installation's serving image, which knows every field; of a kept or a named one that is not known."""
    kept = image_in_use(given, template_inputs(model))
    return image_for(given, model, kept) == given.installation.runtime_image


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


def _logging(rules: Logging, *, bounded: bool) -> dict[str, Any]:
    section: dict[str, Any] = {"mode": rules.mode.value, "samplePercent": rules.sample_percent}
    if rules.sink:
        section["sink"] = _sink("logging", rules.sink, bounded=bounded)
    return section | _retention(rules.retention)


def _audit(rules: Audit, *, bounded: bool) -> dict[str, Any]:
    section: dict[str, Any] = {
        "required": rules.required,
        "durability": rules.durability.value,
        "sink": _sink("audit", rules.sink, bounded=bounded),
        "signingKeyFile": f"{names.AUDIT_KEY_DIR}/key.pem",
        "checkpointRecords": rules.checkpoint_records,
        "checkpointSeconds": rules.checkpoint_seconds,
    }
    if rules.input_hash_key_ref:
        section["inputHashKeyFile"] = f"{names.AUDIT_HASH_DIR}/key"
    return section | _retention(rules.retention)


def _retention(rules: Retention | None) -> dict[str, Any]:
    return {"retention": _plain(rules)} if rules else {}


def _sink(section: str, sink: Sink, *, bounded: bool) -> dict[str, Any]:
    """`bounded`: the pod must not be evicted for this log, which would delete a required one, its own or the one beside it."""
    if sink.type is SinkType.FILE:
        files = sink.file or FileSink()
        found = {"type": "File", "directory": names.SINK_DIRS[section], "maxFileBytes": files.max_file_bytes}
        return found | ({"sizeLimitBytes": folder_bytes(files)} if bounded and files.claim_name is None else {})
    if sink.s3 is None:
        return {"type": "Stdout"}
    store = {"type": "S3", "uri": sink.s3.uri, "endpoint": sink.s3.endpoint, "region": sink.s3.region}
    if sink.s3.ca_bundle_ref:
        store["caBundleFile"] = f"{names.SINK_CA_DIRS[section]}/ca.crt"
    return {name: value for name, value in store.items() if value is not None}
