"""Makes the door that boot.json describes. Called by `ports.py`.

Nothing is asked yet: a door whose issuer or API server is away opens with the first caller that finds them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from modelward_runtime.access.config import JWT, Access, Limits, Nobody
from modelward_runtime.access.door import PATIENCE, Door, Gate, GuardedGate, OpenGate
from modelward_runtime.access.identity import Authenticator
from modelward_runtime.access.limits import Subjects

if TYPE_CHECKING:
    from modelward_runtime.access.client import Resolve


def open_door(
    access: Access | None,
    limits: Callable[[], Limits | None],
    refused: Callable[[str], None],
    *,
    patience: float = PATIENCE,
    permits: Callable[[str], bool] | None = None,
    resolve: "Resolve | None" = None,
) -> Door:
    """The door; without `access` everybody may enter. A caller waits at most `patience` seconds for a review.

    `permits` says which addresses a token issuer may have; all of them, where nothing is given. `resolve` looks its name up.
    """
    return Door(_gate(access, min(patience, PATIENCE), permits, resolve), Subjects(limits), refused)


def import_parts(access: Access | None) -> None:
    """Import what this door needs and others do not: it costs start-up time, so it is done on a thread."""
    if access is None:
        return
    if not isinstance(access.authentication, Nobody):
        from modelward_runtime.access import apiserver, permission, tokenreview  # noqa: F401, PLC0415  see above
    if isinstance(access.authentication, JWT):
        from modelward_runtime.access import webtoken  # noqa: F401, PLC0415  see above
    if access.tls:
        from modelward_runtime.access import certificate  # noqa: F401, PLC0415  see above


def _gate(
    access: Access | None, patience: float, permits: Callable[[str], bool] | None, resolve: "Resolve | None"
) -> Gate:
    if access is None or isinstance(access.authentication, Nobody):
        return OpenGate()
    from modelward_runtime.access.apiserver import ApiReviews  # noqa: PLC0415  start-up: who asks nobody needs none of it
    from modelward_runtime.access.permission import PredictPermission  # noqa: PLC0415  as above
    from modelward_runtime.access.tokenreview import TokenReviewer  # noqa: PLC0415  as above

    if access.authorization is None:
        raise ValueError("callers are asked who they are, and nothing says what they may")  # the parser refuses it, too
    api = ApiReviews(access.authentication)
    authenticator: Authenticator
    if isinstance(access.authentication, JWT):
        authenticator = _web_tokens(access.authentication, permits, resolve)
    else:
        authenticator = TokenReviewer(api, access.authentication.audience)
    return GuardedGate(authenticator, PredictPermission(api, access.authorization), patience=patience)


def _web_tokens(config: JWT, permits: Callable[[str], bool] | None, resolve: "Resolve | None") -> Authenticator:
    from modelward_runtime.access.client import Client  # noqa: PLC0415  as above
    from modelward_runtime.access.jwks import KeySet  # noqa: PLC0415  PyJWT costs start-up time
    from modelward_runtime.access.webtoken import WebTokens  # noqa: PLC0415  as above

    bundle = Path(config.ca_bundle_file) if config.ca_bundle_file else None
    source = Client(config.jwks_uri, bundle, permits=permits, resolve=resolve)
    return WebTokens(config, KeySet(source, config.algorithms))
