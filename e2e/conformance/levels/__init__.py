"""The rules, a file a level or two. Importing this package registers them all, in this order."""

from e2e.conformance.levels import (  # noqa: F401  -- importing registers
    binary,
    datatypes,
    errors,
    grpc_core,
    limits,
    packing,
    repository,
    rest,
    robustness,
    streaming,
)
