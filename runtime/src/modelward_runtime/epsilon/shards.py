"""The objects of the ledger in the Kubernetes API: one PrivacyLedger a shard, read and written whole.

Called by `ledger.py`. A write says which version it was made from, so that of several writers one wins and the others read again; an
answer that does not come leaves open whether the write was done, and then what it reserved counts as spent. Pods may get these objects
and update their status, and nothing else: the operator makes them. It must not decide anything.
"""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec

from modelward_runtime.access.identity import Unreachable
from modelward_runtime.access.kubernetes import Kubernetes
from modelward_runtime.epsilon import period
from modelward_runtime.epsilon.account import Row, Shard
from modelward_runtime.epsilon.config import LedgerPlace

_SECONDS: Final = 2.5  # for one request


class Conflict(Exception):
    """Somebody else has written since it was read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A shard as it was read, how to name that very version of it, and the date of the answer."""

    shard: Shard
    metadata: dict[str, Any]
    spec: dict[str, Any]
    date: str


class _Row(msgspec.Struct, rename="camel"):
    spent: int
    reset_time: str


class _Status(msgspec.Struct, rename="camel"):
    observed_time: str = ""
    key_check: str = ""
    rows: dict[str, _Row] = {}


class _Object(msgspec.Struct):
    metadata: dict[str, Any]
    spec: dict[str, Any]
    status: _Status = msgspec.field(default_factory=_Status)


_OBJECT: Final = msgspec.json.Decoder(_Object)


class Shards:
    """The ledger's objects of one policy."""

    def __init__(self, place: LedgerPlace) -> None:
        self._api = Kubernetes(place.server, place.ca_file, place.token_file)
        self._folder = f"/apis/modelward.dev/v1alpha1/namespaces/{quote(place.namespace)}/privacyledgers/"
        self._policy = place.policy

    async def read(self, shard: str) -> Seen:
        """The newest version. Raises `Unreachable`."""
        answer = await self._api.call("GET", self._path(shard), seconds=_SECONDS)
        if answer.status != 200:
            raise Unreachable(f"{self._policy}-{shard}: the API server answers {answer.status}")
        try:
            found = _OBJECT.decode(answer.body)
            metadata = {name: found.metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")}
            return Seen(_shard(found.status), metadata, found.spec, answer.headers.get("date", ""))
        except (msgspec.MsgspecError, ValueError, KeyError) as error:
            raise Unreachable(f"{self._policy}-{shard} is no ledger: {error}") from None

    async def write(self, shard: str, wanted: Shard, seen: Seen) -> None:
        """Replace exactly the version that was seen. Raises `Conflict` and `Unreachable`."""
        body = {
            "apiVersion": "modelward.dev/v1alpha1",
            "kind": "PrivacyLedger",
            "metadata": seen.metadata,
            "spec": seen.spec,
            "status": _status(wanted),
        }
        answer = await self._api.call("PUT", f"{self._path(shard)}/status", msgspec.json.encode(body), seconds=_SECONDS)
        if answer.status == 409:
            raise Conflict
        if answer.status not in {200, 201}:
            raise Unreachable(f"{self._policy}-{shard}: the API server answers {answer.status}")

    def close(self) -> None:
        """Let kept connections go."""
        self._api.close()

    def _path(self, shard: str) -> str:
        return f"{self._folder}{quote(self._policy)}-{shard}"


def _shard(status: _Status) -> Shard:
    rows = {name: Row(row.spent, period.parse(row.reset_time)) for name, row in status.rows.items()}
    return Shard(period.parse(status.observed_time) if status.observed_time else 0, status.key_check, rows)


def _status(shard: Shard) -> _Status:
    rows = {name: _Row(row.spent, period.show(row.reset)) for name, row in shard.rows.items()}
    return _Status(period.show(shard.observed), shard.key_check, rows)
