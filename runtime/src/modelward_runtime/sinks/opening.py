"""From a section of policy.json to an open sink. Called by `audit/` and `payloads/`."""

from pathlib import Path

from modelward_runtime.sinks.config import S3, File, SinkConfig
from modelward_runtime.sinks.file import FileSink
from modelward_runtime.sinks.sink import Sink, Writer
from modelward_runtime.sinks.stdout import StdoutSink

PROMPT_SECONDS = 0.25  # that records wait for company where each write costs little
OBJECT_SECONDS = 5.0  # the same, where each write is an object


def open_sink(settings: SinkConfig, writer: Writer, credentials: str) -> Sink:
    """The sink; SinkFailed when its directory or its settings cannot be used. `credentials`: the prefix of their variables."""
    if isinstance(settings, File):
        return FileSink(Path(settings.directory), writer, limit=settings.size_limit_bytes or 0)
    if isinstance(settings, S3):
        from modelward_runtime.sinks.s3 import S3Sink  # noqa: PLC0415  obstore is large, and most pods log to files

        return S3Sink(settings, writer, credentials)
    return StdoutSink()


def linger(settings: SinkConfig) -> float:
    """How long a record may wait for others to share its write."""
    return OBJECT_SECONDS if isinstance(settings, S3) else PROMPT_SECONDS


def longest_piece(settings: SinkConfig) -> int:
    """Bytes after which a piece is followed by the next; 0: the sink has no pieces to speak of."""
    return settings.max_file_bytes if isinstance(settings, File) else 0
