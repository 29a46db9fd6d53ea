"""A model on disk: what `fetch.py` hands to `guard.py`, wherever it came from."""

from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from modelward_runtime.store.locate import Location, choose_model_file
from modelward_runtime.store.verify import MANIFEST, combine, is_sealed


class Fetched(msgspec.Struct, frozen=True):
    """A model on disk: its .onnx file, or manifest.json when it is sealed; its digest; the folder, None when it is a single file."""

    file: Path
    digest: str
    size: int  # bytes of all files
    cached: bool = False
    sealed: bool = False
    folder: Path | None = None


def entry(names: Collection[str], where: str) -> tuple[str, bool]:
    """The file to begin with, and whether the model is sealed; LoadError when there is none to begin with."""
    return (MANIFEST, True) if is_sealed(names) else (choose_model_file(names, where), False)


def found_in(folder: Path, location: Location, hashes: Mapping[str, str], *, cached: bool) -> Fetched:
    """What lies in a folder, by the hex hash of each file; of a sealed model that of manifest.json is enough."""
    size = sum((folder / file).stat().st_size for file in hashes)
    if location.single:
        name = next(iter(hashes))
        return Fetched(folder / name, f"sha256:{hashes[name]}", size, cached)
    name, sealed = entry(hashes, location.uri)
    digest = f"sha256:{hashes[name]}" if sealed else combine(hashes)
    return Fetched(folder / name, digest, size, cached, sealed, folder)
