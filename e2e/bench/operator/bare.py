"""What the API server can take: the same objects written by a client that does nothing else, over 16 connections.

For each model it makes the ModelDeployment, writes the three children as our operator's plan has them, side by side, and patches the
status: as many requests of the same kinds and sizes. `apply` writes the children by server-side apply, as our operator does; `create` by
POST, which costs the API server less and says nothing about who owns which field.
Run as a program: bare.py URL USER PREFIX COUNT apply|create.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from e2e.bench.operator.contestants import MODELS, manifest, planned, status
from e2e.bench.operator.load import Json, Load, connected, each, names


async def write(load: Load, namespace: str, name: str, *, by_apply: bool) -> None:
    """One model and all that is written for it."""
    made = await load.request("POST", MODELS.format(namespace), manifest(namespace, name))
    uid = made["metadata"]["uid"]
    await asyncio.gather(*(_child(load, child, by_apply=by_apply) for child in planned(namespace, name, uid)))
    at = f"{MODELS.format(namespace)}/{name}/status?fieldManager=bare"
    await load.request("PATCH", at, {"status": status(namespace, name, uid)}, "application/merge-patch+json")


async def _child(load: Load, child: Json, *, by_apply: bool) -> None:
    path = PATHS[child["kind"]].format(child["metadata"]["namespace"])
    if not by_apply:
        await load.request("POST", path, child)
        return
    at = f"{path}/{child['metadata']['name']}?fieldManager=bare&force=false"
    await load.request("PATCH", at, child, "application/apply-patch+yaml")


PATHS = {
    "Service": "/api/v1/namespaces/{}/services",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
}


async def main(url: str, user: str, prefix: str, count: int, *, by_apply: bool) -> None:
    async with connected(url, user) as load:
        models = names(prefix, count)

        async def one(at: Any) -> None:
            await write(load, *at, by_apply=by_apply)

        await each(models, one)
    print(json.dumps({"models": count}))


if __name__ == "__main__":
    _, _url, _user, _prefix, _count, _how = sys.argv
    asyncio.run(main(_url, _user, _prefix, int(_count), by_apply=_how == "apply"))
