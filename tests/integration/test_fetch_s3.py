"""Fetching from a real S3 server: what comes whole, what is refused and in which words, what heals by itself.

The server checks signatures. The proxy between stands for a network that cuts connections or falls silent.
"""

import contextlib
import hashlib
import http.server
import itertools
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelward_runtime.config import S3, Boot, ModelSource
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.guard import Guard
from modelward_runtime.hardware import Hardware
from modelward_runtime.load import Patience, load
from modelward_runtime.report import Report
from modelward_runtime.store import lanes, s3
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.found import Fetched
from modelward_runtime.store.receiving import Progress
from modelward_runtime.store.remote import RemoteFile
from modelward_runtime.store.verify import digest_of
from tests.integration.objectstore import (
    ACCESS_KEY,
    CREDENTIALS,
    SECRET_KEY,
    Certificates,
    ObjectStore,
    Proxy,
    certificates,
    object_store,
    proxy,
)
from tests.onnx_models import WEIGHTS, external, linear
from tests.processes import run

LINEAR = linear().SerializeToString()
BIG = os.urandom(8 << 20)
QUICK = Patience(first_pause=0.01, longest_pause=0.02, tick=0.02)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """One server with a few models."""
    with object_store(tmp_path_factory.mktemp("store")) as running:
        running.put("models", "iris/7/model.onnx", LINEAR)
        running.put("models", "deep/model.onnx", external("data/w.bin", offset=0, length=48).SerializeToString())
        running.put("models", "deep/data/w.bin", WEIGHTS.tobytes())
        running.put("models", "two/a.onnx", LINEAR)
        running.put("models", "two/b.onnx", LINEAR)
        running.put("models", "cut/model.onnx", LINEAR[:-9])
        running.put("models", "big.onnx", BIG)
        yield running


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right ones, unless a test changes them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, content in CREDENTIALS.items():
        monkeypatch.setenv(name, content)


@pytest.fixture
def middle(store: ObjectStore) -> Iterator[Proxy]:
    with proxy(store.port) as running:
        yield running


def source(path: str, endpoint: str, **more: Any) -> ModelSource:
    return ModelSource(name="m", version="1", uri=f"s3://{path}", s3=S3(endpoint=endpoint), **more)


def fetched(path: str, endpoint: str, folder: Path, stall: float = 60, **more: Any) -> Fetched:
    return fetch(source(path, endpoint, **more), Cache(folder), Progress(), stall)


def refusal(path: str, endpoint: str, folder: Path, **more: Any) -> LoadError:
    with pytest.raises(LoadError) as caught:
        fetched(path, endpoint, folder, **more)
    assert not (folder / "partial").exists()
    assert not (folder / "model").exists()
    assert "SecretKey" not in caught.value.message
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in caught.value.message
    return caught.value


# ── what comes whole ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_single_object(store: ObjectStore, tmp_path: Path) -> None:
    got = fetched("models/iris/7/model.onnx", store.endpoint, tmp_path)
    assert got.file.read_bytes() == LINEAR
    assert (digest_of(got.file), len(LINEAR)) == (got.digest, got.size)


@pytest.mark.parametrize("path", ["models/deep/", "models/deep"])
def test_a_whole_prefix_with_its_folders(store: ObjectStore, tmp_path: Path, path: str) -> None:
    got = fetched(path, store.endpoint, tmp_path)
    assert got.file.name == "model.onnx"
    assert (got.file.parent / "data/w.bin").read_bytes() == WEIGHTS.tobytes()
    assert digest_of(got.file.parent) == got.digest


def test_the_bucket_itself_is_a_prefix(store: ObjectStore, tmp_path: Path) -> None:
    store.put("alone", "model.onnx", LINEAR)
    assert fetched("alone", store.endpoint, tmp_path).file.read_bytes() == LINEAR


