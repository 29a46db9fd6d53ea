"""The volume that pods share: who finds what, who waits, what is refused, what has to go. Two `Cache`s are two pods."""

import errno
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelward_runtime.config import S3, ModelSource, SharedCache
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store import receiving, s3, shared, sharing
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.found import Fetched
from modelward_runtime.store.locks import Lock, noted
from modelward_runtime.store.receiving import Progress
from modelward_runtime.store.remote import Reading, RemoteFile
from modelward_runtime.store.shared import NoRoomError, Shared
from modelward_runtime.store.verify import combine
from tests.until import PATIENCE

MODEL = {"model.onnx": b"the model", "sub/weights.bin": b"weights"}
SIZE = 16
ROOM = 100


class Bucket:
    """A bucket in memory: the seam of `s3.Bucket`. `during` runs when half of a file has come."""

    files_by_name = MODEL
    opened = 0
    during: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, *_: object) -> None:
        type(self).opened += 1

    def files(self) -> list[RemoteFile]:
        return [RemoteFile(name, name, len(content)) for name, content in self.files_by_name.items()]

    def read(self, file: RemoteFile) -> Reading:
        content = self.files_by_name[file.name]

        def pieces() -> object:
            yield content[:3]
            self.during()
            yield content[3:]

        return Reading(len(content), pieces())  # type: ignore[arg-type]  # a generator is an iterator


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> type[Bucket]:
    class Fresh(Bucket):
        pass

    monkeypatch.setattr(s3, "Bucket", Fresh)
    monkeypatch.setattr(sharing, "_LOOK", 0.01)
    return Fresh


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    (tmp_path / "claim").mkdir()
    return tmp_path / "claim"


DIGEST = combine({name: hashlib.sha256(content).hexdigest() for name, content in MODEL.items()})


def source(claim: Path, wanted: str, most: int = ROOM, uri: str = "s3://models/iris/7/") -> ModelSource:
    cache = SharedCache(directory=str(claim), max_bytes=most)
    return ModelSource(name="m", version="1", uri=uri, digest=wanted, s3=S3(endpoint="http://store"), cache=cache)


def pod(claim: Path, name: str, most: int = ROOM, wanted: str = DIGEST, stall: float = 3) -> Fetched:
    """A new pod, with a disk of its own, fetches the model."""
    return fetch(source(claim, wanted, most), Cache(claim.parent / name), Progress(), stall)


def entry(claim: Path) -> Path:
    (found,) = (claim / "entries").iterdir()
    return found


def left(claim: Path) -> list[str]:
    return sorted(path.name for path in (claim / "partial").iterdir())


def test_a_model_is_downloaded_once_and_found_by_its_digest_whatever_its_address(
    claim: Path, bucket: type[Bucket]
) -> None:
    first, second = pod(claim, "a"), pod(claim, "b")
    moved = fetch(source(claim, first.digest, uri="s3://elsewhere/x/"), Cache(claim.parent / "c"), Progress(), 3)
    assert (1, False, True, True) == (bucket.opened, first.cached, second.cached, moved.cached)
    assert entry(claim).name == first.digest.removeprefix("sha256:")
    assert first.digest == second.digest == moved.digest
    assert second.file.read_bytes() == b"the model"
    assert left(claim) == []


def test_what_is_served_is_the_pods_own_copy(claim: Path, bucket: type[Bucket]) -> None:
    """Whoever writes to the volume after the bytes were hashed changes nothing of what a pod loads."""
    found = pod(claim, "a")
    (entry(claim) / "model.onnx").write_bytes(b"the modem")
    assert found.file.read_bytes() == b"the model"
    assert found.file.is_relative_to(claim.parent / "a")


