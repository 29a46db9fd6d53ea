"""`cluster/compare.py` merges as the API server does: what is atomic, and by which keys lists are merged, from the server's own schema."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from modelward_operator.cluster.compare import is_atomic, merge_keys
from modelward_operator.cluster.kinds import CHILDREN, Resource
from tests.integration.apiserver import ApiServer
from tests.integration.rest import request
from tests.integration.test_goldens import GOLDENS
from tests.until import PATIENCE

Json = dict[str, Any]
Field = tuple[type, str, str, bool, tuple[str, ...]]
"""A map or a list: the field that holds it, its name, whether an apply replaces it whole, and the merge keys of its items."""


class Schema:
    """The OpenAPI document of one group and version."""

    def __init__(self, server: ApiServer, resource: Resource) -> None:
        limit = time.monotonic() + PATIENCE
        while not (found := self._read(server, resource)):
            assert time.monotonic() < limit, resource.kind
            time.sleep(0.05)
        (self.root, *_) = found

    def _read(self, server: ApiServer, resource: Resource) -> list[Json]:
        """The kind's schema, in a list; none yet where the API server serves a new kind, and its document does not tell of it."""
        group = f"apis/{resource.group}" if resource.group else "api"
        if f"{group}/{resource.version}" not in request(server, "GET", "/openapi/v3")["paths"]:
            return []
        schemas = request(server, "GET", f"/openapi/v3/{group}/{resource.version}")["components"]["schemas"]
        self._schemas: Json = schemas
        return [
            schema
            for schema in schemas.values()
            for gvk in schema.get("x-kubernetes-group-version-kind", ())
            if (gvk["group"], gvk["version"], gvk["kind"]) == (resource.group, resource.version, resource.kind)
        ]

    def resolved(self, node: Json) -> Json:
        """The node with what it refers to; what stands beside the reference wins."""
        for inner in (node, *node.get("allOf", ())):
            if "$ref" in inner:
                node = {**self._schemas[inner["$ref"].rsplit("/", 1)[-1]], **node}
        return node

    def fields(self, node: Json, value: object, name: str = "", parent: str = "") -> Iterator[Field]:
        """Every map and every list in a value that is sent, with what the schema says of it."""
        node = self.resolved(node)
        if isinstance(value, dict):
            whole = node.get("x-kubernetes-map-type") == "atomic"
            yield dict, parent, name, whole, ()
            for key, inner in value.items() if not whole else ():
                below = node.get("properties", {}).get(key) or node.get("additionalProperties") or {}
                yield from self.fields(below, inner, key, name)
        if isinstance(value, list):
            whole = node.get("x-kubernetes-list-type") not in {"map", "set"}
            yield list, parent, name, whole, tuple(node.get("x-kubernetes-list-map-keys", ()))
            for item in value if not whole else ():
                yield from self.fields(node.get("items", {}), item, name)


@pytest.mark.usefixtures("gateway_api")
@pytest.mark.parametrize("resource", CHILDREN, ids=lambda resource: resource.kind)
def test_maps_and_lists_merge_as_the_schema_says(resource: Resource, server: ApiServer) -> None:
    schema = Schema(server, resource)
    planned = (one for golden in GOLDENS for one in yaml.safe_load_all(golden.read_text()))
    found = {field for one in planned if one["kind"] == resource.kind for field in schema.fields(schema.root, one)}
    assert found
    assert found == {(type_, parent, name, *ours(type_, name, parent)) for type_, parent, name, _, _ in found}


def ours(type_: type, name: str, parent: str) -> tuple[bool, tuple[str, ...]]:
    """What compare.py says of it."""
    if type_ is dict:
        return is_atomic(name), ()
    keys = merge_keys(name, parent)
    return not keys, keys
