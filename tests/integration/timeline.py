"""Every state that the API server ever held of a model's Deployment and of what scales it, in order.

resourceVersions count for the whole server, so that what three watches saw can be put in one order.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import DEPLOYMENT, HPA, SCALED_OBJECT, Resource
from modelward_operator.plan.names import FIELD_MANAGER, PAUSED_REPLICAS
from tests.until import PATIENCE

WATCHED = (DEPLOYMENT, HPA, SCALED_OBJECT)


@dataclass(frozen=True)
class Moment:
    """One state between two writes."""

    replicas: int
    in_charge: frozenset[str]
    """Who may write the number now: operator, HPA, KEDA. At zero an HPA does nothing, nor does the operator but hold it."""


@dataclass
class Timeline:
    """What was seen since `record` began."""

    seen: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)

    def latest(self) -> dict[tuple[str, str], int]:
        """Return the last version that was seen of each object that is not gone."""
        live: dict[tuple[str, str], int] = {}
        for version, event, obj in sorted(self.seen, key=lambda one: one[0]):
            live[_key(obj)] = version
            if event == "DELETED":
                del live[_key(obj)]
        return live

    def moments(self) -> list[Moment]:
        """Return every state in order, from the first in which the Deployment was there."""
        live: dict[tuple[str, str], dict[str, Any]] = {}
        moments = []
        for _, event, obj in sorted(self.seen, key=lambda one: one[0]):
            key = _key(obj)
            live[key] = obj
            if event == "DELETED":
                del live[key]
            if deployment := next((o for (kind, _), o in live.items() if kind == "Deployment"), None):
                moments.append(Moment(deployment["spec"]["replicas"], frozenset(_in_charge(deployment, live))))
        return moments


def _key(obj: dict[str, Any]) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def _in_charge(deployment: dict[str, Any], live: dict[tuple[str, str], dict[str, Any]]) -> set[str]:
    if deployment["spec"]["replicas"] == 0:
        return set()
    sides = {_side(obj) for (kind, _), obj in live.items() if kind != "Deployment"} - {""}
    return sides | ({"operator"} if _owns(deployment, FIELD_MANAGER) else set())


def _side(obj: dict[str, Any]) -> str:
    if obj["kind"] == HPA.kind:
        return "KEDA" if obj["metadata"]["name"].startswith("keda-hpa-") else "HPA"
    is_paused = PAUSED_REPLICAS in obj["metadata"].get("annotations", {})
    return "" if is_paused or "deletionTimestamp" in obj["metadata"] else "KEDA"


def _owns(deployment: dict[str, Any], manager: str) -> bool:
    return any(
        entry["manager"] == manager and "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in deployment["metadata"]["managedFields"]
    )


@contextlib.asynccontextmanager
async def record(admin: Client, namespace: str) -> AsyncIterator[Timeline]:
    """Watch the three kinds from here to the block's end, and only then let the timeline be read."""
    timeline = Timeline()
    tasks = []
    for resource in WATCHED:
        since = ""
        async for page, version in admin.pages(resource, namespace):
            timeline.seen += [(int(one["metadata"]["resourceVersion"]), "ADDED", one) for one in page]
            since = version
        tasks.append(asyncio.create_task(_follow(admin, resource, namespace, since, timeline)))
    try:
        yield timeline
        await _catch_up(admin, namespace, timeline)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(admin: Client, resource: Resource, namespace: str, since: str, timeline: Timeline) -> None:
    async for event in admin.watch(resource, namespace, labels="", since=since):
        if event["type"] == "BOOKMARK":
            continue
        version = int(event["object"]["metadata"]["resourceVersion"])
        timeline.seen.append((version, event["type"], event["object"]))


async def _catch_up(admin: Client, namespace: str, timeline: Timeline) -> None:
    """Wait until the last that was seen of each object is what is there: nobody writes any more."""
    there: dict[tuple[str, str], int] = {}
    for resource in WATCHED:
        async for page, _ in admin.pages(resource, namespace):
            there |= {_key(one): int(one["metadata"]["resourceVersion"]) for one in page}
    async with asyncio.timeout(PATIENCE):
        while timeline.latest() != there:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
