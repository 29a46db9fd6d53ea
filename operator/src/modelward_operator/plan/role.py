"""The Role that lets `allowedSubjects` call this model, and no other."""

from modelward_operator.api.modeldeployment import GROUP, PLURAL
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names

RBAC: str = "rbac.authorization.k8s.io"


def predict_role(given: Given) -> Json:
    """Return the Role. The operator holds the same right, or the API server would not let it grant it."""
    rule = {
        "apiGroups": [GROUP],
        "resources": [f"{PLURAL}/predict"],
        "resourceNames": [given.key.name],
        "verbs": ["create"],
    }
    return names.child(given, f"{RBAC}/v1", "Role", names.predict_role_name(given.key.name), rules=[rule])
