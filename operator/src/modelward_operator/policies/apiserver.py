"""How pods ask the API server something as themselves: with what token, trusting whom, from which files. Called by the rooms that want it.

Two rooms that want it must add the very same volume, or `rulings.settle` calls it a contradiction.
"""

from modelward_operator.plan import names
from modelward_operator.rulings import Addition, volume


def api_volume() -> Addition:
    """Return the volume with a token for the API server and the CA that it is known by."""
    token = {"expirationSeconds": names.API_TOKEN_SECONDS, "path": "token"}
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources = [{"serviceAccountToken": token}, {"configMap": authority}]
    return volume("api", names.API_DIR, {"projected": {"sources": sources}})


def api_files() -> dict[str, str]:
    """Return what boot.json and policy.json say of it."""
    return {
        "server": names.API_SERVER,
        "tokenFile": f"{names.API_DIR}/token",
        "caFile": f"{names.API_DIR}/ca.crt",
    }
