"""Reads boot.json and policy.json, the file contract `runtime/v1` between the operator and this process.

`cli.py` reads both before anything else starts; `serve.py` reads policy.json again whenever it changes. The parser is
strict: an unknown field, a wrong type, a missing field or a number out of range is refused with its path, because a field
that is silently ignored is a promise that nobody keeps. It must not read anything but the bytes it is given.

boot.json is immutable in a pod (its ConfigMap is named by hash, so that a change rolls the pods); policy.json is live.
"""

import hashlib
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from modelward_runtime.access.config import Access, Limits
from modelward_runtime.audit.config import Audit
from modelward_runtime.contract import Digest, Name, NotNegative, Port, Positive, Record
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.observability.config import Observability
from modelward_runtime.payloads.config import Logging
from modelward_runtime.privacy.config import Privacy

T = TypeVar("T")
API_VERSION: Final = "runtime/v1"


class S3(Record, frozen=True):
    """Where the object store is; credentials come from the environment, never from the file."""

    endpoint: Annotated[str, msgspec.Meta(pattern="^https?://[^/]")] | None = None
    region: Name | None = None


class Oci(Record, frozen=True):
    """How a registry is reached; `endpoint` stands in for https://REGISTRY, `docker_config_file` holds the credentials."""

    endpoint: Annotated[str, msgspec.Meta(pattern="^https?://[^/]")] | None = None
    docker_config_file: Name | None = None


class Gs(Record, frozen=True):
    """How Google Cloud Storage is reached. Without a service account's key the metadata server is asked who we are, if there is one."""

    endpoint: Annotated[str, msgspec.Meta(pattern="^https?://[^/]")] | None = None
    service_account_file: Name | None = None


class Https(Record, frozen=True):
    """Who we are to a web server: the folder holds `token`, or `username` and `password`."""

    credentials_directory: Name | None = None


class SharedCache(Record, frozen=True):
    """A volume that several pods write to: what is kept there, by digest, and how many bytes of it at most."""

    directory: Name
    max_bytes: Positive


class ModelSource(Record, frozen=True):
    """The one model that this process serves, and where its bytes are."""

    name: Name
    version: Name
    uri: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    digest: Digest | None = None
    s3: S3 = S3()
    gs: Gs = Gs()
    https: Https = Https()
    oci: Oci = Oci()
    ca_bundle_file: Name | None = None
    cache: SharedCache | None = None
    directory: Name | None = None  # a file or folder to serve in place: a mounted volume, or `modelward serve PATH`


class Cuda(Record, frozen=True):
    """How a GPU is used; of no effect without one. `graphs`: each shape's run is captured once, and replayed as one launch."""

    tf32: bool = True
    graphs: bool = False
    tensor_rt: bool = False
    convolution_search: Literal["Heuristic", "Exhaustive", "Default"] = "Heuristic"
    memory_limit_bytes: Positive | None = None


DEFAULT_CUDA: Final = Cuda()


class Engine(Record, frozen=True):
    """How ONNX Runtime runs; `threads` 0 means: as many as the cgroup and the affinity mask allow."""

    threads: NotNegative = 0
    accelerator: Literal["CPU", "CUDA"] = "CPU"
    cuda: Cuda = DEFAULT_CUDA


class Batching(Record, frozen=True):
    """Rows of several callers share a run. Absent means that every request runs by itself.

    `padding` PowersOfTwo: runs have 1, 2, 4 … or `max_batch_size` rows, and are filled up.
    """

    max_batch_size: Positive
    max_delay_microseconds: NotNegative
    padding: Literal["None", "PowersOfTwo"] = "None"


class Server(Record, frozen=True):
    """Ports and limits. `modelward serve` also uses port 0, which no file may ask for: any free port."""

    http_port: Port = 8080
    grpc_port: Port = 8081
    admin_port: Port = 8082
    drain_seconds: NotNegative = 5
    request_timeout_seconds: Positive = 60
    max_body_bytes: Positive = 64 * 1024 * 1024
    max_queue: Positive = 1024


