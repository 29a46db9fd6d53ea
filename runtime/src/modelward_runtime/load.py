"""The load path, from a URI to a warm model, and what happens when a step of it fails.

`serve.py` awaits `load` beside the admin server, which shows `Report` meanwhile. It must not know about requests.

    fetch ▶ verify ▶ load ▶ warm up ▶ OnnxModel
      │ transient: shown in the report, tried again after 0.5 s, 1 s, 2 s … 30 s, with jitter
      │ the same truncation five times: permanent        a minute without a byte: FetchStalled
      └ permanent: raised; a downloaded model is removed first, so that a repaired bucket heals a restart
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from modelward_runtime.config import Boot
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.hardware import Hardware
from modelward_runtime.report import Report, State
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import Fetched, Progress, fetch
from modelward_runtime.threads import in_thread

if TYPE_CHECKING:
    from modelward_runtime.engine import OnnxModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """Seconds, and how often; `jitter` gives a factor in [0, 1)."""

    stall: float = 60.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    truncations: int = 5
    tick: float = 1.0
    note_every: float = 10.0
    jitter: Callable[[], float] = random.random


async def load(boot: Boot, cache: Cache, report: Report, hardware: Hardware, patience: Patience) -> "OnnxModel":
    """A model that is ready to serve; LoadError when the process had better give up."""
    try:
        fetched = await _fetch(boot, cache, report, patience)
        report.enter(State.VERIFYING)
        _verify(boot, fetched, report)
        report.enter(State.LOADING)
        model = await in_thread(partial(_open, boot, fetched, hardware), "load")
        report.execution_provider = model.execution_provider
        report.enter(State.WARMING_UP)
        await in_thread(partial(_warm_up, model), "warm-up")
    except LoadError as error:
        report.fail(error)
        if error.stage != "fetch" and not boot.model.directory:
            cache.forget()
        raise
    return model


async def _fetch(boot: Boot, cache: Cache, report: Report, patience: Patience) -> Fetched:
    """Fetch until it works or until trying again makes no sense."""
    pause, truncations = patience.first_pause, 0
    while True:
        try:
            fetched = await _fetch_once(boot, cache, patience)
        except LoadError as error:
            truncations += error.reason is LoadReason.TRUNCATED
            if error.permanent or error.reason is LoadReason.FETCH_STALLED:
                raise
            if truncations >= patience.truncations:
                raise LoadError(
                    error.reason, f"{error.message} ({truncations} times)", "fetch", permanent=True
                ) from error
            report.fail(error)
            wait = pause * (0.5 + patience.jitter() / 2)
            log.warning(error.message, extra={"reason": str(error.reason), "retry_seconds": round(wait, 2)})
            await asyncio.sleep(wait)
            pause = min(pause * 2, patience.longest_pause)
        else:
            report.digest, report.size, report.cached = fetched.digest, fetched.size, fetched.cached
            report.failure = None
            log.info("model on disk", extra={"digest": fetched.digest, "bytes": fetched.size, "cached": fetched.cached})
            return fetched


async def _fetch_once(boot: Boot, cache: Cache, patience: Patience) -> Fetched:
    """One attempt, watched: LoadError FetchStalled when nothing comes any more."""
    progress = Progress()
    attempt = asyncio.ensure_future(
        in_thread(lambda: fetch(boot.model, cache, progress, patience.stall), "fetch"),
    )
    noted = progress.clock()
    while not (await asyncio.wait({attempt}, timeout=patience.tick))[0]:
        if progress.idle() > patience.stall:
            progress.cancelled = True
            attempt.cancel()
            raise LoadError(
                LoadReason.FETCH_STALLED,
                f"{boot.model.uri}: no byte came for {patience.stall:g} s "
                f"({progress.received} of {progress.total or 'an unknown number of'} bytes are there)",
                "fetch",
                permanent=False,
            )
        if progress.clock() - noted >= patience.note_every:
            noted = progress.clock()
            log.info("fetching", extra={"received_bytes": progress.received, "total_bytes": progress.total})
    return attempt.result()


def _verify(boot: Boot, fetched: Fetched, report: Report) -> None:
    declared = boot.model.digest
    if declared is None:
        return
    if declared != fetched.digest:
        raise LoadError(
            LoadReason.DIGEST_MISMATCH,
            f"{boot.model.uri} has the digest {fetched.digest}, declared is {declared}",
            "verify",
            permanent=True,
        )
    report.verified = True


def _open(boot: Boot, fetched: Fetched, hardware: Hardware) -> "OnnxModel":
    from modelward_runtime import engine  # noqa: PLC0415  start-up: imported beside the fetch, off the loop

    return engine.load(
        fetched.file,
        boot.model.name,
        boot.model.version,
        threads=boot.engine.threads,
        accelerator=boot.engine.accelerator,
        hardware=hardware,
    )


def _warm_up(model: "OnnxModel") -> None:
    from modelward_runtime import engine  # noqa: PLC0415  as above

    engine.warm_up(model)
