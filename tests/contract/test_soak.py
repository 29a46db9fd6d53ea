"""The soak in short: ten thousand sound, wrong and rude requests over both transports. `make bench SUITE=soak` runs a million."""

from pathlib import Path

import pytest

from e2e.soak.judge import judge
from e2e.soak.run import Options, soak

pytestmark = pytest.mark.process


def test_ten_thousand_requests_leave_nothing_behind(tmp_path: Path) -> None:
    seen = soak(Options(10_000), tmp_path, print)
    assert seen.tally.findings == []
    assert [] == [verdict for verdict in judge(seen) if not verdict.held]
    assert sum(seen.tally.kinds.values()) >= 10_000
    for kind in (
        "sound, flat",
        "sound, binary",
        "sound, raw",
        "stream",
        "rude, cancelled",
        "wrong, not in the table",
    ):
        assert seen.tally.kinds[kind] > 10, kind
    assert seen.tally.kinds["half-open, dropped"], (
        "who does nothing does it by the second, whatever the others do meanwhile"
    )
