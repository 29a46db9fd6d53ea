"""Where a model is and what lies on the way: URIs, access to a store or a registry, the cache that pods share.

Read by `modeldeployment.py`; `plan/pod.py` mounts what is named here, the runtime fetches with it.
"""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from modelward_operator.api.quantity import amount
from modelward_operator.api.types import LocalObjectRef, Matches, ObjectName, Quantity, Region, Rule, Struct

_NAME: Final = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
_PATH: Final = r"[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*"
REGISTRY: Final = rf"{_NAME}(:[0-9]{{1,5}})?"
MODEL_URI: Final = (
    rf"^((s3|pvc)://{_NAME}(/|$)|gs://[a-z0-9]([a-z0-9._-]*[a-z0-9])?(/|$)|https://{REGISTRY}(/|$)|oci://{REGISTRY}/{_PATH}(/{_PATH})*"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?$|@sha256:[0-9a-f]{64}$))"
)
"""Repositories and tags as the OCI distribution specification has them, 1.1; the runtime reads the same."""


def scheme(uri: str) -> str:
    """Return `s3`, `gs`, `https`, `oci` or `pvc`: the kind of source that a model URI names."""
    return uri.partition("://")[0]


class Storage(Struct):
    """How the object store, the registry or the web server is reached."""

    rules = (
        Rule(
            "!has(self.caBundleRef) || !has(self.endpoint) || !self.endpoint.startsWith('http://')",
            lambda it: not (it.ca_bundle_ref and (it.endpoint or "").startswith("http://")),
            "caBundleRef needs TLS: write the endpoint with https://, or leave caBundleRef out",
        ),
    )

    secret_ref: LocalObjectRef | None = Field(
        default=None,
        description="s3://: Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN when there is one. "
        "oci://: Secret of type kubernetes.io/dockerconfigjson (key .dockerconfigjson). https://: Secret with the key token, sent as a "
        "bearer token, or of type kubernetes.io/basic-auth (keys username and password); sent to the host of the URI, and to none that it "
        "redirects to. gs://: Secret with the key key.json, the key of a service account. Absent: s3:// and gs:// ask for the identity of "
        "the workload, where there is one; else the model is read without credentials.",
    )
    ca_bundle_ref: LocalObjectRef | None = Field(
        default=None,
        description="ConfigMap whose key ca.crt holds the PEM certificates to trust, for a store, registry or web server of a private CA.",
    )
    endpoint: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=2048),
            Matches(
                r"^https?://[^\x00-\x20\x7f/?#@]+/?$",
                "endpoint must be http:// or https://, a host and perhaps a port, without path, query or credentials, for example "
                "https://minio.storage.svc:9000",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="s3://: URL of an S3-compatible store; absent: AWS. gs://: URL of what speaks like Google Cloud Storage; absent: "
        "https://storage.googleapis.com. oci://: URL at which the registry of the URI is reached, a mirror or, with http://, one without "
        "TLS; absent: https:// and the registry's name.",
        examples=["https://minio.storage.svc:9000"],
    )
    region: Region | None = Field(
        default=None, description="s3://: region of the bucket. Absent: us-east-1.", examples=["eu-central-1"]
    )


class ModelCache(Struct):
    """A volume that pods share. It holds what was downloaded as it was stored: of a sealed model the ciphertext, never plaintext."""

    rules = (
        Rule(
            "quantity(string(self.sizeLimit)).compareTo(quantity('1Mi')) >= 0",
            lambda it: amount(it.size_limit) >= amount("1Mi"),
            "sizeLimit must be 1Mi or more: what the models on the volume may take together, for example 50Gi",
        ),
    )

    claim_name: ObjectName = Field(
        description="PersistentVolumeClaim to keep models on: ReadWriteMany to share it across nodes, ReadWriteOnce for the pods of one. "
        "Whoever writes to it cannot make another model serve: each hit is held against model.digest.",
        examples=["model-cache"],
    )
    size_limit: Quantity = Field(
        description="What the models on the volume may take together. The least recently used that no pod holds make room; a model that "
        "finds none is kept by its pod alone.",
        examples=["50Gi"],
    )
