"""The conductor at the door: who calls, and is it their turn. One object for REST and gRPC, asked before a body is read.

Made by `opening.py`; asked by `web.py` and `grpc_door.py`. Health is not asked about (the kubelet and load balancers have no token),
everything else is. A stream asks again for each of its requests, so that a right that was withdrawn ends it. It counts every refusal, by
its code; it must not know HTTP or gRPC.
"""

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from modelward_runtime.access.bearer import NoToken, find_token
from modelward_runtime.access.identity import Authenticator, Authorizer, Refusal
from modelward_runtime.access.limits import Subjects, Turn
from modelward_runtime.access.verdicts import Findings, Verdicts
from modelward_runtime.errors import ApiError, PredictForbidden, SubjectBusy, Unauthenticated
from modelward_runtime.states import ANONYMOUS, Caller

PATIENCE: Final = 10.0  # seconds that a caller waits for a review at most

log = logging.getLogger(__name__)


class Gate(Protocol):
    """Lets callers in. `admit` takes what stands in the authorization header or metadata entry, empty where nothing does."""

    async def admit(self, authorization: bytes) -> Caller:
        """Who calls. Raises `ApiError`."""


class OpenGate:
    """Nobody is asked who they are."""

    async def admit(self, authorization: bytes) -> Caller:
        """Somebody."""
        return ANONYMOUS


class GuardedGate:
    """Asks an authenticator, then an authorizer, and remembers the verdict for seconds."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer, *, patience: float = PATIENCE) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._patience = patience
        self._verdicts = Verdicts(self._review)

    async def admit(self, authorization: bytes) -> Caller:
        """The caller with the right to predict."""
        try:
            token = find_token(authorization)
        except NoToken as cause:
            _log_unauthenticated(str(cause))
            raise Unauthenticated from None
        digest = hashlib.sha256(token).digest()  # of the token alone: a header may be spelled in many ways
        known = self._verdicts.known(digest, token)
        return known if known is not None else await self._verdicts.find_out(digest, token, self._patience)

    async def _review(self, token: bytes) -> Findings:
        """Authenticate, then authorise. Raises `Unreachable`."""
        try:
            identity = await self._authenticator.authenticate(token)
        except Refusal as refusal:
            _log_unauthenticated(str(refusal))
            return Findings(refuse=Unauthenticated)
        if not await self._authorizer.permits(identity):
            log.info("caller not authorised", extra={"subject": identity.username[:256]})
            return Findings(refuse=partial(PredictForbidden, identity.username))
        return Findings(Caller(identity.username), expires=identity.expires)


def _log_unauthenticated(cause: str) -> None:
    log.info("caller not authenticated", extra={"cause": cause})


class Door:
    """A gate, and turns for those who are let in. `refused` counts by code."""

    def __init__(self, gate: Gate, subjects: Subjects, refused: Callable[[str], None]) -> None:
        self._gate = gate
        self._subjects = subjects
        self._refused = refused

    @property
    def guarded(self) -> bool:
        """Callers are asked who they are."""
        return not isinstance(self._gate, OpenGate)

    async def admit(self, authorization: bytes) -> Caller:
        """Who calls. Raises `ApiError`: 401, 403, or 503 while nobody can be asked."""
        try:
            return await self._gate.admit(authorization)
        except ApiError as error:
            self._refused(error.code)
            raise

    def enter(self, caller: Caller) -> Turn:
        """A turn for one inference of theirs, to be left by `with`. Raises `SubjectBusy`: 429."""
        try:
            return self._subjects.enter(caller.subject)
        except SubjectBusy as error:
            self._refused(error.code)
            raise
