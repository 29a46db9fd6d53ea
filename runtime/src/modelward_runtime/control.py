"""Loading and unloading models at a caller's wish, as both transports do it: the model repository extension, and what of it is not served.

Source: Triton's "Model Repository Extension". Called by `web.py` and `grpc_server.py` behind the door, for a server whose models are a
caller's to load (`shelf.py`); elsewhere the answer is 403. A model's files and configuration come from the folder and not with a call, so
parameters that would bring some are refused.
"""

import asyncio
from collections.abc import Collection
from typing import Any, Literal

import msgspec

from modelward_runtime.errors import BadRequest, DeadlineExceeded, Forbidden
from modelward_runtime.shelf import Keeper, Models

Action = Literal["load", "unload"]


class ChangeRequest(msgspec.Struct, gc=False):
    """The JSON of a request to load or unload."""

    parameters: dict[str, Any] = {}


def keeper_of(models: Models, action: str) -> Keeper:
    """Who loads and unloads here. Raises `Forbidden` where nobody does."""
    if models.keeper is None:
        raise Forbidden(f"{action}: the model of this server is fixed by its manifest")
    return models.keeper


async def change(keeper: Keeper, action: str, name: str, parameters: Collection[str], deadline: float) -> None:
    """Do it, and return when it is done; `deadline` is in the event loop's time. Raises `ApiError`."""
    check_parameters(parameters)
    try:
        async with asyncio.timeout_at(deadline):
            await (keeper.load(name) if action == "load" else keeper.unload(name))
    except TimeoutError:
        raise DeadlineExceeded(
            f"{action}: the deadline passed before it was done, which goes on; the index tells when it is"
        ) from None


def check_parameters(parameters: Collection[str]) -> None:
    """Raises `BadRequest` for what would bring a model's configuration or files; clients send `unload_dependents` with every unload."""
    if "config" in parameters:
        raise BadRequest("parameter 'config' is not served: a model's configuration is fixed when the server starts")
    if any(name.startswith("file:") for name in parameters):
        raise BadRequest("parameters 'file:…' are not served: put the model's files into the repository folder")


def parse_change(body: bytes | bytearray | memoryview) -> Collection[str]:
    """The names of the parameters that were sent over REST."""
    try:
        return msgspec.json.decode(body, type=ChangeRequest).parameters if body else ()
    except (msgspec.MsgspecError, RecursionError, ValueError) as bad:
        raise BadRequest(f"not a request to load or unload a model: {bad}") from None
