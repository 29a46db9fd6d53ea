"""Takes a model from the volume that pods share, and puts it there first where it is missing.

Called by `fetch.py` for a model with a declared digest. The volume saves a download and decides nothing: each use compares the bytes with
the digest. It never fails a start either: whatever is wrong with it, the pod fetches for itself.

    entry there? ── plain ──▶ copied to the pod's own disk, hashed on the way: what is served is what was hashed
         │        └ sealed ─▶ manifest compared; ciphertext is hashed when it is decrypted, where it lies, and held until then
         │ no, or it is not what it claims to be
         ├ nobody writes it: download into partial/, compare, rename
         └ somebody does: wait while it grows; when it does not, fetch alone
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from modelward_runtime.config import ModelSource
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.cache import Cache, Record
from modelward_runtime.store.found import Fetched, found_in
from modelward_runtime.store.lanes import receive
from modelward_runtime.store.locate import Location
from modelward_runtime.store.receiving import Progress, check_room
from modelward_runtime.store.remote import Reading, RemoteFile, Store
from modelward_runtime.store.shared import Draft, Lease, NoRoomError, Shared, SpoiltError
from modelward_runtime.store.verify import MANIFEST, compare, hash_file, is_sealed

log = logging.getLogger(__name__)
_PIECE: Final = 1 << 20
_LOOK: Final = 0.2  # seconds between looks at who writes
_FILLS: Final = 2  # an entry that was evicted before it could be read is fetched once more


@dataclass(frozen=True)
class Wanted:
    """Which model, from where, and how to ask for it."""

    source: ModelSource
    location: Location
    identity: str
    connect: Callable[[], Store]
    stall: float

    @property
    def digest(self) -> str:
        """The hex digits of the declared digest, the entry's name."""
        return (self.source.digest or "").removeprefix("sha256:")


def obtain(wanted: Wanted, cache: Cache, progress: Progress) -> Fetched | None:
    """The model by way of the shared volume; None when this pod had better fetch for itself. LoadError as `fetch`."""
    settings = wanted.source.cache
    if settings is None or cache.is_distrusted:
        return None
    try:
        return _obtain(wanted, Shared(Path(settings.directory), settings.max_bytes), cache, progress)
    except InterruptedError:
        raise
    except (OSError, NoRoomError) as error:
        log.warning("the shared cache is of no use, this pod fetches for itself", extra={"cause": str(error)})
        return None


def _obtain(wanted: Wanted, shared: Shared, cache: Cache, progress: Progress) -> Fetched | None:
    """Read the entry, or write it, or look on while another pod writes it, as long as it gets further."""
    filled, refused, written, since = 0, False, 0, time.monotonic()
    while time.monotonic() - since < wanted.stall / 3:
        lease = None if refused else shared.lease(wanted.digest)
        if lease and (found := _read(wanted, lease, shared, cache, progress)):
            return replace(found, cached=not filled)
        refused = refused or lease is not None
        if filled == _FILLS:
            break
        if draft := shared.draft(wanted.digest):
            if draft.is_done and not refused:
                draft.release()  # another pod was faster
                continue
            _fill(wanted, draft, progress)
            filled, refused, since = filled + 1, False, time.monotonic()
            continue
        time.sleep(_LOOK)
        before, written = written, shared.written(wanted.digest)
        if written > before:
            progress.touch()
            refused, since = False, time.monotonic()
    return None


def _fill(wanted: Wanted, draft: Draft, progress: Progress) -> None:
    """Download into the volume; nothing of it stays unless it has the declared digest."""
    try:
        draft.begin()
        store = wanted.connect()
        hashes = receive(store, store.files(), wanted.location, draft.folder, progress, draft.reserve)
        compare(wanted.source, found_in(draft.folder, wanted.location, hashes, cached=False).digest)
        draft.commit()
    except BaseException:
        with suppress(OSError):
            draft.abandon()
        raise


def _read(wanted: Wanted, lease: Lease, shared: Shared, cache: Cache, progress: Progress) -> Fetched | None:
    """The model of an entry; None when it is not what its name says."""
    try:
        files = lease.files(single=wanted.location.single)
        sealed = not wanted.location.single and is_sealed(files)
        found = _hold(wanted, lease, shared, files, cache) if sealed else _copy(wanted, lease, files, cache, progress)
    except BaseException as error:
        lease.release()
        if isinstance(error, LoadError) and error.reason is LoadReason.OUT_OF_SPACE:
            raise  # of the pod's own disk
        if not isinstance(error, SpoiltError | LoadError | FileNotFoundError):
            raise
        log.warning("what the shared cache holds is not the model", extra={"cause": str(error)})
        return None
    with suppress(OSError):
        lease.use()
    if not sealed:
        lease.release()
    return found


def _hold(wanted: Wanted, lease: Lease, shared: Shared, files: dict[str, int], cache: Cache) -> Fetched:
    """A sealed model, used where it lies: not a byte of it is believed before it is decrypted."""
    digest = f"sha256:{hash_file(lease.folder / MANIFEST)}"
    compare(wanted.source, digest)
    cache.hold(lease, lambda: shared.discard(wanted.digest))
    return Fetched(lease.folder / MANIFEST, digest, sum(files.values()), sealed=True, folder=lease.folder)


def _copy(wanted: Wanted, lease: Lease, files: dict[str, int], cache: Cache, progress: Progress) -> Fetched:
    """A plain model, on the pod's own disk: whoever writes to the volume could change it after it was hashed there."""
    target = cache.begin()
    try:
        listed = [RemoteFile(name, name, size) for name, size in files.items()]
        kept, room = _Kept(lease.folder), partial(check_room, target)
        hashes = receive(kept, listed, wanted.location, target, progress, room)
        compare(wanted.source, found_in(target, wanted.location, hashes, cached=True).digest)
    except BaseException:
        cache.forget()
        raise
    cache.commit(Record(wanted.identity, hashes))
    return found_in(cache.model, wanted.location, hashes, cached=True)


@dataclass(frozen=True)
class _Kept:
    """An entry as a store."""

    folder: Path

    def read(self, file: RemoteFile) -> Reading:
        return Reading(file.size, self._pieces(self.folder / file.name))

    def _pieces(self, file: Path) -> Iterator[bytes]:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as kept:
            while piece := kept.read(_PIECE):
                yield piece
