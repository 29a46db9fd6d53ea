"""Asks pods for their load: at most one open GET a pod, hanging, answered early when a threshold is reached. Made by `parts.py`.

    a pod without requests   one GET a minute, which the first request answers
    with requests            one every 2 s, or fewer where there are many such pods: `RATE` a second for all of them
    with too many            one every 0.5 s, until the number is decided

Nothing has to be opened towards the operator for this, and no pod can speak for another: the operator chose the address that answers.
What a pod says, and whether it does, goes into its model's `Track`; nothing is decided here.
"""

import asyncio
import logging
import random
import resource
import time
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp

from modelward_operator.autoscaler.load import LIMIT, Ask, Load, parse_load
from modelward_operator.autoscaler.track import BUSY_WAIT, GRACE, Track
from modelward_operator.facts import Key
from modelward_operator.plan import names

RATE: Final = 200.0
"""GETs a second for pods with requests, all together; 0.6 ms of CPU each."""
SPACING: Final = 0.25
"""Seconds between two GETs of one pod at least."""
RETRY: Final = 3.0
"""Seconds after which a pod that did not answer is asked again."""

logger = logging.getLogger("modelward_operator")


Follow = Callable[[Key, Track, Mapping[str, str], Callable[[Key], None]], None]
"""`Sampler.follow`: whom to ask from now on for one model, addresses by name; whoever is given last is told of every answer."""


class Sampler:
    """The GETs of all pods. `follow` is called on the event loop, `close` at the end."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
        admin_port: int = names.ADMIN_PORT,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock, self._uniform, self._port, self._failed = clock, uniform, admin_port, failed
        self._session: aiohttp.ClientSession | None = None
        self._tasks: dict[Key, dict[str, asyncio.Task[None]]] = {}
        self._beginning = 0
        self._busy = 0

    @property
    def busy_wait(self) -> float:
        """Seconds that a pod with requests is let be."""
        return max(BUSY_WAIT, self._busy / RATE)

    def follow(self, key: Key, track: Track, addresses: Mapping[str, str], heard: Callable[[Key], None]) -> None:
        """Ask these pods and no others of that model."""
        tasks = self._tasks.setdefault(key, {})
        for name in [name for name in tasks if name not in addresses]:
            tasks.pop(name).cancel()
        for name, address in addresses.items():
            if name not in tasks:
                tasks[name] = asyncio.create_task(self._listen(key, track, name, address, heard), name=f"load {key}")
        if not tasks:
            del self._tasks[key]

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [task for of_model in self._tasks.values() for task in of_model.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    async def _listen(self, key: Key, track: Track, pod: str, address: str, heard: Callable[[Key], None]) -> None:
        """Ask one pod for ever."""
        await self._take_turn()
        is_busy = False
        try:
            while True:
                begun = self._clock()
                ask = track.ask(pod, begun, self.busy_wait)
                self._busy += (ask.above > 1) - is_busy
                is_busy = ask.above > 1
                load = await self._get(address, ask)
                if load:
                    track.hear(pod, load, self._clock())
                heard(key)
                await asyncio.sleep(max(begun + (SPACING if load else RETRY) - self._clock(), 0.0))
        finally:
            self._busy -= is_busy

    async def _take_turn(self) -> None:
        """Many that begin at once, as after a restart of the operator, are spread."""
        self._beginning += 1
        try:
            await asyncio.sleep(self._uniform() * self._beginning / RATE)
        finally:
            self._beginning -= 1

    async def _get(self, address: str, ask: Ask) -> Load | None:
        host = f"[{address}]" if ":" in address else address
        limit = aiohttp.ClientTimeout(total=ask.wait + GRACE)
        url = f"http://{host}:{self._port}/load?{ask.query}"
        try:
            async with self._open().get(url, timeout=limit, allow_redirects=False, auto_decompress=False) as response:
                return parse_load(await _read(response.content)) if response.status == 200 else None
        except (aiohttp.ClientError, OSError):
            return None
        except Exception:
            self._failed()
            logger.exception("asking for the load failed")
            return None

    def _open(self) -> aiohttp.ClientSession:
        """One connection a pod, which stays; so many files must be allowed to be open."""
        if self._session is None:
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=90)
            self._session = aiohttp.ClientSession(
                connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read to the end, however many pieces it comes in; what is longer than an answer can be is none."""
    text = b""
    async for piece in content.iter_any():
        text += piece
        if len(text) > LIMIT:
            break
    return text