def moved_and_linked(path: Path) -> None:
    """The same bytes, by way of a link."""
    away = path.parent.parent.parent / "moved"
    shutil.move(path, away)
    path.symlink_to(away)


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    """Something else in its place."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    make(path)


SPOILT: list[tuple[str, Callable[[Path], object]]] = [
    ("a byte", lambda it: (it / "model.onnx").write_bytes(b"the modem")),
    ("cut", lambda it: (it / "model.onnx").write_bytes(b"the m")),
    ("longer", lambda it: (it / "model.onnx").write_bytes(b"the model, and more")),
    ("a file gone", lambda it: replaced(it / "sub/weights.bin", lambda _: None)),
    ("a file too many", lambda it: (it / "extra").write_bytes(b"")),
    ("nothing left", lambda it: replaced(it, Path.mkdir)),
    ("a file is a link", lambda it: replaced(it / "model.onnx", lambda path: path.symlink_to("/etc/passwd"))),
    ("a link to the same bytes", lambda it: moved_and_linked(it / "model.onnx")),
    ("a folder is a link", lambda it: moved_and_linked(it / "sub")),
    ("a pipe", lambda it: replaced(it / "model.onnx", os.mkfifo)),
    ("the entry is a link", moved_and_linked),
    ("the entry is a file", lambda it: replaced(it, lambda path: path.write_bytes(b"x"))),
]


@pytest.mark.parametrize(("reason", "spoil"), SPOILT, ids=[reason for reason, _ in SPOILT])
def test_a_spoilt_entry_is_replaced_and_never_served(
    claim: Path, bucket: type[Bucket], reason: str, spoil: Callable[[Path], object]
) -> None:
    pod(claim, "a")
    spoil(entry(claim))
    second = pod(claim, "b")
    assert (2, False) == (bucket.opened, second.cached), reason
    assert second.file.read_bytes() == b"the model"
    assert (entry(claim) / "model.onnx").read_bytes() == b"the model"
    assert pod(claim, "c").cached, "healed"


def test_a_links_target_is_never_touched(claim: Path, bucket: type[Bucket], tmp_path: Path) -> None:
    pod(claim, "a")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").write_bytes(b"x")
    name = entry(claim).name
    shutil.rmtree(entry(claim))
    (claim / "entries" / name).symlink_to(mine)
    (claim / "partial" / name).symlink_to(mine)
    (claim / "locks" / name).unlink()
    (claim / "locks" / name).symlink_to(mine / "precious")
    assert pod(claim, "b").file.read_bytes() == b"the model"
    assert [path.name for path in mine.iterdir()] == ["precious"]
    assert (mine / "precious").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["entries", "partial", "locks", "catalogue"])
def test_a_volume_whose_folders_are_links_is_left_alone(
    claim: Path, bucket: type[Bucket], tmp_path: Path, name: str
) -> None:
    (tmp_path / "mine").mkdir()
    (claim / name).symlink_to(tmp_path / "mine")
    assert not pod(claim, "a").cached
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_stores_other_bytes_never_enter(claim: Path, bucket: type[Bucket]) -> None:
    with pytest.raises(LoadError, match="declared is sha256:00") as caught:
        pod(claim, "a", wanted="sha256:" + "0" * 64)
    assert (LoadReason.DIGEST_MISMATCH, "verify", True) == (
        caught.value.reason,
        caught.value.stage,
        caught.value.permanent,
    )
    assert [left(claim), list((claim / "entries").iterdir())] == [[], []]


# ── several at once ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_comes_second_waits_and_downloads_nothing(claim: Path, bucket: type[Bucket]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait(PATIENCE)

    bucket.during = staticmethod(hold)
    found: dict[str, Fetched] = {}
    pods = [
        threading.Thread(target=lambda name=name: found.update({name: pod(claim, name, stall=2 * PATIENCE)}))
        for name in "abc"
    ]
    pods[0].start()
    assert begun.wait(PATIENCE)
    for thread in pods[1:]:
        thread.start()
    time.sleep(0.1)
    assert found == {}
    go_on.set()
    for thread in pods:
        thread.join(PATIENCE)
    assert (1, [False, True, True]) == (bucket.opened, [found[name].cached for name in "abc"])


def test_who_waits_for_one_that_gets_no_further_downloads_for_itself(claim: Path, bucket: type[Bucket]) -> None:
    wanted = DIGEST.removeprefix("sha256:")
    held = Shared(claim, ROOM).draft(wanted)
    assert held is not None
    held.begin()
    found = pod(claim, "a", stall=0.3)
    assert not found.cached
    assert found.file.read_bytes() == b"the model"
    assert list((claim / "entries").iterdir()) == []
    held.abandon()


def test_an_entry_that_others_read_is_neither_replaced_nor_evicted(claim: Path, bucket: type[Bucket]) -> None:
    pod(claim, "a")
    reader = Shared(claim, ROOM).lease(entry(claim).name)
    assert reader is not None
    (entry(claim) / "model.onnx").write_bytes(b"the modem")
    assert pod(claim, "b", stall=0.3).file.read_bytes() == b"the model"
    assert (entry(claim) / "model.onnx").read_bytes() == b"the modem"
    reader.release()
    assert not pod(claim, "c").cached
    assert (entry(claim) / "model.onnx").read_bytes() == b"the model"


def test_what_a_dead_pod_was_writing_goes(claim: Path, bucket: type[Bucket]) -> None:
    for dead in ("f" * 64, DIGEST.removeprefix("sha256:")):
        draft = Shared(claim, ROOM).draft(dead)
        assert draft is not None
        draft.begin()
        draft.reserve(90)
        (draft.folder / "half").write_bytes(b"x" * 50)
        draft._lock.release()  # the kernel does it for the dead
    assert not pod(claim, "a").cached
    assert left(claim) == []
    assert len(list((claim / "locks").iterdir())) == 1


# ── room ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def put(claim: Path, name: str, size: int, most: int = ROOM, *, used: float = 0) -> str:
    digest = name * 64
    draft = Shared(claim, most).draft(digest)
    assert draft is not None
    draft.begin()
    draft.reserve(size)
    (draft.folder / "model.onnx").write_bytes(b"x" * size)
    draft.commit()
    os.utime(claim / "entries" / digest, (used, used))
    return digest


def held(claim: Path) -> str:
    return "".join(sorted(path.name[0] for path in (claim / "entries").iterdir()))


def test_the_least_recently_used_make_room(claim: Path, bucket: type[Bucket]) -> None:
    for name, used in (("a", 3), ("b", 1), ("c", 2)):
        put(claim, name, 30, used=used)
    lease = Shared(claim, ROOM).lease("b" * 64)
    assert lease is not None
    lease.use()
    lease.release()
    put(claim, "d", 60)
    assert held(claim) == "bd"


def test_what_somebody_loads_stays_and_the_next_one_goes(claim: Path) -> None:
    put(claim, "a", 50, used=1)
    put(claim, "b", 50, used=2)
    lease = Shared(claim, ROOM).lease("a" * 64)
    put(claim, "c", 50, used=3)
    assert held(claim) == "ac"
    assert lease is not None
    lease.release()


def test_room_that_others_will_need_counts(claim: Path) -> None:
    first = Shared(claim, ROOM).draft("a" * 64)
    assert first is not None
    first.begin()
    first.reserve(60)
    assert noted(claim / "locks" / ("a" * 64)) == 60
    second = Shared(claim, ROOM).draft("b" * 64)
    assert second is not None
    second.begin()
    with pytest.raises(NoRoomError, match="50 bytes are needed, 60 of 100"):
        second.reserve(50)
    second.abandon()
    first.abandon()
    put(claim, "b", 50)


@pytest.mark.parametrize("most", [1, SIZE - 1])
def test_a_model_that_can_find_no_room_is_kept_by_its_pod_alone_and_drives_nobody_out(
    claim: Path, bucket: type[Bucket], most: int
) -> None:
    put(claim, "b", 1)
    found = pod(claim, "a", most)
    assert found.file.read_bytes() == b"the model"
    assert [left(claim), held(claim)] == [[], "b"]


def test_a_full_disk_evicts_and_then_falls_back(
    claim: Path, bucket: type[Bucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(claim, "a", 30)
    put(claim, "b", 30)
    real = shutil.disk_usage

    def usage(path: Path) -> object:
        return (
            SimpleNamespace(free=40 - shared._size(claim / "entries"))
            if claim in path.parents or path == claim
            else real(path)
        )

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert not pod(claim, "p").cached
    assert len(held(claim)) == 1, "both had to go for the new one: 40 bytes are free in all"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.ENOLCK])
def test_a_volume_that_fails_costs_a_download_and_no_start(
    claim: Path, bucket: type[Bucket], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(
        Lock if number == errno.ENOLCK else shared.Draft, "take" if number == errno.ENOLCK else "commit", fail
    )
    assert pod(claim, "a").file.read_bytes() == b"the model"
    assert not list((claim / "entries").iterdir())


def test_a_disk_that_fills_in_the_middle_leaves_nothing_there_and_costs_no_start(
    claim: Path, bucket: type[Bucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = receiving.stream

    def filling(store: object, file: RemoteFile, target: Path, *rest: object, **more: object) -> str:
        if claim in target.parents and file.name != "model.onnx":
            raise OSError(errno.ENOSPC, "No space left on device", str(target / file.name))
        return real(store, file, target, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(receiving, "stream", filling)
    assert pod(claim, "a").file.read_bytes() == b"the model"
    assert [left(claim), held(claim)] == [[], ""]


def test_a_volume_that_is_not_there_costs_a_download_and_no_start(claim: Path, bucket: type[Bucket]) -> None:
    claim.rmdir()
    assert pod(claim, "a").file.read_bytes() == b"the model"


def test_a_fetch_that_was_given_up_leaves_nothing(claim: Path, bucket: type[Bucket]) -> None:
    progress = Progress()
    bucket.during = staticmethod(lambda: setattr(progress, "cancelled", True))
    with pytest.raises(LoadError, match="was given up"):
        fetch(source(claim, DIGEST), Cache(claim.parent / "a"), progress, 3)
    assert [left(claim), held(claim)] == [[], ""]


# ── locks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_readers_share_and_a_writer_is_alone(tmp_path: Path) -> None:
    one, other = Lock.take(tmp_path / "l", alone=False), Lock.take(tmp_path / "l", alone=False)
    assert one is not None
    assert other is not None
    assert Lock.take(tmp_path / "l", alone=True) is None
    one.release()
    other.release()
    writer = Lock.take(tmp_path / "l", alone=True)
    assert writer is not None
    assert Lock.take(tmp_path / "l", alone=False) is None
    assert Lock.wait(tmp_path / "l", 0.05) is None
    writer.release(remove=True)
    assert not (tmp_path / "l").exists()


def test_a_lock_whose_file_was_removed_meanwhile_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    old = Lock.take(tmp_path / "l", alone=True)
    assert old is not None
    (tmp_path / "l").unlink()
    new = Lock.take(tmp_path / "l", alone=True)
    assert new is not None
    assert Lock.take(tmp_path / "l", alone=True) is None
    old.release()
    assert Lock.take(tmp_path / "l", alone=True) is None
    new.release()
