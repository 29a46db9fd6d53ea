"""The chart's alert rules, as promtool judges them: they are well formed, and each fires when it should and is silent when it should be."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "modelward" / "files" / "alerts.yaml"
CASES = Path(__file__).parent / "alerts" / "cases.yaml"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule["alert"] for group in GROUPS for rule in group["rules"]]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_rules_are_well_formed() -> None:
    done = promtool("check", "rules", str(RULES))
    assert (0, True) == (done.returncode, f"{len(ALERTS)} rules found" in done.stdout), done.stderr


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    done = promtool("test", "rules", str(CASES))
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("broken", "expression"), [("never", "vector(0) > 1"), ("always", "vector(1)")])
def test_no_alert_is_without_a_case_in_which_it_fires_and_one_in_which_not(
    broken: str, expression: str, tmp_path: Path
) -> None:
    """The control: with any one rule replaced by one that never or always fires, its own cases fail."""
    for alert in ALERTS:
        rules, cases = yaml.safe_load(RULES.read_text()), yaml.safe_load(CASES.read_text())
        kept = [rule for group in rules["groups"] for rule in group["rules"] if rule["alert"] == alert]
        rules["groups"] = [{"name": alert, "rules": [{**kept[0], "expr": expression}]}]
        cases["tests"] = [_only(case, alert, fires=broken == "never") for case in cases["tests"]]
        cases["tests"] = [case for case in cases["tests"] if case["alert_rule_test"]]
        assert cases["tests"], f"{alert} has no case in which it should {'fire' if broken == 'never' else 'be silent'}"
        cases["rule_files"] = [f"{alert}.rules.yaml"]
        (tmp_path / f"{alert}.rules.yaml").write_text(yaml.safe_dump(rules))
        (tmp_path / f"{alert}.cases.yaml").write_text(yaml.safe_dump(cases))
    done = promtool("test", "rules", *(str(tmp_path / f"{alert}.cases.yaml") for alert in ALERTS))
    assert (1, len(ALERTS)) == (done.returncode, (done.stdout + done.stderr).count("FAILED")), done.stdout


def _only(case: dict[str, Any], alert: str, *, fires: bool) -> dict[str, Any]:
    wanted = [one for one in case["alert_rule_test"] if one["alertname"] == alert and bool(one["exp_alerts"]) is fires]
    return {**case, "alert_rule_test": wanted}
