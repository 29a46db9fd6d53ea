"""The access log: one record per request on the logger `modelward.access`, in whatever form `log.py` gives it.

Written by both transports once the answer is on its way. Never a payload, a header, a query string or an error's text:
only who was asked, with what result, how long it took and how many bytes went in and out.
"""

import logging

_log = logging.getLogger("modelward.access")


def record(transport: str, method: str, path: str, code: str, seconds: float, received: int, sent: int) -> None:
    """Log one answered request; sizes in bytes."""
    if not _log.isEnabledFor(logging.INFO):
        return
    # made by hand: `Logger.info` would walk the stack for a file and a line that nobody reads, at a third of the cost
    line = logging.LogRecord(_log.name, logging.INFO, "", 0, "request", None, None)
    line.__dict__.update(
        transport=transport,
        method=method,
        path=path[:256],
        code=code,
        seconds=round(seconds, 6),
        requestBytes=received,
        responseBytes=sent,
    )
    _log.handle(line)
