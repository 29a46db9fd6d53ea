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

from modelward_runtime.access.bearer import MOST_BYTES, NoToken, find_token
from modelward_runtime.access.identity import Authenticator, Authorizer, Refusal
from modelward_runtime.access.limits import Subjects, Turn
from modelward_runtime.access.verdicts import Findings, Verdicts
from modelward_runtime.caller import ANONYMOUS, Caller
from modelward_runtime.errors import ApiError, PredictForbidden, Unauthenticated

PATIENCE: Final = 10.0  # seconds that a caller waits for a review at most
_USUAL: Final = b"Bearer "  # as nearly every client spells it

log = logging.getLogger(__name__)


class Gate(Protocol):
    """Lets callers in. `authorization` is what stands in the header or metadata entry of that name, empty where nothing does."""

    def recall(self, authorization: bytes) -> Caller | None:
        """Who calls, None where somebody has to be asked for that. Raises `ApiError`."""

    async def admit(self, authorization: bytes, peer: str = "") -> Caller:
        """Who calls, from this address. Raises `ApiError`."""


class OpenGate:
    """Nobody is asked who they are."""

    def recall(self, authorization: bytes) -> Caller | None:
        """Somebody."""
        return ANONYMOUS

    async def admit(self, authorization: bytes, peer: str = "") -> Caller:
        """Somebody."""
        return ANONYMOUS


class GuardedGate:
    """Asks an authenticator, then an authorizer, and remembers the verdict for seconds."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer, *, patience: float = PATIENCE) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._patience = patience
        self._verdicts = Verdicts(self._review)

    def recall(self, authorization: bytes) -> Caller | None:
        """The caller with the right to predict, as far as that is known."""
        if authorization.startswith(_USUAL) and len(authorization) <= MOST_BYTES:
            token = authorization[len(_USUAL) :]  # what is known of it was found out when its form had been checked
            if known := self._verdicts.known(hash_token(token), token):
                return known
        token = _find_token(authorization)
        return self._verdicts.known(hash_token(token), token)

    async def admit(self, authorization: bytes, peer: str = "") -> Caller:
        """The caller with the right to predict."""
        if known := self.recall(authorization):
            return known
        token = _find_token(authorization)
        return await self._verdicts.find_out(hash_token(token), token, peer, self._patience)

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


def _find_token(authorization: bytes) -> bytes:
    try:
        return find_token(authorization)
    except NoToken as cause:
        _log_unauthenticated(str(cause))
        raise Unauthenticated from None


def hash_token(token: bytes) -> bytes:
    """Of the token alone: a header may be spelled in many ways. BLAKE2b, because each call waits for it."""
    return hashlib.blake2b(token, digest_size=32).digest()


def _log_unauthenticated(cause: str) -> None:
    log.info("caller not authenticated", extra={"cause": cause})


class Door:
    """A gate, and turns for those who are let in. `refused` counts by code."""

    def __init__(self, gate: Gate, subjects: Subjects, refused: Callable[[str], None]) -> None:
        self._gate = gate
        self._subjects = subjects
        self._refused = refused
        self.guarded = not isinstance(gate, OpenGate)  # callers are asked who they are

    def recall(self, authorization: bytes) -> Caller | None:
        """Who calls, None where that is not known; ask `admit` then. Raises `ApiError`."""
        try:
            return self._gate.recall(authorization)
        except ApiError as error:
            self._refused(error.code)
            raise

    async def admit(self, authorization: bytes, peer: str = "") -> Caller:
        """Who calls, from this address: of one, only so many are asked about at once. Raises `ApiError`: 401, 403, or 503."""
        try:
            return await self._gate.admit(authorization, peer)
        except ApiError as error:
            self._refused(error.code)
            raise

    def enter(self, caller: Caller) -> Turn:
        """A turn for one inference of theirs, to be left by `with`. Raises `SubjectBusy`: 429."""
        try:
            return self._subjects.enter(caller.subject)
        except ApiError as error:
            self._refused(error.code)
            raise
