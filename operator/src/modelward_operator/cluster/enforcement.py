"""Does the cluster's network plug-in enforce NetworkPolicy? Try what the policy forbids, and see.

    the operator's pod ──8082, allowed───▶ a serving pod      connects: so the pod is up and the way is there
                       ──8080, forbidden─▶ the same pod       connects: nothing is enforced      is kept out: the policy is
    neither connects, or one fails in this process, for want of a file descriptor, say: not known, and what was known stands

Of a policy that has been there, and one pod that has been ready, for a while (the plug-in needs a moment for a new one). Nothing is sent:
the connection is closed at once. Both are tried at the same time, so that whatever slows or stops this process looks like no policy. Called
by network.py, once a pass; it remembers for minutes.

Of a policy that lets a network in, which might hold the operator's pod, only a connection that is not made tells anything; of one that lets
the operator's namespace in, nothing does. Then what other models' policies show stands for it: whether any is enforced is the plug-in's
doing. It is not known while theirs differ, as they do where somebody else's policy opens one of them to the operator. Until its own was
tried, a new model takes only the good of theirs. What was shown counts for others while it is fresh and its model has pods.

What is not known, and what went through, is looked at again without an event: nobody tells that a policy which was deleted is back, or that
the cluster has a plug-in now. That one which was there is gone is seen with the model's next pass.
"""

import asyncio
import contextlib
import errno
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from modelward_operator.facts import Given, Json, Key, Pod
from modelward_operator.plan import names

PATIENCE: Final = 1.0
"""Seconds in which a connection that is let through is made."""
SETTLED: Final = timedelta(seconds=10)
"""For which a pod must have been ready, and its policy have been there."""
BELIEVED: Final = 300.0
"""Seconds for which an answer stands."""
DOUBTED: Final = 30.0, 3600.0
"""The same, where a connection went through or nothing was told: at first, and at most; it doubles. Somebody may have opened the policy for
a moment."""
COUNTED: Final = {True: 86_400.0, False: DOUBTED[1] + 60.0}
"""Seconds for which an answer counts for other models. While there are pods, a bad one is renewed before; a good one with events only."""
REMEMBERED: Final = 10_000

_ON_THE_WAY: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
        errno.EACCES,
        errno.EPERM,
    }
)
"""What becomes of a connection that a plug-in drops, or turns away with an RST or an ICMP message, or at the way out of this very pod."""

Connect = Callable[[str, int], Awaitable[bool | None]]
"""Says whether a TCP connection to an address and port is made in time; None where it is not for the network that it is not."""


async def connects(address: str, port: int) -> bool | None:
    """Try a TCP connection; it is closed at once."""
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return False
    except OSError as error:
        return False if error.errno in _ON_THE_WAY else None
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


