"""What every ring shares: the option that rewrites golden files."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", choices=("check", "write"), default="check", help="write: rewrite the golden files")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """True when golden files are to be written, not compared."""
    return bool(request.config.getoption("--golden") == "write")
