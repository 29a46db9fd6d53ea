"""PrivacyPolicies that are accepted, and those that are refused with the words that tell what to write instead.

Read by tests/integration (the API server's word) and tests/unit (the word of `parse_privacy`).
"""

from typing import Any

import yaml

from tests.specs import Bad, Good

KEY = "signingKeyRef: {name: audit, key: key.pem}"
STDOUT = "sink: {type: Stdout}"
FILE = "sink: {type: File}"
CLAIM = "sink: {type: File, file: {claimName: audit}}"
KEPT = "retention.minDays of a File sink needs file.claimName: without a claim the records go with their pod"
S3 = "sink: {type: S3, s3: {uri: s3://audit/risk/, secretRef: {name: audit-s3}}}"
SINK = "a sink holds what its type needs and nothing else: s3 for S3, perhaps file for File, nothing for Stdout"
DECIMAL = 'must be a decimal number in quotes, without an exponent or leading zeros, for example "0.5"'
HASH = "pii with action Hash needs hashKeyRef, and hashKeyRef is for nothing else"
ONE_ACTION = "one kind in one tensor has one action"
RETENTION = "minDays must not exceed maxDays: a record cannot be kept for longer than it may be"
KEEPABLE = "retention needs a sink of type File or S3: what went to stdout nobody here can delete"
COLUMNS = "columns take either an action or a range"
THROWN = "action Zero or Drop throws the values away: leave nonFinite, columns, minimum and maximum out"
ORDERED = "minimum must not exceed maximum: no value could pass"


def tensor(rules: str) -> str:
    """Return the YAML of a policy with one rule for the input `input`."""
    return f"{{input: {{tensors: [{{name: input, {rules}}}]}}}}"


def audit(rules: str) -> str:
    """Return the YAML of a policy with an audit log."""
    return f"{{audit: {{{KEY}, {rules}}}}}"


def file_sink(rules: str) -> str:
    """Return the YAML of a policy whose log goes to files."""
    return f"{{logging: {{mode: Metadata, sink: {{type: File, file: {{{rules}}}}}}}}}"


def private(rules: str, **changed: str) -> str:
    """Return the YAML of a policy with differential privacy of a label, but for what `changed` says otherwise; empty: left out."""
    fields = {
        "name": "label",
        "mechanism": "RandomizedResponse",
        "labels": "['0', '1']",
        "epsilon": "'0.5'",
        "budget": "{epsilon: '9', period: Day, scope: All}",
    } | changed
    listed = ", ".join(f"{name}: {value}" for name, value in fields.items() if value)
    return f"{{output: {{differentialPrivacy: {{{listed}}}{rules}}}}}"


NUMBER = {"mechanism": "Laplace", "labels": "", "lower": "'0'", "upper": "'1'"}
BY_CALLER = {"budget": "{epsilon: '9', period: Month, scope: Subject}"}
MECHANISM = (
    "mechanism RandomizedResponse takes labels; Laplace takes lower and upper; neither takes what is the other's"
)

