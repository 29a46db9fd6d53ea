"""Bounds what callers have begun to say and do not finish, over all connections of a port: heads, blocks of header fields, requests that
wait behind another.

Each head has a bound of its own (64 KiB), and as many of those as callers like to open connections for would add up until the kernel ends
the process. `site.py` and `http2/server.py` have one of these; a connection tells after each read what it keeps. Who would go beyond is cut
off. What usual clients send keeps nothing, or less than each connection is spared, and is served meanwhile: else it would take little to
keep them out. It must not know what it counts.
"""

from typing import Final

MOST: Final = 1 << 24
"""Bytes: 256 heads that are as long as they may be."""
SPARED: Final = 1 << 12
"""Bytes of each connection that count nothing, as much as the connection itself takes: a head whose body is still on its way."""


class Unfinished:
    """So many bytes are kept."""

    def __init__(self, most: int = MOST) -> None:
        self.held = 0
        self._most = most

    def admits(self, before: int, now: int) -> bool:
        """Count a connection that kept `before` and keeps `now`; False where that is more, and more than there is room for."""
        more = max(now - SPARED, 0) - max(before - SPARED, 0)
        self.held += more
        return more <= 0 or self.held <= self._most
