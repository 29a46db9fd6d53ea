"""Issue a certificate that the plan orders: a public record first, then the Secret that it owns, then the word that both are there.

    create ConfigMap NAME-tls-HASH ──▶ create Secret NAME-tls, owned by it ──▶ mark the record as issued
             │                                    │ the name is taken: look for a record that lost its labels to somebody's hand
             └── whatever breaks off here, the record without a mark is pruned, and the garbage collector takes its Secret ──┘

The key goes from memory into the Secret and nowhere else; it cannot be read back, for the operator has no right to. A Secret of that name
that somebody else made is left alone: it carries no owner of ours. Called by adapter.py, before the children are applied.
"""

import base64
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from modelward_operator.cluster.authority import Authorities, Leaf
from modelward_operator.cluster.client import Client, NotFound, Rejected
from modelward_operator.cluster.kinds import CONFIG_MAP, SECRET
from modelward_operator.cluster.store import Store, ref_of
from modelward_operator.cluster.x509 import fingerprint, validity
from modelward_operator.errors import Conflict, OperatorError, Unreadable
from modelward_operator.facts import Applied, Given, Json, Key, Order, Refusal
from modelward_operator.plan import names
from modelward_operator.plan.certificate import planned_record
from modelward_operator.plan.draw import marked

COLLECTED: Final = 60.0
"""Seconds that the garbage collector has for a Secret whose record is gone, before its name counts as a stranger's."""
REMEMBERED: Final = 10_000

logger = logging.getLogger(__name__)


class Issuer:
    """Issues through one client and one CA."""

    def __init__(
        self, client: Client, store: Store, authorities: Authorities, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._store, self._authorities, self._clock = client, store, authorities, clock
        self._taken_since: dict[Key, float] = {}

    async def issue(self, order: Order, given: Given) -> Applied:
        """Issue what is ordered. Raises Conflict, Unreadable when the CA or the record cannot be had."""
        leaf = await self._authorities.sign(order.dns_names)
        record = await self._create_record(leaf, order, given)
        name = names.tls_name(given.key.name)
        try:
            secret = await self._client.create(SECRET, _secret(given, record, leaf), manager=names.FIELD_MANAGER)
        except Conflict:
            await self._withdraw(record)
            if given.key in self._taken_since and (found := await self._bring_back(given)):
                return Applied(2 + found)
            return Applied(2, (self._taken(given.key, name),))
        except (Rejected, NotFound) as error:
            await self._withdraw(record)
            return Applied(2, (Refusal("Secret", name, "Rejected", str(error)),))
        except Unreadable as error:
            await self._withdraw(record)
            return Applied(2, (Refusal("Secret", name, "Unwritten", str(error)),))
        self._taken_since.pop(given.key, None)
        await self._confirm(record, secret["metadata"]["uid"])
        logger.info("certificate issued", extra={"child": name, "sha256": record["data"]["sha256"]})
        return Applied(3)

    async def _create_record(self, leaf: Leaf, order: Order, given: Given) -> dict[str, Any]:
        certificate = leaf.pair.certificate
        begin, end = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in validity(certificate))
        data = {
            "tls.crt": certificate,
            "sha256": fingerprint(certificate),
            "notBefore": begin,
            "notAfter": end,
            "dnsNames": " ".join(order.dns_names),
            "issuer": leaf.issuer,
        }
        planned = dict(marked(planned_record(given, data)))
        try:
            record = await self._client.create(CONFIG_MAP, planned, manager=names.FIELD_MANAGER)
        except (NotFound, Rejected) as error:  # the namespace ends, or a policy forbids it: the pass is tried again
            raise Unreadable(f"the record of a certificate: {error}") from error
        self._store.feed(record)
        return record

    async def _confirm(self, record: Json, secret_uid: str) -> None:
        meta = record["metadata"]
        await self._mark(meta, {"metadata": {"uid": meta["uid"], "annotations": {names.ISSUED: secret_uid}}})

    async def _withdraw(self, record: Json) -> None:
        """Delete the record; were it to stay, the next pass would prune it."""
        meta = record["metadata"]
        try:
            await self._client.delete(CONFIG_MAP, meta["namespace"], meta["name"], uid=meta["uid"])
            self._store.forget(ref_of(record), meta["uid"])
        except OperatorError as error:
            logger.debug("record not withdrawn", extra={"child": meta["name"], "error": str(error)})

    async def _bring_back(self, given: Given) -> int:
        """Mark records of this model as ours that the store does not know as such; how many. The Secret is theirs and stays as they do."""
        labels, ours = {**names.selector(given.key.name), names.APP_NAME: given.key.name}, names.owner_reference(given)
        found = 0
        async for page, _ in self._client.pages(CONFIG_MAP, given.key.namespace):
            for meta in (item["metadata"] for item in page):
                owners = meta.get("ownerReferences", ())
                others = [owner for owner in owners if owner["uid"] != given.uid]
                if not meta["name"].startswith(f"{names.tls_name(given.key.name)}-") or len(others) == len(owners):
                    continue
                if ours not in owners or not labels.items() <= meta.get("labels", {}).items():
                    marks = {"uid": meta["uid"], "labels": labels, "ownerReferences": [ours, *others]}
                    await self._mark(meta, {"metadata": marks})
                    found += 1
        return found

    async def _mark(self, meta: Json, body: Json) -> None:
        manager = names.FIELD_MANAGER
        self._store.feed(await self._client.patch(CONFIG_MAP, meta["namespace"], meta["name"], body, manager=manager))

    def _taken(self, key: Key, name: str) -> Refusal:
        """Say that the name is taken: by the Secret before, which is about to go, or by somebody else's, which stays."""
        if len(self._taken_since) >= REMEMBERED:
            self._taken_since.clear()
        since = self._taken_since.setdefault(key, self._clock())
        if self._clock() - since < COLLECTED:
            return Refusal(
                "Secret", name, "Unwritten", "a Secret of that name is still there; one of ours is about to go"
            )
        words = "exists and is none that ModelWard issued; delete or rename it, or set security.tls.mode to Secret and name it"
        return Refusal("Secret", name, "NotOwned", words)


def _secret(given: Given, record: Json, leaf: Leaf) -> dict[str, Any]:
    owner = {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "name": record["metadata"]["name"],
        "uid": record["metadata"]["uid"],
        "controller": True,
    }
    pair = {"tls.crt": leaf.pair.certificate, "tls.key": leaf.pair.key}
    # Not immutable: of such a Secret the kubelet keeps what it read first, and running pods would never see the next one.
    secret = names.child(given, "v1", "Secret", names.tls_name(given.key.name), type="kubernetes.io/tls")
    metadata = {**secret["metadata"], "ownerReferences": [owner]}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in pair.items()}
    return {**secret, "metadata": metadata, "data": data}
