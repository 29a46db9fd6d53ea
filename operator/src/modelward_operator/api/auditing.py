"""`logging` and `audit` of a PrivacyPolicy: what is written down of requests, where to, and for how long.

Read by `privacypolicy.py`. Of a sink, exactly the struct that its type needs is present, as Kubernetes' unions are.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, StringConstraints

from modelward_operator.api.quantity import amount
from modelward_operator.api.security import ServiceUrl
from modelward_operator.api.types import (
    LocalObjectRef,
    Matches,
    ObjectName,
    Quantity,
    Region,
    Rule,
    SecretKeyRef,
    Struct,
)


class SinkType(StrEnum):
    """Where records go."""

    STDOUT = "Stdout"
    FILE = "File"
    S3 = "S3"


class FileSink(Struct):
    """Files in the pod, on a volume of its own."""

    rules = (
        Rule(
            "!has(self.claimName) || !has(self.sizeLimit)",
            lambda it: it.claim_name is None or it.size_limit is None,
            "sizeLimit is for a folder that goes with the pod: a claim has its own size, so leave one of the two out",
        ),
        Rule(
            "!has(self.sizeLimit) || quantity(string(self.sizeLimit)).compareTo(quantity('16Mi')) >= 0",
            lambda it: it.size_limit is None or amount(it.size_limit) >= amount("16Mi"),
            "sizeLimit must be at least 16Mi, or the kubelet evicts the pod for its log",
        ),
    )

    claim_name: ObjectName | None = Field(
        default=None,
        description="PersistentVolumeClaim that keeps the files; several replicas need one that several pods may write. Absent: a folder "
        "that goes with the pod, and the records with it.",
    )
    size_limit: Quantity | None = Field(
        default=None,
        description="Size of the folder that goes with the pod: 16Mi or more, and several times maxFileBytes. Absent: 1Gi. Beyond it the "
        "kubelet evicts the pod, and the records go with it. Where the audit is required, the pod stops before, at nine tenths: an audit "
        "log then takes no more calls, and a payload log beside it no more records, until the pod is replaced.",
        examples=["2Gi"],
    )
    max_file_bytes: StrictInt = Field(
        default=16_777_216, ge=65_536, le=1_073_741_824, description="Bytes after which the next file is begun."
    )


class S3Sink(Struct):
    """Objects in a bucket of an S3-compatible store."""

    rules = (
        Rule(
            "!has(self.caBundleRef) || !has(self.endpoint) || !self.endpoint.startsWith('http://')",
            lambda it: not (it.ca_bundle_ref and (it.endpoint or "").startswith("http://")),
            "caBundleRef needs TLS: write the endpoint with https://, or leave caBundleRef out",
        ),
    )

    uri: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1024),
        Matches(
            r"^s3://[a-z0-9]([a-z0-9.-]*[a-z0-9])?/([^\x00-\x20\x7f?#]*/)?$",
            "uri must be s3://BUCKET/PREFIX/, ending with /",
        ),
    ] = Field(description="Bucket and prefix below which objects are written.", examples=["s3://audit/risk/"])
    endpoint: ServiceUrl | None = Field(
        default=None,
        description="URL of an S3-compatible store. Absent: AWS.",
        examples=["https://minio.storage.svc:9000"],
    )
    region: Region | None = Field(default=None, description="Region of the bucket. Absent: us-east-1.")
    secret_ref: LocalObjectRef = Field(
        description="Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN when there is one. Give it "
        "the right to write and to list, and the right to delete only where retention is set."
    )
    ca_bundle_ref: LocalObjectRef | None = Field(
        default=None,
        description="ConfigMap whose key ca.crt holds the PEM certificates to trust, for a store with a private CA.",
    )


class Sink(Struct):
    """Where records go."""

    rules = (
        Rule(
            "(self.type == 'File' || !has(self.file)) && (self.type == 'S3') == has(self.s3)",
            lambda it: (
                (it.type is SinkType.FILE or it.file is None) and (it.type is SinkType.S3) == (it.s3 is not None)
            ),
            "a sink holds what its type needs and nothing else: s3 for S3, perhaps file for File, nothing for Stdout",
        ),
    )

    type: SinkType = Field(
        description="Stdout: lines of JSON among the pod's log. File: files on a volume. S3: objects in a bucket."
    )
    file: FileSink | None = Field(
        default=None, description="Of a File sink. Absent: a folder of 1Gi that goes with the pod."
    )
    s3: S3Sink | None = Field(default=None, description="Of an S3 sink.")


def _goes_with_the_pod(sink: Sink) -> bool:
    return sink.type is SinkType.FILE and (sink.file or FileSink()).claim_name is None


class Retention(Struct):
    """How long records are kept: a floor that the law sets, and a ceiling that privacy does."""

    rules = (
        Rule(
            "self.minDays <= self.maxDays",
            lambda it: it.min_days <= it.max_days,
            "minDays must not exceed maxDays: a record cannot be kept for longer than it may be",
        ),
    )

    min_days: StrictInt = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Days for which a record is not deleted. More than 0 takes a sink that outlives the pod: a File with claimName, or S3.",
    )
    max_days: StrictInt = Field(ge=1, le=36_500, description="Days after which a record is deleted.")


class LoggingMode(StrEnum):
    """What of a request is logged."""

    NONE = "None"
    METADATA = "Metadata"
    REDACTED = "Redacted"


KEPT = Rule(
    "!has(self.retention) || self.retention.minDays == 0 || !has(self.sink) || self.sink.type != 'File' || "
    "(has(self.sink.file) && has(self.sink.file.claimName))",
    lambda it: it.retention is None or it.retention.min_days == 0 or it.sink is None or not _goes_with_the_pod(it.sink),
    "retention.minDays of a File sink needs file.claimName: without a claim the records go with their pod, however young they are; name a "
    "claim, or take S3, or leave minDays out",
    is_new=True,
)

KEEPABLE = Rule(
    "!has(self.retention) || (has(self.sink) && self.sink.type != 'Stdout')",
    lambda it: it.retention is None or (it.sink is not None and it.sink.type is not SinkType.STDOUT),
    "retention needs a sink of type File or S3: what went to stdout nobody here can delete",
)


class Logging(Struct):
    """What of requests is logged, for those who run the model."""

    rules = (
        Rule(
            "(self.mode == 'None') != has(self.sink)",
            lambda it: (it.mode is LoggingMode.NONE) != (it.sink is not None),
            "mode Metadata and Redacted need a sink; mode None takes none",
        ),
        KEEPABLE,
        KEPT,
    )

    mode: LoggingMode = Field(
        description="None: nothing, as when logging is absent. Metadata: of answered calls the names, datatypes and shapes of tensors, "
        "and how many seconds it took. Redacted: values as well, after the policy's own rules and with every kind of personal data masked "
        "in text."
    )
    sample_percent: StrictInt = Field(
        default=100, ge=1, le=100, description="How many of 100 answered requests are logged."
    )
    sink: Sink | None = Field(default=None, description="Where the log goes.")
    retention: Retention | None = Field(
        default=None, description="How long it is kept; for File and S3. Absent: until somebody deletes it."
    )


class Durability(StrEnum):
    """When an answer may leave."""

    BUFFERED = "Buffered"
    SYNCHRONOUS = "Synchronous"


class Audit(Struct):
    """A chained and signed record of every call, never of what it carried."""

    rules = (
        Rule(
            "self.durability != 'Synchronous' || self.required",
            lambda it: it.durability is not Durability.SYNCHRONOUS or it.required,
            "durability Synchronous needs required: true, or an answer could leave without its record after all",
        ),
        Rule(
            "!self.required || self.sink.type != 'Stdout'",
            lambda it: not it.required or it.sink.type is not SinkType.STDOUT,
            "required needs a sink of type File or S3: nobody confirms what went to stdout",
        ),
        Rule(
            "!self.required || self.sink.type != 'File' || "
            "(has(self.sink.file) && (has(self.sink.file.claimName) || has(self.sink.file.sizeLimit)))",
            lambda it: (
                not it.required
                or not _goes_with_the_pod(it.sink)
                or (it.sink.file or FileSink()).size_limit is not None
            ),
            "required with a File sink needs file.claimName, a volume that outlives the pod; or file.sizeLimit, if it is enough that no "
            "call goes unrecorded while its pod lives: the pod takes no more calls when nine tenths of it are full",
            is_new=True,
        ),
        KEEPABLE,
        KEPT,
    )

    required: StrictBool = Field(
        default=False,
        description="True: a pod that cannot write its records takes no requests. False: it serves, and says so. It promises that no call "
        "goes unrecorded, not that the record outlives the pod: that takes a File sink with claimName, or S3. A File sink without a claim "
        "is accepted with a sizeLimit that is written out, and goes with the pod, at each rollout and scale-down; so that nobody can have "
        "it deleted by calling often enough, the pod takes no more calls when nine tenths of the sizeLimit are full.",
    )
    durability: Durability = Field(
        default=Durability.BUFFERED,
        description="Buffered: records are written in the background, to a File within a second, to S3 within about 5 seconds; a pod "
        "that is killed loses those. Synchronous: no answer leaves before its record is safe.",
    )
    sink: Sink = Field(description="Where the records go.")
    retention: Retention | None = Field(
        default=None, description="How long they are kept; for File and S3. Absent: until somebody deletes them."
    )
    signing_key_ref: SecretKeyRef = Field(
        description="Key of a Secret that holds the Ed25519 private key in PEM, as `modelward keygen audit` writes it; it signs the "
        "checkpoints. Keep its public half outside the cluster: `modelward audit verify` wants it."
    )
    input_hash_key_ref: SecretKeyRef | None = Field(
        default=None,
        description="Key of a Secret that keys a hash (HMAC) of each input in its record, so that somebody who has the input and the key "
        "can prove that it was sent. Absent: no hash.",
    )
    checkpoint_records: StrictInt = Field(
        default=1000, ge=1, le=1_000_000, description="A signed checkpoint after at most this many records."
    )
    checkpoint_seconds: StrictInt = Field(
        default=60,
        ge=1,
        le=86_400,
        description="A signed checkpoint after at most this many seconds, when there are new records.",
    )
