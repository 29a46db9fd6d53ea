"""`kubectl modelward predict NAME -f request.json`: one prediction over REST, JSON in and JSON out. Called by `commands.py`.

The token is made by the API server's TokenRequest for a ServiceAccount and the model's audience, so that the API server itself does not
take it; it lives ten minutes and is never printed.
"""

import argparse
import json
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from modelward_operator.plan.names import ACTIVATOR, MODEL_LABEL, activator_slice_name, tls_name
from modelward_operator.plugin.call import call, trusting
from modelward_operator.plugin.kubectl import MODELS, Kubectl, KubectlError
from modelward_operator.plugin.predict import (
    Answer,
    NoWay,
    account_for,
    audience,
    closed,
    door_at_zero,
    hint,
    host,
    port_of_pods,
    ready_pod,
    tls_mode,
    url_path,
)

Json = dict[str, Any]
TOKEN_LIFE: Final = "10m"  # noqa: S105  a time, not a secret


def predict(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Run the command; return its exit status: 0 answered, 1 refused by the endpoint, 2 it could not be asked."""
    body = None if options.describe else _request(options.filename)
    namespace = options.namespace or kubectl.namespace()
    model = kubectl.read(MODELS, options.name, "-n", namespace)
    try:
        token, caller = _token(kubectl, model, options)
        trust = _trust(kubectl, model, options)
        with _door(kubectl, model, options) as address:
            answer = call(
                address,
                url_path(model, describe=options.describe),
                host(model),
                body=body,
                headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {}),
                trust=trust,
                timeout=options.timeout,
            )
    except NoWay as error:
        raise KubectlError(f"{namespace}/{options.name}: {error}") from error
    return _tell(answer, model, caller, options)


def _request(name: str) -> bytes:
    """The request's bytes. Raises KubectlError where they are no JSON: the endpoint would say no more."""
    try:
        body = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        json.loads(body)
    except OSError as error:
        raise KubectlError(f"{name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise KubectlError(f"{name} is not JSON: {error}") from error
    return body


def _token(kubectl: Kubectl, model: Json, options: argparse.Namespace) -> tuple[str, str]:
    """The token, and whose it is in words; both empty where nobody asks who calls."""
    if options.token_file:
        return _own_token(options.token_file), "The owner of the token"
    account = account_for(model, options.service_account)
    if account is None:
        return "", ""
    made = ("--audience", audience(model), "--duration", TOKEN_LIFE)
    try:
        return kubectl.run("create", "token", account.name, "-n", account.namespace, *made).strip(), (
            f"ServiceAccount {account.namespace}/{account.name}"
        )
    except KubectlError as error:
        raise KubectlError(f"no token for ServiceAccount {account.namespace}/{account.name}: {error}") from error


def _own_token(name: str) -> str:
    try:
        found = (sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KubectlError(f"{name}: {error}") from error
    if not found or not found.isascii() or not found.isprintable():
        raise KubectlError(f"{name} holds no token")
    return found


def _trust(kubectl: Kubectl, model: Json, options: argparse.Namespace) -> ssl.SSLContext | None:
    mode = tls_mode(model)
    if mode == "Off":
        return None
    if options.ca_file:
        try:
            return trusting(Path(options.ca_file).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise KubectlError(f"{options.ca_file}: {error}") from error
    if mode != "Managed":
        return ssl.create_default_context()
    bundle = kubectl.read("configmap", tls_name(model["metadata"]["name"]), "-n", model["metadata"]["namespace"])
    return trusting(bundle.get("data", {}).get("ca.crt", ""))


@contextmanager
def _door(kubectl: Kubectl, model: Json, options: argparse.Namespace) -> Iterator[str]:
    """Open a way to who takes the call now."""
    name, namespace = model["metadata"]["name"], model["metadata"]["namespace"]
    if pod := ready_pod(kubectl.read("pods", "-n", namespace, "-l", f"{MODEL_LABEL}={name}")["items"]):
        with kubectl.forward(namespace, pod, port_of_pods()) as address:
            yield address
        return
    if model["spec"].get("scaling", {}).get("minReplicas") != 0:
        raise closed(model)
    found = kubectl.read("endpointslice", activator_slice_name(name), "-n", namespace)
    home = options.operator_namespace
    try:
        activators = kubectl.read("pods", "-n", home, "-l", f"app.kubernetes.io/name={ACTIVATOR}")["items"]
    except KubectlError as error:
        raise NoWay(
            f"it is at zero replicas, and the activator, which would wake it, cannot be reached from here ({error}). "
            f"Call it from a pod, or set "
            "scaling.minReplicas to 1"
        ) from error
    door = door_at_zero(found, activators)
    if door is None:
        raise closed(model)
    print(f"{namespace}/{name} is at zero replicas: the call wakes it", file=sys.stderr)
    with kubectl.forward(*door) as address:
        yield address


def _tell(answer: Answer, model: Json, caller: str, options: argparse.Namespace) -> int:
    text = answer.body.decode("utf-8", "replace")
    if answer.status == 200:
        print(_lines(text) if options.output == "text" else text.rstrip("\n"))
        return 0
    try:
        said = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        said = text.strip()[:500]
    print(f"{answer.status}: {said}", file=sys.stderr)
    if words := hint(answer, model, caller):
        print(words, file=sys.stderr)
    return 1


def _lines(text: str) -> str:
    """The tensors in lines, of an answer or of a description. Raises KubectlError for what is neither."""
    try:
        found = json.loads(text)
        return "\n".join(
            f"{way} {one['name']}  {one['datatype']} {json.dumps(one['shape'])}"
            + (f"  {json.dumps(one['data'])}" if "data" in one else "")
            for way in ("inputs", "outputs")
            for one in found.get(way, ())
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KubectlError(f"200, and no answer of the Open Inference Protocol: {text[:200]!r}") from error
