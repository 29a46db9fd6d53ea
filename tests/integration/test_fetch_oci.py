"""Fetching from a real registry: what comes whole, what is refused and in which words, who may read, what heals by itself."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelward_runtime.config import Boot, ModelSource, Oci
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.guard import Guard
from modelward_runtime.hardware import Hardware
from modelward_runtime.load import Patience, load
from modelward_runtime.report import Report
from modelward_runtime.store import lanes
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.found import Fetched
from modelward_runtime.store.locate import OciLocation, parse_uri
from modelward_runtime.store.oci import Repository
from modelward_runtime.store.receiving import Progress
from modelward_runtime.store.verify import digest_of
from tests.integration.objectstore import Proxy, certificates, proxy
from tests.integration.registry import (
    PASSWORD,
    TITLE,
    USER,
    Registry,
    docker_config,
    manifest,
    password,
    registry,
    token_service,
)
from tests.onnx_models import WEIGHTS, external, linear
from tests.processes import run

LINEAR = linear().SerializeToString()
BIG = os.urandom(8 << 20)
DEEP = {"model.onnx": external("data/w.bin", offset=0, length=48).SerializeToString(), "data/w.bin": WEIGHTS.tobytes()}
QUICK = Patience(first_pause=0.01, longest_pause=0.02, tick=0.02)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One open registry with a few models."""
    with registry(tmp_path_factory.mktemp("registry")) as running:
        running.push("risk/iris", "7", {"model.onnx": LINEAR})
        running.push("risk/deep", "1", DEEP)
        running.push("risk/two", "1", {"a.onnx": LINEAR, "b.onnx": LINEAR + b"\0"})
        running.push("risk/big", "1", {"model.onnx": BIG})
        yield running


@pytest.fixture
def middle(store: Registry) -> Iterator[Proxy]:
    with proxy(store.port) as running:
        yield running


def source(path: str, endpoint: str, config: Path | None = None, **more: Any) -> ModelSource:
    oci = Oci(endpoint=endpoint, docker_config_file=str(config) if config else None)
    return ModelSource(name="m", version="1", uri=f"oci://registry.example/{path}", oci=oci, **more)


def fetched(path: str, endpoint: str, folder: Path, stall: float = 60, **more: Any) -> Fetched:
    return fetch(source(path, endpoint, **more), Cache(folder), Progress(), stall)


def refusal(path: str, endpoint: str, folder: Path, **more: Any) -> LoadError:
    with pytest.raises(LoadError) as caught:
        fetched(path, endpoint, folder, **more)
    assert not list(folder.rglob("*.onnx"))
    assert PASSWORD not in caught.value.message
    return caught.value


# ── what comes whole ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_artifact_is_a_folder_whose_digest_means_what_it_means_everywhere(store: Registry, tmp_path: Path) -> None:
    got = fetched("risk/deep:1", store.endpoint, tmp_path)
    assert got.folder is not None
    assert (got.folder / "data/w.bin").read_bytes() == WEIGHTS.tobytes()
    assert digest_of(got.folder) == got.digest


def test_an_artifact_by_the_digest_of_its_manifest(store: Registry, tmp_path: Path) -> None:
    pinned = store.push("risk/iris", "7", {"model.onnx": LINEAR})
    for reference in (f"risk/iris@{pinned}", f"risk/iris:other@{pinned}"):
        assert fetched(reference, store.endpoint, tmp_path).file.read_bytes() == LINEAR


def test_a_model_pack_of_raw_files(store: Registry, tmp_path: Path) -> None:
    layer = {**store.blob("risk/pack", LINEAR), "mediaType": "application/vnd.cncf.model.weight.v1.raw"}
    layer["annotations"] = {"org.cncf.model.filepath": "model.onnx"}
    store.manifest("risk/pack", "1", json.dumps(manifest(store.blob("risk/pack", b"{}"), [layer])).encode())
    assert fetched("risk/pack:1", store.endpoint, tmp_path).file.read_bytes() == LINEAR


def test_a_large_layer_comes_in_parts_over_several_connections(
    store: Registry, middle: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "PART", 1 << 20)
    middle.allowance = [300_000, None, 200_000]
    progress = Progress()
    got = fetch(source("risk/big:1", middle.endpoint), Cache(tmp_path), progress, 60)
    assert got.file.read_bytes() == BIG
    assert len(BIG) == progress.received
    assert middle.connections > 3


