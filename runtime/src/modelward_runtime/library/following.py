"""`modelward serve PATH --reload`: a new version on disk is loaded beside the one that serves, and takes its place.

`serve.py` runs `follow` beside the ports once the model serves. A version that cannot be verified or loaded leaves the old one serving,
with one line that says why; it is tried again when the files change again.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from modelward_runtime.errors import LoadError
from modelward_runtime.library.loading import Loaded, Loader, changes, look
from modelward_runtime.library.settling import NOTHING, Look, Settling
from modelward_runtime.model import Face, face_of

EVERY: Final = 1.0
"""Seconds between two looks."""
_log = logging.getLogger(__name__)


class Following:
    """One model, and the path that it came from. `swap` puts another in its place, `refuse` hears why one was not taken."""

    def __init__(
        self,
        path: Path,
        served: Look,
        loader: Loader,
        swap: Callable[[Loaded], None],
        refuse: Callable[[LoadError], None],
    ) -> None:
        self._path = path
        self._settling = Settling(served)
        self._loader = loader
        self._swap = swap
        self._refuse = refuse
        self._missing = False

    async def follow(self, face: Face) -> None:
        """Until cancelled; `face` is of what serves now, whose memory is not to be kept."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                face = await self.look_once(face)
            except Exception:  # noqa: BLE001  the last border: a flaw of ours must not end the watch
                _log.exception("to follow the model failed unexpectedly, the old one goes on")

    async def look_once(self, face: Face) -> Face:
        """Look, and load if there is something new that stands still; of the model that serves then."""
        now = await look(self._path)
        if self._note_missing(now == NOTHING) or not self._settling.see(now):
            return face
        _log.info("the model has changed on disk, it is loaded beside the one that serves")
        try:
            loaded = await self._loader.load(face.name, face.version, self._path)
        except LoadError as error:
            self._settling.know(now)
            self._refuse(error)
            tell_refused(face.name, error)
            return face
        self._settling.know(loaded.look)
        self._swap(loaded)
        tell_swapped(face, loaded)
        return face_of(loaded.model)

    def _note_missing(self, missing: bool) -> bool:
        if missing and not self._missing:
            _log.warning("%s is not there any more; the model that was loaded from it serves on", self._path)
        self._missing = missing
        return missing


def tell_swapped(before: Face, loaded: Loaded) -> None:
    """One line: which bytes serve now, and what callers will notice."""
    told: dict[str, object] = {"model": before.name, "version": loaded.model.version, "digest": loaded.report.digest}
    told["stage_seconds"] = loaded.report.stage_seconds
    different = changes(before, face_of(loaded.model))
    if different:
        _log.warning("reloaded, and callers will notice: %s", different, extra=told)
    else:
        _log.info("reloaded", extra=told)


def tell_refused(name: str, error: LoadError) -> None:
    """One line: why the new version does not serve, and that the old one does."""
    told = {"model": name, "reason": str(error.reason), "stage": error.stage}
    _log.error("the new version is not served, the old one goes on: %s", error.message, extra=told)
