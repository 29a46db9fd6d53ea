"""A real mutating admission webhook on the node, over TLS: what a mesh or a policy engine does to the objects of others.

Used by test_others_hands.py. It is asked for one namespace alone, so that the rest of the cluster goes on when it is gone.
"""

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cases.authority import Authority
from e2e.cases.case import Case
from e2e.cases.kube import Object, Refused, wait
from e2e.cases.websites import node_address

Mutation = Callable[[Object], list[Object]]
"""The object under admission to the JSON patch (RFC 6902) that the webhook answers with."""


@contextmanager
def mutating(case: Case, folder: Path, group: str, resource: str, mutate: Mutation) -> Iterator[list[Object]]:
    """Mutate what is created or updated in the case's namespace until the block ends; yields the objects that came, dry runs left out.

    It is in force when this returns.
    """
    came: list[Object] = []
    asked = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))["request"]
            asked.set()
            patch = base64.b64encode(json.dumps(mutate(request["object"])).encode()).decode()
            if not request.get("dryRun"):
                came.append(request["object"])
            response = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
            body = json.dumps(review).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    address, authority = node_address(case), Authority(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(address))
    with http.server.ThreadingHTTPServer((address, 0), Handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"https://{address}:{server.server_address[1]}/mutate"
        case.kube.apply(_configuration(case.namespace, url, authority, group, resource))
        try:
            wait("the webhook is asked", lambda: _try(case, group, resource) or asked.is_set(), within=30)
            yield came
        finally:
            case.kube.kubectl("delete", "mutatingwebhookconfiguration", case.namespace, "--ignore-not-found")
            server.shutdown()


def _try(case: Case, group: str, resource: str) -> bool:
    """Ask whether an object could be made that is none, and it could not: webhooks are asked before it is validated."""
    kind = {"pods": "Pod", "deployments": "Deployment"}[resource]
    body = {"apiVersion": f"{group}/v1".lstrip("/"), "kind": kind, "metadata": {"name": "x"}, "spec": {}}
    try:
        case.kube.kubectl(
            "create", "--dry-run=server", "--validate=false", "-n", case.namespace, "-f", "-", given=json.dumps(body)
        )
    except Refused:
        return False
    return True


def _configuration(name: str, url: str, authority: Authority, group: str, resource: str) -> Object:
    rule = {
        "apiGroups": [group],
        "apiVersions": ["*"],
        "resources": [resource],
        "operations": ["CREATE", "UPDATE"],
    }
    hook = {
        "name": "cases.webhook.example",
        "clientConfig": {"url": url, "caBundle": base64.b64encode(authority.file.read_bytes()).decode()},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
    }
    kind = "MutatingWebhookConfiguration"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "webhooks": [hook],
    }
