"""Makes the door that boot.json describes. Called by `ports.py`.

Nothing is asked yet: a door whose issuer or API server is away opens with the first caller that finds them.
"""

from collections.abc import Callable
from pathlib import Path

from modelward_runtime.access.apiserver import ApiReviews
from modelward_runtime.access.client import Client
from modelward_runtime.access.config import JWT, Access, Limits, Nobody
from modelward_runtime.access.door import PATIENCE, Door, Gate, GuardedGate, OpenGate
from modelward_runtime.access.identity import Authenticator
from modelward_runtime.access.limits import Subjects
from modelward_runtime.access.permission import PredictPermission
from modelward_runtime.access.tokenreview import TokenReviewer


def open_door(
    access: Access | None,
    limits: Callable[[], Limits | None],
    refused: Callable[[str], None],
    *,
    patience: float = PATIENCE,
) -> Door:
    """The door; without `access` everybody may enter. A caller waits at most `patience` seconds for a review."""
    return Door(_gate(access, min(patience, PATIENCE)), Subjects(limits), refused)


def import_parts(access: Access | None) -> None:
    """Import what this door needs and others do not: it costs start-up time, so it is done on a thread."""
    if access and isinstance(access.authentication, JWT):
        from modelward_runtime.access import webtoken  # noqa: F401, PLC0415  see above
    if access and access.tls:
        from modelward_runtime.access import certificate  # noqa: F401, PLC0415  see above


def _gate(access: Access | None, patience: float) -> Gate:
    if access is None or isinstance(access.authentication, Nobody):
        return OpenGate()
    if access.authorization is None:
        raise ValueError("callers are asked who they are, and nothing says what they may")  # the parser refuses it, too
    api = ApiReviews(access.authentication)
    authenticator: Authenticator
    if isinstance(access.authentication, JWT):
        authenticator = _web_tokens(access.authentication)
    else:
        authenticator = TokenReviewer(api, access.authentication.audience)
    return GuardedGate(authenticator, PredictPermission(api, access.authorization), patience=patience)


def _web_tokens(config: JWT) -> Authenticator:
    from modelward_runtime.access.jwks import KeySet  # noqa: PLC0415  PyJWT costs start-up time
    from modelward_runtime.access.webtoken import WebTokens  # noqa: PLC0415  as above

    bundle = Path(config.ca_bundle_file) if config.ca_bundle_file else None
    return WebTokens(config, KeySet(Client(config.jwks_uri, bundle), config.algorithms))
