"""Looks once more at a store's answer, of which the client of s3:// and gs:// shows neither headers nor, mostly, the body.

`s3.py` calls `look` when its client has failed with an answer, never when there was none. One HEAD, over the transport of https and oci:
its address may be a signed one, which lets whoever reads it in a log of the way see this much and nothing of the model. It must not say
what that means.
"""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from modelward_runtime.errors import LoadError
from modelward_runtime.store.transport import Transport, is_web_page, rest

_PLAIN: Final = {"Accept-Encoding": "identity"}
_MISSING: Final = 404
_FAILED: Final = 500  # what a page with such a status says may be over soon


class Seen(msgspec.Struct, frozen=True):
    """Seconds for which the store asks to be left alone; whether a page for people came in its place; whether it says there is nothing."""

    rest: float = 0.0
    page: bool = False
    missing: bool = False


def look(url: str, ca_bundle: Path | None, stall: float) -> Seen:
    """What an answer's head says; nothing where there is no answer."""
    parts = urlsplit(url)
    try:
        transport = Transport(f"{parts.scheme}://{parts.netloc}", ca_bundle, stall)
        first = transport.open("HEAD", url, "looking again", _PLAIN)
        response = transport.follow(first, "HEAD", url, "looking again", lambda _: _PLAIN)
    except LoadError:
        return Seen()
    response.close()
    return Seen(rest(response), is_web_page(response) and response.status < _FAILED, response.status == _MISSING)
