"""Where a sealed model is written: a folder on a disk, a prefix of an S3 bucket, or an artifact of a registry.

`writing.py` writes into a target and knows no more of it than `open`. A target appears whole or not at all; what cannot be renamed into
place, in a bucket, lacks `model.sig` until everything else is there, and is removed when the writing fails. An artifact has no name
before it is whole.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelward_runtime.store.s3 import Bucket

if TYPE_CHECKING:
    from modelward_runtime.store.push import Draft

_PART = 16 << 20  # bytes of an S3 upload's part, of which there may be 10,000: files of up to 160 GB
_UPLOADS = 4  # parts on their way at a time


class Writer(Protocol):
    """An open file."""

    def write(self, content: bytes, /) -> object:
        """Append all of it."""


class Target(Protocol):
    """A place for the files of one sealed model."""

    def open(self, name: str) -> AbstractContextManager[Writer]:
        """A new file; durable once the context has ended without an error."""


@contextmanager
def new_folder(destination: Path) -> Iterator[Target]:
    """A new folder beside the destination, which takes its name at the end and is gone if that does not come. Its parents are made."""
    if os.path.lexists(destination):
        raise FileExistsError(17, "there is something already; give a name that is free", str(destination))
    folder = destination.parent / f".{destination.name}.{secrets.token_hex(4)}.sealing"
    folder.mkdir(parents=True)
    try:
        yield _Folder(folder)
        for path in (*(path for path in folder.iterdir() if path.is_dir()), folder):
            sync(path)
        folder.rename(destination)
        sync(destination.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def new_prefix(bucket: Bucket) -> Iterator[Target]:
    """A prefix of a bucket, which must be empty; what was written below it is removed if the end does not come."""
    if bucket.location.single:
        raise FileExistsError(17, "a sealed model is a prefix, not an object: end it with /", bucket.location.uri)
    if bucket.is_taken():
        raise FileExistsError(17, "there is something already; give a prefix that is free", bucket.location.uri)
    target = _Prefix(bucket)
    try:
        yield target
    except BaseException:
        bucket.remove(target.written)
        raise


@contextmanager
def new_artifact(draft: "Draft") -> Iterator[Target]:
    """An artifact under a tag that must be free, and that it takes at the end, if that comes."""
    if draft.location.digest or not draft.location.tag:
        raise FileExistsError(17, "what is still to be made has no digest: give a tag", draft.location.uri)
    if draft.is_taken():
        raise FileExistsError(17, "there is something already; give a tag that is free", draft.location.uri)
    yield _Artifact(draft)
    draft.publish()


def in_folder(folder: Path) -> Target:
    """A folder that exists, as it is: files appear in it one by one."""
    return _Folder(folder)


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def open(self, name: str) -> Iterator[Writer]:
        file = self._folder / name
        file.parent.mkdir(exist_ok=True)
        with file.open("xb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())


class _Prefix:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.written: list[str] = []

    @contextmanager
    def open(self, name: str) -> Iterator[Writer]:
        self.written.append(name)
        with self._bucket.writing(name, _PART, _UPLOADS) as target:
            yield target


class _Artifact:
    def __init__(self, draft: "Draft") -> None:
        self._draft = draft

    @contextmanager
    def open(self, name: str) -> Iterator[Writer]:
        with self._draft.writing(name) as target:
            yield target


def write_file(target: Target, name: str, content: bytes) -> None:
    """One small file."""
    with target.open(name) as file:
        file.write(content)


def sync(path: Path) -> None:
    """Have a folder's names on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
