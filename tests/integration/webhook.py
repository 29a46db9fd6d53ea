"""A real mutating admission webhook over TLS, in the test's process: what a mesh or a policy engine does to the objects of others."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import Resource
from modelward_operator.errors import OperatorError
from tests.ports import free_ports
from tests.serving_certificates import Authority
from tests.until import PATIENCE

Json = dict[str, Any]
Mutation = Callable[[Json], list[Json]]
"""The object under admission to the JSON patch (RFC 6902) that the webhook answers with."""
CONFIGURATION = Resource(
    "MutatingWebhookConfiguration", "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"
)


@asynccontextmanager
async def webhook(
    client: Client, folder: Path, namespace: str, resource: Resource, mutate: Mutation
) -> AsyncIterator[list[Json]]:
    """Mutate every object of a kind that is created or updated in the namespace, until the block ends; yields those that came.

    It is in force when this returns.
    """
    came: list[Json] = []
    asked_at_all = asyncio.Event()

    async def review(request: web.Request) -> web.Response:
        asked = (await request.json())["request"]
        asked_at_all.set()
        patch = mutate(asked["object"])
        if not asked.get("dryRun"):
            came.append(asked["object"])
        answer = {"uid": asked["uid"], "allowed": True, "patchType": "JSONPatch"}
        answer["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer})

    authority = Authority()
    (port,) = free_ports(1)
    app = web.Application()
    app.router.add_post("/mutate", review)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=_context(authority, folder)).start()
    made = await client.create(CONFIGURATION, _configuration(authority, port, namespace, resource), manager="test")
    try:
        async with asyncio.timeout(PATIENCE):
            while not asked_at_all.is_set():
                await _try(client, namespace, resource)
                await asyncio.sleep(0.05)
        yield came
    finally:
        await client.delete(CONFIGURATION, "", namespace, uid=made["metadata"]["uid"])
        await runner.cleanup()


def _context(authority: Authority, folder: Path) -> ssl.SSLContext:
    issued = authority.issue()
    (folder / "webhook.crt").write_bytes(issued.certificate)
    (folder / "webhook.key").write_bytes(issued.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "webhook.crt", folder / "webhook.key")
    return context


async def _try(client: Client, namespace: str, resource: Resource) -> None:
    """Ask whether an object could be made that is none: webhooks are asked before it is validated."""
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "x", "namespace": namespace},
    }
    with contextlib.suppress(OperatorError):
        await client.create(resource, body, manager="test", dry_run=True)


def _configuration(authority: Authority, port: int, namespace: str, resource: Resource) -> Json:
    rule = {
        "apiGroups": [resource.group],
        "apiVersions": ["*"],
        "resources": [resource.plural],
        "operations": ["CREATE", "UPDATE"],
    }
    hook = {
        "name": f"{namespace}.webhook.test",
        "clientConfig": {
            "url": f"https://127.0.0.1:{port}/mutate",
            "caBundle": base64.b64encode(authority.pem).decode(),
        },
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
    }
    meta = {"name": namespace}
    return {
        "apiVersion": CONFIGURATION.api_version,
        "kind": CONFIGURATION.kind,
        "metadata": meta,
        "webhooks": [hook],
    }
