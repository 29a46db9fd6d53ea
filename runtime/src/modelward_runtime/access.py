"""The access log: one record per request on the logger `modelward.access`, in whatever form `log.py` gives it.

Written by both transports once the answer is on its way. Never a payload, a header, a query string or an error's text:
only who was asked, with what result, how long it took and how many bytes went in and out.
"""

import logging

_log = logging.getLogger("modelward.access")


def record(transport: str, method: str, path: str, code: str, seconds: float, received: int, sent: int) -> None:
    """Log one answered request; sizes in bytes."""
    if _log.isEnabledFor(logging.INFO):
        _log.info(
            "request",
            extra={
                "transport": transport,
                "method": method,
                "path": path[:256],
                "code": code,
                "seconds": round(seconds, 6),
                "requestBytes": received,
                "responseBytes": sent,
            },
        )
