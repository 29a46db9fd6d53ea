"""Asks the Kubernetes API for reviews, as the pod's own service account.

Called by `tokenreview.py` and `permission.py`. A review is a question: to ask twice does no harm, so that what is transient (429, 5xx,
a connection that broke) is asked once more, within the time there is. That our own token is refused is no caller's fault: nobody can be
asked then, and it is said in the log.
"""

import asyncio
import random
from typing import Any, Final

import msgspec

from modelward_runtime.access.client import Answer
from modelward_runtime.access.config import ApiServer
from modelward_runtime.access.identity import Unreachable
from modelward_runtime.access.kubernetes import Kubernetes

_SECONDS: Final = 2.5  # for one attempt
_PAUSE: Final = 0.2  # before the other, or what the server asks for
_LONGEST_PAUSE: Final = 1.0
PATIENCE: Final = 2 * _SECONDS + _LONGEST_PAUSE + 0.5  # what a review takes at most


class ApiReviews:
    """The API server of boot.json."""

    def __init__(self, api: ApiServer, *, seconds: float = _SECONDS) -> None:
        self._api = Kubernetes(api.server, api.ca_file, api.token_file)
        self._seconds = seconds

    async def ask(self, path: str, kind: str, api_version: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
        """The `status` of a review with these fields. Raises `Unreachable`."""
        body = msgspec.json.encode({"apiVersion": api_version, "kind": kind, **fields})
        problem, pause = "", 0.0
        for _ in range(2):
            await asyncio.sleep(pause)
            try:
                answer = await self._api.call("POST", path, body, seconds=self._seconds)
            except Unreachable as error:
                problem, pause = str(error), 0.0
                continue
            if answer.status in {200, 201}:
                return _status(answer)
            problem, pause = f"{kind}: the API server answers {answer.status}", _pause(answer)
            if answer.status != 429 and answer.status < 500:
                break
        raise Unreachable(problem)


def _pause(answer: Answer) -> float:
    asked = answer.headers.get("retry-after", "")
    seconds = float(asked) if asked.isascii() and asked.isdecimal() else _PAUSE
    return min(seconds, _LONGEST_PAUSE) * (0.5 + random.random() / 2)  # noqa: S311  spreads load, hides nothing


def _status(answer: Answer) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(answer.body).get("status")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError):
        found = None
    if not isinstance(found, dict):
        raise Unreachable("the answer of the API server is no review")
    return found
