"""Whatever files come over whatever lanes, broken or not: every byte is in its place, and every hash is of those bytes."""

import hashlib
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store import lanes
from modelward_runtime.store.lanes import receive
from modelward_runtime.store.locate import S3Location, fetch_error
from modelward_runtime.store.receiving import Progress
from modelward_runtime.store.remote import ChangedError, Reading, RemoteFile

PART = 64
HERE = S3Location("models", "any", single=False)


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """Parts of a few bytes, so that small files have many."""
    kept = lanes.PART, lanes._STEP
    lanes.PART, lanes._STEP = PART, 16  # type: ignore[misc]
    yield
    lanes.PART, lanes._STEP = kept  # type: ignore[misc]


class Memory:
    """A store in memory that gives parts, in pieces of its own liking; `trouble` is raised in the middle of the n-th part."""

    def __init__(self, files: dict[str, bytes], seed: int, trouble: dict[int, Exception] | None = None) -> None:
        self.files = files
        self.random = random.Random(seed)
        self.trouble = trouble or {}
        self.asked = 0

    def listed(self, *, divisible: bool) -> list[RemoteFile]:
        return [
            RemoteFile(name, name, len(content), hashlib.sha256(content).hexdigest(), divisible=divisible)
            for name, content in self.files.items()
        ]

    def read(self, file: RemoteFile) -> Reading:
        return Reading(len(self.files[file.name]), self._pieces(self.files[file.name], None))

    def part(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        self.asked += 1
        return self._pieces(self.files[file.name][start:stop], self.trouble.get(self.asked))

    def _pieces(self, content: bytes, trouble: Exception | None) -> Iterator[bytes]:
        at = 0
        while at < len(content):
            step = self.random.randint(1, 40)
            yield content[at : at + step]
            at += step
            if trouble:
                raise trouble


CONTENTS = st.lists(st.binary(max_size=5 * PART + 3), min_size=1, max_size=7)


def fetched(store: Memory, target: str, *, divisible: bool) -> dict[str, str]:
    return receive(store, store.listed(divisible=divisible), HERE, Path(target), Progress(), lambda _: None)


def whole(store: Memory, target: str) -> bool:
    return {
        str(path.relative_to(target)): path.read_bytes() for path in Path(target).rglob("*") if path.is_file()
    } == store.files


def hashes(store: Memory) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in store.files.items()}


def files(contents: list[bytes]) -> dict[str, bytes]:
    return {"model.onnx": b"m", **{f"w/{number}": content for number, content in enumerate(contents)}}


@settings(deadline=None)
@given(contents=CONTENTS, divisible=st.booleans(), seed=st.integers(0, 99))
def test_every_byte_is_in_its_place(contents: list[bytes], divisible: bool, seed: int) -> None:
    store = Memory(files(contents), seed)
    with tempfile.TemporaryDirectory() as target:
        assert hashes(store) == fetched(store, target, divisible=divisible)
        assert whole(store, target)


@settings(deadline=None, max_examples=50)
@given(contents=CONTENTS, number=st.integers(1, 12), seed=st.integers(0, 99))
def test_what_changes_meanwhile_is_read_anew_and_never_mixed(contents: list[bytes], number: int, seed: int) -> None:
    store = Memory(files(contents), seed, {number: ChangedError("changed")})
    with tempfile.TemporaryDirectory() as target:
        assert hashes(store) == fetched(store, target, divisible=True)
        assert whole(store, target)


@settings(deadline=None, max_examples=50)
@given(
    contents=st.lists(st.binary(min_size=2 * PART, max_size=4 * PART), min_size=1, max_size=4),
    number=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_the_first_failure_is_the_one_that_is_told(contents: list[bytes], number: int, seed: int) -> None:
    gone = fetch_error(LoadReason.SOURCE_UNREACHABLE, "gone", permanent=False)
    store = Memory(files(contents), seed, {number: gone})
    with tempfile.TemporaryDirectory() as target, pytest.raises(LoadError) as caught:
        fetched(store, target, divisible=True)
    assert caught.value is gone


class Lying(Memory):
    """One whose parts are too short, too long, or of other bytes."""

    def __init__(self, manner: str) -> None:
        super().__init__(files([b"x" * 3 * PART]), 0)
        self.manner = manner

    def part(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        short, extra = int(self.manner == "short"), b"y" * int(self.manner == "long")
        sign = b"z" if self.manner == "other" and start else b"x"
        yield sign * (stop - start - short) + extra


@pytest.mark.parametrize(
    ("manner", "reason"),
    [("short", LoadReason.TRUNCATED), ("long", LoadReason.TRUNCATED), ("other", LoadReason.DIGEST_MISMATCH)],
)
def test_a_store_that_lies_about_a_part_is_found_out(tmp_path: Path, manner: str, reason: LoadReason) -> None:
    with pytest.raises(LoadError) as caught:
        fetched(Lying(manner), str(tmp_path), divisible=True)
    assert caught.value.reason is reason


def test_a_fetch_that_is_given_up_stops_every_lane(tmp_path: Path) -> None:
    store, progress = Memory(files([bytes(40 * PART)]), 0), Progress()

    def cancel(*_: Any) -> None:
        progress.cancelled = True

    with pytest.raises(InterruptedError):
        receive(store, store.listed(divisible=True), HERE, tmp_path, progress, cancel)
