"""How a process that serves one model begins, and what makes that fast, apart from what it leaves out.

`main.py` and `laptop.py` call `start`. A start waits for Python's imports, which hold the interpreter; reading, hashing, decrypting and
making a session do without it. So the model is on its way before what will serve it is imported.

    gc off ▶ little is imported ▶ fetch … load begin ▶ [a sealed model is verified] ▶ serve.py is imported, and called: admin port
           ▶ the model ports' parts are imported, beside decryption and session ▶ gc on
"""

import asyncio
import gc
from typing import TYPE_CHECKING, Final

import msgspec

from modelward_runtime import hardware
from modelward_runtime.config import Boot
from modelward_runtime.hardware import Hardware
from modelward_runtime.load import load
from modelward_runtime.report import Report, State
from modelward_runtime.store.cache import Cache
from modelward_runtime.surroundings import Surroundings
from modelward_runtime.threads import in_thread, short_turns

if TYPE_CHECKING:
    from modelward_runtime.engine import OnnxModel

_HEAD_START: Final = 0.1  # seconds


class Begun(msgspec.Struct):
    """A model on its way: what was asked for, what is told of it, and the task that will have it."""

    boot: Boot
    report: Report
    hardware: Hardware
    loading: "asyncio.Task[OnnxModel] | None"

    def take(self) -> "asyncio.Task[OnnxModel]":
        """The task, once: who keeps it keeps a model in memory that may be replaced."""
        loading, self.loading = self.loading, None
        assert loading is not None  # noqa: S101  one service lives on it
        return loading


async def start(boot: Boot, boot_id: str, surroundings: Surroundings) -> int:
    """The life of the process; its exit code."""
    begun = begin(boot, boot_id, surroundings)
    with short_turns():
        await let_verify(begun, surroundings)
        await in_thread(_import_serve, "imports")
    from modelward_runtime.serve import serve  # noqa: PLC0415  imported on a thread

    return await serve(begun, surroundings)


def begin(boot: Boot, boot_id: str, surroundings: Surroundings) -> Begun:
    """Fetch and load, from now on."""
    report, found = Report(boot, boot_id), hardware.measure()
    loading = asyncio.ensure_future(
        load(boot, surroundings.guard, Cache(surroundings.cache), report, found, surroundings.patience)
    )
    return Begun(boot, report, found, loading)


def _import_serve() -> None:
    from modelward_runtime import metrics, recording, serve  # noqa: F401, PLC0415


def keep_imports() -> None:
    """All is imported: look for garbage again, from here on. `cli.py` has disabled it, since in modules there is none."""
    gc.freeze()
    gc.enable()


async def let_verify(begun: Begun, surroundings: Surroundings) -> None:
    """Wait a moment until a sealed model that is here already is verified, before the imports begin.

    That is Python's work, file by file: beside an import it would wait for its turn after each file, and slow the import down.
    """
    if begun.loading is None or not (begun.boot.model.directory and surroundings.guard.kek):
        return
    verified = asyncio.Event()
    begun.report.on_enter = lambda state: None if state is State.VERIFYING else verified.set()
    waiting = asyncio.ensure_future(verified.wait())
    await asyncio.wait({begun.loading, waiting}, timeout=_HEAD_START, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
