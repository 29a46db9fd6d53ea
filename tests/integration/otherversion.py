"""Stores what this version's CRD refuses, as an object of another version would be: for a moment a CRD is served that takes anything."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import yaml

from modelward_operator.cluster.client import Rejected
from tests.integration.conftest import CRD, ROOT
from tests.integration.rig import Rig

Request = Callable[[], Awaitable[Any]]


async def store_as_another_version(rig: Rig, plural: str, change: Request, wrong: Request) -> None:
    """Make a change that this version's CRD refuses. `wrong` is a dry run that is refused once that CRD is served again."""
    ours = (ROOT / "crds" / f"{plural}.yaml").read_text()
    theirs = yaml.safe_load(ours)
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    theirs["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = anything
    await rig.admin.apply(CRD, theirs, manager="test", force=True)
    try:
        await _answered(change, taken=True)
    finally:
        await rig.admin.apply(CRD, yaml.safe_load(ours), manager="test", force=True)
        await _answered(wrong, taken=False)


async def _answered(request: Request, *, taken: bool) -> None:
    """Repeat until the API server takes it, or refuses it: a CRD is served a moment after it was applied."""
    async with asyncio.timeout(60):
        while True:
            if await _is_taken(request) is taken:
                return
            await asyncio.sleep(0.05)


async def _is_taken(request: Request) -> bool:
    try:
        await request()
    except Rejected:
        return False
    return True