class SecretKeys(Record, frozen=True, tag="Secret", tag_field="provider"):
    """Key-encryption keys of a mounted Secret: a file per key, named by its id."""

    directory: Name


class VaultKeys(Record, frozen=True, tag="Vault", tag_field="provider"):
    """Vault's Transit engine, entered with the pod's service-account token by the Kubernetes auth method."""

    address: Annotated[str, msgspec.Meta(pattern="^https?://[^/]")]
    key: Name
    role: Name
    token_file: Name
    mount: Name = "transit"
    auth_path: Name = "kubernetes"
    namespace: Name | None = None
    ca_bundle_file: Name | None = None


class AwsKmsKeys(Record, frozen=True, tag="AWSKMS", tag_field="provider"):
    """AWS KMS, with the standard AWS credentials of the environment."""

    key: Name
    region: Name
    endpoint: Annotated[str, msgspec.Meta(pattern="^https?://[^/]")] | None = None


class Encryption(Record, frozen=True):
    """The model must be sealed; these keys open it."""

    mode: Literal["Required"]
    keys: SecretKeys | VaultKeys | AwsKmsKeys


class Verification(Record, frozen=True):
    """Whose signature counts: `trust_directory` holds a NAME.pem with a P-256 public key per trusted signer, read at each load.

    `signers` are the fingerprints that policies of the cluster permit: another key in the directory does not count. Absent: any.
    """

    mode: Literal["Required", "Warn"]
    trust_directory: Name
    signers: frozenset[Digest] | None = None


class Security(Record, frozen=True):
    """What must hold before the model is loaded. `tenant` is the cluster's word, never the model's."""

    tenant: Name
    encryption: Encryption | None = None
    verification: Verification | None = None


class Boot(Record, frozen=True):
    """boot.json: what a new pod needs to know; a change means a new pod."""

    api_version: Literal["runtime/v1"]
    kind: Literal["Boot"]
    model: ModelSource
    engine: Engine = Engine()
    batching: Batching | None = None
    server: Server = Server()
    security: Security | None = None
    access: Access | None = None
    observability: Observability | None = None


class Policy(Record, frozen=True):
    """policy.json: what may change while the pod serves; `generation` names the contents."""

    api_version: Literal["runtime/v1"]
    kind: Literal["Policy"]
    generation: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    privacy: Privacy | None = None
    limits: Limits | None = None
    logging: Logging | None = None
    audit: Audit | None = None


_BOOT = msgspec.json.Decoder(Boot)
_POLICY = msgspec.json.Decoder(Policy)


def parse_boot(content: bytes, file: str = "boot.json") -> Boot:
    """The boot file as a value; LoadError ConfigInvalid names the file and the path of the field."""
    boot = _parse(_BOOT, content, file)
    if boot.model.cache and not boot.model.digest:
        raise _invalid(f"{file}: model.cache demands model.digest, by which a model is found in it and held against")
    if boot.security and boot.security.encryption and not _demands_signature(boot.security):
        raise _invalid(
            f"{file}: security.encryption demands security.verification with mode Required: "
            "ciphertext that nobody signed can be exchanged for another"
        )
    return boot


def parse_policy(content: bytes, file: str = "policy.json") -> Policy:
    """The policy file as a value; LoadError ConfigInvalid names the file and the path of the field."""
    return _parse(_POLICY, content, file)


def boot_id(content: bytes) -> str:
    """What /report calls `boot`: by it the operator tells which boot.json this process runs on."""
    return hashlib.sha256(content).hexdigest()[:12]


def _parse(decoder: msgspec.json.Decoder[T], content: bytes, file: str) -> T:
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"{file}: {error}") from error


def _demands_signature(security: Security) -> bool:
    return security.verification is not None and security.verification.mode == "Required"


def _invalid(message: str) -> LoadError:
    return LoadError(LoadReason.CONFIG_INVALID, message, "load", permanent=True)
