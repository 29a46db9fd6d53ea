"""Completion: kubectl asks with the words so far, and reads candidates and a last line. A script stands in for kubectl's own answers."""

from pathlib import Path

import pytest

from modelward_operator.plugin.completion import main

ANSWERS = """#!/bin/sh
case "$*" in
  *"get namespaces"*) echo namespace/risk; echo namespace/shop;;
  *"get modeldeployments.modelward.dev -n risk"*) echo modeldeployment.modelward.dev/fraud; echo modeldeployment.modelward.dev/churn;;
  *"get controllerrevisions.apps -n risk -l app.kubernetes.io/managed-by=modelward,modelward.dev/model=fraud"*) printf '1\\n12\\n';;
  *"config get-contexts"*) echo kind-a;;
  *) echo "not allowed" >&2; exit 1;;
esac
"""


@pytest.fixture(autouse=True)
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "kubectl"
    script.write_text(ANSWERS)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("words", "candidates", "directive"),
    [
        (["st"], ["status"], ":4"),
        (["status", "-n", "risk", ""], ["fraud", "churn"], ":4"),
        (["status", "-n", "risk", "fr"], ["fraud"], ":4"),
        (["status", ""], [], ":4"),  # this namespace may not be read: no candidate, no noise
        (["status", "-n", "risk", "fraud", ""], [], ":4"),
        (["status", "-n", "s"], ["shop"], ":4"),
        (["status", "--context", ""], ["kind-a"], ":4"),
        (["status", "fraud", "-o", ""], ["text", "json"], ":4"),
        (["rollback", "-n", "risk", "fraud", "--to", "1"], ["1", "12"], ":4"),
        (["rollback", "fraud", "--dr"], ["--dry-run"], ":4"),
        (["predict", "fraud", "-f", ""], [], ":0"),
        ([], ["status", "predict", "history", "rollback", "cost", "evidence", "doctor", "plan"], ":4"),
    ],
    ids=" ".join,
)
def test_what_the_last_word_may_become(
    words: list[str], candidates: list[str], directive: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(words)
    assert [*candidates, directive] == capsys.readouterr().out.splitlines()
