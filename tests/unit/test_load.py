"""The load path as a whole: every reason for not serving, what is tried again and how often, what the cache keeps."""

import asyncio
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from onnx import TensorProto

from modelward_runtime import load as loading
from modelward_runtime.config import Boot, ModelSource
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.guard import Guard
from modelward_runtime.hardware import Hardware
from modelward_runtime.load import Patience, load
from modelward_runtime.report import Report, State
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.found import Fetched
from modelward_runtime.store.receiving import Progress
from modelward_runtime.store.verify import digest_of
from tests.onnx_models import external, identity, linear, save
from tests.until import PATIENCE

ONE = Hardware(1, 1.0)
QUICK = Patience(first_pause=0.001, longest_pause=0.002, tick=0.01)
WHOLE = linear().SerializeToString()
ZEROS = "sha256:" + "0" * 64


def boot(**source: Any) -> Boot:
    known = {"name": "m", "version": "1", "uri": "pvc://claim/m"}
    return Boot(api_version="runtime/v1", kind="Boot", model=ModelSource(**{**known, **source}))


def folder(root: Path, made: Any = None, **files: bytes) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    if made is not None:
        save(made, root / "model.onnx")
    for name, content in files.items():
        (root / name.replace("_onnx", ".onnx")).write_bytes(content)
    return root


Case = tuple[str, Callable[[Path], Path], dict[str, str], str, str, str]
FAILURES: list[Case] = [
    (
        "wrong digest",
        lambda p: folder(p, linear()),
        {"digest": ZEROS},
        "verify",
        "DigestMismatch",
        f"declared is {ZEROS}",
    ),
    ("nothing there", lambda p: p / "gone", {}, "fetch", "ModelNotFound", "gone does not exist"),
    ("empty folder", folder, {}, "fetch", "NoModelFile", "it is empty"),
    ("no .onnx", lambda p: folder(p, readme=b"x"), {}, "fetch", "NoModelFile", "found readme"),
    ("two .onnx", lambda p: folder(p, a_onnx=b"", b_onnx=b""), {}, "fetch", "AmbiguousModelFile", "(a.onnx, b.onnx)"),
    ("truncated", lambda p: folder(p, model_onnx=WHOLE[:-9]), {}, "load", "InvalidModel", "was it cut?"),
    ("no model", lambda p: folder(p, model_onnx=b"<html>"), {}, "load", "InvalidModel", "it is HTML or XML"),
    ("opset", lambda p: folder(p, linear(opset=99)), {}, "load", "UnsupportedOpset", "the model uses opset 99"),
    ("weights outside", lambda p: folder(p, external("../w")), {}, "load", "ExternalDataOutsideFolder", "'../w'"),
    ("weights missing", lambda p: folder(p, external("w")), {}, "load", "ExternalDataMissing", "no such file"),
    ("types", lambda p: folder(p, identity(TensorProto.COMPLEX64)), {}, "load", "UnsupportedTypes", "complex64"),
]


@pytest.mark.parametrize("case", FAILURES, ids=[case[0] for case in FAILURES])
async def test_a_permanent_failure_is_reported_and_raised(tmp_path: Path, case: Case) -> None:
    _, prepare, source, stage, reason, text = case
    report = Report(boot(directory=str(prepare(tmp_path / "m")), **source), "b")
    with pytest.raises(LoadError) as caught:
        await load(report.boot, Guard(), Cache(tmp_path / "c"), report, ONE, QUICK)
    assert caught.value.permanent
    assert report.failure is not None
    assert (stage, reason, True) == tuple(report.failure[key] for key in ("stage", "reason", "permanent"))
    assert text in report.failure["message"]
    assert not report.verified


@pytest.mark.parametrize("uri", ["ftp://h/m.onnx", "pvc://claim/m"])
async def test_a_scheme_that_cannot_be_fetched(tmp_path: Path, uri: str) -> None:
    """pvc:// is mounted: without a directory in boot.json there is nothing to fetch it with."""
    report = Report(boot(uri=uri), "b")
    with pytest.raises(LoadError) as caught:
        await load(report.boot, Guard(), Cache(tmp_path), report, ONE, QUICK)
    assert caught.value.reason is LoadReason.UNSUPPORTED_SCHEME


