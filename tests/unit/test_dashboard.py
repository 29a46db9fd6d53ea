"""The dashboard and the alert rules, as far as their files tell: fresh, drawn without overlap, explained.

tests/integration/test_alerts.py and test_dashboard.py ask promtool and Prometheus.
"""

import itertools
import re
from pathlib import Path

import yaml

from helm.dashboard import FILE, WIDTH, dashboard, text
from helm.panels import ROWS

CHART = Path(__file__).parents[2] / "helm" / "modelward"
RULES = [
    rule for group in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
RUNBOOK = (CHART / "RUNBOOK.md").read_text()
PAGES = CHART / "runbooks"


def test_the_dashboard_is_fresh() -> None:
    assert text() == FILE.read_text(), "run `make generate` and read the diff"


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert not cells & taken
        assert place["x"] + place["w"] <= WIDTH
        taken |= cells


def test_panels_of_a_row_are_of_one_height() -> None:
    assert all(len({panel.height for panel in panels}) == 1 for _, panels in ROWS), "dashboard.py lays out rows"


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    alerts = [rule["alert"] for rule in RULES]
    assert sorted(alerts) == sorted(page.stem for page in PAGES.iterdir())
    assert alerts == re.findall(r"^\| \[(Modelward\w+)\]\(runbooks/\1\.md\) \|", RUNBOOK, re.MULTILINE)


def test_a_page_says_what_is_watched_where_to_look_and_what_to_do() -> None:
    for rule in RULES:
        text = (PAGES / f"{rule['alert']}.md").read_text()
        assert text.startswith(f"# {rule['alert']}\n\nSeverity {rule['labels']['severity']}, after {rule['for']}."), (
            rule
        )
        assert f"```promql\n{rule['expr'].strip()}\n```" in text, f"{rule['alert']}: the page has another expression"
        assert ["Look", "Understand and mend"] == re.findall(r"^## (.*)$", text, re.MULTILINE), rule["alert"]


def test_every_alert_leads_to_its_page() -> None:
    for rule in RULES:
        url = rule["annotations"]["runbook_url"]
        assert url == f"helm/modelward/runbooks/{rule['alert']}.md"
        assert (CHART.parents[1] / url).is_file()


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in {"warning", "critical"}, rule["alert"]
        assert {"summary", "description", "runbook_url"} == rule["annotations"].keys(), rule["alert"]
        assert rule["for"], f"{rule['alert']} would fire for one bad scrape"
