"""Building blocks of the kinds: strings with limits, Kubernetes quantities, and the markers that the CRD generator reads.

Used by every module of `api/`. A type says three things once: what Python checks (pydantic), what the API server checks
(the schema that `crd.py` derives from the same constraints, plus the `x-kubernetes-*` markers below), and what the field
reference prints (the description).
"""

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, WithJsonSchema
from pydantic.alias_generators import to_camel

QUANTITY_PATTERN: Final = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class Struct(BaseModel):
    """A frozen part of a kind. Fields are camelCase on the wire; fields of a newer version are left alone."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


def cel(*rules: tuple[str, str], **extra: str) -> dict[str, Any]:
    """Return the schema marker that makes the API server check `rules`, each a CEL expression and the message to the user.

    See https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
    """
    return {
        "x-kubernetes-validations": [{"rule": rule, "message": message, **extra} for rule, message in rules]
    }


def listed_by(*keys: str) -> dict[str, Any]:
    """Return the schema marker of a list that is a map by `keys`: merged item by item, duplicates refused."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def _number_as_text(value: object) -> object:
    """YAML writes `cpu: 2`; the API server keeps the integer."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    BeforeValidator(_number_as_text),
    StringConstraints(max_length=32, pattern=QUANTITY_PATTERN),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY_PATTERN,
            "maxLength": 32,
        }
    ),
]
"""A Kubernetes quantity such as `500m`, `2` or `4Gi`."""

ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
"""The name of an object of the same namespace."""

NamespaceName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL)]
