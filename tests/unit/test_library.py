"""Models that come and go: which a folder holds, when a change counts, what serves meanwhile, and what becomes of the old one."""

import asyncio
import gc
import os
import shutil
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelward_runtime import hardware
from modelward_runtime.caller import Caller
from modelward_runtime.config import Boot, ModelSource
from modelward_runtime.control import check_parameters, parse_change
from modelward_runtime.errors import ApiError, BadRequest, LoadError, LoadReason, NotFound, Unavailable
from modelward_runtime.exchange import Exchange, IndexEntry, Limits
from modelward_runtime.guard import Guard
from modelward_runtime.library import library, loading
from modelward_runtime.library.counting import LibraryMetrics
from modelward_runtime.library.following import Following
from modelward_runtime.library.layout import Found, find_models
from modelward_runtime.library.library import Library
from modelward_runtime.library.loading import ATTEMPTS, Loaded, Loader, changes, look
from modelward_runtime.library.settling import NOTHING, Settling, look_at
from modelward_runtime.load import Patience
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, Face, TensorSpec, face_of
from modelward_runtime.ports import hand_over
from modelward_runtime.report import Report
from modelward_runtime.shelf import Shelf
from modelward_runtime.states import Decoded, Released
from tests.onnx_models import linear, save, scaled
from tests.runtime_models import Double
from tests.until import PATIENCE, until

SOURCE = ModelSource(name="m", version="1", uri="x", directory="x")
BOOT = Boot(api_version="runtime/v1", kind="Boot", model=SOURCE)


class Call:
    """An inference of ones."""

    version, size, parses, prints = "", 4, 4, True

    def __init__(self, name: str = "m") -> None:
        self.name = name

    def decode(self, face: Face) -> Decoded:
        return Decoded({"x": np.ones((1, 4), np.float32)}, ("y",))

    def encode(self, face: Face, released: Released) -> float:
        return float(released.outputs["y"][0, 0])


async def ask(exchange: Exchange) -> float:
    """What the first column says: 18 times the factor."""
    deadline = asyncio.get_running_loop().time() + 20
    return await exchange.infer(Call(exchange.name), Caller(), deadline) / 18


def loader_of(guard: Guard | None = None) -> Loader:
    async def no_pause(_: float) -> None:
        pass

    return Loader(BOOT, guard or Guard(), hardware.measure(), Patience(), no_pause)


