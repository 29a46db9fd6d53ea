"""Objects whose managedFields go as deep as the API server takes them, which anybody may write into what he may create. Used by tests."""

import json
import ssl
import urllib.request
from typing import Any, Final

from tests.integration.apiserver import TOKEN, ApiServer

Json = dict[str, Any]
DEEPEST: Final = 9_980
"""Levels, of the 10,000 that the API server reads; some are around them."""


def write_deep(server: ApiServer, path: str, body: Json, depth: int) -> None:
    """Create the object with managedFields of so many levels."""
    fields = '{"f:x":' * depth + "{}" + "}" * depth
    head = {"manager": "x", "operation": "Update", "apiVersion": body["apiVersion"], "fieldsType": "FieldsV1"}
    metadata = {**body["metadata"], "managedFields": [{**head, "fieldsV1": "HERE"}]}
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    sent = urllib.request.Request(  # not by a client that would read the answer
        server.url + path,
        data=json.dumps({**body, "metadata": metadata}).replace('"HERE"', fields).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(sent, timeout=20, context=trust) as answer:
        assert answer.read().count(b"f:x") >= depth, "it is stored as deep as it was sent"