@pytest.mark.parametrize("path", ["models/big.onnx", "models/parts/"])
def test_a_large_object_comes_in_parts_over_several_connections(
    store: ObjectStore, middle: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    store.put("models", "parts/model.onnx", BIG)
    monkeypatch.setattr(lanes, "PART", 1 << 20)
    middle.allowance = [None, 300_000, None, 200_000]
    progress = Progress()
    got = fetch(source(path, middle.endpoint), Cache(tmp_path), progress, 60)
    assert got.file.read_bytes() == BIG
    assert hashlib.sha256(BIG).hexdigest() == digest_of(got.file).removeprefix("sha256:")
    assert len(BIG) == progress.received
    assert middle.connections > 3


def test_an_object_that_changes_while_it_comes_is_never_a_mixture(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "PART", 1 << 20)
    store.put("models", "changing.onnx", BIG)
    pieces = s3.Bucket.part
    asked = itertools.count(1)

    def part(self: s3.Bucket, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        if next(asked) == 3:  # one of them is, though they are asked for side by side
            store.put("models", "changing.onnx", BIG[::-1])
        return pieces(self, file, start, stop)

    monkeypatch.setattr(s3.Bucket, "part", part)
    assert fetched("models/changing.onnx", store.endpoint, tmp_path).file.read_bytes() == BIG[::-1]


def test_memory_stays_flat_whatever_the_size(store: ObjectStore, tmp_path: Path) -> None:
    """A process of its own fetches 200 MB; its peak memory grows by less than the 64 MB that buffers may take."""
    store.put("models", "huge.onnx", os.urandom(1 << 20) * 200)
    script = """
import re, sys
from pathlib import Path
import modelward_runtime.store.s3
from modelward_runtime.config import S3, ModelSource
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.receiving import Progress
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
source = ModelSource(name="m", version="1", uri="s3://models/huge.onnx", s3=S3(endpoint=sys.argv[1]))
size = fetch(source, Cache(Path(sys.argv[2])), Progress(), 60).size
print(size, peak() - before)
"""
    told = subprocess.run(
        [sys.executable, "-c", script, store.endpoint, str(tmp_path)], capture_output=True, text=True, check=True
    )
    size, growth = map(int, told.stdout.split())
    assert size == 200 << 20
    assert growth < 64, f"{growth} MB"


# ── what is refused, and in which words ───────────────────────────────────────────────────────────────────────────────

REFUSED = [
    ("no such bucket, a prefix", "nowhere/iris/7/", LoadReason.BUCKET_NOT_FOUND, "the bucket 'nowhere' does not exist"),
    ("no such bucket, an object", "nowhere/m.onnx", LoadReason.BUCKET_NOT_FOUND, "the bucket 'nowhere' does not exist"),
    ("no such object", "models/iris/8/model.onnx", LoadReason.MODEL_NOT_FOUND, "there is no such object"),
    ("nothing under the prefix", "models/iris/8/", LoadReason.MODEL_NOT_FOUND, "there is nothing under this prefix"),
    ("one folder too high", "models/iris/", LoadReason.NO_MODEL_FILE, "there is 7/model.onnx further down"),
    ("two models", "models/two/", LoadReason.AMBIGUOUS_MODEL_FILE, "2 .onnx files (a.onnx, b.onnx)"),
]


@pytest.mark.parametrize(("case", "path", "reason", "text"), REFUSED, ids=[case for case, *_ in REFUSED])
def test_what_is_not_there(
    store: ObjectStore, tmp_path: Path, case: str, path: str, reason: LoadReason, text: str
) -> None:
    error = refusal(path, store.endpoint, tmp_path)
    assert (reason, True) == (error.reason, error.permanent), case
    assert text in error.message


@pytest.mark.parametrize("path", ["models/iris/7/", "models/iris/7/model.onnx"])
@pytest.mark.parametrize(
    ("case", "changed", "text"),
    [
        ("wrong secret", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
        ("unknown key", {"AWS_ACCESS_KEY_ID": "wrong"}, "No user exists with the provided access key"),
        ("no credentials", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "AccessDenied"),
    ],
)
def test_wrong_credentials(
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    case: str,
    changed: dict[str, str],
    text: str,
) -> None:
    for name, content in changed.items():
        monkeypatch.setenv(name, content) if content else monkeypatch.delenv(name)
    error = refusal(path, store.endpoint, tmp_path)
    assert (LoadReason.ACCESS_DENIED, True) == (error.reason, error.permanent), case
    assert text in error.message


def test_https_against_a_server_that_speaks_http(store: ObjectStore, tmp_path: Path) -> None:
    error = refusal("models/iris/7/", f"https://127.0.0.1:{store.port}", tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, False) == (error.reason, error.permanent)
    assert f"https://127.0.0.1:{store.port}" in error.message


# ── a private CA ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_private_ca_is_trusted_when_it_is_given_and_not_otherwise(store: ObjectStore, tmp_path: Path) -> None:
    ours, other = certificates(tmp_path / "ours"), certificates(tmp_path / "other")
    with object_store(store.data.parent, certificate=ours.certificate, key=ours.key) as tls:
        got = fetched("models/iris/7/", tls.endpoint, tmp_path / "c", ca_bundle_file=str(ours.ca))
        assert got.file.read_bytes() == LINEAR
        for bundle in (None, str(other.ca)):
            error = refusal("models/iris/7/", tls.endpoint, tmp_path / "d", ca_bundle_file=bundle)
            assert (LoadReason.CERTIFICATE_INVALID, True) == (error.reason, error.permanent)
            assert "caBundleRef" in error.message


@pytest.mark.parametrize(
    ("case", "made_for", "days"), [("of another host", "127.0.0.2", 1), ("expired", "127.0.0.1", -1)]
)
def test_a_certificate_that_does_not_hold(
    store: ObjectStore, tmp_path: Path, case: str, made_for: str, days: int
) -> None:
    made = certificates(tmp_path / "tls", address=made_for, days=days)
    with object_store(store.data.parent, certificate=made.certificate, key=made.key) as tls:
        error = refusal("models/iris/7/", tls.endpoint, tmp_path / "c", ca_bundle_file=str(made.ca))
    assert error.reason is LoadReason.CERTIFICATE_INVALID, f"{case}: {error.message}"


# ── a network that misbehaves ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_connection_cut_in_the_middle_is_taken_up_again(middle: Proxy, tmp_path: Path) -> None:
    middle.allowance = [3 << 20]
    got = fetched("models/big.onnx", middle.endpoint, tmp_path)
    assert got.file.read_bytes() == BIG
    assert middle.connections > 1


def test_a_connection_that_is_always_cut_is_transient_and_leaves_nothing(middle: Proxy, tmp_path: Path) -> None:
    middle.allowance = [100_000] * 100
    error = refusal("models/big.onnx", middle.endpoint, tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, False) == (error.reason, error.permanent)


async def test_the_load_goes_on_once_the_network_has_healed(middle: Proxy, tmp_path: Path) -> None:
    middle.allowance = [50] * 8
    boot = Boot(api_version="runtime/v1", kind="Boot", model=source("models/iris/7/", middle.endpoint))
    report = Report(boot, "b")
    model = await load(boot, Guard(), Cache(tmp_path), report, Hardware(1, 1.0), QUICK)
    assert model.name == "m"
    assert middle.connections > 8
    assert report.failure is None


async def test_a_store_that_falls_silent_is_a_stall(middle: Proxy, tmp_path: Path) -> None:
    middle.allowance, middle.silent = [1 << 20, *[0] * 10], True
    boot = Boot(api_version="runtime/v1", kind="Boot", model=source("models/big.onnx", middle.endpoint))
    report = Report(boot, "b")
    with pytest.raises(LoadError, match=r"no byte came for 1 s \(\d+ of ") as caught:
        await load(boot, Guard(), Cache(tmp_path), report, Hardware(1, 1.0), msgspec.structs.replace(QUICK, stall=1.0))
    assert (LoadReason.FETCH_STALLED, False) == (caught.value.reason, caught.value.permanent)


# ── the whole process ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restart_finds_the_model_and_needs_no_store(store: ObjectStore, tmp_path: Path) -> None:
    with proxy(store.port) as middle:
        where = {"uri": "s3://models/deep/", "s3": {"endpoint": middle.endpoint}}
        with run(tmp_path, where, environment=CREDENTIALS) as process:
            process.until_ready()
            digest = process.report()["model"]["digest"]
            assert not process.report()["model"]["cached"]
            process.signal()
            assert process.exit_code() == 0
        connections = middle.connections
    with run(tmp_path, {**where, "digest": digest}, environment=CREDENTIALS) as process:
        process.until_ready()
        model = process.report()["model"]
        assert (digest, True, True) == (model["digest"], model["verified"], model["cached"])
        assert process.infer("m", [[1.0, 0.0, 0.0, 0.0]])[2]["outputs"][0]["data"] == WEIGHTS[0].tolist()
    assert connections > 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave not a byte."""
    with contextlib.suppress(OSError), (disk / "theirs").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(disk).free == 0


def test_a_disk_that_is_full_ends_no_pod_that_serves_and_tells_one_that_begins(
    store: ObjectStore, tmp_path: Path, disk: Path
) -> None:
    endpoint = {"s3": {"endpoint": store.endpoint}}
    fits, large = {"uri": "s3://models/deep/", **endpoint}, {"uri": "s3://models/big.onnx", **endpoint}
    environment = {**CREDENTIALS, "MODELWARD_CACHE_DIR": str(disk / "cache")}
    with run(tmp_path, large, environment=environment) as process:
        assert process.exit_code() == 78
        failure = process.termination()
        assert failure["reason"] == "OutOfSpace"
        assert f"the model has {len(BIG)} bytes and " in failure["message"]
    with run(tmp_path, fits, environment=environment) as process:
        process.until_ready()
        fill(disk)
        assert process.infer("m", [[1.0, 0.0, 0.0, 0.0]])[0] == 200
        process.signal()
        assert process.exit_code() == 0
    with run(tmp_path, fits, environment=environment) as process:
        process.until_ready()
        assert process.report()["model"]["cached"], "a restart finds what it needs"
        assert process.infer("m", [[1.0, 0.0, 0.0, 0.0]])[0] == 200
    shutil.rmtree(disk / "cache")
    fill(disk)
    with run(tmp_path, fits, environment=environment) as process:
        assert process.exit_code() == 78
        assert process.termination()["reason"] == "OutOfSpace"
    (disk / "theirs").unlink()
    with run(tmp_path, fits, environment=environment) as process:
        process.until_ready()


@pytest.mark.parametrize(
    ("case", "where", "environment", "reason"),
    [
        ("a wrong digest", {"uri": "s3://models/iris/7/", "digest": "sha256:" + "0" * 64}, {}, "DigestMismatch"),
        ("a truncated model", {"uri": "s3://models/cut/"}, {}, "InvalidModel"),
        ("wrong credentials", {"uri": "s3://models/iris/7/"}, {"AWS_SECRET_ACCESS_KEY": "x"}, "AccessDenied"),
    ],
)
def test_a_permanent_failure_exits_78_and_leaves_an_empty_cache(
    store: ObjectStore, tmp_path: Path, case: str, where: dict[str, Any], environment: dict[str, str], reason: str
) -> None:
    """Empty, so that a restart after the bucket was repaired fetches anew."""
    boot = {**where, "s3": {"endpoint": store.endpoint}}
    with run(tmp_path, boot, environment={**CREDENTIALS, **environment}) as process:
        assert process.exit_code() == 78, case
        failure = process.termination()
        assert (reason, where["uri"]) == (failure["reason"], failure["uri"])
    assert list((tmp_path / "cache").glob("*")) == []


def test_a_stalled_fetch_exits_75(store: ObjectStore, tmp_path: Path) -> None:
    with proxy(store.port) as middle:
        middle.allowance, middle.silent = [1 << 20, *[0] * 10], True
        where = {"uri": "s3://models/big.onnx", "s3": {"endpoint": middle.endpoint}}
        environment = {**CREDENTIALS, "MODELWARD_FETCH_STALL_SECONDS": "1"}
        with run(tmp_path, where, environment=environment) as process:
            assert process.exit_code(30) == 75, "the thread that hangs in the download does not hold up the end"
            failure = process.termination()
    assert ("FetchStalled", False) == (failure["reason"], failure["permanent"])
    assert json.loads(process.log().splitlines()[-1])["reason"] == "FetchStalled"


def test_web_identity_fetches_credentials_from_the_token_service(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on EKS: no key in the environment, a projected token is exchanged for credentials, over TLS only."""
    made = certificates(tmp_path / "tls")
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    (tmp_path / "token").write_text("projected-token")
    with token_service(made) as (endpoint, asked):
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)
        got = fetched("models/iris/7/", store.endpoint, tmp_path / "c", ca_bundle_file=str(made.ca))
    assert got.file.read_bytes() == LINEAR
    assert "WebIdentityToken=projected-token" in asked[0]


@contextmanager
def token_service(made: Certificates) -> Iterator[tuple[str, list[str]]]:
    """An STS that hands out the store's keys, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            asked.append(self.path + self.rfile.read(length).decode())
            keys = f"<AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>{SECRET_KEY}</SecretAccessKey>"
            rest = "<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>"
            name = "AssumeRoleWithWebIdentity"
            body = (
                f"<{name}Response><{name}Result><Credentials>{keys}{rest}</Credentials></{name}Result></{name}Response>"
            )
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.certificate, made.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
