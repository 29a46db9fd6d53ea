"""The sections `sink` and `retention` of policy.json, read by `audit/config.py` and `payloads/config.py`. No I/O."""

from typing import Annotated

import msgspec

from modelward_runtime.contract import Name, NotNegative, Record

_MOST_DAYS = 36_500


class Stdout(Record, frozen=True, tag="Stdout", tag_field="type"):
    """JSON lines on standard output, for whatever collects the logs of pods."""


class File(Record, frozen=True, tag="File", tag_field="type"):
    """Files in a mounted directory; one that has reached `max_file_bytes` is followed by the next.

    Whoever mounted a directory with `size_limit_bytes` takes it away, and the pod, when it holds more: nothing is written past nine tenths.
    """

    directory: Annotated[str, msgspec.Meta(pattern="^/", max_length=4096)]
    max_file_bytes: Annotated[int, msgspec.Meta(ge=4096)] = 64 * 1024 * 1024
    size_limit_bytes: Annotated[int, msgspec.Meta(ge=65_536)] | None = None


class S3(Record, frozen=True, tag="S3", tag_field="type"):
    """Objects below a prefix. Credentials come from the environment, never from the file."""

    uri: Annotated[str, msgspec.Meta(pattern="^s3://[^/]+/(.*/)?$", max_length=1024)]
    endpoint: Annotated[str, msgspec.Meta(pattern="^https?://[^/]")] | None = None
    region: Name | None = None
    ca_bundle_file: Name | None = None


SinkConfig = Stdout | File | S3


class Retention(Record, frozen=True):
    """Nothing younger than `min_days` is ever deleted, what is older than `max_days` is."""

    min_days: Annotated[NotNegative, msgspec.Meta(le=_MOST_DAYS)]
    max_days: Annotated[int, msgspec.Meta(ge=1, le=_MOST_DAYS)]

    def __post_init__(self) -> None:
        if self.min_days > self.max_days:
            raise ValueError(f"minDays {self.min_days} is more than maxDays {self.max_days}")


def check_retention(sink: SinkConfig, retention: Retention | None) -> None:
    """Nothing can be deleted from standard output: ValueError."""
    if retention is not None and isinstance(sink, Stdout):
        raise ValueError("retention needs a sink of type File or S3")
