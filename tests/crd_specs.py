"""Specs that are built from the CustomResourceDefinitions themselves, as the API server reads them: whatever a user may write.

The schemas know no rule between fields, so some of what is drawn is refused; `without` takes away what a refusal names, so that most of it
is accepted in the end. Nothing here knows a field by its name.
"""

import copy
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from hypothesis import strategies as st

ROOT: Final = Path(__file__).parents[1]
Json = dict[str, Any]
Strategy = st.SearchStrategy[Any]
ABSENT: Final = object()
QUANTITIES: Final = ["0", "1", "100m", "2", "1500m", "64Mi", "1Gi", "4Gi", "1e3", ".5", "1.", "0.0001", "100Ei"]
_MATCHES: Final = re.compile(r"^(?P<never>!?)self\.matches\(r'(?P<pattern>.*)'\)$", re.DOTALL)
_KEY_MATCHES: Final = re.compile(r"^self\.all\(key, key\.matches\(r'(?P<pattern>.*)'\)\)$", re.DOTALL)
_REFUSED: Final = re.compile(
    r"(?P<path>spec[A-Za-z0-9_.\[\]]*): (?=Invalid|Required|Unsupported|Too |Duplicate|Forbidden)"
)
_STEP: Final = re.compile(r"\.?([A-Za-z0-9_]+)|\[(\d+)\]")


@cache
def schema(plural: str, part: str = "spec") -> Json:
    """The schema of a part of a kind, as it lies in crds/."""
    crd = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text(encoding="utf-8"))
    found: Json = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return found


@cache
def specs(plural: str, part: str = "spec") -> Strategy:
    """Values of that part of a kind."""
    return _values(schema(plural, part))


def refused_paths(refusal: str) -> set[str]:
    """The fields that a refusal of the API server names."""
    return {found["path"] for found in _REFUSED.finditer(refusal)}


def without(plural: str, spec: Json, paths: Iterable[str]) -> Json:
    """The spec without these fields; without its last optional section where all of it is named, for a rule between sections."""
    result = copy.deepcopy(spec)
    must = schema(plural).get("required", ())
    for path in sorted({tuple(_STEP.findall(path))[1:] for path in paths}, key=lambda path: (-len(path), str(path))):
        steps: list[str | int] = [int(index) if index else name for name, index in path]
        while steps and not _take(result, steps):
            steps.pop()  # it is not there, and that is what is wrong
        if not steps:
            _take(result, [*(name for name in result if name not in must)][-1:])
    return result


def _take(value: Any, steps: Sequence[str | int]) -> bool:
    """Take away what is there; False when nothing is."""
    *way, last = steps or [""]
    for step in way:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return False
    if isinstance(value, dict):
        return value.pop(last, ABSENT) is not ABSENT
    if isinstance(value, list) and isinstance(last, int) and last < len(value):
        del value[last]
        return True
    return False


def _values(node: Json) -> Strategy:
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if node.get("x-kubernetes-int-or-string"):
        return st.one_of(st.sampled_from(QUANTITIES), st.integers(0, 4096))
    made: dict[str, Callable[[Json], Strategy]] = {
        "object": _objects,
        "array": _lists,
        "string": _texts,
        "integer": _integers,
        "boolean": lambda _node: st.booleans(),
    }
    return made[node["type"]](node)


def _objects(node: Json) -> Strategy:
    if "properties" not in node:
        return _maps(node)
    fields = {name: _values(inner) for name, inner in node["properties"].items()}
    must = set(node.get("required", ()))
    return st.fixed_dictionaries(
        {name: fields[name] for name in fields if name in must},
        optional={name: fields[name] for name in fields if name not in must},
    )


def _maps(node: Json) -> Strategy:
    if not isinstance(node.get("additionalProperties"), dict):
        return st.just({})
    keys: Strategy = st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True)
    for rule in node.get("x-kubernetes-validations", ()):
        if found := _KEY_MATCHES.match(rule["rule"]):
            keys = _matching(found["pattern"])
    return st.dictionaries(keys, _values(node["additionalProperties"]), max_size=min(node.get("maxProperties", 3), 3))


def _lists(node: Json) -> Strategy:
    keys = node.get("x-kubernetes-list-map-keys", ())
    is_set = node.get("x-kubernetes-list-type") == "set"

    def identity(item: Any) -> Hashable:
        return tuple(str(item.get(key)) for key in keys) if keys else str(item)

    least = node.get("minItems", 0)
    most = max(least, min(node.get("maxItems", 3), 3))
    return st.lists(
        _values(node["items"]), min_size=least, max_size=most, unique_by=identity if keys or is_set else None
    )


def _texts(node: Json) -> Strategy:
    rules = [found for rule in node.get("x-kubernetes-validations", ()) if (found := _MATCHES.match(rule["rule"]))]
    patterns = [found["pattern"] for found in rules if not found["never"]]
    patterns += [node["pattern"]] if "pattern" in node else []
    longest = node.get("maxLength", 4096)
    if not patterns:
        return st.text(st.characters(codec="utf-8"), min_size=node.get("minLength", 0), max_size=min(longest, 40))
    never = [re.compile(found["pattern"]) for found in rules if found["never"]]
    texts = _matching(patterns[0])
    others = [re.compile(pattern) for pattern in patterns[1:]]
    return texts.filter(
        lambda text: (
            len(text) <= longest
            and all(other.search(text) for other in others)
            and not any(one.search(text) for one in never)
        )
    )


def _matching(pattern: str) -> Strategy:
    """Text that the pattern matches as a whole where it says so, and mostly in ASCII."""
    return st.from_regex(re.compile(pattern.replace("$", r"\Z"), re.ASCII))


def _integers(node: Json) -> Strategy:
    least, most = node.get("minimum", -(2**31)), node.get("maximum", 2**31 - 1)
    return st.one_of(st.integers(least, min(most, least + 5)), st.integers(least, most))
