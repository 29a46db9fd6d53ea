"""What every ring shares: the option that rewrites golden files, and how properties are tried.

How long an example takes says more about the machine than about the code, so no property has a deadline. Continuous integration
tries the same examples every time; everywhere else each run tries new ones.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ring", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("ring")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", choices=("check", "write"), default="check", help="write: rewrite the golden files")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """True when golden files are to be written, not compared."""
    return bool(request.config.getoption("--golden") == "write")
