"""Fixtures of the process ring."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.activators import Stage, stage
from tests.onnx_models import linear, save


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Stage]:
    """An activator with one open route, and no pod."""
    save(linear(), tmp_path / "m/model.onnx")
    with stage(tmp_path, tmp_path / "m") as made:
        made.route()
        yield made
