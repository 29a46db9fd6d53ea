"""The chain of conditions as a person reads it: what is wrong first, with what to do. Called by `status_cli.py`."""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from modelward_operator.status.conditions import Reason, Type

Json = dict[str, Any]
WIDTH: Final = 118
MARKS: Final = {"True": "+", "False": "x", "Unknown": "~"}
"""Healthy, not, on the way: plain signs, for terminals and logs without colours."""
UNTOLD: Final = frozenset({Reason.ENFORCEMENT_UNKNOWN})
"""Reasons that wait for nothing: what they speak of could not be told."""


def page(found: Json, now: datetime) -> str:
    """Return the page; `now` is aware, and tells how long a condition has stood."""
    return "\n".join(_lines(found, now.astimezone(UTC)))


def _lines(found: Json, now: datetime) -> Iterator[str]:
    yield from _head(found)
    yield ""
    seen: list[Json] = []
    for link in found["conditions"]:
        yield from _link(link, now, seen)
        seen.append(link)
    for note in found["notes"]:
        yield from _wrapped(f"! {note}", "  ", hanging="    ")


def _head(found: Json) -> Iterator[str]:
    model, serves = found["model"], found["serves"]
    version = f", version {model['version']}" if model["version"] else ""
    yield f"{model['namespace']}/{model['name']}  Ready={found['ready']} {found['reason']}".rstrip()
    yield f"  asked for   {model['uri']}{version} (generation {model['generation']})"
    if "digest" in serves:
        named = f", version {serves['version']}" if serves.get("version") else ""
        revision = f", revision {found['revision']}" if found["revision"] else ""
        yield f"  serves      {serves['digest']}{named}{revision}"
    if "replicas" in serves:
        ready, url = serves.get("readyReplicas", 0), serves.get("url", "no address yet")
        stuck = any(c["type"] == Type.ROLLOUT_COMPLETE and c["status"] == "False" for c in found["conditions"])
        former = ": the former revision serves on" if stuck and ready else ""
        yield f"  pods        {ready} of {serves['replicas']} serve at {url}{former}"


def _link(link: Json, now: datetime, seen: Sequence[Json]) -> Iterator[str]:
    """One condition. Of those before it, which are its cause, nothing is said again."""
    old = "" if link["current"] else " (of an older spec)"
    same = any(link["next"] and one["next"] == link["next"] for one in seen)
    waits = (
        link["status"] == "Unknown" and link["reason"] not in UNTOLD and any(one["status"] == "False" for one in seen)
    )
    short = ", as above" if same else ", waits for the above" if waits else ""
    age = _age(link["lastTransitionTime"], now)
    mark = "?" if link["reason"] in UNTOLD else MARKS.get(link["status"], "?")
    yield f"{mark} {link['type']:<18} {link['reason']:<26} {age}{old}{short}".rstrip()
    if short or (link["status"] == "True" and not link["next"]):
        return
    yield from _wrapped(link["message"], "    ")
    if link["next"]:
        yield from _wrapped(f"-> {link['next']}", "    ", hanging="       ")


def _wrapped(text: str, indent: str, hanging: str = "") -> list[str]:
    """Lines that a terminal holds; a command in it stays in one piece."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=hanging or indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _age(since: str, now: datetime) -> str:
    try:
        seconds = int((now - datetime.fromisoformat(since)).total_seconds())
    except (ValueError, TypeError):
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
