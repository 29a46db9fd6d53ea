"""The chart's index template, and whether a log line is what it says. Used by tests/unit and tests/integration."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

CHART: Final = Path(__file__).parents[1] / "helm" / "modelward"
TEMPLATE: Final[dict[str, Any]] = json.loads((CHART / "files" / "logs" / "index-template.json").read_text())
MAPPINGS: Final[dict[str, Any]] = TEMPLATE["template"]["mappings"]
PROPERTIES: Final[dict[str, dict[str, Any]]] = MAPPINGS["properties"]
ALWAYS: Final = frozenset({"time", "level", "logger", "message"})


def misfits(line: dict[str, Any]) -> Iterator[str]:
    """Say what of a line Elasticsearch would not index as the template says, or would cut off."""
    yield from (f"there is no {name}" for name in ALWAYS - line.keys())
    for name, value in line.items():
        if name not in PROPERTIES:
            yield f"{name} is not in the template"
        elif not _holds(PROPERTIES[name], value):
            yield f"{name} is no {PROPERTIES[name]['type']}: {value!r}"


def _holds(mapping: dict[str, Any], value: Any) -> bool:
    match mapping["type"]:
        case "keyword":
            return isinstance(value, str) and len(value) <= mapping["ignore_above"]
        case "text":
            return isinstance(value, str)
        case "date":
            return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
        case "integer" | "long":
            return type(value) is int
        case "double":
            return type(value) in {int, float}
        case "flattened":
            return isinstance(value, dict)
    return False  # of an alias nothing may be sent
