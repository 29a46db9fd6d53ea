"""The connections to the API server: kubernetes.aio's TLS and proxy, aiohttp's pool, and one more look at the fence. Called by client.py.

client.py: may I write? ──▶ wait for a connection of the pool ──▶ check(): still? ──▶ the request goes out
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
from aiohttp.connector import Connection
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from yarl import URL

READ_AHEAD: Final = 2**18
"""Bytes of an answer that are read before anybody asks for them."""


class Connections(aiohttp.TCPConnector):
    """Connections that ask the fence once more when one is in hand: a write may have waited for it."""

    def __init__(self, check: Callable[[], None], **how: Any) -> None:  # noqa: ANN401  -- aiohttp's own, passed on
        super().__init__(**how)
        self._check = check

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  -- aiohttp's signature
    ) -> Connection:
        """Return one that may be used now."""
        connection = await super().connect(req, traces, timeout)
        try:
            self._check()
        except BaseException:
            connection.release()
            raise
        return connection


class Rest(RESTClientObject):  # type: ignore[misc]  # the package has no types
    """kubernetes.aio's way to the API server: its TLS and, where there is one, its proxy. What is said there, it need not look at."""

    def __init__(self, configuration: Configuration, check: Callable[[], None]) -> None:
        super().__init__(configuration)
        told = {
            "server_hostname": configuration.tls_server_name,
            "proxy": self.proxy,
            "proxy_headers": self.proxy_headers,
        }
        self._session: aiohttp.ClientSession | None = None
        self._way = {name: value for name, value in told.items() if value}
        self._check = check

    def _create_connector(self) -> aiohttp.TCPConnector:
        return Connections(self._check, limit=self.maxsize, ssl=self.ssl_context)

    def _create_pool_manager(self) -> aiohttp.ClientSession:
        # Trusting the environment, aiohttp looks for proxies and a netrc file before each request, in a thread: a third of its time.
        return aiohttp.ClientSession(
            connector=self._create_connector(),
            trust_env=False,
            read_bufsize=READ_AHEAD,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  -- aiohttp's own, with connect and read parts
    ) -> aiohttp.ClientResponse:
        """Send one request; the answer's body is unread."""
        self._session = self._session or self._create_pool_manager()  # made here, where the event loop runs
        where = URL(url, encoded=True)
        return await self._session.request(method, where, headers=headers, data=body, timeout=timeout, **self._way)
