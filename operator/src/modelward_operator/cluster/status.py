"""Write the status of a ModelDeployment: one write a pass, and none when it already says so. Called by adapter.py."""

from typing import Any

from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import MODEL
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Given, Json
from modelward_operator.plan.names import FIELD_MANAGER


class StatusWriter:
    """Writes /status through one client, and keeps the store abreast."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client, self._store = client, store

    async def write(self, given: Given, status: Json) -> bool:
        """Write `status` when it differs from the live one; True when it was written. Raises Conflict, Unreadable."""
        live = given.raw.get("status", {})
        if live == status:
            return False
        body = {"metadata": {"uid": given.uid}, "status": _replacing(live, status)}
        try:
            answer = await self._client.patch(
                MODEL, given.key.namespace, given.key.name, body, manager=FIELD_MANAGER, subresource="status"
            )
        except NotFound:
            self._store.forget((MODEL.kind, given.key.namespace, given.key.name), given.uid)
            return False
        self._store.feed_answer(answer, given.raw)
        return True


def _replacing(live: Json, wanted: Json) -> dict[str, Any]:
    """Return the merge patch (RFC 7386) that leaves exactly `wanted`: what is too much becomes null."""
    patch: dict[str, Any] = {name: None for name in live if name not in wanted}
    for name, value in wanted.items():
        if isinstance(value, dict):
            before = live.get(name)
            patch[name] = _replacing(before if isinstance(before, dict) else {}, value)
        else:
            patch[name] = value
    return patch
