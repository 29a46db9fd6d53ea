"""Looks once more at a store's answer, of which the client of s3:// and gs:// shows neither headers nor, mostly, the body.

`s3.py` calls `look` when its client has failed with an answer, never when there was none. One request for one byte, over the transport of
https and oci. It must not say what that means.
"""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from modelward_runtime.errors import LoadError
from modelward_runtime.store.transport import Transport, is_web_page, rest

_ONE_BYTE: Final = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
_FAILED: Final = 500  # what a page with such a status says may be over soon


class Seen(msgspec.Struct, frozen=True):
    """Seconds for which the store asks to be left alone, and whether a page for people came in place of an answer."""

    rest: float = 0.0
    page: bool = False


def look(url: str, ca_bundle: Path | None, stall: float) -> Seen:
    """What an answer's head says; nothing where there is no answer."""
    parts = urlsplit(url)
    try:
        transport = Transport(f"{parts.scheme}://{parts.netloc}", ca_bundle, stall)
        first = transport.open("GET", url, "looking again", _ONE_BYTE)
        response = transport.follow(first, "GET", url, "looking again", lambda _: _ONE_BYTE)
    except LoadError:
        return Seen()
    response.close()
    return Seen(rest(response), is_web_page(response) and response.status < _FAILED)
