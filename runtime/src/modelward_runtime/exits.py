"""How the process ends: exit codes, the termination log, and leaving without waiting for stuck threads.

Called by `serve.py` and `cli.py`. The kubelet copies the termination log into the container's last state, where the operator
reads it. It must not decide when to end.

    0 drained   1 usage, port taken   75 fetch stalled (sysexits TEMPFAIL)   78 permanent load failure (CONFIG)   143 second signal
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from modelward_runtime.report import termination_message

log = logging.getLogger(__name__)

EXIT_DRAINED, EXIT_USAGE, EXIT_STALLED, EXIT_PERMANENT, EXIT_KILLED = 0, 1, 75, 78, 143


class PortTaken(Exception):
    """Somebody else listens there, or this user may not: the process ends with 1."""


def write_termination_log(file: Path | None, failure: dict[str, Any], uri: str) -> None:
    """Leave the failure where the kubelet looks; the file is never created, so that a laptop keeps a clean /dev."""
    if file is None:
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC)
    except OSError as error:
        log.warning("no termination log at %s: %s", file, error.strerror)
        return
    with os.fdopen(descriptor, "wb") as sink:
        sink.write(termination_message(failure, uri))


def leave(code: int) -> NoReturn:
    """End the process without waiting for threads: one may sit in a download or in ONNX Runtime and cannot be told."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_at_once() -> NoReturn:
    """The second signal: whatever is in flight is lost."""
    log.warning("second signal: ending at once")
    leave(EXIT_KILLED)
