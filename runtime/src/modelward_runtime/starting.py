"""What makes a start fast, apart from what it leaves out. Called by `cli.py` and `serve.py`.

A start waits for Python's imports, which hold the interpreter; reading, hashing, decrypting and making a session do without it.

    gc off ▶ imports of the process ▶ [a sealed model is verified] ▶ imports of the ports, beside decryption and session ▶ gc on
"""

import asyncio
import gc
from typing import Any, Final

from modelward_runtime.config import Boot
from modelward_runtime.guard import Guard
from modelward_runtime.report import Report, State

_HEAD_START: Final = 0.1  # seconds


def keep_imports() -> None:
    """All is imported: look for garbage again, from here on. `cli.py` has disabled it, since in modules there is none."""
    gc.freeze()
    gc.enable()


async def let_verify(boot: Boot, guard: Guard, report: Report, loading: "asyncio.Task[Any]") -> None:
    """Wait a moment until a sealed model that is here already is verified, before the imports begin.

    That is Python's work, file by file: beside an import it would wait for its turn after each file, and slow the import down.
    """
    if not (boot.model.directory and guard.kek):
        return
    verified = asyncio.Event()
    report.on_enter = lambda state: None if state is State.VERIFYING else verified.set()
    waiting = asyncio.ensure_future(verified.wait())
    await asyncio.wait({loading, waiting}, timeout=_HEAD_START, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
