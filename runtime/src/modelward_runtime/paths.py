"""The paths of the Open Inference Protocol v2 over HTTP: what each means, and which method it takes.

Used by `web.py`, which answers them, and by `activator/rest.py`, which must know what a request asks for before there is a model.
"""

import msgspec

from modelward_runtime.errors import MethodNotAllowed, NotFound


class Route(msgspec.Struct, frozen=True):
    """What a path means: the action, and the model and version it names."""

    action: str
    name: str = ""
    version: str = ""


METHODS = {
    "live": "GET", "ready": "GET", "server": "GET", "model": "GET", "model_ready": "GET", "openapi": "GET",
    "infer": "POST", "index": "POST", "load": "POST", "unload": "POST",
}  # fmt: skip
FIXED = {
    "/v2/health/live": Route("live"),
    "/v2/health/ready": Route("ready"),
    "/v2": Route("server"),
    "/v2/": Route("server"),
    "/v2/repository/index": Route("index"),
}
OPEN = frozenset({"/v2/health/live", "/v2/health/ready"})  # kubelets and load balancers have no token
_MODEL_ACTIONS = {"": "model", "/ready": "model_ready", "/infer": "infer", "/openapi.json": "openapi"}
MODEL_PATHS = {action: path for path, action in _MODEL_ACTIONS.items()}


def parse_path(path: str) -> Route:
    """What a path of no fixed route means. Raises `NotFound`."""
    parts = path.split("/")
    if parts[:3] == ["", "v2", "models"] and len(parts) > 3 and parts[3]:
        name, rest, version = parts[3], parts[4:], ""
        if len(rest) > 1 and rest[0] == "versions" and rest[1]:
            version, rest = rest[1], rest[2:]
        action = _MODEL_ACTIONS.get("".join("/" + part for part in rest))
        if action:
            return Route(action, name, version)
    if parts[:4] == ["", "v2", "repository", "models"] and len(parts) == 6 and parts[5] in {"load", "unload"}:
        return Route(parts[5], parts[4])
    raise NotFound("no such path")


def check_method(route: Route, method: str) -> None:
    """Raises `MethodNotAllowed` with the method that the path takes; HEAD goes where GET does."""
    allowed = METHODS[route.action]
    if method != allowed and not (method == "HEAD" and allowed == "GET"):
        raise MethodNotAllowed(method[:16], allowed)


def state_body(action: str, *, holds: bool, name: str = "") -> bytes:
    """The JSON with which health and readiness are answered, beside the status: some clients read nothing else (OIP v2, REST, "Health")."""
    word = "live" if action == "live" else "ready"
    return msgspec.json.encode({"name": name, word: holds} if name else {word: holds})
