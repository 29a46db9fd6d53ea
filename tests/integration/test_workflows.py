"""The workflows of .github, as far as they can be tried without GitHub: actionlint takes them, and their own scripts do what they say."""

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from e2e.cluster.binaries import binary
from helm.render import CHART, ROOT

FOLDER: Final = ROOT / ".github" / "workflows"
FILES: Final = sorted(FOLDER.glob("*.yml"))
DIGESTS: Final = {
    name: f"ghcr.io/example/modelward-{name}@sha256:{digit * 64}"
    for name, digit in (("operator", "1"), ("runtime", "2"))
}


def actionlint(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(binary("actionlint")), "-no-color", f"-config-file={ROOT / '.github' / 'actionlint.yaml'}"]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=60, check=False)


def steps(workflow: str, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((FOLDER / workflow).read_text())["jobs"][job]["steps"]
    return found


def script(workflow: str, job: str, name: str) -> str:
    """What a step runs."""
    return str(next(step["run"] for step in steps(workflow, job) if step.get("name") == name))


def bash(text: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As GitHub runs a step."""
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    given = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(shell, cwd=folder, env=given, capture_output=True, text=True, timeout=300, check=False)


def test_actionlint_finds_nothing() -> None:
    done = actionlint(*FILES)
    assert (0, "") == (done.returncode, done.stdout + done.stderr)


def test_actionlint_finds_a_word_that_nobody_knows(tmp_path: Path) -> None:
    """The control."""
    broken = tmp_path / "broken.yml"
    broken.write_text(FILES[0].read_text().replace("github.ref }}", "github.branch }}"))
    assert 'property "branch" is not defined' in actionlint(broken).stdout


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_actions_of_others_are_pinned_by_commit_and_rights_are_few(file: Path) -> None:
    text = file.read_text()
    uses = re.findall(r"uses: (\S+)(.*)", text)
    assert uses
    assert [] == [
        one for one, note in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one) or not note.startswith(" # v")
    ]
    assert {"contents": "read"} == yaml.safe_load(text)["permissions"], "a job asks for more by itself"
    assert "${{ secrets." not in text, "it signs by its identity and pushes by its own token"


@pytest.mark.parametrize(("tag", "code"), [("v0.1.0", 0), ("v0.1.1", 1), ("v0", 1)])
def test_a_tag_that_is_not_the_version_releases_nothing(tag: str, code: int) -> None:
    text = script("release.yml", "gate", "The tag is the version of the chart and of both packages")
    assert code == bash(text, ROOT, TAG=tag).returncode


def test_the_wheels_that_are_released_have_the_commands_and_the_licence(tmp_path: Path) -> None:
    for part in ("operator", "runtime"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    done = bash(
        script("release.yml", "chart", "Wheels, by which people have `kubectl modelward` and `modelward`"),
        tmp_path,
        **os.environ,  # where packages come from here
    )
    assert done.returncode == 0, done.stderr
    commands = set()
    for wheel in (tmp_path / "dist").glob("*.whl"):
        with zipfile.ZipFile(wheel) as files:
            names = {name.partition(".dist-info/")[2]: name for name in files.namelist()}
            assert files.read(names["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
            commands |= set(re.findall(r"^([\w-]+) = ", files.read(names["entry_points.txt"]).decode(), re.MULTILINE))
    assert {"kubectl-modelward", "kubectl_complete-modelward", "modelward", "modelward-operator"} == commands


def test_the_chart_that_is_released_has_its_images_by_digest(tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "helm" / "modelward")
    text = script("release.yml", "chart", "Package and push the chart, its images by digest")
    (python,) = re.findall(r"python3 - <<'P'\n.*?^P$", text, re.MULTILINE | re.DOTALL)
    done = bash(python, tmp_path, OPERATOR=DIGESTS["operator"], RUNTIME=DIGESTS["runtime"])
    assert done.returncode == 0, done.stderr
    command = [str(binary("helm")), "template", "modelward", str(tmp_path / "helm" / "modelward")]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    images = {
        line.partition("image: ")[2].strip('" ') for line in rendered.splitlines() if line.strip().startswith("image: ")
    } - {"leave image out'"}  # a message of the CRD's, whose line breaks there
    assert set(DIGESTS.values()) == images
    assert bash(python, tmp_path, OPERATOR=DIGESTS["operator"], RUNTIME="").returncode == 1, "a lost output is noticed"
