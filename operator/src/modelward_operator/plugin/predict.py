"""How one prediction is asked for: by whom, through which pod, and what an answer that is none means. Pure; `predict_cli.py` does the I/O.

    a ready pod of the model ─▶ its port 8080
    none, and minReplicas 0  ─▶ a pod of the activator, on the model's port there: the call is held, wakes the model and is answered

Both are reached through `kubectl port-forward`, which enters by the kubelet: the NetworkPolicy stays as it is, and who may forward ports
there may ask. Who may predict is another question, which the pod puts to the caller's token as it does to everybody's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from modelward_operator.plan.names import ACTIVATOR_PORTS, HTTP_PORT
from modelward_operator.plugin.evidence import is_ready

Json = dict[str, Any]
AUDIENCE: Final = "modelward.dev"


class NoWay(Exception):
    """The model cannot be asked, and the message says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """A ServiceAccount, to ask as."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    retry_after: str = ""


def url_path(model: Json, *, describe: bool = False) -> str:
    """Return the path of an inference, or of the model's description."""
    name = model["spec"]["model"].get("name") or model["metadata"]["name"]
    return f"/v2/models/{quote(name, safe='')}" + ("" if describe else "/infer")


def host(model: Json) -> str:
    """Return the name that the endpoint's certificate is for."""
    return f"{model['metadata']['name']}.{model['metadata']['namespace']}.svc"


def tls_mode(model: Json) -> str:
    """Return Off, Managed or Secret."""
    return str((model["spec"].get("security", {}).get("tls") or {}).get("mode", "Off"))


def audience(model: Json) -> str:
    """Return the audience that a token for this model is made for."""
    return str(_authentication(model).get("audience", AUDIENCE))


def account_for(model: Json, asked: str) -> Account | None:
    """Return the ServiceAccount to ask as: the one that was named, else the first that may call; None where nobody asks who calls.

    Raises NoWay where none can be told.
    """
    mode, namespace = _authentication(model).get("mode", "TokenReview"), model["metadata"]["namespace"]
    if mode == "None":
        return None
    if mode == "JWT":
        raise NoWay(
            "it takes tokens of an identity provider (authentication.mode JWT): give one with --token-file FILE"
        )
    if asked:
        where, _, name = asked.rpartition("/")
        return Account(where or namespace, name)
    subjects = _authentication(model).get("allowedSubjects", ())
    named = (one for one in subjects if one["kind"] == "ServiceAccount")
    first = next(named, None)
    if first is None:
        raise NoWay(
            "it asks who calls, and its allowedSubjects name no ServiceAccount: give one that may predict with --service-account "
            "[NAMESPACE/]NAME, or a token of your own with --token-file FILE"
        )
    return Account(first["namespace"], first["name"])


def _authentication(model: Json) -> Mapping[str, Any]:
    return model["spec"].get("security", {}).get("authentication") or {}


def ready_pod(pods: Iterable[Json]) -> str:
    """Return the name of a pod that takes requests, the same one each time; empty where none does."""
    return min(
        (p["metadata"]["name"] for p in pods if is_ready(p) and "deletionTimestamp" not in p["metadata"]), default=""
    )


def door_at_zero(endpoint_slice: Json, activators: Sequence[Json]) -> tuple[str, str, int] | None:
    """Return namespace and name of the activator's pod that would take a call now, and the model's port there; None: none would."""
    port = endpoint_slice.get("metadata", {}).get("annotations", {}).get(ACTIVATOR_PORTS, "").partition(",")[0]
    known = {a for endpoint in endpoint_slice.get("endpoints") or () for a in endpoint["addresses"]}
    for pod in sorted(activators, key=lambda one: str(one["metadata"]["name"])):
        if port.isdecimal() and is_ready(pod) and pod.get("status", {}).get("podIP") in known:
            return pod["metadata"]["namespace"], pod["metadata"]["name"], int(port)
    return None


def port_of_pods() -> int:
    """Return the serving pods' port for REST."""
    return HTTP_PORT


def closed(model: Json) -> NoWay:
    """Say why nobody takes a call."""
    name, namespace = model["metadata"]["name"], model["metadata"]["namespace"]
    conditions = {c["type"]: c for c in model.get("status", {}).get("conditions", ())}
    ready = conditions.get("Ready", {})
    why = f"Ready is {ready.get('status', 'Unknown')}, {ready.get('reason', 'and nobody has said why')}"
    return NoWay(f"no pod of it takes requests: {why}. What to do: kubectl modelward status {name} -n {namespace}")


HINTS: Final = {
    400: "See what it takes: kubectl modelward predict {name} -n {namespace} --describe",
    401: "It does not take this token. It must be valid, made for the audience {audience}, and of whom authentication.mode asks for.",
    403: "{caller} may not predict. Add it to security.authentication.allowedSubjects, or: kubectl create rolebinding predict-{name} "
    "-n {namespace} --clusterrole=modelward-predict --serviceaccount=NAMESPACE:NAME",
    429: "Too many requests at once, of this caller or of all.{wait} More replicas, or another security.rateLimit, let more through.",
    503: "It cannot answer now.{wait} Why: kubectl modelward status {name} -n {namespace}",
    504: "It took too long: a smaller request or more resources help. How it stands: kubectl modelward status {name} -n {namespace}",
}
"""What to do about an answer that is none, by its status; what the privacy policy says explains itself."""


def hint(answer: Answer, model: Json, caller: str) -> str:
    """Return what to do about an answer that is none; empty where the server's own words are enough."""
    wait = f" Try again in {answer.retry_after} s." if answer.retry_after else ""
    if b"policy: " in answer.body or answer.status not in HINTS:
        return wait.strip()
    metadata = model["metadata"]
    return HINTS[answer.status].format(
        name=metadata["name"],
        namespace=metadata["namespace"],
        audience=audience(model),
        caller=caller or "The caller",
        wait=wait,
    )
