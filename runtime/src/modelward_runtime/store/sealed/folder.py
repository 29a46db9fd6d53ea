"""Looks at a folder that nobody has vouched for yet: what is in it, and the bytes of a file, without ever following a link.

`opening.py` and `signature.py` read through it. Links, devices, pipes and whatever else is no plain file are refused by name, a pipe
does not make it wait, and a file is read up to a bound that the caller sets. It must not interpret what it reads.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from modelward_runtime.store.sealed.refusals import seal_invalid

MOST_ENTRIES = 10_100  # the most files of the format, and a few to name in the refusal
_DEEPEST = 64
_FILESYSTEM_FOLDER = "lost+found"  # at the top of a volume; what we may not look into cannot be loaded either


def listing(folder: Path) -> Mapping[str, int]:
    """The size of every file below the folder by relative path; LoadError SealInvalid names what is no plain file."""
    found: dict[str, int] = {}
    try:
        for name, size in _walk(folder, "", 0):
            found[name] = size
            if len(found) > MOST_ENTRIES:
                raise seal_invalid(f"{folder} holds more than {MOST_ENTRIES} files")
    except OSError as error:
        raise seal_invalid(f"{shown(str(error.filename))} cannot be read: {error.strerror}") from None
    return found


def shown(name: str) -> str:
    """A file's name as a message may hold it: whoever made the file chose it, and it may be no text at all."""
    return name if name.isprintable() else ascii(name)


def _walk(folder: Path, below: str, depth: int) -> Iterator[tuple[str, int]]:
    if depth > _DEEPEST:
        raise seal_invalid(f"{folder}: folders are nested more than {_DEEPEST} deep")
    with os.scandir(folder / below) as entries:
        empty = True
        for entry in entries:
            empty = False
            name = below + entry.name
            if not name.isprintable():
                raise seal_invalid(f"{shown(name)} is no name for a file of a model")
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(info.st_mode):
                yield name, info.st_size
            elif not stat.S_ISDIR(info.st_mode):
                raise seal_invalid(f"{name} is {_kind(info.st_mode)}, and only plain files may be in the folder")
            elif name != _FILESYSTEM_FOLDER or os.access(folder / name, os.R_OK | os.X_OK):
                yield from _walk(folder, name + "/", depth + 1)
        if empty and below not in {"", _FILESYSTEM_FOLDER + "/"}:
            raise seal_invalid(f"{below} is an empty folder, which does not belong to the model: remove it")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def open_plain(folder: Path, name: str) -> int:
    """A descriptor of a plain file below the folder, no part of whose name is a link; the caller closes it."""
    descriptor = _open(folder, name)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise seal_invalid(f"{name} is no plain file")
    return descriptor


def _open(folder: Path, name: str) -> int:
    *parents, last = name.split("/")
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for parent in parents:
            below = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
        return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError as error:
        raise seal_invalid(f"{name} cannot be read: {os.strerror(error.errno or 0)}") from None
    finally:
        os.close(at)


def read(folder: Path, name: str, most: int) -> bytes:
    """The bytes of a small file; LoadError SealInvalid when it is larger than `most`, missing or no plain file."""
    descriptor = open_plain(folder, name)
    try:
        content = bytearray()
        while piece := os.read(descriptor, min(1 << 20, most + 1 - len(content))):
            content += piece
            if len(content) > most:
                raise seal_invalid(f"{name} is larger than {most} bytes, which no file of this kind is")
    finally:
        os.close(descriptor)
    return bytes(content)
