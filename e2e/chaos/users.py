"""What people do to models meanwhile, and what they must find in the end.

They go straight to the API server, and try again while it is away. `wanted` is what they asked for last.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from e2e.chaos.money import CORES
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import BY_KIND, MODEL, Resource
from modelward_operator.errors import OperatorError

Json = dict[str, Any]
_MOST: Final = 12


class Users:
    """Those of one namespace."""

    def __init__(self, admin: Client, namespace: str, seed: int) -> None:
        self._admin = admin
        self._namespace = namespace
        self._random = random.Random(seed)
        self._number = 0
        self.wanted: dict[str, Json] = {}
        """By name: threads, which are in the pods' boot file, and replicas, which are not."""
        self.rolls: Counter[str] = Counter()
        """By name: changes that replace its pods."""
        self.done: Counter[str] = Counter()
        """By what it was."""

    async def found(self, count: int) -> None:
        """The first models."""
        for _ in range(count):
            await self._create()

    async def act(self) -> None:
        """One thing, of those that are possible."""
        acts = [self._create, self._roll, self._roll, self._scale, self._scale, self._spoil, self._spoil, self._remove]
        if len(self.wanted) >= _MOST:
            acts[0] = self._delete
        chosen = self._random.choice(acts)
        await chosen()
        self.done[chosen.__name__.strip("_")] += 1

    async def _create(self) -> None:
        self._number += 1
        name = f"model-{self._number}"
        spec: Json = {"threads": 1, "replicas": self._random.randint(1, 2)}
        body = {
            "apiVersion": MODEL.api_version,
            "kind": MODEL.kind,
            "metadata": {"name": name, "namespace": self._namespace},
            "spec": {
                "model": {"uri": "s3://models/fraud/7/"},
                "runtime": {"threads": spec["threads"]},
                "scaling": {"replicas": spec["replicas"]},
                "resources": {"requests": {"cpu": CORES, "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            },
        }
        await self._surely(lambda: self._admin.apply(MODEL, body, manager="user", force=True))
        self.wanted[name] = spec

    async def _roll(self) -> None:
        name = self._any()
        threads = self.wanted[name]["threads"] % 60 + 1
        self.rolls[name] += 1
        await self._patch(MODEL, name, {"spec": {"runtime": {"threads": threads}}})
        self.wanted[name]["threads"] = threads

    async def _scale(self) -> None:
        name = self._any()
        replicas = self._random.randint(1, 3)
        await self._patch(MODEL, name, {"spec": {"scaling": {"replicas": replicas}}})
        self.wanted[name]["replicas"] = replicas

    async def _delete(self) -> None:
        name = self._any()
        await self._surely(lambda: self._end(MODEL, name))
        del self.wanted[name]

    async def _spoil(self) -> None:
        """Somebody edits a child by hand."""
        name = self._any()
        spoils: list[tuple[str, str, Json]] = [
            ("Service", name, {"spec": {"selector": {"modelward.dev/model": "nobody"}}}),
            ("Deployment", name, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}),
            ("Deployment", name, {"spec": {"progressDeadlineSeconds": 17}}),
            ("ConfigMap", f"{name}-policy", {"data": {"policy.json": "{}"}}),
            ("NetworkPolicy", name, {"spec": {"ingress": None}}),
        ]
        kind, child, patch = self._random.choice(spoils)
        await self._patch(BY_KIND[kind], child, patch)

    async def _remove(self) -> None:
        """Somebody deletes a child."""
        name = self._any()
        kind = self._random.choice(["Service", "NetworkPolicy", "ServiceAccount"])
        await self._surely(lambda: self._end(BY_KIND[kind], name))

    def _any(self) -> str:
        return self._random.choice(sorted(self.wanted))

    async def _patch(self, resource: Resource, name: str, body: Json) -> None:
        async def patch() -> None:
            try:
                await self._admin.patch(resource, self._namespace, name, body, manager="somebody")
            except NotFound:
                if resource is MODEL:
                    raise

        await self._surely(patch)

    async def _end(self, resource: Resource, name: str) -> None:
        try:
            live = await self._admin.get(resource, self._namespace, name)
            await self._admin.delete(resource, self._namespace, name, uid=live["metadata"]["uid"])
        except NotFound:
            return

    async def _surely(self, attempt: Callable[[], Awaitable[Any]]) -> None:
        async with asyncio.timeout(120):
            while True:
                try:
                    async with asyncio.timeout(10):
                        await attempt()
                except (OperatorError, TimeoutError):
                    await asyncio.sleep(0.3)
                else:
                    return
