"""Has the API server say whether a user may predict with this model (authorization.k8s.io/v1 LocalSubjectAccessReview).

The one authorizer, whoever authenticated: plain RBAC grants prediction to ServiceAccounts, Users and Groups alike. The question is
local to the namespace, so that the right to ask it can be given there, too.
"""

from typing import Any, Final
from urllib.parse import quote

from modelward_runtime.access.apiserver import ApiReviews
from modelward_runtime.access.config import Authorization
from modelward_runtime.access.identity import Identity

GROUP: Final = "modelward.dev"
RESOURCE: Final = "modeldeployments"
SUBRESOURCE: Final = "predict"
VERB: Final = "create"


class PredictPermission:
    """The right `create modeldeployments/predict` for one name."""

    def __init__(self, api: ApiReviews, model: Authorization) -> None:
        self._api = api
        self._model = model
        self._path = (
            f"/apis/authorization.k8s.io/v1/namespaces/{quote(model.namespace, safe='')}/localsubjectaccessreviews"
        )

    async def permits(self, identity: Identity) -> bool:
        """Is it so? An answer that says nothing is a no."""
        metadata = {"namespace": self._model.namespace}
        status = await self._api.ask(
            self._path,
            "LocalSubjectAccessReview",
            "authorization.k8s.io/v1",
            metadata=metadata,
            spec=self._question(identity),
        )
        return status.get("allowed") is True and status.get("denied") is not True

    def _question(self, identity: Identity) -> dict[str, Any]:
        attributes = {
            "namespace": self._model.namespace,
            "name": self._model.name,
            "group": GROUP,
            "resource": RESOURCE,
            "subresource": SUBRESOURCE,
            "verb": VERB,
        }
        asked: dict[str, Any] = {"resourceAttributes": attributes, "user": identity.username}
        asked |= {"uid": identity.uid} if identity.uid else {}
        asked |= {"groups": list(identity.groups)} if identity.groups else {}
        return asked | ({"extra": dict(identity.extra)} if identity.extra else {})
