"""JSON lines on standard output, for what collects the logs of pods (ELK, Loki). Safe means handed to the pipe, no more.

Two writers may share it (audit and payloads), so whole batches take turns.
"""

import os
import threading
from collections.abc import Sequence

from modelward_runtime.sinks.sink import SinkFailed

_turn = threading.Lock()


class StdoutSink:
    """Standard output."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def write(self, lines: Sequence[bytes], *, fresh: bool) -> None:
        """Write; blocks while the pipe is full. What went out before a failure is not sent again."""
        content = memoryview(self._rest or b"".join(lines))
        with _turn:
            try:
                while content:
                    content = content[os.write(self._descriptor, content) :]
            except OSError as error:
                self._rest = bytes(content)
                raise SinkFailed(f"standard output: {error.strerror}") from error
        self._rest = b""

    def close(self) -> None:
        """It is not ours to close."""
