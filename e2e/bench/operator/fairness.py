"""As many broken models as good ones: whether the good ones wait longer for it.

    1. good models are made, and changed ten times a second                       nobody else is there
    2. broken ones are made, and the operator has told each what is wrong
    3. as many good models are made, and changed, again                           among broken ones, which are looked at again and again

A third each: a child of that name is somebody else's; the PrivacyPolicy that it names does not exist; a quota lets no Deployment in.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any, Final

from e2e.bench.operator import meter
from e2e.bench.operator.contestants import MODELS, THREE, Contestant
from e2e.bench.operator.load import Json, Load, Name, each, names
from e2e.bench.operator.measure import Watched, changes, creation, started
from e2e.bench.operator.place import Place, program

SETTLE: Final = 20.0
CHANGES: Final = 200
REASONS: Final = ("stranger", "policy", "quota")


async def fairness(where: Place, load: Load, who: Contestant, size: int, *, urgent: bool) -> dict[str, Any]:
    """Latencies of the good ones, alone and among as many broken ones."""
    before, after = names("good", size), names("later", size)
    bad = [model for reason in REASONS for model in names(f"bad-{reason}", size // len(REASONS))]
    for some in (before, after, bad):
        await load.make_namespaces(some)
    found: dict[str, Any] = {"good": size, "broken": len(bad)}
    with program(where, who.key, who.command, who.environment) as process:
        it = Watched(who, process, where.log)
        await started(it)
        with meter.urgent([*where.server.pids, it.pid, os.getpid()], wanted=urgent):
            found["alone"] = await _both(it, load, before)
        await break_things(load, who, bad)
        await _told(load, bad)
        await asyncio.sleep(SETTLE)
        used, begun = meter.cpu(it.pid), time.monotonic()
        await asyncio.sleep(SETTLE)
        found["cpuForBroken"] = (meter.cpu(it.pid) - used) / (time.monotonic() - begun)
        with meter.urgent([*where.server.pids, it.pid, os.getpid()], wanted=urgent):
            found["among"] = await _both(it, load, after)
    return found


async def _both(it: Watched, load: Load, models: Sequence[Name]) -> dict[str, Any]:
    it.awaits_quiet = False
    made = await creation(it, load, models)
    changed = await changes(it, load, models, min(CHANGES, len(models)))
    return {"create": made["latency"], "perSecond": made["perSecond"], "change": changed["latency"]}


async def break_things(load: Load, who: Contestant, models: Sequence[Name]) -> None:
    """Make models of which nothing can become."""

    for namespace in sorted({namespace for namespace, _ in models if "quota" in namespace}):
        quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
        await load.request("POST", quotas, _quota())
        hard = _quota()["spec"]["hard"]  # admission goes by the status, which a controller would write
        body = {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}
        await load.request("PATCH", f"{quotas}/none/status", body, "application/merge-patch+json")

    async def one(model: Name) -> None:
        namespace, name = model
        body = who.manifest(namespace, name)
        if "stranger" in namespace:
            await load.request("POST", THREE["Service"].format(namespace), _strangers(namespace, name))
        elif "policy" in namespace:
            body["spec"]["privacy"] = {"policyRef": {"name": "nowhere"}}
        await load.request("POST", MODELS.format(namespace), body)

    await each(models, one)


def _quota() -> Json:
    spec = {"hard": {"count/deployments.apps": "0"}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": spec}


def _strangers(namespace: str, name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "else"}},
    }


async def _told(load: Load, models: Sequence[Name]) -> None:
    """Wait until each has been told that it is not Ready."""
    async with asyncio.timeout(900):
        for namespace in sorted({namespace for namespace, _ in models}):
            while not await _all_told(load, namespace):  # noqa: ASYNC110  -- it is another process
                await asyncio.sleep(0.5)


async def _all_told(load: Load, namespace: str) -> bool:
    items = (await load.request("GET", MODELS.format(namespace)))["items"]
    conditions = [item.get("status", {}).get("conditions", ()) for item in items]
    return all(any(c["type"] == "Ready" and c["status"] == "False" for c in found) for found in conditions)
