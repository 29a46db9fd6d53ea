"""Keeps one downloaded model on the pod's disk, so that a restart of the container needs no download.

`fetch.py` calls it. A download goes to `partial/`; only when it is whole does a rename make it `model/`, and then `model.json`
is written beside it with the hash of every file. What is found at the next start is hashed again and compared with that
record, so a file changed on disk is never served; the ciphertext of a sealed model, the only form in which one comes here, is hashed
when it is decrypted, against the signed manifest. It must not know where models come from.

    CACHE/partial/…     being written; swept away at the next start
    CACHE/model/…       whole
    CACHE/model.json    {"source": "…", "files": {"model.onnx": "<hex>", …}}
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelward_runtime.errors import LoadError
from modelward_runtime.store.verify import Touch, files_below, hash_file

if TYPE_CHECKING:
    from modelward_runtime.store.shared import Lease


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was downloaded, from where."""

    source: str
    files: dict[str, str]  # relative path -> hex SHA-256, empty for the ciphertext of a sealed model


class Cache:
    """The folder MODELWARD_CACHE_DIR, and what this pod holds of the volume that pods share (`sharing.py`)."""

    def __init__(self, folder: Path) -> None:
        self._lease: Lease | None = None
        self._discard: Callable[[], bool] = bool
        self.is_distrusted = False  # the shared volume holds the model, and this pod could not use what is there
        self._partial = folder / "partial"
        self._model = folder / "model"
        self._record = folder / "model.json"
        self._folder = folder

    @property
    def model(self) -> Path:
        """The folder of the whole model."""
        return self._model

    def recall(self, source: str, touch: Touch) -> Record | None:
        """The record of a whole and unchanged download of this very source, None when there is none."""
        shutil.rmtree(self._partial, ignore_errors=True)
        try:
            record = msgspec.json.decode(self._record.read_bytes(), type=Record)
            whole = record.source == source and set(files_below(self._model)) == set(record.files)
            same = whole and all(self._same(name, known, touch) for name, known in record.files.items())
        except (OSError, LoadError, msgspec.DecodeError):
            return None
        return record if same else None

    def _same(self, name: str, known: str, touch: Touch) -> bool:
        return not known or hash_file(self._model / name, touch) == known

    def begin(self) -> Path:
        """An empty folder to download into; whatever lay in the cache is gone."""
        self._wipe()
        self._partial.mkdir(parents=True)
        return self._partial

    def commit(self, record: Record) -> None:
        """What was downloaded is whole: keep it."""
        self._partial.rename(self._model)
        draft = self._record.with_suffix(".tmp")
        draft.write_bytes(msgspec.json.encode(record))
        draft.rename(self._record)

    def hold(self, lease: "Lease", discard: Callable[[], bool]) -> None:
        """Keep an entry of the shared volume where it is, until it is released; `discard` removes it, unless others read it."""
        self._lease, self._discard = lease, discard

    def release(self) -> None:
        """The model is in memory, or given up: others may remove what this pod held."""
        if self._lease is not None:
            self._lease.release()
        self._lease = None

    def forget(self) -> None:
        """Remove everything that is this pod's, so that the next attempt downloads anew, past the shared volume."""
        self._wipe()
        self.is_distrusted = self.is_distrusted or self._lease is not None
        self.release()

    def settle(self) -> None:
        """The model serves. If only what was downloaded anew did, the shared entry was at fault, and not this pod's keys: it goes."""
        if self.is_distrusted:
            with suppress(OSError):
                self._discard()

    def _wipe(self) -> None:
        self._record.unlink(missing_ok=True)
        for folder in (self._partial, self._model):
            shutil.rmtree(folder, ignore_errors=True)
