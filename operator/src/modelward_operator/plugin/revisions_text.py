"""History and the way back as a person reads them. Called by `revisions_cli.py`."""

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from modelward_operator.plugin.rollback import Owner, Way
from modelward_operator.plugin.table import table

Json = dict[str, Any]
SHOWN = 3
"""Changed paths in a row of the table; -o json has all."""


def history_page(found: Json) -> str:
    """The revisions, the oldest first, and last how the present spec stands to them."""
    model, present = found["model"], found["present"]
    lines = [f"{model['namespace']}/{model['name']}"]
    rows = [[str(one["revision"]), *_row(one)] for one in found["revisions"]]
    if rows:
        lines += table(["REVISION", "SERVED SINCE", "DIGEST", "VERSION", "CHANGED", "CHANGE CAUSE"], rows)
    else:
        lines.append("No revision has served yet.")
    return "\n".join([*lines, *_present(found, present)])


def _row(one: Json) -> list[str]:
    digest = str(one["digest"]).removeprefix("sha256:")[:12]
    return [one["servedTime"], digest, one["version"], _few(one["changed"]) or "-", one["cause"] or "-"]


def _few(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more


def _present(found: Json, present: Json) -> Iterator[str]:
    ready = present["ready"]
    if invalid := present.get("invalid"):
        yield f"\nThe present spec cannot be read: {invalid}"
    elif present["served"]:
        yield f"\nThe present spec is revision {found['revisions'][-1]['revision']}."
    elif found["revisions"]:
        yield f"\nThe present spec (generation {found['model']['generation']}) has not served: {_few(present['changed'])} changed."
    if ready["status"] and ready["status"] != "True":
        yield f"Ready is {ready['status']}, {ready['reason']}: {ready['message']}"


def revision_page(one: Json) -> str:
    """One revision in full."""
    head = [f"Revision {one['revision']}, served since {one['servedTime']}", f"  digest  {one['digest']}"]
    head += [f"  cause   {one['cause']}"] if one["cause"] else []
    return "\n".join([*head, "", yaml.safe_dump({"spec": one["spec"]}, sort_keys=False).rstrip("\n")])


def way_page(name: str, way: Way, *, done: str) -> str:
    """What going back changes, what it leaves, and how to follow it. `done`: what became of it."""
    if not way.changed:
        return "\n".join([f"{name}: nothing to change: what runs is what revision {way.to} says.", *_kept(way)])
    lines = [f"{name}: {done} revision {way.to}: {', '.join(way.changed)}"]
    if way.pinned:
        lines.append(
            f"  model.digest is declared now ({way.pinned}), so that these bytes come back or none. Take it out, or "
            f"give the next one, when "
            "you deploy another model; --no-pin leaves it out."
        )
    return "\n".join([*lines, *_kept(way)])


def _kept(way: Way) -> Iterator[str]:
    if way.kept:
        yield f"  left as it is today, though it was otherwise then: {', '.join(way.kept)}"


def owned_page(name: str, way: Way, owner: Owner) -> str:
    """Why nothing was done, and what to change at the source."""
    edit = yaml.safe_dump(
        {"spec": {key: value for key, value in way.spec.items() if value is not None}}, sort_keys=False
    )
    gone = [key for key, value in way.spec.items() if value is None]
    return "\n".join(
        [
            f"{name} is owned by {owner.tool} ({owner.what}), which would put its own version back. Nothing was changed.",
            f"Instead: {owner.instead}. With --force it is patched all the same.",
            "",
            f"What revision {way.to} says:",
            edit.rstrip("\n"),
            *([f"without: {', '.join(f'spec.{key}' for key in gone)}"] if gone else []),
        ]
    )
