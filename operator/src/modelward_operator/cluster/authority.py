"""The operator's own CAs, one of the models' certificates and one of the activator's: a Secret each, in the operator's namespace.

    made on first use ──▶ signs for 4 of its 5 years ──▶ a successor is made ──30 days in both bundles──▶ the successor signs
                                                                                   the old one stays in the bundle until it expires

A CA that is not bound to the cluster's domain gets a successor at once; one that is bound to another domain signs no more.
Called by gather.py for the public side, and by issuer.py to sign. Only the replica that leads calls it, and a write that lost a race is
a Conflict: the pass starts anew.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import SECRET
from modelward_operator.cluster.x509 import Pair, fingerprint, is_able, is_bound, new_authority, new_leaf, validity
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Authority, Json
from modelward_operator.plan.names import FIELD_MANAGER

NAME: Final = "modelward-ca"
"""Of the Secret; the chart's Role names it."""
ACTIVATOR: Final = "modelward-activator-ca"
"""Of the Secret whose key the activator holds: what it signs, only clients of models that may have no pods trust."""
SIGNER: Final = ("tls.crt", "tls.key")
"""Under which a mounted Secret holds the certificate and the key that sign now."""
REIGN: Final = timedelta(days=1460)
"""After which a CA gets a successor."""
OVERLAP: Final = timedelta(days=30)
"""For which a successor is only published: clients take its certificate before they meet one that it signed."""
BELIEVED: Final = 60.0
"""Seconds for which the Secret is not read again."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """An issued certificate with its key."""

    pair: Pair
    issuer: str
    """Fingerprint of the CA that signed it."""


class Authorities:
    """Reads and keeps the CAs through one client. Of a Secret that `is_mounted`, `tls.crt` and `tls.key` are the one that signs now."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        *,
        name: str = NAME,
        is_mounted: bool = False,
        domain: str = "cluster.local",
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._client, self.namespace, self._domain = client, namespace, domain
        self.name = name
        """Of the Secret."""
        self._is_mounted, self._now, self._clock = is_mounted, now, clock
        self._read_at, self._pairs = float("-inf"), list[Pair]()
        self._turn = asyncio.Lock()  # the first passes would else make a CA each

    async def public(self) -> Authority:
        """Return what clients and passes may know. Raises Unreadable, Conflict."""
        pairs = await self._current()
        known = [fingerprint(pair.certificate) for pair in pairs]
        bundle = "".join(pair.certificate for pair in pairs)
        return Authority(bundle, fingerprint(self._signer(pairs, self._now()).certificate), frozenset(known))

    async def sign(self, dns_names: Sequence[str]) -> Leaf:
        """Return a new certificate for these names. Raises Unreadable, Conflict."""
        now = self._now()
        authority = self._signer(await self._current(), now)
        return Leaf(new_leaf(authority, dns_names, now), fingerprint(authority.certificate))

    @property
    def expires(self) -> float | None:
        """When the CA that signs now expires, in seconds since the epoch; None where nobody has asked for it yet."""
        if not self._pairs:
            return None
        return validity(self._signer(self._pairs, self._now()).certificate)[1].timestamp()

    async def _current(self) -> list[Pair]:
        async with self._turn:
            if self._clock() - self._read_at < BELIEVED:
                return self._pairs
            pairs = await self._kept()
            self._read_at, self._pairs = self._clock(), pairs
            return pairs

    async def _kept(self) -> list[Pair]:
        """Read the Secret, and write it where a CA is to be made or has expired."""
        now = self._now()
        try:
            live: dict[str, Any] = await self._client.get(SECRET, self.namespace, self.name)
        except NotFound:
            live = {}
        found = self._decoded(live.get("data") or {})
        pairs = [pair for pair in found if validity(pair.certificate)[1] > now]
        if not pairs or self._is_due(pairs[-1], now):
            pairs.append(new_authority(now, self._domain))
        body = self._secret(pairs, self._signer(pairs, now))
        if pairs == found and body["data"].items() <= live.get("data", {}).items():
            return pairs
        if not live:
            await self._client.create(SECRET, body, manager=FIELD_MANAGER)
        else:
            kept = {name: value for name, value in live["metadata"].items() if name != "managedFields"}
            await self._client.update(SECRET, {**live, "metadata": kept, "data": body["data"]}, manager=FIELD_MANAGER)
        return pairs

    def _is_due(self, newest: Pair, now: datetime) -> bool:
        """True when a successor is to be made."""
        aged = now - validity(newest.certificate)[0] > REIGN
        return aged or not is_bound(newest.certificate, self._domain)

    def _signer(self, pairs: Sequence[Pair], now: datetime) -> Pair:
        """Return the newest CA that has been published for long enough; the oldest where none has."""
        able = [pair for pair in pairs if is_able(pair.certificate, self._domain)]
        published = [pair for pair in able if now - validity(pair.certificate)[0] > OVERLAP]
        return published[-1] if published else able[0]

    def _decoded(self, data: Json) -> list[Pair]:
        """Return the CAs of a Secret, the oldest first. Raises Unreadable: what cannot be read is not replaced."""
        try:
            decoded = {name: base64.b64decode(value, validate=True).decode("ascii") for name, value in data.items()}
            named = {name[:-4]: text for name, text in decoded.items() if name.endswith(".crt") and name != SIGNER[0]}
            found = [Pair(text, decoded[f"{name}.key"]) for name, text in named.items()]
            return sorted(found, key=lambda pair: (validity(pair.certificate)[0], pair.certificate))
        except (KeyError, ValueError, binascii.Error) as error:
            raise Unreadable(f"Secret {self.name} does not hold the CA that it should: {error}") from error

    def _secret(self, pairs: Iterable[Pair], signer: Pair) -> dict[str, Any]:
        texts = dict(zip(SIGNER, (signer.certificate, signer.key), strict=True)) if self._is_mounted else {}
        for pair in pairs:
            name = fingerprint(pair.certificate)[:16]
            texts |= {f"{name}.crt": pair.certificate, f"{name}.key": pair.key}
        data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
        metadata = {
            "name": self.name,
            "namespace": self.namespace,
            "labels": {"app.kubernetes.io/part-of": "modelward"},
        }
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
