"""What libraries call an error, and is none, does not set off the operator's alerts."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from modelward_operator import log


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    root, stream = logging.getLogger(), io.StringIO()
    level, handlers = root.level, root.handlers[:]
    log.configure(logging.INFO, stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("name", "message", "expected"),
    [
        ("kopf._cogs.clients.watching", "Request attempt #1/9 failed; will retry: GET https://api/", "WARNING"),
        ("kopf._cogs.clients.watching", "Request attempt #9/9 failed; escalating: GET https://api/", "ERROR"),
        ("modelward_operator", "it will retry", "ERROR"),
    ],
)
def test_a_request_that_kopf_repeats_is_no_error(said: io.StringIO, name: str, message: str, expected: str) -> None:
    logging.getLogger(name).error(message)
    assert expected == json.loads(said.getvalue())["level"]
