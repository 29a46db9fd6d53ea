"""The digest of a model: which bytes are these?

`receiving.py` hashes while it writes, and the results are combined here; `guard.py` compares with the declared digest;
`modelward digest PATH` prints it, so that a person can declare it.

    a file      sha256 of its bytes
    a folder    sha256 of the text that `cd FOLDER && find -L . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum` prints:
                a line `<hex>  <path>\n` for every file below it, sorted by path as bytes
    sealed      sha256 of its manifest.json, which names the sha256 of every ciphertext: new keys do not change it

A symbolic link to a file counts as that file. `lost+found` at the top of a volume, which only root may open, is left out.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from modelward_runtime.config import ModelSource
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import fetch_error

_CHUNK = 1 << 20
_FILESYSTEM_FOLDER = "lost+found"
MANIFEST: Final = "manifest.json"
MOST_ENTRIES: Final = 10_100  # the 10,000 files of a sealed model, as of an S3 listing, and what lies around them

Touch = Callable[[int], None]  # called with the number of bytes just read


def digest_of(path: Path, touch: Touch = lambda _: None) -> str:
    """`sha256:<hex>` of a file or of a folder; OSError when something in it cannot be read, LoadError when it holds too much."""
    if not path.is_dir():
        return f"sha256:{hash_file(path, touch)}"
    names = list(files_below(path))
    if is_sealed(names):
        return f"sha256:{hash_file(path / MANIFEST, touch)}"
    return combine({name: hash_file(path / name, touch) for name in names})


def compare(source: ModelSource, digest: str) -> None:
    """LoadError DigestMismatch when another digest is declared."""
    if source.digest not in {None, digest}:
        raise LoadError(
            LoadReason.DIGEST_MISMATCH,
            f"{source.uri} has the digest {digest}, declared is {source.digest}",
            "verify",
            permanent=True,
        )


def is_sealed(names: Collection[str]) -> bool:
    """Is a folder with these relative paths a sealed model? Cryptography is imported only where it may be one."""
    if MANIFEST not in names:
        return False
    from modelward_runtime.store.sealed import opening  # noqa: PLC0415  start-up: a plain model needs none of it

    return opening.is_sealed(names)


def is_hashed(name: str) -> bool:
    """Is this file of a sealed model hashed when it comes? Ciphertext is, while it is decrypted."""
    return not name.startswith("data/")


def combine(hashes: Mapping[str, str]) -> str:
    """The digest of a folder from the hex hash of each of its files by relative path."""
    lines = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes, key=os.fsencode))
    return f"sha256:{hashlib.sha256(os.fsencode(lines)).hexdigest()}"


def hash_file(file: Path, touch: Touch = lambda _: None) -> str:
    """The hex SHA-256 of a file, read in pieces of 1 MiB. A pipe or a device on a volume counts as empty; it must not make us wait."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as source:
        if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):  # a link to /dev/zero has no end
            return digest.hexdigest()
        while count := source.readinto(buffer):
            digest.update(buffer[:count])
            touch(count)
    return digest.hexdigest()


def files_below(folder: Path) -> Iterator[str]:
    """Relative paths, with slashes, of every file below the folder; LoadError NoModelFile when there are too many for a model."""
    pending, seen = [""], 0
    while pending:
        below = pending.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                seen += 1
                if seen > MOST_ENTRIES:
                    raise fetch_error(
                        LoadReason.NO_MODEL_FILE,
                        f"{folder} holds more than {MOST_ENTRIES} files and folders: let the URI name the model's own folder",
                    )
                if not entry.is_dir():
                    yield below + entry.name
                elif not entry.is_symlink() and below + entry.name != _FILESYSTEM_FOLDER:
                    pending.append(f"{below}{entry.name}/")