ACCEPTED_PRIVACY = (
    Good("a label at random", private("")),
    Good("a number with noise", private("", **NUMBER)),
    Good("a budget by caller", private("", **BY_CALLER, subjectKeyRef="{name: a, key: b}")),
    Good("rules after it", private(", tensors: [{name: label, decimals: 2}, {name: p, drop: true}]")),
    Good("a size alone", "{input: {maxElements: 100000}}"),
    Good("a tensor that the model does not see", tensor("action: Drop")),
    Good("a range with one end", tensor("minimum: '-0.5'")),
    Good("a range of one value", tensor("minimum: '1.0', maximum: '1'")),
    Good("a range that is empty as text", tensor("minimum: '9', maximum: '10'")),
    Good("columns by index and by name", tensor("columns: [{indices: [0, 3], names: [age], action: Zero}]")),
    Good(
        "two rules for the same columns",
        tensor("columns: [{names: [age], minimum: '0'}, {names: [age], maximum: '120'}]"),
    ),
    Good("not-a-number", tensor("nonFinite: Reject, columns: [{indices: [1], maximum: '1'}]")),
    Good("a name in another script", "{input: {tensors: [{name: 入力, action: Zero}]}}"),
    Good(
        "every kind of personal data",
        "{input: {pii: [{kinds: [Email, Phone, PaymentCard, IBAN, CNResidentID, IPAddress, Credential], action: Reject}]}}",
    ),
    Good(
        "a keyed hash for one tensor and a mask for all",
        "{input: {pii: [{kinds: [Email], tensors: [text], action: Hash}, {kinds: [Phone], action: Mask}], "
        "hashKeyRef: {name: pii, key: key}}}",
    ),
    Good(
        "a kind with another action in another tensor",
        "{input: {pii: [{kinds: [Email], tensors: [a], action: Mask}, {kinds: [Email], tensors: [b], action: Reject}]}}",
    ),
    Good(
        "a noisy label",
        "{output: {tensors: [{name: p, labelOnly: true}], perturbation: [{name: p, distribution: Laplace, scale: '1'}]}}",
    ),
    Good("a label alone", "{output: {tensors: [{name: probabilities, labelOnly: true}]}}"),
    Good(
        "the best three, rounded", "{output: {tensors: [{name: p, topK: 3, decimals: 2}, {name: logits, drop: true}]}}"
    ),
    Good("noise", "{output: {perturbation: [{name: p, distribution: Laplace, scale: '0.01'}]}}"),
    Good(
        "noise, then rounding",
        "{output: {tensors: [{name: p, decimals: 0}], perturbation: [{name: p, distribution: Uniform, scale: '1'}]}}",
    ),
    Good("no log, written out", "{logging: {mode: None}}"),
    Good("a log among the pod's", f"{{logging: {{mode: Redacted, samplePercent: 1, {STDOUT}}}}}"),
    Good("a log that is deleted", f"{{logging: {{mode: Metadata, {S3}, retention: {{maxDays: 30}}}}}}"),
    Good("files on a claim", file_sink("claimName: logs, maxFileBytes: 65536")),
    Good("files that go with the pod", file_sink("sizeLimit: 2Gi")),
    Good("the least audit", audit(STDOUT)),
    Good(
        "an audit that nothing passes by",
        audit(
            f"required: true, durability: Synchronous, {S3}, retention: {{minDays: 183, maxDays: 183}}, checkpointRecords: 1, "
            "checkpointSeconds: 1, inputHashKeyRef: {name: audit, key: hash}"
        ),
    ),
    Good(
        "an audit that is required and buffered",
        audit(f"required: true, {CLAIM}, retention: {{minDays: 183, maxDays: 365}}"),
    ),
    Good(
        "an audit that is required for as long as its pod lives",
        audit("required: true, sink: {type: File, file: {sizeLimit: 4Gi}}, retention: {maxDays: 7}"),
    ),
    Good("files of an audit that is not required", audit(f"{FILE}, retention: {{minDays: 0, maxDays: 7}}")),
    Good(
        "a log on a claim that is kept",
        f"{{logging: {{mode: Metadata, {CLAIM}, retention: {{minDays: 1, maxDays: 7}}}}}}",
    ),
    Good(
        "a store of one's own",
        audit(
            "sink: {type: S3, s3: {uri: s3://a/, endpoint: 'https://minio:9000', region: eu-central-1, secretRef: {name: s}, "
            "caBundleRef: {name: ca}}}"
        ),
    ),
)

