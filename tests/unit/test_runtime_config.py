"""boot.json and policy.json: everything that is not exactly right is refused, with the path of the field."""

import json
from typing import Any

import pytest

from modelward_runtime.config import Boot, boot_id, parse_boot, parse_policy
from modelward_runtime.errors import LoadError, LoadReason

LEAST: dict[str, Any] = {
    "apiVersion": "runtime/v1",
    "kind": "Boot",
    "model": {"name": "iris", "version": "7", "uri": "s3://models/iris/7/"},
}
FULL: dict[str, Any] = {
    **LEAST,
    "model": {
        **LEAST["model"],
        "digest": "sha256:" + "0" * 64,
        "s3": {"endpoint": "http://store:9000", "region": "eu-central-1"},
        "caBundleFile": "/etc/modelward/ca/ca.crt",
        "oci": {"endpoint": "http://registry:5000", "dockerConfigFile": "/etc/modelward/registry/config.json"},
        "cache": {"directory": "/var/cache/modelward", "maxBytes": 1048576},
    },
    "engine": {"threads": 2, "accelerator": "CUDA"},
    "batching": {"maxBatchSize": 32, "maxDelayMicroseconds": 500},
    "server": {"httpPort": 8080, "grpcPort": 8081, "adminPort": 8082, "drainSeconds": 5, "requestTimeoutSeconds": 60,
               "maxBodyBytes": 67108864, "maxQueue": 1024},
    "security": {"tenant": "risk", "verification": {"mode": "Required", "trustDirectory": "/t", "signers": ["sha256:" + "a" * 64]}},
}  # fmt: skip


def changed(path: str, content: object) -> bytes:
    """FULL with one field set, added or (`...`) removed."""
    copy: Any = json.loads(json.dumps(FULL))
    *parents, last = path.split(".")
    place = copy
    for name in parents:
        place = place[name]
    if content is ...:
        del place[last]
    else:
        place[last] = content
    return json.dumps(copy).encode()


def test_least_file_gets_the_documented_defaults() -> None:
    boot = parse_boot(json.dumps(LEAST).encode())
    assert isinstance(boot, Boot)
    assert (8080, 8081, 8082) == (boot.server.http_port, boot.server.grpc_port, boot.server.admin_port)
    assert (5, 60, 67108864, 1024) == (
        boot.server.drain_seconds,
        boot.server.request_timeout_seconds,
        boot.server.max_body_bytes,
        boot.server.max_queue,
    )
    assert boot.batching is None
    assert (0, "CPU") == (boot.engine.threads, boot.engine.accelerator)


def test_full_file_is_read_field_by_field() -> None:
    boot = parse_boot(json.dumps(FULL).encode())
    assert boot.model.s3.endpoint == "http://store:9000"
    assert boot.model.ca_bundle_file == "/etc/modelward/ca/ca.crt"
    assert boot.batching is not None
    assert (32, 500) == (boot.batching.max_batch_size, boot.batching.max_delay_microseconds)


WRONG = [
    ("unknown field at the top", "encryption", {"mode": "Required"}, "`encryption`"),
    ("unknown field of a part", "model.signer", "x", "`$.model`"),
    ("unknown field deep inside", "model.s3.verify", False, "`$.model.s3`"),
    ("missing field", "model.uri", ..., "`uri` - at `$.model`"),
    ("wrong type", "engine.threads", "2", "`$.engine.threads`"),
    ("a float where an integer belongs", "server.httpPort", 80.5, "`$.server.httpPort`"),
    ("a boolean is no number", "server.maxQueue", True, "`$.server.maxQueue`"),
    ("negative threads", "engine.threads", -1, "`$.engine.threads`"),
    ("an accelerator nobody knows", "engine.accelerator", "TPU", "`$.engine.accelerator`"),
    ("port out of range", "server.grpcPort", 70000, "`$.server.grpcPort`"),
    ("port 0 is for the laptop", "server.adminPort", 0, "`$.server.adminPort`"),
    ("a digest of another algorithm", "model.digest", "md5:00", "`$.model.digest`"),
    ("a digest in capitals", "model.digest", "sha256:" + "A" * 64, "`$.model.digest`"),
    ("an endpoint without a scheme", "model.s3.endpoint", "store:9000", "`$.model.s3.endpoint`"),
    ("a registry without a scheme", "model.oci.endpoint", "registry:5000", "`$.model.oci.endpoint`"),
    ("a cache of nothing", "model.cache.maxBytes", 0, "`$.model.cache.maxBytes`"),
    ("a cache of what nobody can tell apart", "model.digest", ..., "model.cache demands model.digest"),
    ("an empty name", "model.name", "", "`$.model.name`"),
    ("an empty batch", "batching.maxBatchSize", 0, "`$.batching.maxBatchSize`"),
    (
        "a signer without its algorithm",
        "security.verification.signers",
        ["a" * 64],
        "`$.security.verification.signers[0]`",
    ),
    ("signers that are no list", "security.verification.signers", "sha256:", "`$.security.verification.signers`"),
    ("another version of the contract", "apiVersion", "runtime/v2", "`$.apiVersion`"),
    ("the other file", "kind", "Policy", "`$.kind`"),
]


@pytest.mark.parametrize(("reason", "path", "content", "named"), WRONG, ids=[reason for reason, *_ in WRONG])
def test_wrong_boot_is_refused_with_the_path(reason: str, path: str, content: object, named: str) -> None:
    with pytest.raises(LoadError) as caught:
        parse_boot(changed(path, content), "/etc/modelward/boot/boot.json")
    assert caught.value.reason is LoadReason.CONFIG_INVALID, reason
    assert caught.value.permanent
    assert caught.value.message.startswith("/etc/modelward/boot/boot.json: ")
    assert named in caught.value.message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}"])
def test_what_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(LoadError, match=r"boot\.json: "):
        parse_boot(content)


def test_policy_is_strict_too() -> None:
    good = {"apiVersion": "runtime/v1", "kind": "Policy", "generation": "3f9a00000000"}
    assert parse_policy(json.dumps(good).encode()).generation == "3f9a00000000"
    with pytest.raises(LoadError, match="unknown field `redact`"):
        parse_policy(json.dumps({**good, "redact": []}).encode())


def test_boot_id_is_the_hash_of_the_bytes() -> None:
    assert boot_id(b"{}") == "44136fa355b3"