async def test_a_good_model_is_loaded_and_described(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", linear())
    report = Report(boot(directory=str(path), digest=digest_of(path)), "b")
    model = await load(report.boot, Guard(), Cache(tmp_path / "c"), report, ONE, QUICK)
    assert (True, digest_of(path), State.WARMING_UP) == (report.verified, report.digest, report.state)
    assert model.execution_provider == report.execution_provider == "CPUExecutionProvider"
    assert {"fetch", "verify", "load"} == set(report.stage_seconds)


def scripted(monkeypatch: pytest.MonkeyPatch, outcomes: list[Any]) -> list[int]:
    """Replace fetching by a script of errors and results; what is returned counts the attempts."""
    attempts = [0]
    script = iter(outcomes)

    def fetch(*_: object) -> Fetched:
        attempts[0] += 1
        outcome = next(script)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    monkeypatch.setattr(loading, "fetch", fetch)
    return attempts


def transient(reason: LoadReason = LoadReason.SOURCE_UNREACHABLE) -> LoadError:
    return LoadError(reason, "not now", "fetch", permanent=False)


async def test_what_may_pass_is_tried_again_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(tmp_path / "m", linear())
    attempts = scripted(monkeypatch, [*[transient()] * 4, Fetched(path / "model.onnx", digest_of(path), 1)])
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(loading.asyncio, "sleep", sleep)  # type: ignore[attr-defined]
    patience = structs.replace(QUICK, first_pause=0.5, longest_pause=2.0, jitter=lambda: 1.0)
    report = Report(boot(uri="s3://b/m.onnx"), "b")
    await load(report.boot, Guard(), Cache(tmp_path / "c"), report, ONE, patience)
    assert attempts == [5]
    assert pauses == [0.5, 1.0, 2.0, 2.0]
    assert report.failure is None


def test_jitter_shortens_a_pause_by_half_at_most() -> None:
    assert Patience().jitter() < 1
    assert {0.5, 1.0} == {0.5 + jitter / 2 for jitter in (0.0, 1.0)}


async def test_the_same_truncation_five_times_is_permanent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = scripted(monkeypatch, list(itertools.repeat(transient(LoadReason.TRUNCATED), 9)))
    report = Report(boot(uri="s3://b/m.onnx"), "b")
    with pytest.raises(LoadError, match=r"not now \(5 times\)") as caught:
        await load(report.boot, Guard(), Cache(tmp_path), report, ONE, QUICK)
    assert (LoadReason.TRUNCATED, True, [5]) == (caught.value.reason, caught.value.permanent, attempts)


class Watched:
    """The clock of a fetch, moved by the test; `looks` is set each time somebody reads it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = threading.Event()

    def begin(self, progress: Progress) -> None:
        progress.clock = self.read
        progress.touch()

    def read(self) -> float:
        self.looks.set()
        return self.now


async def test_a_minute_without_a_byte_is_a_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 bytes come, then none; the thread that hangs is left to itself."""
    watched, over = Watched(), threading.Event()
    stopped: list[str] = []

    def fetch(_source: object, _cache: object, progress: Progress, _stall: float) -> Fetched:
        watched.begin(progress)
        progress.total = 10
        progress.touch(3)
        watched.now += 61
        assert over.wait(PATIENCE)
        try:
            progress.touch(1)
        except InterruptedError as error:
            stopped.append(str(error))
            raise
        finally:
            over.clear()
        raise AssertionError("given up by now")

    monkeypatch.setattr(loading, "fetch", fetch)
    report = Report(boot(uri="s3://b/m.onnx"), "b")
    with pytest.raises(LoadError, match=r"no byte came for 60 s \(3 of 10 bytes are there\)") as caught:
        await load(report.boot, Guard(), Cache(tmp_path), report, ONE, QUICK)
    assert (LoadReason.FETCH_STALLED, False) == (caught.value.reason, caught.value.permanent)
    over.set()
    async with asyncio.timeout(PATIENCE):
        while over.is_set():  # noqa: ASYNC110 - what changes does so on the thread that was given up
            await asyncio.sleep(0.001)
    assert stopped == ["the fetch was given up"]


async def test_slow_is_not_stalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte comes every 50 s, for 400 s, and the watch looks each time before it comes."""
    path, watched = folder(tmp_path / "m", linear()), Watched()

    def fetch(_source: object, _cache: object, progress: Progress, _stall: float) -> Fetched:
        watched.begin(progress)
        for _ in range(8):
            watched.now += 50
            watched.looks.clear()
            assert watched.looks.wait(PATIENCE)
            progress.touch(1)
        return Fetched(path / "model.onnx", digest_of(path), 8)

    monkeypatch.setattr(loading, "fetch", fetch)
    report = Report(boot(uri="s3://b/m.onnx"), "b")
    assert (await load(report.boot, Guard(), Cache(tmp_path / "c"), report, ONE, QUICK)).name == "m"


@pytest.mark.parametrize("spoilt", [WHOLE[:-9], b"<html>"])
async def test_a_downloaded_model_that_cannot_be_served_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: bytes
) -> None:
    """Otherwise a restart would find it in the cache, and a repaired bucket would not heal the pod."""
    cache = Cache(tmp_path / "c")
    (cache.begin() / "model.onnx").write_bytes(spoilt)
    cache.model.mkdir()
    (cache.model / "model.onnx").write_bytes(spoilt)
    scripted(monkeypatch, [Fetched(cache.model / "model.onnx", ZEROS, 1)])
    report = Report(boot(uri="s3://b/m.onnx"), "b")
    with pytest.raises(LoadError):
        await load(report.boot, Guard(), cache, report, ONE, QUICK)
    assert not cache.model.exists()


async def test_the_loop_answers_while_a_model_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load waits for something that only the loop can do: on the loop's own thread it would wait in vain."""
    path = folder(tmp_path / "m", linear())
    report = Report(boot(directory=str(path)), "b")
    gate, waited = threading.Event(), []
    real = loading._open

    def opened(*args: Any) -> Any:
        waited.append(gate.wait(PATIENCE))
        return real(*args)

    monkeypatch.setattr(loading, "_open", opened)
    asyncio.get_running_loop().call_later(0.01, gate.set)
    assert (await load(report.boot, Guard(), Cache(tmp_path), report, ONE, QUICK)).name == "m"
    assert waited == [True]
