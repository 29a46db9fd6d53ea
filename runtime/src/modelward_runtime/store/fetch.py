"""Brings a model's bytes to this machine's disk, or finds them on a mounted volume.

`load.py` calls `fetch` on a thread of its own, because everything here blocks, and watches `Progress` from the event loop.
Files are streamed: pieces are written as they come (`lanes.py`), so memory stays flat whatever the size. It
must not judge the bytes (`load.py` compares digests, `engine.py` reads the model).

    a store         list ▶ choose the model file ▶ room on the disk? ▶ stream into partial/ ▶ rename ▶ record the hashes
            └ found whole in the cache from before the restart: hashed again, nothing is fetched
            └ found on the volume that pods share, or put there first (`sharing.py`)
    volume, local path   used in place, hashed where it lies

Of a sealed model the manifest is hashed, and no ciphertext: whoever decrypts it hashes the very bytes that are decrypted, and compares
them with the signed manifest. A hash from an earlier reading would prove nothing, and gigabytes would be read twice.
"""

import errno
import os
from functools import partial
from pathlib import Path

from modelward_runtime.config import ModelSource
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.cache import Cache, Record
from modelward_runtime.store.found import Fetched, entry, found_in
from modelward_runtime.store.lanes import receive
from modelward_runtime.store.locate import GsLocation, HttpsLocation, Location, OciLocation, fetch_error, parse_uri
from modelward_runtime.store.receiving import Progress, check_room
from modelward_runtime.store.remote import Store
from modelward_runtime.store.verify import digest_of, files_below


def fetch(source: ModelSource, cache: Cache, progress: Progress, stall: float) -> Fetched:
    """The model on disk, with its digest; LoadError says why not. `stall`: seconds after which a silent connection is renewed."""
    try:
        if source.directory:
            return _in_place(Path(source.directory), progress)
        location = parse_uri(source.uri)
        return (
            _recalled(source, location, cache, progress)
            or _shared(source, location, cache, progress, stall)
            or _download(source, location, cache, progress, stall)
        )
    except OSError as error:
        raise _explain_disk(error, source) from error


def _in_place(path: Path, progress: Progress) -> Fetched:
    if not path.exists():
        raise fetch_error(LoadReason.MODEL_NOT_FOUND, f"{path} does not exist")
    if not path.is_dir():
        return Fetched(path, digest_of(path, progress.touch), path.stat().st_size)
    names = set(files_below(path))
    file, sealed = entry(names, str(path))
    progress.total = sum((path / name).stat().st_size for name in names)
    digest = digest_of(path, progress.touch)
    return Fetched(path / file, digest, progress.total, sealed=sealed, folder=path)


def _recalled(source: ModelSource, location: Location, cache: Cache, progress: Progress) -> Fetched | None:
    record = cache.recall(_identity(source), progress.touch)
    if record is None:
        return None
    fetched = found_in(cache.model, location, record.files, cached=True)
    return fetched if source.digest in {None, fetched.digest} else None


def _shared(source: ModelSource, location: Location, cache: Cache, progress: Progress, stall: float) -> Fetched | None:
    if source.cache is None:
        return None
    from modelward_runtime.store.sharing import Wanted, obtain  # noqa: PLC0415  start-up: few pods share a volume

    return obtain(
        Wanted(source, location, _identity(source), lambda: _connect(source, location, stall), stall), cache, progress
    )


def _download(source: ModelSource, location: Location, cache: Cache, progress: Progress, stall: float) -> Fetched:
    store = _connect(source, location, stall)
    files = store.files()
    progress.touch()
    if not location.single:
        entry({file.name for file in files}, location.uri)  # before what lies in the cache goes
    target = cache.begin()
    try:
        hashes = receive(store, files, location, target, progress, partial(check_room, target))
    except BaseException:
        cache.forget()
        raise
    cache.commit(Record(_identity(source), hashes))
    return found_in(cache.model, location, hashes, cached=False)


def _connect(source: ModelSource, location: Location, stall: float) -> Store:
    """The store's client, imported only here: a volume needs none, and each store its own."""
    if isinstance(location, OciLocation):
        from modelward_runtime.store.oci import Repository  # noqa: PLC0415  start-up, as said

        return Repository(location, source.oci, source.ca_bundle_file, stall)
    if isinstance(location, HttpsLocation):
        from modelward_runtime.store.site import Site  # noqa: PLC0415  start-up, as said

        return Site(location, source.https, source.ca_bundle_file, stall, pinned=source.digest is not None)
    if isinstance(location, GsLocation):
        from modelward_runtime.store.gs import GoogleBucket  # noqa: PLC0415  start-up, as said

        return GoogleBucket(location, source.gs, source.ca_bundle_file, stall)
    from modelward_runtime.store.s3 import Bucket  # noqa: PLC0415  start-up, as said

    return Bucket(location, source.s3, source.ca_bundle_file, stall)


def _identity(source: ModelSource) -> str:
    return f"{source.uri} {source.s3.endpoint or source.gs.endpoint or source.oci.endpoint or ''}".strip()


def _explain_disk(error: OSError, source: ModelSource) -> LoadError:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return fetch_error(LoadReason.OUT_OF_SPACE, f"{where}the volume is full")
    if isinstance(error, PermissionError):
        who = f"user {os.getuid()}"
        return fetch_error(LoadReason.ACCESS_DENIED, f"{where}{who} may not read or write here")
    if isinstance(error, FileNotFoundError):
        return fetch_error(LoadReason.MODEL_NOT_FOUND, f"{where}{error.strerror}")
    return fetch_error(
        LoadReason.SOURCE_UNREACHABLE, f"{source.uri}: {where}{error.strerror or error}", permanent=False
    )
