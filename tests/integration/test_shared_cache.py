"""Real processes that share a volume: one download for all of them, and none of them hurt by another's death."""

import hashlib
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from modelward_runtime.store.verify import combine
from tests.integration.objectstore import Proxy, proxy
from tests.integration.registry import Registry, registry
from tests.onnx_models import WEIGHTS, linear
from tests.processes import run


def _model() -> bytes:
    """8 MB, so that a download takes more than a moment."""
    model = linear()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2_000_000, np.float32), "big"))
    content: bytes = model.SerializeToString()
    return content


MODEL = _model()
DIGEST = combine({"model.onnx": hashlib.sha256(MODEL).hexdigest()})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        running.push("risk/fraud", "7", {"model.onnx": MODEL})
        yield running


@pytest.fixture
def middle(store: Registry) -> Iterator[Proxy]:
    with proxy(store.port) as running:
        yield running


def where(claim: Path, middle: Proxy) -> dict[str, Any]:
    claim.mkdir(exist_ok=True)
    return {
        "uri": "oci://registry.example/risk/fraud:7",
        "digest": DIGEST,
        "oci": {"endpoint": middle.endpoint},
        "cache": {"directory": str(claim), "maxBytes": 1 << 30},
    }


def answer(process: Any) -> list[float]:
    found: list[float] = process.infer("m", [[1.0, 0.0, 0.0, 0.0]])[2]["outputs"][0]["data"]
    return found


def entries(claim: Path) -> list[str]:
    return [path.name for path in (claim / "entries").iterdir()]


def test_three_at_once_download_once(middle: Proxy, tmp_path: Path) -> None:
    source = where(tmp_path / "claim", middle)
    with ExitStack() as stack:
        processes = [stack.enter_context(run(_home(tmp_path, name), source)) for name in "abc"]
        for process in processes:
            process.until_ready()
        assert [WEIGHTS[0].tolist()] * 3 == [answer(process) for process in processes]
        cached = [process.report()["model"]["cached"] for process in processes]
        assert sorted(cached) == [False, True, True]
        assert all(process.report()["model"]["verified"] for process in processes)
    assert entries(tmp_path / "claim") == [DIGEST.removeprefix("sha256:")]


def test_one_that_is_killed_while_it_writes_hinders_nobody(middle: Proxy, tmp_path: Path) -> None:
    """kill -9 leaves half a model and no lock: the next one sweeps it away and downloads."""
    source = where(tmp_path / "claim", middle)
    middle.allowance, middle.silent = [1 << 20], True
    half = tmp_path / "claim" / "partial" / DIGEST.removeprefix("sha256:") / "model.onnx"
    with run(_home(tmp_path, "killed"), source) as process:
        process.until(lambda: half.exists() and half.stat().st_size > 500_000)
        process.signal(signal.SIGKILL)
        assert process.exit_code() == -signal.SIGKILL
    assert half.exists()
    assert entries(tmp_path / "claim") == []
    with run(_home(tmp_path, "next"), source) as process:
        process.until_ready()
        assert WEIGHTS[0].tolist() == answer(process)
    assert not half.exists()
    assert entries(tmp_path / "claim") == [DIGEST.removeprefix("sha256:")]


def test_one_that_is_killed_while_another_waits_is_relieved(middle: Proxy, tmp_path: Path) -> None:
    source = where(tmp_path / "claim", middle)
    middle.allowance, middle.silent = [1 << 20], True
    half = tmp_path / "claim" / "partial" / DIGEST.removeprefix("sha256:") / "model.onnx"
    with run(_home(tmp_path, "killed"), source) as first:
        first.until(lambda: half.exists() and half.stat().st_size > 500_000)
        with run(_home(tmp_path, "waits"), source) as second:
            second.until(lambda: second.report()["state"] == "Fetching")
            first.signal(signal.SIGKILL)
            second.until_ready()
            assert not second.report()["model"]["cached"]
    assert entries(tmp_path / "claim") == [DIGEST.removeprefix("sha256:")]


def test_a_new_pod_needs_no_registry(middle: Proxy, tmp_path: Path) -> None:
    source = where(tmp_path / "claim", middle)
    with run(_home(tmp_path, "first"), source) as process:
        process.until_ready()
    connections = middle.connections
    source["oci"] = {"endpoint": "http://127.0.0.1:1"}
    with run(_home(tmp_path, "second"), source) as process:
        process.until_ready()
        assert process.report()["model"]["cached"]
    assert connections == middle.connections


def _home(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name