# ── the folder ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("files", "expected", "reason"),
    [
        (["a.onnx"], {"a": ("1", "a.onnx")}, "a single file"),
        (["a/model.onnx"], {"a": ("1", "a")}, "a folder, as `modelward serve` takes it"),
        (["a/net.onnx"], {"a": ("1", "a")}, "whatever its one file is called"),
        (["a/1/model.onnx", "a/2/model.onnx"], {"a": ("2", "a/2")}, "Triton's layout: the newest"),
        (["a/9/model.onnx", "a/10/model.onnx"], {"a": ("10", "a/10")}, "as numbers, not as text"),
        (["a/1/model.onnx", "a/02/model.onnx", "a/latest/model.onnx"], {"a": ("1", "a/1")}, "no numbers of Triton's"),
        (["a/config.pbtxt", "a/3/model.onnx", "a/3/w.bin"], {"a": ("3", "a/3")}, "other files beside the versions"),
        (["a/model.onnx", "a/1/w.bin"], {"a": "holds a model and numbered versions"}, "which of them is meant?"),
        (["a.onnx", "a/1/model.onnx"], {"a": "both a.onnx and a/ are there"}, "which of them is meant?"),
        ([".git/model.onnx", "README.md", "b c.onnx", "ü.onnx"], {}, "what is hidden, no model, or no name"),
        (["a/manifest.json", "a/data/0"], {"a": ("1", "a")}, "a sealed folder"),
    ],
)
def test_a_folder_holds_models_in_triton_s_layout_and_in_ours(
    tmp_path: Path, files: list[str], expected: Mapping[str, Any], reason: str
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    found = find_models(tmp_path)
    assert expected.keys() == found.keys(), reason
    for name, told in expected.items():
        if isinstance(told, str):
            assert told in found[name].problem, reason
            assert found[name].path is None
        else:
            assert Found(name, told[0], tmp_path / told[1]) == found[name], reason


# ── when a change counts ──────────────────────────────────────────────────────────────────────────────────────────────


def test_only_what_stands_still_is_loaded_and_what_was_refused_not_again() -> None:
    settling = Settling("old")
    seen = ["old", "old", "grow", "growing", "grown", "grown", "grown"]
    assert [False] * 5 + [True] * 2 == [settling.see(now) for now in seen]
    settling.know("grown")
    assert [False, False] == [settling.see("grown"), settling.see("grown")]
    assert [False, True] == [settling.see("next"), settling.see("next")]


@pytest.mark.parametrize("change", ["copy", "rename", "link", "touch", "weights", "remove"])
def test_every_way_to_change_a_file_is_seen(tmp_path: Path, change: str) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder, content in ((first, b"abc"), (second, b"abc")):
        folder.mkdir()
        (folder / "model.onnx").write_bytes(content)
        (folder / "w.bin").write_bytes(content)
        os.utime(folder / "model.onnx", (1, 1))
        os.utime(folder / "w.bin", (1, 1))
    path = tmp_path / "current"
    path.symlink_to("1")
    before = look_at(path)
    assert before == look_at(path)
    file = first / "model.onnx"
    if change == "copy":
        file.write_bytes(b"abd")  # as many bytes
    elif change == "rename":
        (second / "model.onnx").rename(file)  # of the same size and time
    elif change == "link":
        (tmp_path / "new").symlink_to("2")
        (tmp_path / "new").rename(path)
    elif change == "touch":
        file.touch()
    elif change == "weights":
        (first / "w.bin").write_bytes(b"xyz")
    else:
        shutil.rmtree(first)
        assert look_at(path) == NOTHING
    assert before != look_at(path)


async def test_a_model_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(scaled(1), tmp_path / "m.onnx")
    reads = 0

    async def load(*given: Any) -> object:
        nonlocal reads
        reads += 1
        if reads <= changing:
            save(scaled(reads + 1), path)
        return object()

    monkeypatch.setattr(loading, "load", load)
    changing = 2
    loaded = await loader_of().load("m", "1", path)
    assert (3, await look(path)) == (reads, loaded.look)
    reads, changing = 0, 100
    with pytest.raises(LoadError, match="goes on changing"):
        await loader_of().load("m", "1", path)
    assert ATTEMPTS == reads


# ── one model, followed ───────────────────────────────────────────────────────────────────────────────────────────────


class Followed:
    """`modelward serve PATH --reload` without its process: each `look` is a second."""

    def __init__(self, path: Path, guard: Guard | None = None) -> None:
        self.path = path
        self.loader = loader_of(guard)
        self.exchange = Exchange("m", "1", Metrics(), Limits())
        self.swaps: list[Loaded] = []
        self.refusals: list[LoadError] = []

    async def begin(self) -> "Followed":
        loaded = await self.loader.load("m", "1", self.path)
        self.session, self.face = weakref.ref(loaded.model.session), face_of(loaded.model)
        self.give(loaded.model)
        self.following = Following(self.path, loaded.look, self.loader, self.swap, self.refusals.append)
        return self

    def give(self, model: Any) -> None:
        hand_over(self.exchange, model, BOOT, hardware.measure())

    def swap(self, loaded: Loaded) -> None:
        self.swaps.append(loaded)
        self.give(loaded.model)

    async def look(self, times: int = 1) -> int:
        for _ in range(times):
            self.face = await self.following.look_once(self.face)
        return len(self.swaps)


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Followed]:
    made = await Followed(save(scaled(1), tmp_path / "m.onnx")).begin()
    yield made
    made.exchange.close()


