"""What a sink reads of a line that it did not make: the attribute `time`, to know how old a piece is."""

from datetime import datetime

import msgspec


class _Dated(msgspec.Struct):
    time: str


def time_of(line: bytes) -> float:
    """When the record was made, in seconds since the epoch; 0 for what is no record."""
    try:
        return datetime.fromisoformat(msgspec.json.decode(line, type=_Dated).time).timestamp()
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):  # one that is not UTF-8 is a ValueError
        return 0.0