def test_memory_stays_flat_whatever_the_size(store: Registry, tmp_path: Path) -> None:
    """A process of its own fetches 200 MB; its peak memory grows by less than the 64 MB that buffers may take."""
    store.push("risk/huge", "1", {"model.onnx": os.urandom(1 << 20) * 200})
    script = """
import re, sys
from pathlib import Path
import modelward_runtime.store.oci
from modelward_runtime.config import Oci, ModelSource
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.receiving import Progress
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
source = ModelSource(name="m", version="1", uri="oci://registry.example/risk/huge:1", oci=Oci(endpoint=sys.argv[1]))
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
    ("no such repository", "nowhere/iris:7", LoadReason.MODEL_NOT_FOUND, "MANIFEST_UNKNOWN"),
    ("no such tag", "risk/iris:8", LoadReason.MODEL_NOT_FOUND, "MANIFEST_UNKNOWN"),
    ("no such digest", f"risk/iris@sha256:{'0' * 64}", LoadReason.MODEL_NOT_FOUND, "MANIFEST_UNKNOWN"),
    ("no tag at all", "risk/iris", LoadReason.MODEL_NOT_FOUND, "write oci://REGISTRY/REPOSITORY:TAG"),
    ("two models", "risk/two:1", LoadReason.AMBIGUOUS_MODEL_FILE, "2 .onnx files (a.onnx, b.onnx)"),
]


@pytest.mark.parametrize(("case", "path", "reason", "text"), REFUSED, ids=[case for case, *_ in REFUSED])
def test_what_is_not_there(
    store: Registry, tmp_path: Path, case: str, path: str, reason: LoadReason, text: str
) -> None:
    error = refusal(path, store.endpoint, tmp_path)
    assert (reason, True) == (error.reason, error.permanent), case
    assert text in error.message


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../evil", "a//b", "./x", "a\0b"])
def test_a_path_that_would_leave_the_folder_is_refused(store: Registry, tmp_path: Path, name: str) -> None:
    store.push("risk/evil", "1", {"model.onnx": LINEAR, name: b"evil"})
    error = refusal("risk/evil:1", store.endpoint, tmp_path / "cache")
    assert (LoadReason.INVALID_MODEL, True) == (error.reason, error.permanent)
    assert not list(tmp_path.rglob("*evil*"))


def test_a_blob_whose_bytes_were_exchanged_in_the_registry_is_refused(store: Registry, tmp_path: Path) -> None:
    content = b"the weights as they were pushed"
    store.push("risk/changed", "1", {"model.onnx": LINEAR, "weights.bin": content})
    digest = hashlib.sha256(content).hexdigest()
    (kept,) = store.data.rglob(f"blobs/sha256/{digest[:2]}/{digest}/data")
    kept.write_bytes(content[::-1])
    error = refusal("risk/changed:1", store.endpoint, tmp_path)
    assert (LoadReason.DIGEST_MISMATCH, True) == (error.reason, error.permanent)


@pytest.mark.parametrize(
    ("size", "reason"), [(5, LoadReason.DIGEST_MISMATCH), (500_000_000, LoadReason.SOURCE_UNREACHABLE)]
)
def test_a_manifest_that_lies_about_a_size_is_refused(
    store: Registry, tmp_path: Path, size: int, reason: LoadReason
) -> None:
    layer = {**store.blob("risk/lies", LINEAR), "size": size, "annotations": {TITLE: "model.onnx"}}
    content = json.dumps(manifest(store.blob("risk/lies", b"{}"), [layer])).encode()
    store.manifest("risk/lies", "1", content)
    assert refusal("risk/lies:1", store.endpoint, tmp_path).reason in {reason, LoadReason.TRUNCATED}


# ── who may read ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_password_opens_and_its_lack_is_named(store: Registry, tmp_path: Path) -> None:
    with registry(store.data.parent, auth=password(tmp_path)) as locked:
        known = docker_config(tmp_path / "known", "registry.example")
        assert fetched("risk/iris:7", locked.endpoint, tmp_path / "c", config=known).file.read_bytes() == LINEAR
        wrong = docker_config(tmp_path / "wrong", "registry.example", word="open")
        other = docker_config(tmp_path / "other", "elsewhere.example")
        for config, text in ((None, "no credentials were given"), (wrong, "UNAUTHORIZED"), (other, "holds none for")):
            error = refusal("risk/iris:7", locked.endpoint, tmp_path / "d", config=config)
            assert (LoadReason.ACCESS_DENIED, True) == (error.reason, error.permanent)
            assert text in error.message


def test_a_token_is_asked_for_where_the_registry_says(store: Registry, tmp_path: Path) -> None:
    with (
        token_service(certificates(tmp_path / "tls")) as service,
        registry(store.data.parent, auth=service.auth) as locked,
    ):
        assert fetched("risk/deep:1", locked.endpoint, tmp_path / "c").file.exists()
        known = docker_config(tmp_path / "known", "https://registry.example/v1/")
        assert fetched("risk/deep:1", locked.endpoint, tmp_path / "d", config=known).file.exists()
        wrong = docker_config(tmp_path / "wrong", "registry.example", word="open")
        error = refusal("risk/deep:1", locked.endpoint, tmp_path / "e", config=wrong)
    assert (LoadReason.ACCESS_DENIED, True) == (error.reason, error.permanent)
    assert [("repository:risk/deep:pull", who) for who in ("", USER, USER)] == service.asked, (
        "one token for a whole model"
    )


def test_a_token_that_has_ended_is_renewed_and_one_that_is_refused_is_not_asked_for_again(
    store: Registry, tmp_path: Path
) -> None:
    with (
        token_service(certificates(tmp_path / "tls")) as service,
        registry(store.data.parent, auth=service.auth) as locked,
    ):
        location = parse_uri("oci://registry.example/risk/iris:7")
        assert isinstance(location, OciLocation)
        repository = Repository(location, Oci(endpoint=locked.endpoint), None, 60)
        (file,) = repository.files()
        repository._registry._authorization = "Bearer of.another.day"
        assert b"".join(repository.read(file).pieces) == LINEAR
        assert len(service.asked) == 2
        service.seconds = -120
        error = refusal("risk/iris:7", locked.endpoint, tmp_path / "c")
    assert error.reason is LoadReason.ACCESS_DENIED
    assert len(service.asked) == 3


def test_a_private_ca_is_trusted_when_it_is_given_and_not_otherwise(store: Registry, tmp_path: Path) -> None:
    ours, other = certificates(tmp_path / "ours"), certificates(tmp_path / "other")
    with registry(store.data.parent, tls=ours) as tls:
        got = fetched("risk/iris:7", tls.endpoint, tmp_path / "c", ca_bundle_file=str(ours.ca))
        assert got.file.read_bytes() == LINEAR
        for bundle in (None, str(other.ca)):
            error = refusal("risk/iris:7", tls.endpoint, tmp_path / "d", ca_bundle_file=bundle)
            assert (LoadReason.CERTIFICATE_INVALID, True) == (error.reason, error.permanent)
            assert "caBundleRef" in error.message


def test_https_is_spoken_unless_http_is_written(store: Registry, tmp_path: Path) -> None:
    uri = f"oci://{store.host}/risk/iris:7"
    bare = ModelSource(name="m", version="1", uri=uri)
    with pytest.raises(LoadError) as caught:
        fetch(bare, Cache(tmp_path), Progress(), 60)
    assert (LoadReason.SOURCE_UNREACHABLE, False) == (caught.value.reason, caught.value.permanent)
    assert f"https://{store.host}" in caught.value.message


# ── a network that misbehaves ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_connection_cut_in_the_middle_is_taken_up_again(middle: Proxy, tmp_path: Path) -> None:
    middle.allowance = [3 << 20]
    progress = Progress()
    got = fetch(source("risk/big:1", middle.endpoint), Cache(tmp_path), progress, 60)
    assert got.file.read_bytes() == BIG
    assert middle.connections > 1
    assert progress.received == len(BIG), "where it broke, not from the start"


def test_a_connection_that_is_always_cut_is_transient_and_leaves_nothing(middle: Proxy, tmp_path: Path) -> None:
    middle.allowance = [100_000] * 100
    error = refusal("risk/big:1", middle.endpoint, tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, False) == (error.reason, error.permanent)


async def test_the_load_goes_on_once_the_network_has_healed(middle: Proxy, tmp_path: Path) -> None:
    middle.allowance = [50] * 8
    boot = Boot(api_version="runtime/v1", kind="Boot", model=source("risk/iris:7", middle.endpoint))
    report = Report(boot, "b")
    model = await load(boot, Guard(), Cache(tmp_path), report, Hardware(1, 1.0), QUICK)
    assert model.name == "m"
    assert middle.connections > 8
    assert report.failure is None


async def test_a_registry_that_falls_silent_is_a_stall(middle: Proxy, tmp_path: Path) -> None:
    middle.allowance, middle.silent = [1 << 20, *[0] * 10], True
    boot = Boot(api_version="runtime/v1", kind="Boot", model=source("risk/big:1", middle.endpoint))
    with pytest.raises(LoadError, match=r"no byte came for 1 s \(\d+ of ") as caught:
        await load(
            boot,
            Guard(),
            Cache(tmp_path),
            Report(boot, "b"),
            Hardware(1, 1.0),
            msgspec.structs.replace(QUICK, stall=1.0),
        )
    assert (LoadReason.FETCH_STALLED, False) == (caught.value.reason, caught.value.permanent)


# ── the whole process ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_process_serves_from_a_registry_and_after_a_restart_without_it(store: Registry, tmp_path: Path) -> None:
    with proxy(store.port) as middle:
        where = {"uri": "oci://registry.example/risk/deep:1", "oci": {"endpoint": middle.endpoint}}
        with run(tmp_path, where) as process:
            process.until_ready()
            assert not process.report()["model"]["cached"]
            process.signal()
            assert process.exit_code() == 0
    with run(tmp_path, where) as process:
        process.until_ready()
        assert process.report()["model"]["cached"]
        assert process.infer("m", [[1.0, 0.0, 0.0, 0.0]])[2]["outputs"][0]["data"] == WEIGHTS[0].tolist()


def test_a_permanent_failure_exits_78(store: Registry, tmp_path: Path) -> None:
    where = {"uri": "oci://registry.example/risk/none:1", "oci": {"endpoint": store.endpoint}}
    with run(tmp_path, where) as process:
        assert process.exit_code() == 78
        failure = process.termination()
        assert ("ModelNotFound", where["uri"]) == (failure["reason"], failure["uri"])