REFUSED_PRIVACY = (
    Bad(
        "labels for a number",
        private("", **NUMBER | {"labels": "['a', 'b']"}),
        "spec.output.differentialPrivacy",
        MECHANISM,
    ),
    Bad("a number without an end", private("", **NUMBER | {"upper": ""}), "spec.output.differentialPrivacy", MECHANISM),
    Bad(
        "bounds that are one",
        private("", **NUMBER | {"upper": "'0.0'"}),
        "spec.output.differentialPrivacy",
        "lower must be below upper",
    ),
    Bad(
        "no epsilon",
        private("", epsilon="'0.0'"),
        "spec.output.differentialPrivacy",
        "epsilon must be above 0 and at most 20",
    ),
    Bad(
        "a boundless epsilon",
        private("", epsilon="'20.5'"),
        "spec.output.differentialPrivacy",
        "epsilon must be above 0 and at most 20",
    ),
    Bad(
        "an epsilon of too many digits",
        private("", epsilon="'0.0000001'"),
        "spec.output.differentialPrivacy.epsilon",
        "at most six decimals",
    ),
    Bad(
        "a budget below one row",
        private("", budget="{epsilon: '0.4', period: Day, scope: All}"),
        "spec.output.differentialPrivacy",
        "budget.epsilon must be at least epsilon",
    ),
    Bad(
        "callers that nobody can name",
        private("", **BY_CALLER),
        "spec.output.differentialPrivacy",
        "scope Subject needs subjectKeyRef",
    ),
    Bad(
        "a key that names nobody",
        private("", subjectKeyRef="{name: a, key: b}"),
        "spec.output.differentialPrivacy",
        "scope All names nobody",
    ),
    Bad(
        "noise beside it",
        private(", perturbation: [{name: label, distribution: Laplace, scale: '1'}]"),
        "spec.output",
        "perturbation and differentialPrivacy exclude each other",
    ),
    Bad(
        "an answer that is dropped",
        private(", tensors: [{name: label, drop: true}]"),
        "spec.output",
        "nothing would be answered",
    ),
    Bad("nothing", "{}", "spec", "a policy must say something: set input, output, logging or audit"),
    Bad("an input without a rule", "{input: {}}", "spec.input", "input needs a rule"),
    Bad("an output without a rule", "{output: {}}", "spec.output", "output needs a rule"),
    Bad("a tensor without a rule", "{input: {tensors: [{name: a}]}}", "spec.input.tensors[0]", "a tensor needs a rule"),
    Bad(
        "two rules for one tensor",
        "{input: {tensors: [{name: a, action: Zero}, {name: a, action: Drop}]}}",
        "spec.input.tensors",
        "uplicate",
        bound=True,
    ),
    Bad("a range of what is thrown away", tensor("action: Zero, minimum: '0'"), "spec.input.tensors[0]", THROWN),
    Bad(
        "columns of what is thrown away",
        tensor("action: Drop, columns: [{indices: [0], action: Zero}]"),
        "spec.input.tensors[0]",
        THROWN,
    ),
    Bad(
        "a range that is empty, though not as text",
        tensor("minimum: '10', maximum: '9'"),
        "spec.input.tensors[0]",
        ORDERED,
    ),
    Bad(
        "columns with an empty range",
        tensor("columns: [{indices: [0], minimum: '1', maximum: '-1'}]"),
        "spec.input.tensors[0].columns[0]",
        ORDERED,
    ),
    Bad(
        "columns of no name",
        tensor("columns: [{action: Zero}]"),
        "spec.input.tensors[0].columns[0]",
        "say which columns",
    ),
    Bad("columns without a rule", tensor("columns: [{indices: [0]}]"), "spec.input.tensors[0].columns[0]", COLUMNS),
    Bad(
        "a range of what is zeroed",
        tensor("columns: [{indices: [0], action: Zero, maximum: '1'}]"),
        "spec.input.tensors[0].columns[0]",
        COLUMNS,
    ),
    Bad(
        "a column before the first",
        tensor("columns: [{indices: [-1], action: Zero}]"),
        "spec.input.tensors[0].columns[0].indices[0]",
        "should be greater than or equal to 0",
        bound=True,
    ),
    Bad(
        "a column twice",
        tensor("columns: [{indices: [1, 1], action: Zero}]"),
        "spec.input.tensors[0].columns[0].indices",
        "uplicate",
        bound=True,
    ),
    Bad("a float", tensor("minimum: 0.5"), "spec.input.tensors[0].minimum", "must be of type string", bound=True),
    Bad("an exponent", tensor("minimum: '1e3'"), "spec.input.tensors[0].minimum", DECIMAL),
    Bad("not a number", tensor("maximum: nan"), "spec.input.tensors[0].maximum", DECIMAL),
    Bad(
        "no bytes of text",
        "{input: {maxTextBytes: 0}}",
        "spec.input.maxTextBytes",
        "should be greater than or equal to 1",
        bound=True,
    ),
    Bad(
        "a kind that nobody knows",
        "{input: {pii: [{kinds: [SSN], action: Mask}]}}",
        "spec.input.pii[0].kinds[0]",
        "Unsupported value",
        bound=True,
    ),
    Bad(
        "a kind twice",
        "{input: {pii: [{kinds: [Email, Email], action: Mask}]}}",
        "spec.input.pii[0].kinds",
        "uplicate",
        bound=True,
    ),
    Bad("a hash without a key", "{input: {pii: [{kinds: [Email], action: Hash}]}}", "spec.input", HASH),
    Bad(
        "a key without a hash",
        "{input: {pii: [{kinds: [Email], action: Mask}], hashKeyRef: {name: a, key: b}}}",
        "spec.input",
        HASH,
    ),
    Bad(
        "an output that says nothing",
        "{output: {tensors: [{name: p}]}}",
        "spec.output.tensors[0]",
        "an output needs a rule",
    ),
    Bad(
        "rounding of what is dropped",
        "{output: {tensors: [{name: p, drop: true, decimals: 1}]}}",
        "spec.output.tensors[0]",
        "an output that is dropped takes no other rule",
    ),
    Bad(
        "scores of a label",
        "{output: {tensors: [{name: p, labelOnly: true, topK: 3}]}}",
        "spec.output.tensors[0]",
        "labelOnly leaves one label and no scores",
    ),
    Bad(
        "the best none",
        "{output: {tensors: [{name: p, topK: 0}]}}",
        "spec.output.tensors[0].topK",
        "should be greater than or equal to 1",
        bound=True,
    ),
    Bad(
        "noise of no size",
        "{output: {perturbation: [{name: p, distribution: Uniform, scale: '0.0'}]}}",
        "spec.output.perturbation[0]",
        "scale must be greater than 0",
    ),
    Bad(
        "noise on what is dropped",
        "{output: {tensors: [{name: p, drop: true}], perturbation: [{name: p, distribution: Gaussian, scale: '1'}]}}",
        "spec.output",
        "an output that is dropped takes no perturbation",
    ),
    Bad(
        "two actions for one kind",
        "{input: {pii: [{kinds: [Email, Phone], action: Mask}, {kinds: [Email], tensors: [a], action: Reject}]}}",
        "spec.input",
        ONE_ACTION,
    ),
    Bad(
        "two actions for one kind in one tensor",
        "{input: {pii: [{kinds: [Email], tensors: [a, b], action: Mask}, {kinds: [Email], tensors: [b], action: Reject}]}}",
        "spec.input",
        ONE_ACTION,
    ),
    Bad("leading zeros", tensor("minimum: '007'"), "spec.input.tensors[0].minimum", DECIMAL),
    Bad(
        "a log to nowhere",
        "{logging: {mode: Metadata}}",
        "spec.logging",
        "mode Metadata and Redacted need a sink; mode None takes none",
    ),
    Bad(
        "no log to somewhere",
        f"{{logging: {{mode: None, {STDOUT}}}}}",
        "spec.logging",
        "mode Metadata and Redacted need a sink",
    ),
    Bad(
        "stdout that is kept",
        f"{{logging: {{mode: Metadata, {STDOUT}, retention: {{maxDays: 3}}}}}}",
        "spec.logging",
        KEEPABLE,
    ),
    Bad("an audit on stdout that is kept", audit(f"{STDOUT}, retention: {{maxDays: 3}}"), "spec.audit", KEEPABLE),
    Bad(
        "crossing limits",
        audit(f"{CLAIM}, retention: {{minDays: 183, maxDays: 30}}"),
        "spec.audit.retention",
        RETENTION,
    ),
    Bad(
        "required of a folder that a caller can have deleted",
        audit(f"required: true, {FILE}"),
        "spec.audit",
        "required with a File sink needs file.claimName, a volume that outlives the pod; or file.sizeLimit",
    ),
    Bad(
        "the same, with files of another size",
        audit("required: true, durability: Synchronous, sink: {type: File, file: {maxFileBytes: 65536}}"),
        "spec.audit",
        "the pod takes no more calls when nine tenths of it are full",
    ),
    Bad("kept in a folder that goes", audit(f"{FILE}, retention: {{minDays: 1, maxDays: 7}}"), "spec.audit", KEPT),
    Bad(
        "kept in a folder that goes, of whatever size",
        audit("sink: {type: File, file: {sizeLimit: 64Gi}}, retention: {minDays: 183, maxDays: 365}"),
        "spec.audit",
        KEPT,
    ),
    Bad(
        "a log that is kept in a folder that goes",
        f"{{logging: {{mode: Metadata, {FILE}, retention: {{minDays: 1, maxDays: 7}}}}}}",
        "spec.logging",
        KEPT,
    ),
    Bad(
        "kept for no day",
        audit(f"{FILE}, retention: {{maxDays: 0}}"),
        "spec.audit.retention.maxDays",
        "should be greater than or equal to 1",
        bound=True,
    ),
    Bad("S3 without a bucket", "{logging: {mode: Metadata, sink: {type: S3}}}", "spec.logging.sink", SINK),
    Bad(
        "S3 without credentials",
        "{logging: {mode: Metadata, sink: {type: S3, s3: {uri: s3://a/}}}}",
        "spec.logging.sink.s3.secretRef",
        "Required value",
        bound=True,
    ),
    Bad(
        "files in a bucket",
        S3.join(["{logging: {mode: Metadata, ", "}}"]).replace("type: S3", "type: File"),
        "spec.logging.sink",
        SINK,
    ),
    Bad(
        "a bucket without its slash",
        audit(S3.replace("risk/", "risk")),
        "spec.audit.sink.s3.uri",
        "uri must be s3://BUCKET/PREFIX/, ending with /",
    ),
    Bad(
        "a CA without TLS",
        audit(S3.replace("uri:", "endpoint: 'http://minio:9000', caBundleRef: {name: ca}, uri:")),
        "spec.audit.sink.s3",
        "caBundleRef needs TLS",
    ),
    Bad(
        "a claim with a size",
        file_sink("claimName: a, sizeLimit: 1Gi"),
        "spec.logging.sink.file",
        "a claim has its own size",
    ),
    Bad(
        "a folder for nothing", file_sink("sizeLimit: 1Mi"), "spec.logging.sink.file", "sizeLimit must be at least 16Mi"
    ),
    Bad(
        "required of stdout",
        audit(f"required: true, {STDOUT}"),
        "spec.audit",
        "required needs a sink of type File or S3",
    ),
    Bad(
        "synchronous and not required",
        audit(f"durability: Synchronous, {FILE}"),
        "spec.audit",
        "durability Synchronous needs required: true",
    ),
    Bad(
        "an audit that nobody signs",
        f"{{audit: {{{STDOUT}}}}}",
        "spec.audit.signingKeyRef",
        "Required value",
        bound=True,
    ),
)


def privacy_policy(spec: str, name: str = "table") -> dict[str, Any]:
    """Return a PrivacyPolicy with the spec that the YAML says."""
    kind = {"apiVersion": "modelward.dev/v1alpha1", "kind": "PrivacyPolicy"}
    return {**kind, "metadata": {"name": name}, "spec": yaml.safe_load(spec)}
