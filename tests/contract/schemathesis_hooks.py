"""Loaded by schemathesis (tests/contract/test_openapi.py): what OpenAPI cannot say of a body is left to the conformance suite.

A body of type application/octet-stream is JSON and tensors behind it, framed by a header that only this type may have. And to JSON Schema
2.0 is an integer, for which the protocol's server wants 2.
"""

from typing import Any

import schemathesis


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Whether to send it."""
    return bool(case.media_type != "application/octet-stream")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """The same body to JSON Schema, with whole numbers written as such."""
    return _whole(body)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
