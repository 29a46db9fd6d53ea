"""Kopf is the doorbell: an event on a ModelDeployment puts its key on the queue, and nothing else happens here.

Only `on.event`, `on.startup`, `on.cleanup` and `on.login` (tests/unit/test_kopf_lint.py): they make kopf write nothing at all, no
finalizer, no annotation, no status. Retries, order and time belong to workqueue.py. What a pass reads comes from cluster/store.py,
which is fed here for ModelDeployments and by cluster/watch.py for their children.

Called by main.py, which hands over the functions to call; there is no state here.
"""

import asyncio
import contextlib
import sys
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator
from typing import Any, Final, Protocol

import kopf

from modelward_operator.facts import Json

GROUP, VERSION, PLURAL = "modelward.dev", "v1alpha1", "modeldeployments"
WATCH: Final = "infinite_watch"
"""The name of kopf's generator of events."""
Watch = AsyncGenerator[Any, Any]


class Doorbell(Protocol):
    """What an event does."""

    def __call__(self, event: str | None, obj: Json) -> None:
        """Take an event's type (None: part of a listing) and the raw object."""


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no last-seen state: kopf would copy and compare every object with it, and nobody asks for the difference."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> Any:  # noqa: ANN401  -- kopf's signature
        return {}

    def fetch(self, *, body: kopf.Body) -> None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: object) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Keeps no handler state: `on.event` has none."""

    def fetch(self, *, key: str, body: kopf.Body) -> None:
        return None

    def store(self, *, key: str, record: object, body: kopf.Body, patch: kopf.Patch) -> None:
        return None

    def purge(self, *, key: str, body: kopf.Body, patch: kopf.Patch) -> None:
        return None

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:  # noqa: ANN401  -- kopf's signature
        return essence


def kopf_settings() -> kopf.OperatorSettings:
    """Return settings that make kopf write nothing, notice dead watches and ask for no rights that it does not need."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    settings.scanning.disabled = (
        True  # no watching of CRDs and namespaces: main.py waits for the CRD before it starts kopf
    )
    settings.watching.server_timeout = 300
    settings.watching.inactivity_timeout = 70
    settings.watching.chunk_size = 100
    settings.networking.connect_timeout = 5
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.queueing.idle_timeout = 1  # the per-object task waits this long for more events of its object
    settings.process.ultimate_exiting_timeout = 20
    return settings


def registry(
    doorbell: Doorbell,
    login: Callable[[], Awaitable[dict[str, Any]]],
    *,
    started: Callable[[], None],
    stopped: Callable[[], None],
) -> kopf.OperatorRegistry:
    """Return kopf's handlers, wired to `doorbell`; `started` and `stopped` mark kopf's life.

    `login` gives the credentials of our own client, when kopf starts and whenever the API server answers 401.
    """
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def _login(**_: object) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**await login())

    @kopf.on.startup(registry=handlers)
    async def _startup(**_: object) -> None:
        started()

    @kopf.on.cleanup(registry=handlers)
    async def _cleanup(**_: object) -> None:
        stopped()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def _event(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401  -- kopf passes a dozen more
        doorbell(event["type"], event["object"])

    return handlers


async def listen(handlers: kopf.OperatorRegistry, namespaces: Collection[str], *, spawned: Callable[[], None]) -> None:
    """Run kopf until it fails or is cancelled; its end is the process's.

    Kopf takes the process's signals when it spawns its tasks; `spawned` is called right after, to take them back.
    """
    with _watches() as begun:
        try:
            tasks_of_others = asyncio.all_tasks()
            tasks = await kopf.spawn_tasks(
                registry=handlers,
                settings=kopf_settings(),
                standalone=True,
                identity="modelward",  # type: ignore[arg-type]  # kopf keeps the type private; left out, it asks for a user that no image has
                clusterwide=not namespaces,
                namespaces=list(namespaces),
            )
            spawned()
            await kopf.run_tasks(tasks, ignored=tasks_of_others)
        finally:
            await _close(begun)


@contextlib.contextmanager
def _watches() -> Iterator[list["weakref.ref[Watch]"]]:
    """Note the watches that kopf begins meanwhile."""
    begun: list[weakref.ref[Watch]] = []
    usual = sys.get_asyncgen_hooks().firstiter

    def note(generator: Watch) -> None:
        if getattr(generator, "__name__", "") == WATCH:
            begun.append(weakref.ref(generator))
        if usual is not None:
            usual(generator)

    sys.set_asyncgen_hooks(firstiter=note)
    try:
        yield begun
    finally:
        sys.set_asyncgen_hooks(firstiter=usual)


async def _close(begun: Collection["weakref.ref[Watch]"]) -> None:
    """Close the watches that kopf leaves open when it is stopped between two events.

    Left to asyncio, a watch and the context managers that it stands in are closed at the same time as the process ends, which fails
    (`generator didn't stop after athrow`), and is logged as an error.
    """
    for watch in filter(None, (reference() for reference in begun)):
        with contextlib.suppress(RuntimeError):  # somebody waits for its next event still, and ends it
            await watch.aclose()
