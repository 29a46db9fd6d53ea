"""A GET that no proxy is asked for and no redirect leads elsewhere: to a pod, by way of a port of this machine.

Called by kubectl.py.
"""

import urllib.request
from http.client import HTTPResponse
from typing import cast


class _Stay(urllib.request.HTTPRedirectHandler):
    """A pod sends nobody elsewhere: 3xx is an error."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())


def direct(url: str, timeout: float) -> HTTPResponse:
    """Return the answer, open. Raises OSError, ValueError and http.client.HTTPException."""
    return cast("HTTPResponse", _OPENER.open(url, timeout=timeout))
