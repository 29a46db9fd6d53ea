"""A token bucket: how fast the client may write to the API server. Clock and sleep are injected."""

import asyncio
import time
from collections.abc import Awaitable, Callable


class TokenBucket:
    """At most `rate` writes a second, after a burst of `burst`; waiting writers go in order of arrival."""

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate, self._burst, self._clock, self._sleep = rate, burst, clock, sleep
        self._tokens, self._at = burst, clock()

    async def take(self) -> None:
        """Take one token, waiting for it if need be. The debt of those who wait puts later ones behind them."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
        self._at = now
        if self._tokens < 0:
            await self._sleep(-self._tokens / self._rate)
