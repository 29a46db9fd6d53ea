"""Which models a repository folder holds, and which version of each is served.

Used by `library.py`, on a thread, since it reads folders. Both layouts may be mixed; the first is Triton's (its documentation's "Model
Repository"): of numbered versions the highest one counts, and files such as config.pbtxt are not looked at.

    DIR/NAME/VERSION/model.onnx     VERSION: digits, not beginning with 0
    DIR/NAME/model.onnx             a folder as `modelward serve` takes it, sealed or plain: version 1
    DIR/NAME.onnx                   a single file: version 1
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

ONLY_VERSION: Final = "1"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_SUFFIX: Final = ".onnx"


class Found(msgspec.Struct, frozen=True):
    """A model of the repository: the file or folder of its newest version. `problem`: why it cannot be served; then there is no path."""

    name: str
    version: str = ""
    path: Path | None = None
    problem: str = ""


def find_models(folder: Path) -> Mapping[str, Found]:
    """By name; OSError when the folder itself cannot be read. What is hidden or is no model's name is not looked at."""
    found: dict[str, Found] = {}
    for one in _each(folder):
        both = Found(one.name, problem=f"both {one.name}{_SUFFIX} and {one.name}/ are there: remove one")
        found[one.name] = both if one.name in found else one
    return found


def _each(folder: Path) -> Iterator[Found]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                if _NAME.fullmatch(entry.name):
                    yield _newest(entry.name, Path(entry.path))
            elif entry.name.endswith(_SUFFIX) and _NAME.fullmatch(entry.name.removesuffix(_SUFFIX)):
                yield Found(entry.name.removesuffix(_SUFFIX), ONLY_VERSION, Path(entry.path))


def _newest(name: str, folder: Path) -> Found:
    """A model's folder: its highest version, or itself."""
    try:
        with os.scandir(folder) as entries:
            inside = [(entry.name, entry.is_dir()) for entry in entries]
    except OSError as error:
        return Found(name, problem=f"{folder}: {error.strerror}")
    versions = [entry for entry, is_folder in inside if is_folder and _VERSION.fullmatch(entry)]
    if not versions:
        return Found(name, ONLY_VERSION, folder)
    if any(entry.endswith(_SUFFIX) or entry == "manifest.json" for entry, _ in inside):
        return Found(
            name, problem=f"{folder} holds a model and numbered versions of it: move the model into a version's folder"
        )
    version = max(versions, key=int)
    return Found(name, version, folder / version)
