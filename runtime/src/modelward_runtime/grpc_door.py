"""Brings gRPC calls to the door before their body is read: when a call's header fields are there.

Used by `grpc_service.py`. Of most callers it is known who they are; of others somebody has to be asked, and what they send meanwhile waits,
no more of it than a stream may bring unasked. Whoever is refused is told so at once.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from modelward_runtime.access.door import Door
from modelward_runtime.caller import ANONYMOUS, Caller
from modelward_runtime.errors import ApiError, explain
from modelward_runtime.grpc_call import Call
from modelward_runtime.grpc_methods import SERVICE

OPEN: Final = frozenset({f"{SERVICE}ServerLive", f"{SERVICE}ServerReady"})  # as /v2/health/live and /ready are


class Visitor(msgspec.Struct, frozen=True, gc=False):
    """Who came in, and with what: a stream shows it again for each request."""

    caller: Caller
    authorization: bytes


NOBODY: Final = Visitor(ANONYMOUS, b"")


class Entrance:
    """Lets calls in: `let_in` is told who calls, `turn_away` why they may not."""

    def __init__(
        self, door: Door, let_in: Callable[[Call, Visitor], None], turn_away: Callable[[Call, ApiError], None]
    ) -> None:
        self._door = door
        self._let_in = let_in
        self._turn_away = turn_away

    def enter(self, call: Call) -> None:
        """Let a call in, now or when it is known who calls; or turn it away."""
        authorization = call.head.authorization
        if not self._door.guarded or call.head.path in OPEN:
            self._let_in(call, NOBODY)
            return
        try:
            caller = self._door.recall(authorization)
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            self._turn_away(call, explain(error))
            return
        if caller is None:
            call.work(self._ask(call, authorization))
        else:
            self._let_in(call, Visitor(caller, authorization))

    async def _ask(self, call: Call, authorization: bytes) -> None:
        """Find out who calls."""
        try:
            caller = await self._door.admit(authorization, call.connection.peer)
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            self._turn_away(call, explain(error))
            return
        if not call.closed:
            self._let_in(call, Visitor(caller, authorization))
