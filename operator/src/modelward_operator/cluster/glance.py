"""Whether a watch event is news, told without parsing its object: most are the echo of our own writes. Called by client.py."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from modelward_operator.cluster.notation import read_json

Known = Callable[[str, str], int]
"""Returns the resourceVersion that is known of the object of that namespace and name, 0 of none."""


def nothing_known(_namespace: str, _name: str) -> int:
    """Return 0: everything is news."""
    return 0


class _Named(msgspec.Struct, gc=False):
    name: str = ""
    namespace: str = ""
    resourceVersion: str = "0"  # noqa: N815  -- as it stands there


class _Object(msgspec.Struct, gc=False):
    metadata: _Named = msgspec.field(default_factory=_Named)


class _Event(msgspec.Struct, gc=False):
    """As much of a watch event as tells whether it is news."""

    type: str
    object: _Object


_glance: Final = msgspec.json.Decoder(_Event).decode


def event_of(line: bytes, known: Known) -> dict[str, Any]:
    """Return the event of a line; one that tells no more than is `known` as a bookmark, without its object."""
    seen = _glance(line)
    meta = seen.object.metadata
    if seen.type in {"ADDED", "MODIFIED"} and known(meta.namespace, meta.name) >= int(meta.resourceVersion):
        return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": meta.resourceVersion}}}
    event: dict[str, Any] = read_json(line)
    return event
