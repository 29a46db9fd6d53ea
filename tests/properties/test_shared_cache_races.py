"""Pods that come, fetch and are killed in any order, over one small volume: nobody gets wrong bytes, the bound holds, nothing is left.

A pod is a process that fetches models out of a folder, in a loop; `kill -9` ends it anywhere.
"""

import hashlib
import itertools
import multiprocessing
import random
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

from modelward_runtime.config import ModelSource, SharedCache
from modelward_runtime.store import s3, sharing
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.locate import S3Location
from modelward_runtime.store.receiving import Progress
from modelward_runtime.store.remote import Reading, RemoteFile
from modelward_runtime.store.shared import Shared, _size
from modelward_runtime.store.verify import combine
from tests.until import PATIENCE

SECONDS, PODS, MODELS, MOST = 3.0, 4, 6, 1_000_000


class Bucket:
    """A folder of models: the seam of `s3.Bucket`."""

    models = Path()

    def __init__(self, location: S3Location, *_: object) -> None:
        self.folder = self.models / location.key

    def files(self) -> list[RemoteFile]:
        return [RemoteFile("model.onnx", "model.onnx", (self.folder / "model.onnx").stat().st_size)]

    def read(self, file: RemoteFile) -> Reading:
        content = (self.folder / file.name).read_bytes()
        return Reading(len(content), self.pieces(content))

    def pieces(self, content: bytes) -> Iterator[bytes]:
        for at in range(0, len(content), 20_000):
            time.sleep(0.0005)
            yield content[at : at + 20_000]


def live(home: Path, number: int) -> None:
    """A pod's life: it writes down what it found, and what went wrong."""
    Bucket.models = home / "models"
    s3.Bucket = Bucket  # type: ignore[assignment,misc]  # a process of its own
    sharing._LOOK = 0.002  # type: ignore[misc]
    own = home / f"pod-{number}"
    with (home / f"said-{number}").open("a", buffering=1) as said:
        while True:
            name = random.choice(sorted(path.name for path in Bucket.models.iterdir()))
            shared = SharedCache(directory=str(home / "claim"), max_bytes=MOST)
            digest = (Bucket.models / name / "digest").read_text()
            source = ModelSource(name="m", version="1", uri=f"s3://b/{name}/", digest=digest, cache=shared)
            try:
                found = fetch(source, Cache(own), Progress(), 30)
                right = found.file.read_bytes() == (Bucket.models / name / "model.onnx").read_bytes()
                said.write(("hit" if found.cached else "miss") if right else "wrong")
            except Exception as error:  # noqa: BLE001  told, and judged by the test
                said.write(f"{error!r}")
            said.write("\n")
            Cache(own).forget()


def make_models(home: Path, draw: random.Random) -> None:
    for number in range(MODELS):
        folder = home / f"model-{number}"
        folder.mkdir(parents=True)
        content = draw.randbytes(draw.randrange(200_000, 500_000))
        (folder / "model.onnx").write_bytes(content)
        (folder / "digest").write_text(combine({"model.onnx": hashlib.sha256(content).hexdigest()}))


def held(claim: Path) -> int:
    """What the volume holds. Entries first: what is renamed meanwhile counts less, never twice."""
    return sum(_size(path) for folder in ("entries", "partial") for path in (claim / folder).iterdir())


def test_pods_that_race_and_die_hurt_nobody(tmp_path: Path) -> None:
    draw = random.Random(7)
    claim = tmp_path / "claim"
    make_models(tmp_path / "models", draw)
    claim.mkdir()
    Shared(claim, MOST)
    context = multiprocessing.get_context("fork")  # at once there, as many die young

    def start(number: int) -> BaseProcess:
        pod = context.Process(target=live, args=(tmp_path, number), daemon=True)
        pod.start()
        return pod

    def said() -> list[str]:
        return [line for file in tmp_path.glob("said-*") for line in file.read_text().splitlines()]

    def is_enough() -> bool:
        return killed > PODS and {"hit", "miss"} <= set(said()) and said().count("miss") > MODELS

    pods = [start(number) for number in range(PODS)]
    began, killed, heard = time.monotonic(), 0, 0
    while (spent := time.monotonic() - began) < SECONDS or (not is_enough() and spent < PATIENCE):
        for look in itertools.count():
            assert held(claim) <= MOST
            time.sleep(draw.random() / 50)
            if look >= 4 and (len(said()) > heard or time.monotonic() - began > PATIENCE):
                break  # somebody has got somewhere since the last death: on a busy machine nobody would live for long enough
        heard = len(said())
        victim = draw.randrange(PODS)
        pods[victim].kill()
        pods[victim].join()
        killed += 1
        pods[victim] = start(victim)
    for pod in pods:
        pod.kill()
        pod.join()
    assert {"hit", "miss"} == set(said())
    assert said().count("miss") > MODELS, "with room for some three of six, there was something to evict"
    assert killed > PODS
    assert_nothing_is_left(claim)


def assert_nothing_is_left(claim: Path) -> None:
    """Neither bytes nor locks of the dead: one who wants all the room gets it."""
    draft = Shared(claim, MOST).draft("f" * 64)
    assert draft is not None
    draft.begin()
    draft.reserve(MOST)
    assert (0, []) == (held(claim), list((claim / "entries").iterdir()))
    draft.abandon()
    assert list((claim / "locks").iterdir()) == []
