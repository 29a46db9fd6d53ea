"""The guides that explain fields one by one (`FIELDS.md` of a room), taken apart, for the tests that hold them to the CRDs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOMS = Path(__file__).parents[1] / "operator/src/modelward_operator/policies"


def entries(room: str) -> dict[str, str]:
    """Return the text of each entry by the fields that its heading names."""
    guide = (ROOMS / room / "FIELDS.md").read_text()
    return {
        name: text
        for heading, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", guide, re.MULTILINE | re.DOTALL)
        for name in re.findall(r"`([^`]+)`", heading)
    }


def leaves(node: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of every field that holds no further ones."""
    for name, field in node.get("properties", {}).items():
        inner, below = (
            (field["items"], f"{path}{name}[].") if field.get("type") == "array" else (field, f"{path}{name}.")
        )
        if "properties" in inner:
            yield from leaves(inner, below)
        else:
            yield f"{path}{name}"


def explained(path: str, guide: dict[str, str]) -> bool:
    """Whether the field, or one that holds it, has an entry."""
    return any(path == entry or path.startswith((f"{entry}.", f"{entry}[")) for entry in guide)


def check_entry(name: str, guide: dict[str, str]) -> dict[str, Any]:
    """Assert that an entry says what a reader must know, and return its example, which shows the field."""
    text = guide[name]
    for words in ("**Protects from**", "**Does not**", "**Costs**"):
        assert words in text, f"{name}: {words}"
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    shown: dict[str, Any] = yaml.safe_load(example)
    assert {entry.partition(".")[0] for entry, shared in guide.items() if shared == text} & shown.keys(), (
        f"the example of {name} shows it"
    )
    return shown


def unknown_entries(guide: dict[str, str], known: set[str]) -> set[str]:
    """Return the entries of no field."""
    paths = {path[: match.start()] for path in known for match in re.finditer(r"[.\[]|$", path)}
    return guide.keys() - known - paths
