"""The load path, from a URI to a warm model, and what happens when a step of it fails.

`serve.py` awaits `load` beside the admin server, which shows `Report` meanwhile. It must not know about requests.

    fetch ▶ verify ▶ decrypt ▶ load ▶ warm up ▶ OnnxModel            decrypt: a sealed model only (guard.py)
      │                 │ the key service is away: shown in the report, tried again, as below
      │ transient: shown in the report, tried again after 0.5 s, 1 s, 2 s … 30 s, with jitter, or when the store asks to be
      │ the same truncation five times: permanent        a minute without a byte: FetchStalled
      └ permanent: raised; a downloaded model is removed first, so that a repaired bucket heals a restart.
        When it came from before the restart it is fetched anew, once: its keys may have been changed since (rewrap).
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from modelward_runtime.config import Boot
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.guard import Guard, Verified, decrypt, unwrap, verify
from modelward_runtime.hardware import Hardware
from modelward_runtime.memory import Plaintext
from modelward_runtime.report import Report, State
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.found import Fetched
from modelward_runtime.store.receiving import Progress
from modelward_runtime.threads import in_thread

if TYPE_CHECKING:
    from modelward_runtime.engine import OnnxModel
    from modelward_runtime.store.sealed.opening import Checked

T = TypeVar("T")
log = logging.getLogger(__name__)


class Patience(msgspec.Struct, frozen=True):
    """Seconds, and how often; `jitter` gives a factor in [0, 1)."""

    stall: float = 60.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    truncations: int = 5
    tick: float = 1.0
    note_every: float = 10.0
    jitter: Callable[[], float] = random.random


async def load(
    boot: Boot, guard: Guard, cache: Cache, report: Report, hardware: Hardware, patience: Patience
) -> "OnnxModel":
    """A model that is ready to serve; LoadError when the process had better give up."""
    try:
        return await _load_once(boot, guard, cache, report, hardware, patience)
    except LoadError as error:
        if not (report.cached and error.stage in {"verify", "decrypt"}):
            raise
        log.warning("the model from before the restart is refused, it is fetched anew", extra={"cause": error.message})
        cache.forget()
        report.enter(State.FETCHING)
        return await _load_once(boot, guard, cache, report, hardware, patience)


async def _load_once(
    boot: Boot, guard: Guard, cache: Cache, report: Report, hardware: Hardware, patience: Patience
) -> "OnnxModel":
    try:
        fetched = await _fetch(boot, cache, report, patience)
        report.enter(State.VERIFYING)
        verified = await in_thread(partial(verify, boot.model, fetched, guard, report.wall), "verify")
        _tell_verified(verified, report)
        model = (
            fetched.file
            if verified.sealed is None
            else await _decrypt(boot, verified.sealed, guard, report, hardware, patience)
        )
        report.enter(State.LOADING)
        loaded = await in_thread(partial(_open, boot, model, hardware), "load")
        report.execution_provider = loaded.execution_provider
        report.enter(State.WARMING_UP)
        loaded = await in_thread(partial(_warm_up, boot, loaded), "warm-up")
        cache.settle()
    except LoadError as error:
        report.fail(error)
        if error.stage != "fetch" and not boot.model.directory:
            cache.forget()
        raise
    finally:
        cache.release()
    return loaded


async def _fetch(boot: Boot, cache: Cache, report: Report, patience: Patience) -> Fetched:
    """Fetch until it works or until trying again makes no sense."""
    fetched = await _persist(lambda: _fetch_once(boot, cache, patience), report, patience)
    report.digest, report.size, report.cached = fetched.digest, fetched.size, fetched.cached
    log.info("model on disk", extra={"digest": fetched.digest, "bytes": fetched.size, "cached": fetched.cached})
    return fetched


async def _decrypt(
    boot: Boot, sealed: "Checked", guard: Guard, report: Report, hardware: Hardware, patience: Patience
) -> Plaintext:
    """Unwrap until the key service answers; then decrypt into memory."""
    report.enter(State.DECRYPTING)
    unwrapped = await _persist(lambda: in_thread(partial(unwrap, sealed, guard), "unwrap"), report, patience)
    key = unwrapped.key
    plaintext = await in_thread(partial(decrypt, boot.model, sealed, unwrapped, hardware.threads), "decrypt")
    report.encrypted, report.key_id, report.key_version = True, key.kek_id, key.kek_version
    log.info(
        "model decrypted in memory",
        extra={"provider": key.provider, "key_id": key.kek_id, "key_version": key.kek_version},
    )
    return plaintext


async def _persist(attempt: Callable[[], Awaitable[T]], report: Report, patience: Patience) -> T:
    """Try until it works; LoadError when trying again makes no sense. The report shows the last failure meanwhile."""
    pause, truncations = patience.first_pause, 0
    while True:
        try:
            result = await attempt()
        except LoadError as error:
            truncations += error.reason is LoadReason.TRUNCATED
            if error.permanent or error.reason is LoadReason.FETCH_STALLED:
                raise
            if truncations >= patience.truncations:
                raise LoadError(
                    error.reason, f"{error.message} ({truncations} times)", "fetch", permanent=True
                ) from error
            report.fail(error)
            wait = max(pause * (0.5 + patience.jitter() / 2), error.retry_after)
            log.warning(error.message, extra={"reason": str(error.reason), "retry_seconds": round(wait, 2)})
            await asyncio.sleep(wait)
            pause = min(pause * 2, patience.longest_pause)
        else:
            report.failure = None
            return result


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


def _tell_verified(verified: Verified, report: Report) -> None:
    report.digest, report.verified = verified.digest, verified.digest_declared
    report.signer, report.verified_time, report.verification_warning = verified.signer, verified.time, verified.warning
    if verified.signer:
        log.info(
            "signature verified",
            extra={"signer": verified.signer["name"], "fingerprint": verified.signer["fingerprint"]},
        )
    if verified.warning:
        log.warning(
            "served although its signature does not hold, as security.verification.mode is Warn: %s", verified.warning
        )


def _open(boot: Boot, source: Path | Plaintext, hardware: Hardware) -> "OnnxModel":
    """A session of the model; plaintext is wiped, whatever comes of it."""
    from modelward_runtime.lean import import_numpy  # noqa: PLC0415  start-up: imported beside the fetch, off the loop

    import_numpy()
    from modelward_runtime import engine  # noqa: PLC0415  as above

    with source if isinstance(source, Plaintext) else contextlib.nullcontext():
        return engine.load(
            source,
            boot.model.name,
            boot.model.version,
            threads=boot.engine.threads,
            accelerator=boot.engine.accelerator,
            cuda=boot.engine.cuda,
            hardware=hardware,
        )


def _warm_up(boot: Boot, model: "OnnxModel") -> "OnnxModel":
    from modelward_runtime import warming  # noqa: PLC0415  as above

    batching = boot.batching
    return warming.warm_up(
        model,
        batching.max_batch_size if batching else 1,
        padded=batching is not None and batching.padding == "PowersOfTwo",
        graphs=boot.engine.cuda.graphs,
        device="cuda" if model.execution_provider != "CPUExecutionProvider" else "",
    )
