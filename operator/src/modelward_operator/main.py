"""The operator's process: make the parts, connect them, and end as a whole when any of them ends.

    kopf (ModelDeployments) ─┐                       ┌─▶ worker ─▶ reconcile ─▶ API
    streams (children) ──────┼─▶ store ─▶ queue ──────┼─▶ worker ─▶ …
    relist every 5 minutes ──┘                       └─▶ …           only while the Lease is held

Crash-only: nothing in memory that cannot be rebuilt, so whatever breaks for good (kopf, a Lease lost, a bug in a loop) ends the
process, and Kubernetes starts it anew. SIGTERM lets passes in flight finish, gives the Lease back and exits 0.
Called by cli.py. No decision about models is made here.
"""

import asyncio
import asyncio.sslproto
import contextlib
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from modelward_operator import log
from modelward_operator.cluster.client import NotFound
from modelward_operator.cluster.lease import LeaseLost
from modelward_operator.cluster.watch import Stream
from modelward_operator.errors import Conflict, OperatorError, Unreadable
from modelward_operator.facts import Key
from modelward_operator.handlers import listen, registry
from modelward_operator.parts import RELIST, Parts, make_parts
from modelward_operator.probes import serve
from modelward_operator.reconcile import reconcile
from modelward_operator.settings import BadSettings, Settings, read_settings

PASS_LIMIT: Final = 120.0
GRACE: Final = 2.0
"""Seconds that passes in flight have to finish on SIGTERM."""

DEEPEST: Final = 12_000
"""How deeply Python may call itself: the API server takes objects of 10,000 levels (in metadata.managedFields from whoever may write one),
and with the usual 1,000 the first of them in a listing, or in kopf's watch, would end the process, again and again. What is so deep is
not kept (cluster/compact.py); reading it takes 3 MB of the stack's 8."""
TLS_BUFFER: Final = 2 * 16 * 1024
"""Bytes that asyncio keeps for each TLS connection to read into: two records. By itself it keeps 256 KiB, for some fifty connections."""

logger = logging.getLogger("modelward_operator")


def run() -> int:
    """Run the operator by its environment; return its exit status: 0 stopped, 1 broken, 2 wrongly configured."""
    try:
        settings = read_settings(os.environ)
    except BadSettings as error:
        log.configure(logging.INFO)
        logger.error("settings: %s", error)  # noqa: TRY400  -- a user's mistake needs no traceback
        return 2
    log.configure(settings.log_level)
    asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER
    sys.setrecursionlimit(DEEPEST)
    try:
        asyncio.run(operate(settings, asyncio.Event()))
    except OperatorError as error:
        logger.error("ending: %s", error)  # noqa: TRY400  -- expected: the process starts anew
        return 1
    except Exception:
        logger.exception("ending")
        return 1
    return 0


