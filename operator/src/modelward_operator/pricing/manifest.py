"""A Node out of a file, which no API server has looked at: read, or said what is wrong with it. Called by `cli.py`. Pure."""

from typing import Annotated

from pydantic import Field, StrictBool, ValidationError

from modelward_operator.api.types import Quantity, Struct
from modelward_operator.facts import Json
from modelward_operator.pricing.facts import Node, node_of


class _Metadata(Struct):
    name: Annotated[str, Field(min_length=1)]
    labels: dict[str, str] | None = None


class _Spec(Struct):
    unschedulable: StrictBool | None = None


class _Status(Struct):
    allocatable: dict[str, Quantity] | None = None
    capacity: dict[str, Quantity] | None = None


class _Manifest(Struct):
    """What prices and devices look at; of the rest anything may be written."""

    metadata: _Metadata
    spec: _Spec | None = None
    status: _Status | None = None


def node_in_file(document: Json) -> Node:
    """Return what a Node of a file has. Raises ValueError with the path of each field that is wrong."""
    try:
        _Manifest.model_validate(document)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise ValueError(f"Node: {wrong}") from error
    return node_of({key: value for key, value in document.items() if value is not None})
