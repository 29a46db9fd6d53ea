"""Find the fields of a manifest that its kind does not have: a word misspelt is a protection left out.

Called by `offline.py` for manifests alone. `parse.py` passes over such fields: a live object may have been stored by a newer schema.
The API server refuses them where the client asks it to; offline nobody else does. Pure: it knows no field by name, only the schema.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelward_operator.api.crd import Schema
from modelward_operator.api.parse import FieldError

OF_EVERY_OBJECT: Final = {"apiVersion", "kind", "metadata"}
"""Fields that a CustomResourceDefinition need not name. What metadata may hold is not ours to say."""


def unknown_fields(document: Mapping[str, Any], crd: Mapping[str, Any]) -> tuple[FieldError, ...]:
    """Return an error for each field of a manifest that the schema of its CustomResourceDefinition lacks, in the manifest's order."""
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    own = {name: value for name, value in document.items() if name not in OF_EVERY_OBJECT}
    return tuple(FieldError(path, "unknown field") for path in _unknown(own, schema, ""))


def _unknown(value: object, schema: Schema, path: str) -> Iterator[str]:
    """Yield the paths of unknown fields; a value of the wrong type has none, and is `parse`'s to refuse."""
    if isinstance(value, dict):
        for name, inner in value.items():
            below = f"{path}.{name}".lstrip(".")
            known = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if known is not None:
                yield from _unknown(inner, known, below)
            elif "properties" in schema:
                yield below
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{path}[{index}]")