async def operate(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set or a signal comes; raises when any part ends otherwise."""
    async with (
        make_parts(settings) as parts,
        serve(
            settings.health_port,
            settings.metrics_port,
            healthy=parts.sick,
            ready=parts.unready,
            metrics=parts.metrics.text,
        ) as (health, metrics),
    ):
        logger.info("started", extra={"health": health, "metrics": metrics, "identity": settings.identity})
        life = asyncio.create_task(_live(parts, stop), name="operator")
        stopper = asyncio.create_task(stop.wait(), name="stop")
        _take_signals(stop)
        try:
            await asyncio.wait({life, stopper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _wind_down(parts, life, stopper)


async def _live(parts: Parts, stop: asyncio.Event) -> None:
    """Everything that runs for ever, as one: the first to fail ends all."""
    await _wait_for_crds([*parts.models, *parts.policies])
    namespaces = parts.settings.watch_namespaces
    handlers = registry(
        parts.doorbell,
        parts.client.credentials,
        started=lambda: logger.debug("kopf started"),
        stopped=lambda: logger.debug("kopf stopped"),
    )
    async with asyncio.TaskGroup() as group:
        for stream in parts.streams:
            group.create_task(stream.run(), name=f"stream {stream.kind}")
        await asyncio.gather(*(stream.listed.wait() for stream in parts.streams))
        logger.info("listed", extra={"objects": dict(parts.store.sizes())})
        gc.collect()
        gc.freeze()  # what was loaded by now stays: later collections need not look at it
        group.create_task(_endless(listen(handlers, namespaces, spawned=lambda: _take_signals(stop))), name="kopf")
        group.create_task(_relist(parts), name="relist")
        await _lead(parts, group)


async def _lead(parts: Parts, group: asyncio.TaskGroup) -> None:
    """Wait for the Lease, then work."""
    if parts.settings.leader_election:
        logger.info("waiting for the lease")
        await parts.lease.acquire()
        group.create_task(parts.lease.keep(), name="lease")
        parts.queue.demote(2.0 * parts.settings.lease_seconds)
    parts.metrics.leading.set(1)
    logger.info("leading")
    for name, duty in parts.duties.items():
        group.create_task(duty(), name=name)
    for number in range(parts.settings.workers):
        group.create_task(_work(parts), name=f"worker {number}")


async def _work(parts: Parts) -> None:
    """One worker: a key, a pass, and what to do with the key after it."""
    while True:
        key = await parts.queue.get()
        begun, result = time.perf_counter(), "failed"
        try:
            with log.correlate(key, parts.rings.take(key)):
                result = await _pass(parts, key)
        finally:
            parts.metrics.passes.labels(result).observe(time.perf_counter() - begun)
            parts.queue.done(key)


async def _pass(parts: Parts, key: Key) -> str:
    """Run one pass; returns its result for the metrics. A pass that fails is tried again with back-off, whatever it failed of."""
    try:
        async with asyncio.timeout(PASS_LIMIT):
            again = await reconcile(key, parts.cluster)
    except LeaseLost:
        raise
    except OperatorError as error:
        result = "conflict" if isinstance(error, Conflict) else "unreadable"
        delay = parts.queue.retry(key)
        logger.warning("pass ended early", extra={"result": result, "error": str(error), "retry": round(delay, 2)})
        return result
    except Exception:
        parts.metrics.errors.labels("reconcile").inc()
        delay = parts.queue.retry(key)
        logger.exception("pass failed", extra={"retry": round(delay, 2)})
        return "failed"
    parts.queue.forget(key)
    if again is None:
        return "success"
    parts.queue.add_after(key, again)
    return "requeued"


async def _wait_for_crds(streams: Iterable[Stream]) -> None:
    """List what users write, once; without their CRDs there is nothing to do but wait for them."""
    for stream in streams:
        while True:
            try:
                await stream.list()
            except NotFound:
                logger.warning("waiting for the CRD", extra={"crd": stream.crd})
            except Unreadable as error:
                logger.warning("waiting for the API server", extra={"error": str(error)})
            else:
                break
            await asyncio.sleep(2.0)


async def _relist(parts: Parts) -> None:
    """List the ModelDeployments now and then: a deletion that fell between two of kopf's watches is found here."""
    while True:
        await asyncio.sleep(RELIST)
        try:
            for stream in parts.models:
                await stream.list()
        except OperatorError as error:
            parts.metrics.errors.labels("relist").inc()
            logger.warning("listing failed", extra={"error": str(error)})


async def _endless(coroutine: Coroutine[Any, Any, None]) -> None:
    """Turn the silent end of something that should run for ever into an error."""
    await coroutine
    raise OperatorError("kopf ended")


def _take_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ValueError, RuntimeError):  # not the main thread, as in tests
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)


async def _wind_down(parts: Parts, life: asyncio.Task[None], stopper: asyncio.Task[bool]) -> None:
    """Let passes in flight finish, give the Lease back, end the rest; raises what ended `life`."""
    stopper.cancel()
    parts.queue.close()
    limit = time.monotonic() + GRACE
    while parts.queue.processing and not life.done() and time.monotonic() < limit:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    broken = life.done()
    await parts.lease.release()
    life.cancel()
    await asyncio.wait({life}, timeout=GRACE)
    logger.info("stopped")
    if broken and not life.cancelled():
        _raise_first(life.exception())


def _raise_first(error: BaseException | None) -> None:
    """Raise the first error of a task group: the others only followed it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error
