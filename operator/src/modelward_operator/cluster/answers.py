"""What the API server's answers mean: every failure has a type that says what may be concluded from it.

    OperatorError (errors.py)
    ├── Unreadable   5xx, 429, time-out, connection lost, 401, 403 on a read: nothing is known
    │   └── Forbidden    403 on a read: nor will it be, until somebody grants it
    ├── Conflict     409: somebody wrote in between
    ├── NotFound     404: it is not there
    ├── Expired      410: the resourceVersion or the page is too old
    └── Rejected     any other 4xx: the server will say the same again

And how a body is read: whole, but for one that is larger than it may be, or line by line for as long as it lasts. Called by client.py.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

import aiohttp

from modelward_operator.cluster.kinds import Resource
from modelward_operator.cluster.notation import read_json
from modelward_operator.errors import Conflict, OperatorError, Unreadable
from modelward_operator.facts import Json

READS: Final = frozenset({"get", "list", "watch"})
"""The verbs that change nothing."""


class NotFound(OperatorError):
    """The object, or its namespace or kind, is not there."""


class Forbidden(Unreadable):
    """The operator has no right to read this."""


class Expired(OperatorError):
    """The resourceVersion or the continuation of a listing is too old: list anew."""


class Rejected(OperatorError):
    """The API server refuses what was sent; trying the same again is of no use."""


class TooLarge(Exception):
    """A page of a listing is larger than it may be in memory."""


@contextlib.contextmanager
def answered(what: str) -> Iterator[None]:
    """Turn the connection's failures into Unreadable."""
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        raise Unreadable(f"{what}: {type(error).__name__}: {error}") from error


def error_of(code: int, status: Json, verb: str, resource: Resource) -> OperatorError:
    """Return what a refusal means."""
    message = f"{verb} {resource.kind}: {code} {status.get('message') or status.get('reason') or 'no message'}"
    if code == 404:
        return NotFound(message)
    if code == 409:
        return Conflict(message)
    if code == 410:
        return Expired(message)
    if code == 403 and verb in READS:
        return Forbidden(message)
    if code >= 500 or code in {401, 408, 429}:
        return Unreadable(message)
    return Rejected(str(status.get("message") or message))


def refusal_of(text: bytes) -> Json:
    """Return the Status that the API server refuses with; of another's page, its first words as the message."""
    with contextlib.suppress(ValueError):
        parsed = read_json(text)
        if isinstance(parsed, dict):
            return parsed
    return {"message": text.decode("utf-8", "replace")[:500]}


@contextlib.contextmanager
def aborting(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Leave a stream at once: who stops listening in the middle need not say goodbye in TLS, and would wait for the answer."""
    try:
        yield
    finally:
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()
        response.close()


async def whole(response: aiohttp.ClientResponse, most: float) -> bytes:
    """Return an answer's body; raises TooLarge as soon as it is known to be larger than `most`."""
    parts, size = list[bytes](), 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > most:
            raise TooLarge
        parts.append(part)
    return b"".join(parts)


async def lines_of(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines, however long: aiohttp's readline gives up at its buffer's size."""
    rest = b""
    async for chunk in content.iter_any():
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            if line:
                yield line
