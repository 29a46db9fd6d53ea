"""Which model, and where it is: `spec.model`."""

from typing import Annotated

from pydantic import Field, StringConstraints

from modelward_operator.api.storage import MODEL_URI, ModelCache, Storage, scheme
from modelward_operator.api.types import Matches, Rule, Struct

Digest = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Matches(
        r"^sha256:[0-9a-f]{64}$",
        "digest must be sha256: and 64 lower-case hexadecimal digits, as `modelward digest PATH` prints it",
    ),
]
ModelWord = Matches(
    r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
    "must be letters, digits, ., _ and -, with a letter or digit at both ends: clients write it in a URL",
)


class Model(Struct):
    """Which model, and where it is."""

    rules = (
        Rule(
            "!self.uri.startsWith('pvc://') || !has(self.storage)",
            lambda it: not (it.uri.startswith("pvc://") and it.storage),
            "storage is for stores that are fetched from: a pvc:// model is read from the mounted volume, so leave storage out",
        ),
        Rule(
            "self.uri.startsWith('s3://') || !has(self.storage) || !has(self.storage.region)",
            lambda it: scheme(it.uri) == "s3" or not (it.storage and it.storage.region),
            "storage.region is for s3:// only: leave it out",
        ),
        Rule(
            "!self.uri.startsWith('https://') || !has(self.storage) || !has(self.storage.endpoint)",
            lambda it: scheme(it.uri) != "https" or not (it.storage and it.storage.endpoint),
            "storage.endpoint is for s3://, gs:// and oci://: an https:// model is where its URI says, so leave endpoint out",
        ),
        Rule(
            "!has(self.cache) || (has(self.digest) && !self.uri.startsWith('pvc://'))",
            lambda it: not it.cache or (it.digest and not it.uri.startswith("pvc://")),
            "cache needs digest, by which pods find a model in it and check it; a pvc:// model is on a volume already and needs none",
        ),
    )

    uri: Annotated[
        str,
        StringConstraints(min_length=1, max_length=2048),
        Matches(
            MODEL_URI,
            "uri must be s3://BUCKET/PREFIX/, s3://BUCKET/KEY.onnx, gs://BUCKET/…, https://HOST/PATH, oci://REGISTRY/REPOSITORY:TAG, "
            "oci://REGISTRY/REPOSITORY@sha256:… or pvc://CLAIM/PATH, with the bucket, the host, the repository or the claim in lower case",
        ),
        Matches(
            r"(^|/)[.][.]?(/|$)", "uri must not contain the path segments . or ..: write the path in full", never=True
        ),
        Matches(
            r"^https://.*(%2[eEfF]|%5[cC]|\\|/[.][.]?;)",
            "uri must not spell . or / of an https:// path as %2e or %2f, nor hold \\, %5c or a segment of dots and ;: "
            "write the path in full",
            never=True,
        ),
        Matches(r"[\x00-\x20\x7f?#]", "uri must not contain spaces, control characters, ? or #", never=True),
    ] = Field(
        description="Where the model is: s3:// or gs://BUCKET/KEY.onnx or BUCKET/PREFIX/, https://HOST/PATH.onnx or HOST/PATH/, "
        "oci://REGISTRY/REPOSITORY:TAG (or @sha256:DIGEST of its manifest) or pvc://CLAIM/PATH. A single .onnx file, or a folder with "
        "model.onnx and its external data. HTTP lists no folders: one behind https:// holds a SHA256SUMS of its files, or is sealed. An "
        "artifact of a registry is a folder, a layer per file, as `oras push` and `modelward seal` make it. Declare digest for what may "
        "change where it lies, above all behind https://.",
        examples=["s3://models/fraud/7/", "oci://registry.example/risk/fraud:7"],
    )
    version: Annotated[str, StringConstraints(min_length=1, max_length=63), ModelWord] = Field(
        default="1",
        description="Version that the endpoint reports and that clients may name.",
        examples=["7"],
    )
    name: Annotated[str, StringConstraints(min_length=1, max_length=253), ModelWord] | None = Field(
        default=None, description="Name under which clients call the model. Absent: metadata.name."
    )
    digest: Digest | None = Field(
        default=None,
        description="Which bytes are meant: a model with another digest does not serve. Of a single file, its SHA-256; of a sealed folder "
        "or artifact, that of manifest.json; of another folder or artifact, that of the sha256sum lines of its files, sorted by path: its "
        "SHA256SUMS, where it has one. `modelward digest PATH` prints it, and so does `modelward seal`. It is not the digest that a "
        "registry gives an artifact.",
    )
    storage: Storage | None = Field(
        default=None, description="Endpoint, credentials and CA of the object store, the registry or the web server."
    )
    cache: ModelCache | None = Field(
        default=None,
        description="A volume that pods share, so that each model is downloaded once and not once a pod. Absent: each pod keeps its own.",
    )
