"""What every record of the file contract `runtime/v1` has in common: strictness, spelling, and the scalars that recur.

Used by `config.py` and by the `config.py` of each package that has a section of its own in boot.json or policy.json.
"""

from typing import Annotated

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
TensorName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]  # or a feature's: a model's word, no object's
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Digest = Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What every record of the contract has in common."""
