"""The access log: one record per request on the logger `modelward.access`, in whatever form `log.py` gives it.

Written by both transports once the answer is on its way. Never a payload, a header, a query string or an error's text, and no path
as the caller spelt it: only what of ours was asked, with what result, how long it took and how many bytes went in and out.
"""

import logging

OTHER = "{other}"
"""Stands for a name, a version or a whole path that is not ours: callers put into them what they like."""
_log = logging.getLogger("modelward.access")


def record(transport: str, method: str, path: str, code: str, seconds: float, received: int, sent: int) -> None:
    """Log one answered request; sizes in bytes, the path in our own words."""
    if not _log.isEnabledFor(logging.INFO):
        return
    # made by hand: `Logger.info` would walk the stack for a file and a line that nobody reads, at a third of the cost
    line = logging.LogRecord(_log.name, logging.INFO, "", 0, "request", None, None)
    line.__dict__.update(
        transport=transport,
        method=method,
        path=path,
        code=code,
        seconds=round(seconds, 6),
        requestBytes=received,
        responseBytes=sent,
    )
    _log.handle(line)
