"""Files that the operator writes and a volume, a bucket or a registry may hold something else in place of."""

import atexit
import json
import shutil
import tempfile
from pathlib import Path

from e2e.fuzz.target import target
from modelward_runtime.config import parse_boot, parse_policy
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.privacy.compile import compile_rules
from modelward_runtime.store import artifact, dockerconfig
from modelward_runtime.store.locate import OciLocation
from modelward_runtime.store.receiving import inside
from tests.privacy_policies import CLASSIFIER, KEY

_DIGEST = "sha256:" + "0" * 64
BOOT = {
    "apiVersion": "runtime/v1", "kind": "Boot",
    "model": {"name": "m", "version": "7", "uri": "s3://b/k/", "digest": _DIGEST, "s3": {"endpoint": "https://s:1", "region": "r"},
              "cache": {"directory": "/c", "maxBytes": 1}},
    "engine": {"threads": 0, "accelerator": "CPU"},
    "batching": {"maxBatchSize": 32, "maxDelayMicroseconds": 500},
    "server": {"httpPort": 1, "grpcPort": 2, "adminPort": 3, "drainSeconds": 5, "requestTimeoutSeconds": 30, "maxBodyBytes": 9},
    "security": {"tenant": "t", "encryption": {"mode": "Required", "keys": {"provider": "Secret", "directory": "/k"}},
                 "verification": {"mode": "Required", "trustDirectory": "/t"}},
}  # fmt: skip
POLICY = {
    "apiVersion": "runtime/v1", "kind": "Policy", "generation": "1",
    "privacy": {
        "policy": "p", "policyGeneration": 1,
        "input": {"maxElements": 9, "pii": {"action": "Reject", "kinds": ["Email", "Phone"]},
                  "tensors": [{"name": "x", "nonFinite": "Reject"}, {"name": "text", "hash": True}]},
        "output": {"tensors": [{"name": "probabilities", "decimals": 2}, {"name": "embedding", "withhold": True}]},
    },
    "limits": {"requestsPerSecond": "10", "burst": 20, "concurrency": 4},
}  # fmt: skip
_DEEP = b'{"a":' + b"[" * 1900
_WORDS = [
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b"1e400",
    b'"\\ud800"',
    b"true",
    b'"Reject"',
    b'"name"',
    b'"tensors"',
    b'"privacy"',
    b"[" * 1200,
    b'"\xff"',
]


_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


def _refused(error: LoadError) -> None:
    assert isinstance(error.reason, LoadReason)
    assert 5 < len(error.message) < 8000
    error.message.encode()


@target("boot", seeds=[json.dumps(BOOT).encode(), b"{}", _DEEP], words=_WORDS, runs=800)
def read_boot(data: bytes) -> None:
    """boot.json is read strictly, or refused with the path of the field."""
    try:
        parse_boot(data)
    except LoadError as error:
        _refused(error)


@target("policy", seeds=[json.dumps(POLICY).encode(), b"{}", _DEEP], words=_WORDS, runs=800)
def read_policy(data: bytes) -> None:
    """policy.json is read strictly and fits the model, or is refused with the path of the field."""
    try:
        policy = parse_policy(data)
        compile_rules(policy.privacy, CLASSIFIER, lambda _file: KEY)
    except LoadError as error:
        _refused(error)


_LAYER = {
    "mediaType": "application/octet-stream", "digest": "sha256:" + "a" * 64, "size": 5,
    "annotations": {"org.opencontainers.image.title": "model.onnx"},
}  # fmt: skip
_MANIFEST = {
    "schemaVersion": 2,
    "mediaType": artifact.MANIFEST_TYPE,
    "config": {**_LAYER, "annotations": {}},
    "layers": [_LAYER],
}


@target(
    "artifact",
    seeds=[json.dumps(_MANIFEST).encode(), json.dumps({**_MANIFEST, "layers": [_LAYER] * 2}).encode(), _DEEP],
    words=[b"../", b"/", b"\\\\", b"..", b'"size"', b"-1", b"sha256:", b"[" * 1200],
    runs=800,
)
def read_artifact(data: bytes) -> None:
    """A registry's manifest is refused, or lists files of which each is refused or goes below the model's folder."""
    try:
        files = artifact.parse(data, "oci://r/m:1")
    except LoadError as error:
        _refused(error)
        return
    for file in files:
        try:
            place = inside(_FOLDER, file.name)
        except LoadError as error:
            _refused(error)
        else:
            assert place.is_relative_to(_FOLDER)
            assert ".." not in place.parts


_WHERE = OciLocation("r.example", "m", tag="1")
_AUTHS = {
    "auths": {"r.example": {"auth": "dTpw"}, "https://q:5000/v1/": {"username": "u", "password": "p"}, "*.x": {}},
    "credsStore": "x",
}


@target(
    "docker",
    seeds=[json.dumps(_AUTHS).encode(), b"{}", _DEEP],
    words=[b'"auth"', b'"dTpw"', b'"\xc5\xbc"', b'"=="', b"[" * 1200],
    runs=600,
)
def read_docker(data: bytes) -> None:
    """A Docker configuration gives a user and a password, or says why not, and repeats none."""
    file = _FOLDER / "config.json"
    file.write_bytes(data)
    try:
        found = dockerconfig.read(file, _WHERE)
    except LoadError as error:
        _refused(error)
        return
    assert bool(found) != bool(found.lacking)
