"""Hear from the activator's pods which models are called while they have no pods: a GET that hangs until there is something to say.

    pod A ──GET /demand?since=17&wait=10──▶ {"cursor": 18, "models": [{namespace, name, held, forwarding, …}], "routes": {…}}
    pod B ──…                                      │                                              │
                              sum over pods ──▶ note(model, held, forwarding)       switchboard: this far it has read the routes
                        held, 0 before ───────▶ ring(model): its pass wakes it, if it may

The operator asks, so nothing new is opened towards it, and no pod can speak for a model through it. main.py runs `run` where the Lease is
held. It decides nothing: whether a model wakes is for its pass.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp

from modelward_operator.autoscaler.load import is_number
from modelward_operator.cluster.switchboard import ActivatorPod, Switchboard
from modelward_operator.facts import Key
from modelward_operator.plan import names

WAIT: Final = 10
"""Seconds for which a pod may hold its answer back."""
PATIENCE: Final = aiohttp.ClientTimeout(total=WAIT + 5, sock_connect=2)
PAUSE: Final = 0.5
"""Seconds before a pod that did not answer is asked again."""
LIMIT: Final = 16 * 1024 * 1024
"""Bytes of an answer that are read: some 100 for each model that is called at zero, and for each ConfigMap of routes."""
LOOK: Final = 0.2
"""Seconds between looks for new pods."""
SPACING: Final = 0.05
"""Seconds between two questions to one pod at least: one that always has something to say takes no more of the operator than that."""

logger = logging.getLogger(__name__)

Note = Callable[[Key, int, int], None]
"""Takes a model, how many requests are held for it, and how many are being forwarded, in all pods of the activator together."""


class Hearing:
    """Asks every pod of the activator, all the time."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        switchboard: Switchboard,
        note: Note,
        ring: Callable[[Key], None],
        *,
        admin_port: int = names.ADMIN_PORT,
    ) -> None:
        self._session, self._switchboard, self._note, self._ring = session, switchboard, note, ring
        self._admin_port = admin_port
        self._said: dict[str, Mapping[Key, tuple[int, int]]] = {}  # by pod

    async def run(self) -> None:
        """Follow the pods for ever: one question to each is always open."""
        asking: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                present = {pod.uid: pod for pod in self._switchboard.pods()}
                for uid in asking.keys() - present.keys():
                    asking.pop(uid).cancel()
                    self._take(uid, {})
                for uid in present.keys() - asking.keys():
                    asking[uid] = group.create_task(self._follow(present[uid]), name=f"activator {uid}")
                await asyncio.sleep(LOOK)

    async def _follow(self, pod: ActivatorPod) -> None:
        cursor = 0
        while True:
            spaced = asyncio.get_running_loop().time() + SPACING
            try:
                answer = await self._ask(pod.address, cursor)
                cursor, said, read = _parse(answer)
            except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
                logger.debug("activator not heard", extra={"pod": pod.uid, "error": str(error)})
                self._take(pod.uid, {})
                cursor = 0
                await asyncio.sleep(PAUSE)
                continue
            self._switchboard.heard(pod.uid, read)
            self._take(pod.uid, said)
            await asyncio.sleep(spaced - asyncio.get_running_loop().time())

    async def _ask(self, address: str, cursor: int) -> Any:  # noqa: ANN401  -- JSON, checked by _parse
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{self._admin_port}/demand?since={cursor}&wait={WAIT}"
        async with self._session.get(url, timeout=PATIENCE, allow_redirects=False, auto_decompress=False) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            return json.loads(await _read(response.content))

    def _take(self, pod: str, said: Mapping[Key, tuple[int, int]]) -> None:
        """Take what one pod says now in place of what it said before.

        A model is rung for when a pod begins to hold its requests, and not with each answer while it starts: a thousand that wake at once
        would else be looked at twenty times a second, and one whose pass fails would know no pause.
        """
        before = self._said.pop(pod, {})
        if said:
            self._said[pod] = said
        for key in before.keys() | said.keys():
            total: Counter[str] = Counter()
            for one in self._said.values():
                held, forwarding = one.get(key, (0, 0))
                total.update(held=held, forwarding=forwarding)
            self._note(key, total["held"], total["forwarding"])
            if said.get(key, (0, 0))[0] and not before.get(key, (0, 0))[0]:
                self._ring(key)


async def _read(content: aiohttp.StreamReader) -> bytes:
    text = b""
    async for piece in content.iter_any():
        text += piece
        if len(text) > LIMIT:
            raise ValueError("the answer is too long")
    return text


def _parse(answer: Any) -> tuple[int, dict[Key, tuple[int, int]], dict[str, int]]:  # noqa: ANN401  -- JSON
    """Return the cursor, held and forwarding by model, and the versions of routes that were read. Raises ValueError."""
    try:
        said = {
            Key(str(model["namespace"]), str(model["name"])): (_number(model["held"]), _number(model["forwarding"]))
            for model in answer["models"]
        }
        read = {str(name): _number(version) for name, version in answer["routes"].items()}
        return _number(answer["cursor"]), said, read
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an answer: {error!r}") from error


def _number(value: object) -> int:
    """Whatever a pod says, less than nothing is held by none, and infinitely much is no number."""
    if not is_number(value):
        raise ValueError(f"not a number that can be meant: {value!r:.40}")
    return int(value)
