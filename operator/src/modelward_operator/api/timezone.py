"""Time zones by their name in the IANA database. Called by `costbudget.py`, which refuses a name that is not in it, and by
`policies/cost/periods.py`.

The list is that of the package `tzdata` and not the machine's: every image refuses and accepts the same names, and a directory of the
machine (`posix/`, `right/`, `localtime`) is no time zone.
"""

from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo


@cache
def zone_names() -> frozenset[str]:
    """Return the name of every time zone that there is."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


@cache
def zone(name: str) -> ZoneInfo:
    """Return the time zone of that name; raises KeyError when there is none."""
    if name not in zone_names():
        raise KeyError(name)
    return ZoneInfo(name)
