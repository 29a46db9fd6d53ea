"""Loads a model beside one that serves: the whole load path of a start, with a report of its own, so that nothing serving notices.

Used by `following.py` (`modelward serve PATH --reload`) and by `library.py`. What is loaded is what lay there before and after: a file that
changed meanwhile is read again, since half of one and half of the other would pass for a model. It must not serve anything.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from modelward_runtime.config import Boot
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.guard import Guard
from modelward_runtime.hardware import Hardware
from modelward_runtime.library.settling import NOTHING, Look, look_at
from modelward_runtime.load import Patience, load
from modelward_runtime.model import Face, TensorSpec
from modelward_runtime.report import Report, State
from modelward_runtime.store.cache import Cache
from modelward_runtime.threads import in_thread

if TYPE_CHECKING:
    from modelward_runtime.engine import OnnxModel

ATTEMPTS: Final = 5
"""How often a model is read that changes while it is read."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A warm model, what is known of it, and the files that it was made from."""

    model: "OnnxModel"
    report: Report
    look: Look


@dataclass(frozen=True)
class Loader:
    """Loads from local paths what `boot` says but for the model, held to `guard`. `pause` lets seconds pass."""

    boot: Boot
    guard: Guard
    hardware: Hardware
    patience: Patience
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def load(self, name: str, version: str, path: Path) -> Loaded:
        """The model, verified and warm; LoadError when it cannot be had."""
        for attempt in range(ATTEMPTS):
            if attempt:
                await self.pause(1.0)
            before = await look(path)
            report = Report(self._boot_of(name, version, path), "")
            model = await load(report.boot, self.guard, Cache(path), report, self.hardware, self.patience)
            report.enter(State.READY)
            if before != NOTHING and before == await look(path):
                return Loaded(model, report, before)
            _log.info("the model changed while it was loaded, it is read again", extra={"model": name})
        raise LoadError(LoadReason.TRUNCATED, f"{path} goes on changing while it is read", "load", permanent=False)

    def _boot_of(self, name: str, version: str, path: Path) -> Boot:
        source = msgspec.structs.replace(
            self.boot.model, name=name, version=version, uri=str(path), directory=str(path)
        )
        return msgspec.structs.replace(self.boot, model=source)


async def look(path: Path) -> Look:
    """What lies there now, looked at on a thread: the file system may be slow."""
    return await in_thread(lambda: look_at(path), "look")


def changes(before: Face, after: Face) -> str:
    """What callers will notice of the tensors: a phrase for each input and output that came, went or is another; empty: nothing."""
    told: list[str] = []
    for kind, old, new in (("input", before.inputs, after.inputs), ("output", before.outputs, after.outputs)):
        were, are = {spec.name: spec for spec in old}, {spec.name: spec for spec in new}
        told += [f"{kind} {name!r} is gone" for name in were if name not in are]
        told += [f"{kind} {name!r} {_shown(spec)} is new" for name, spec in are.items() if name not in were]
        told += [
            f"{kind} {name!r} was {_shown(were[name])} and is {_shown(spec)}"
            for name, spec in are.items()
            if name in were and were[name] != spec
        ]
    return "; ".join(told)


def _shown(spec: TensorSpec) -> str:
    return f"{spec.datatype}[{','.join(str(axis) if axis >= 0 else '?' for axis in spec.shape)}]"
