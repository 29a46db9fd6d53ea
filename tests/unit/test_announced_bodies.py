"""What a caller only announces costs the machine nothing."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelward_runtime.body import _allocate
from tests.brief import brief

SIZE = 1 << 26


def resident() -> float:
    """Megabytes of this process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


@pytest.mark.parametrize("header_length", [None, "120"])
def test_the_memory_of_a_large_body_is_the_machines_only_as_it_comes(header_length: str | None) -> None:
    """Whoever opens a hundred connections and says 64 MiB on each must not end the pod, nor keep the event loop busy with zeroes."""
    headers = cast("Any", SimpleNamespace(header_length=header_length))
    for work in brief():
        kept: list[Any] = []
        before = resident()
        with work.measured():
            kept += [_allocate(headers, SIZE) for _ in range(12)]
        assert resident() - before < 256, "of 768; the kernel may give each of them two huge pages"
        assert all(len(one) == SIZE for one in kept)
