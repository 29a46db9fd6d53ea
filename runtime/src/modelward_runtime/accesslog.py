"""The access log: one record per request on the logger `modelward.access`, in whatever form `log.py` gives it.

Written by both transports once the answer is on its way. Never a payload, a header, a query string or an error's text, and no path
as the caller spelt it: only what of ours was asked, with what result, how long it took and how many bytes went in and out.
"""

import logging
import time
from functools import lru_cache
from typing import Final

import msgspec

from modelward_runtime.log import Unhurried, lines_only, timestamp

OTHER = "{other}"
"""Stands for a name, a version or a whole path that is not ours: callers put into them what they like."""
_NAME: Final = "modelward.access"
_MESSAGE: Final = "request"
_log = logging.getLogger(_NAME)


def record(transport: str, method: str, path: str, code: str, seconds: float, received: int, sent: int) -> None:
    """Log one answered request; sizes in bytes, the path in our own words."""
    if not _log.isEnabledFor(logging.INFO):
        return
    handler = lines_only()
    if handler is not None:
        head = _head(transport, method, path, code)
        handler.keep(
            f'{{"time":"{timestamp(time.time())}",{head},"seconds":{seconds:.6f},"requestBytes":{received},"responseBytes":{sent}}}'
        )
        return
    told = {
        "transport": transport,
        "method": method,
        "path": path,
        "code": code,
        "seconds": round(seconds, 6),
        "requestBytes": received,
        "responseBytes": sent,
    }
    _log.handle(Unhurried(_NAME, _MESSAGE, told))


@lru_cache(maxsize=256)
def _head(transport: str, method: str, path: str, code: str) -> str:
    """What lines have in common: of one model's there are few. The same fields in the same order as a record's."""
    same = {"level": "info", "logger": _NAME, "message": _MESSAGE}
    return msgspec.json.encode(same | {"transport": transport, "method": method, "path": path, "code": code}).decode()[
        1:-1
    ]
