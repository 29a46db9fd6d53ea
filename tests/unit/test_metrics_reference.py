"""The reference of metrics (helm/modelward/METRICS.md): fresh, complete, and the only names that pages, alerts and the dashboard use."""

import re
from pathlib import Path

import pytest

from helm.metrics import FILE, names, text
from modelward_runtime.activator.metrics import FIGURES

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"\bmodelward_(?!operator\b|runtime\b)[a-z_]*[a-z]_?")
FOLDERS = ("crds", "helm", "operator", "runtime")
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")))
)
DRAWN = [Path("helm/modelward/files/alerts.yaml"), Path("helm/modelward/files/dashboards/modelward.json")]


def test_it_is_fresh() -> None:
    assert text() == FILE.read_text(encoding="utf-8"), "run `make generate` and read the diff"


def test_the_activator_has_no_figure_without_words() -> None:
    """`helm.metrics` asks for those that have words; run.py's are the rest."""
    source = (ROOT / "runtime/src/modelward_runtime/activator/run.py").read_text(encoding="utf-8")
    (figures,) = re.findall(r"def _figures\(.*?(?=\n    def |\Z)", source, re.DOTALL)
    assert set(FIGURES) == set(re.findall(r'^ +"([a-z_]+)": ', figures, re.MULTILINE))


@pytest.mark.parametrize("page", [*PAGES, *DRAWN], ids=str)
def test_whoever_names_a_metric_names_one_that_there_is(page: Path) -> None:
    known = names()
    for name in NAME.findall((ROOT / page).read_text(encoding="utf-8")):
        is_known = any(one.startswith(name) for one in known) if name.endswith("_") else name in known
        assert is_known, f"{name}: neither in METRICS.md nor the beginning of one that is"