class Shown(NamedTuple):
    """What is known of one model's policy."""

    enforced: bool | None
    """None: not known."""
    by_others: bool
    """True where other models' policies showed it."""
    lets_operator_in: bool
    """True where trying this one has told nothing."""
    again: float | None
    """Seconds after which asking again may tell more; None: not before an event."""
    disagree: bool = False
    """True where other models' policies show both."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """What came of the last try, until when it stands, and for how long the next one will if it is no better."""

    uid: str
    until: float = float("-inf")
    enforced: bool | None = None
    pause: float = DOUBTED[0]
    failed: bool = False
    """The last try came to nothing here, or on the way to the pod: what was known before it stands."""

    @property
    def told_nothing(self) -> bool:
        """This policy lets in who tries it."""
        return self.enforced is None and self.until > float("-inf") and not self.failed


class EnforcementProbe:
    """Remembers by model what came of the last try. `connect` and `clock` are injected for tests."""

    def __init__(self, clock: Callable[[], float], connect: Connect = connects) -> None:
        self._clock, self._connect = clock, connect
        self._tried: dict[Key, _Tried] = {}
        self._votes: dict[bool, OrderedDict[Key, float]] = {True: OrderedDict(), False: OrderedDict()}
        """When each model showed what counts for others, by what it showed: the oldest first."""

    async def read(self, given: Given, allowed: Collection[str]) -> Shown:
        """Return whether the policy is enforced, which lets these namespaces and networks in."""
        if not given.pods:
            self._withdraw(given.key)
        known = self._tried.get(given.key) or _Tried(given.uid)
        if known.uid != given.uid or (known.told_nothing and not _lets_operator_in(given, allowed)):
            known = _Tried(given.uid)  # another model of that name, or another policy
        ready = [(pod, age) for pod in given.pods if (age := _ready_for(pod, given)) is not None]
        policy = given.child("NetworkPolicy", given.key.name)
        if not policy:  # this pass makes it, and its own write rings for no other
            return self._shown(known, SETTLED.total_seconds() if ready else None)
        if self._clock() >= known.until:
            settled = [pod for pod, age in ready if min(age, _age(policy, given)) >= SETTLED and pod.report]
            if not settled:
                return self._shown(known, SETTLED.total_seconds() if ready else None)
            known = await self._try(str(settled[0].raw["status"].get("podIP", "")), known, given, allowed)
            self._keep(given.key, known)
        shown = self._shown(known, max(known.until - self._clock(), 0.0))
        return shown._replace(again=None) if shown.enforced and not known.failed else shown

    def forget(self, key: Key) -> None:
        """A model is gone, and what its policy showed."""
        self._tried.pop(key, None)
        self._withdraw(key)

    async def _try(self, address: str, before: _Tried, given: Given, allowed: Collection[str]) -> _Tried:
        now = self._clock()
        doubted = _Tried(given.uid, now + before.pause, None, min(2 * before.pause, DOUBTED[1]))
        if given.installation.namespace in allowed:
            return doubted
        ports = names.HTTP_PORT, names.ADMIN_PORT
        forbidden, permitted = await asyncio.gather(*(self._connect(address, port) for port in ports))
        if forbidden:
            return doubted if _lets_operator_in(given, allowed) else replace(doubted, enforced=False)
        if forbidden is None or not permitted:
            return replace(before, until=now + DOUBTED[0], failed=True)
        return _Tried(given.uid, now + BELIEVED, enforced=True)

    def _keep(self, key: Key, tried: _Tried) -> None:
        if len(self._tried) >= REMEMBERED and key not in self._tried:
            self._tried.clear()
            for votes in self._votes.values():
                votes.clear()
        self._tried[key] = tried
        if tried.failed:
            return  # what was shown before counts for as long as it would have
        self._withdraw(key)
        if tried.enforced is not None:
            self._votes[tried.enforced][key] = self._clock()

    def _withdraw(self, key: Key) -> None:
        for votes in self._votes.values():
            votes.pop(key, None)

    def _counted(self) -> list[bool]:
        """Return what models show that were tried not long ago."""
        for answer, votes in self._votes.items():
            while votes and self._clock() - next(iter(votes.values())) >= COUNTED[answer]:
                votes.popitem(last=False)
        return [answer for answer, votes in self._votes.items() if votes]

    def _shown(self, known: _Tried, again: float | None) -> Shown:
        """What a model's own policy showed counts before all; of one that is about to be tried, others' failure says nothing."""
        if known.enforced is not None:
            return Shown(known.enforced, by_others=False, lets_operator_in=False, again=again)
        shown = self._counted()
        others = shown[0] if len(shown) == 1 and (shown[0] or known.told_nothing) else None
        return Shown(others, others is not None, known.told_nothing, again, disagree=len(shown) == 2)


def _lets_operator_in(given: Given, allowed: Collection[str]) -> bool:
    return given.installation.namespace in allowed or any("/" in peer for peer in allowed)


def _ready_for(pod: Pod, given: Given) -> timedelta | None:
    """Return how long a pod has taken requests; None for one that does not, or is about to end."""
    if "deletionTimestamp" in pod.raw["metadata"]:
        return None
    for condition in pod.raw.get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready" and condition["status"] == "True" and condition.get("lastTransitionTime"):
            return given.now - datetime.fromisoformat(condition["lastTransitionTime"])
    return None


def _age(policy: Json, given: Given) -> timedelta:
    created = policy["metadata"].get("creationTimestamp")
    return given.now - datetime.fromisoformat(created) if created else SETTLED