async def test_a_new_version_takes_the_place_of_the_old_one(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert 0 == await followed.look(3)
    assert 1 == await ask(followed.exchange)
    save(scaled(2), followed.path)
    assert [0, 1, 1] == [await followed.look() for _ in range(3)], "a second to settle, then once"
    assert 2 == await ask(followed.exchange)
    assert "reloaded" in caplog.text
    assert "callers will notice" not in caplog.text


async def test_what_cannot_be_loaded_leaves_the_old_one_serving_and_is_told_once(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    followed.path.write_bytes(linear().SerializeToString()[:50])
    assert 0 == await followed.look(6)
    assert 1 == await ask(followed.exchange)
    assert 1 == len(followed.refusals)
    assert 1 == caplog.text.count("the new version is not served, the old one goes on: m.onnx is not an ONNX model")
    save(scaled(3), followed.path)
    assert 1 == await followed.look(2)
    assert 3 == await ask(followed.exchange)


async def test_a_path_that_vanishes_changes_nothing(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    followed.path.unlink()
    assert 0 == await followed.look(5)
    assert 1 == await ask(followed.exchange)
    assert 1 == caplog.text.count("is not there any more")
    save(scaled(4), followed.path)
    assert 1 == await followed.look(2)


async def test_other_inputs_and_outputs_are_served_and_said(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    save(scaled(1, outputs=2), followed.path)
    assert 1 == await followed.look(2)
    assert "callers will notice: output 'y' was FP32[?,3] and is FP32[?,2]" in caplog.text
    assert ((-1, 2),) == tuple(spec.shape for spec in followed.exchange.describe("m", "").outputs)


def test_changes_name_each_tensor_that_came_went_or_is_another() -> None:
    def double(inputs: tuple[TensorSpec, ...]) -> Face:
        return face_of(Double(dict, inputs, (TensorSpec("y", "FP32", (1,)),)))

    before = double((TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT64", ())))
    after = double((TensorSpec("a", "FP64", (-1, 2)), TensorSpec("c", "BYTES", (1,))))
    told = "input 'b' is gone; input 'c' BYTES[1] is new; input 'a' was FP32[?,2] and is FP64[?,2]"
    assert told == changes(before, after)
    assert not changes(before, before)


async def test_requests_that_began_end_with_the_model_they_began_with_and_then_it_is_let_go() -> None:
    go_on, started = threading.Event(), threading.Semaphore(0)

    def compute(factor: float) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        def waiting(inputs: Mapping[str, Array]) -> dict[str, Array]:
            if factor == 1:
                started.release()
                assert go_on.wait(PATIENCE)
            return {"y": 18 * factor * inputs["x"]}

        return waiting

    def double(factor: float) -> Double:
        spec = TensorSpec("x", "FP32", (-1, 4))
        return Double(compute(factor), (spec,), (TensorSpec("y", "FP32", (-1, 4)),), name="m")

    exchange = Exchange("m", "1", Metrics(), Limits())
    exchange.serve(double(1), None)
    old = asyncio.ensure_future(ask(exchange))
    await asyncio.to_thread(started.acquire)
    waits = asyncio.ensure_future(ask(exchange))  # in the queue of the old one
    await asyncio.sleep(0)
    leaving = exchange.replace(double(2), None)
    assert 2 == await ask(exchange), "new requests do not wait for old ones"
    assert not leaving.done()
    assert exchange.ready
    go_on.set()
    assert (1, 1) == (await old, await waits)
    await leaving
    assert 2 == await ask(exchange)
    await exchange.drain()
    exchange.close()


async def test_the_old_session_is_freed(followed: Followed) -> None:
    session = followed.session
    await ask(followed.exchange)
    save(scaled(2), followed.path)
    assert 1 == await followed.look(2)

    def is_freed() -> bool:
        gc.collect()
        return session() is None

    await until(is_freed)  # its worker threads end


# ── many models ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Served:
    """`modelward serve --repository` without its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = LibraryMetrics()
        self.shelf = Shelf(self.metrics.unnamed, Limits())
        self.library = Library(folder, loader_of(), self.shelf, self.furnish, self.give)
        self.shelf.keeper = self.library

    def furnish(self, name: str, version: str) -> Exchange:
        return Exchange(name, version, self.metrics.of(name), self.shelf.limits)

    def give(self, exchange: Exchange, model: Any) -> None:
        hand_over(exchange, model, BOOT, hardware.measure())

    async def ask(self, name: str) -> float:
        return await ask(self.shelf.find(name))

    async def look(self, times: int = 2, *, newcomers: bool = True) -> None:
        for _ in range(times):
            await self.library.look_once(newcomers=newcomers)

    def states(self) -> dict[str, tuple[str, str]]:
        return {entry.name: (entry.version, entry.state) for entry in self.library.index(only_ready=False)}

    def reason(self, name: str) -> str:
        return next(entry.reason for entry in self.library.index(only_ready=False) if entry.name == name)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    save(scaled(1), tmp_path / "a.onnx")
    save(scaled(2), tmp_path / "b/1/model.onnx")
    made = Served(tmp_path)
    yield made
    made.shelf.close()


async def test_a_bad_model_is_told_in_the_index_and_the_others_serve(served: Served, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    (tmp_path / "empty").mkdir()
    await served.library.open(None)
    assert {
        "a": ("1", "READY"),
        "b": ("1", "READY"),
        "bad": ("1", "UNAVAILABLE"),
        "empty": ("1", "UNAVAILABLE"),
    } == served.states()
    assert served.reason("bad").startswith("InvalidModel: bad.onnx is not an ONNX model")
    assert served.reason("empty").startswith("NoModelFile: ")
    assert [IndexEntry("a", "1", "READY", ""), IndexEntry("b", "1", "READY", "")] == served.shelf.index(only_ready=True)
    assert (1, 2) == (await served.ask("a"), await served.ask("b"))
    with pytest.raises(NotFound):
        served.shelf.find("bad")
    assert not served.shelf.ready, "a model that was to be served is not: as Triton's strict readiness"
    assert served.library.obstacle().startswith("bad: InvalidModel")
    await served.library.unload("bad")
    await served.library.unload("empty")
    assert served.shelf.ready, "nobody wants them any more"


async def test_load_and_unload(served: Served, tmp_path: Path) -> None:
    await served.library.open({"a"})
    assert {"a": ("1", "READY"), "b": ("1", "UNAVAILABLE")} == served.states()
    assert served.shelf.ready, "what was chosen is served"
    await served.shelf.keeper.load("b")  # type: ignore[union-attr]
    assert 2 == await served.ask("b")
    await served.library.unload("b")
    await served.library.unload("b")
    assert ("UNAVAILABLE", "unloaded") == (served.states()["b"][1], served.reason("b"))
    with pytest.raises(NotFound):
        served.shelf.find("b")
    save(scaled(5), tmp_path / "b/2/model.onnx")
    await served.library.load("b")
    assert ("2", "READY") == served.states()["b"]
    assert 5 == await served.ask("b")
    with pytest.raises(NotFound, match="the repository holds no such model"):
        await served.library.load("nowhere")
    with pytest.raises(NotFound, match="no such version here, only '2'"):
        served.shelf.find("b").check_name("b", "1")


async def test_load_of_what_is_loaded_takes_the_newest_and_does_nothing_where_it_is_served(
    served: Served, tmp_path: Path
) -> None:
    await served.library.open(None)
    model = served.library._kept["b"].loaded
    await served.library.load("b")
    assert model is served.library._kept["b"].loaded
    save(scaled(7), tmp_path / "b/1/model.onnx")
    await served.library.load("b")
    assert 7 == await served.ask("b")
    (tmp_path / "b/2").mkdir()
    (tmp_path / "b/2/model.onnx").write_bytes(b"half")
    with pytest.raises(BadRequest, match="model 'b' could not be loaded: InvalidModel"):
        await served.library.load("b")
    assert 7 == await served.ask("b"), "what serves goes on"
    assert ("1", "READY") == served.states()["b"]
    assert served.reason("b").startswith("an older version serves: InvalidModel")
    assert served.shelf.ready


async def test_a_folder_is_followed(served: Served, tmp_path: Path) -> None:
    await served.library.open(None)
    save(scaled(3), tmp_path / "b/2/model.onnx")
    save(scaled(4), tmp_path / "new.onnx")
    await served.look()
    assert {"a": ("1", "READY"), "b": ("2", "READY"), "new": ("1", "READY")} == served.states()
    assert (1, 3, 4) == (await served.ask("a"), await served.ask("b"), await served.ask("new"))
    shutil.rmtree(tmp_path / "b/2")
    (tmp_path / "new.onnx").unlink()
    await served.look(3)
    assert {"a": ("1", "READY"), "b": ("1", "READY")} == served.states(), "back to what there is"
    assert 2 == await served.ask("b")
    assert served.shelf.ready
    await served.library.unload("a")
    await served.look(3)
    assert ("1", "UNAVAILABLE") == served.states()["a"], "whoever unloads is not overruled"


async def test_newcomers_are_left_alone_where_models_were_chosen(served: Served, tmp_path: Path) -> None:
    await served.library.open({"a"})
    save(scaled(4), tmp_path / "new.onnx")
    save(scaled(9), tmp_path / "a.onnx")
    await served.look(3, newcomers=False)
    assert ("UNAVAILABLE", "UNAVAILABLE") == (served.states()["new"][1], served.states()["b"][1])
    assert 9 == await served.ask("a")


async def test_a_folder_that_cannot_be_read_for_a_while_takes_nothing_down(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await served.library.open(None)

    def away(folder: Path) -> Mapping[str, Found]:
        raise OSError(5, "Input/output error", str(folder))

    monkeypatch.setattr(library, "find_models", away)
    await served.look(4)
    assert (1, 2) == (await served.ask("a"), await served.ask("b"))
    assert "what is loaded serves on: Input/output error" in caplog.text


async def test_callers_who_load_at_once_have_it_loaded_once(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "modelward_runtime.library.library")
    await served.library.open(set())
    await asyncio.gather(*(served.library.load("b") for _ in range(5)))
    assert 2 == await served.ask("b")
    assert ["loaded"] == [record.getMessage() for record in caplog.records if "library" in record.name]


async def test_a_caller_who_leaves_does_not_stop_the_load(served: Served) -> None:
    await served.library.open(set())
    impatient = asyncio.ensure_future(served.library.load("b"))
    while served.states()["b"][1] != "LOADING":  # noqa: ASYNC110  a turn of the loop each
        await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(Unavailable, match="not loaded yet"):
        await served.ask("b")
    await served.library.load("b")
    assert 2 == await served.ask("b")


async def test_metrics_are_by_model(served: Served) -> None:
    await served.library.open(None)
    await served.ask("b")
    served.shelf.metrics.answered("rest", "404")
    served.shelf.find("b").metrics.answered("rest", "200")
    text = served.metrics.exposition().decode()
    for line in (
        'modelward_requests_total{code="404",transport="rest"} 1.0',
        'modelward_requests_total{code="200",model="b",transport="rest"} 1.0',
        'modelward_stage_seconds_count{model="b",stage="total"} 1.0',
        'modelward_stage_seconds_count{model="a",stage="total"} 0.0',
        'modelward_ready{model="a"} 1.0',
        'modelward_in_flight{model="a"} 0.0',
    ):
        assert line in text.splitlines()
    assert 1 == text.count("# TYPE modelward_stage_seconds histogram")
    assert b'"requests":1' in served.metrics.meter.to_json()


def test_what_would_bring_files_or_a_configuration_is_refused() -> None:
    assert {"unload_dependents"} == set(parse_change(b'{"parameters":{"unload_dependents":false}}'))
    assert not parse_change(b"")
    check_parameters({"unload_dependents", "of somebody's own"})
    for sent, told in (({"config": "{}"}, "'config'"), ({"file:1/model.onnx": "…"}, "'file:…'")):
        with pytest.raises(BadRequest, match=told):
            check_parameters(sent)
    for body in (b"[", b'{"parameters":1}', b"[" * 2000):
        with pytest.raises(ApiError, match="not a request to load or unload"):
            parse_change(body)


async def test_a_report_of_a_reload_replaces_all_that_is_known_of_the_model(tmp_path: Path) -> None:
    first = await loader_of().load("m", "1", save(scaled(1), tmp_path / "m.onnx"))
    second = await loader_of().load("m", "1", save(scaled(2), tmp_path / "m.onnx"))
    report = Report(first.report.boot, "")
    report.adopt(first.report)
    report.fail(LoadError(LoadReason.INVALID_MODEL, "not this one", "load", permanent=True))
    report.adopt(second.report)
    assert second.report.model() == report.model()
    assert report.failure is None
    assert second.report.stage_seconds == report.stage_seconds
    assert {"fetch", "verify", "load", "warmUp"} == report.stage_seconds.keys()
