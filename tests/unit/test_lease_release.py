"""A lease that is given back while it is being renewed is free afterwards: the next one need not wait for it to run out."""

import asyncio
import copy
from typing import Any

import pytest

from modelward_operator.cluster.client import NotFound
from modelward_operator.cluster.kinds import LEASE, Resource
from modelward_operator.cluster.lease import NAME, Lease, LeaseLost, Terms
from modelward_operator.errors import Conflict

TERMS = Terms(duration=60.0, deadline=40.0, period=5.0)


class Server:
    """Keeps the record as the API server does. The next request of a kind can be held on its way there, or its answer on its way back."""

    def __init__(self) -> None:
        self.record: dict[str, Any] = {}
        self.held = ("", "")
        self.came, self.go_on = asyncio.Event(), asyncio.Event()

    async def get(self, _resource: Resource, _namespace: str, _name: str) -> dict[str, Any]:
        await self._hold("get", "request")
        found = copy.deepcopy(self.record)
        await self._hold("get", "answer")
        if not found:
            raise NotFound("no such lease")
        return found

    async def create(self, _resource: Resource, body: dict[str, Any], *, manager: str) -> dict[str, Any]:
        assert manager
        return self._keep(body, "0")

    async def update(self, _resource: Resource, body: dict[str, Any], *, manager: str) -> dict[str, Any]:
        assert manager
        await self._hold("update", "request")
        if body["metadata"]["resourceVersion"] != self.record["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified")
        kept = self._keep(body, body["metadata"]["resourceVersion"])
        await self._hold("update", "answer")
        return kept

    def _keep(self, body: dict[str, Any], version: str) -> dict[str, Any]:
        self.record = {**body, "metadata": {**body["metadata"], "resourceVersion": str(int(version) + 1)}}
        return copy.deepcopy(self.record)

    async def _hold(self, verb: str, where: str) -> None:
        if self.held == (verb, where):
            self.held = ("", "")
            self.came.set()
            await self.go_on.wait()


@pytest.mark.parametrize("where", ["request", "answer"])
@pytest.mark.parametrize("verb", ["get", "update"])
async def test_a_lease_that_is_given_back_during_a_renewal_is_free(verb: str, where: str) -> None:
    server = Server()
    lease = Lease(server, "home", "first", terms=TERMS)  # type: ignore[arg-type]
    await lease.acquire()
    server.held = (verb, where)
    renewal = asyncio.create_task(lease._try())
    await server.came.wait()
    release = asyncio.create_task(lease.release())
    await asyncio.sleep(0)
    with pytest.raises(LeaseLost):
        lease.check()
    server.go_on.set()
    await release
    assert not await renewal
    assert not lease.held
    assert (LEASE.kind, NAME) == (server.record["kind"], server.record["metadata"]["name"])
    assert server.record["spec"]["holderIdentity"] == ""


async def test_a_lease_that_somebody_else_has_taken_is_not_given_back() -> None:
    server = Server()
    lease = Lease(server, "home", "first", terms=TERMS)  # type: ignore[arg-type]
    await lease.acquire()
    server.record["spec"]["holderIdentity"] = "second"
    server.record["metadata"]["resourceVersion"] = "9"
    assert not await lease._try()
    await lease.release()
    assert server.record["spec"]["holderIdentity"] == "second"


async def test_a_lease_that_was_deleted_meanwhile_is_given_back_without_an_error() -> None:
    server = Server()
    lease = Lease(server, "home", "first", terms=TERMS)  # type: ignore[arg-type]
    await lease.acquire()
    server.record = {}
    server.held = ("get", "answer")
    renewal = asyncio.create_task(lease._try())
    await server.came.wait()
    release = asyncio.create_task(lease.release())
    await asyncio.sleep(0)
    server.go_on.set()
    await release
    assert not await renewal
    assert server.record == {}
