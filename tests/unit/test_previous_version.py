"""From which version the upgrade case begins: the newest release before this commit, else a named commit; else it says what is lacking."""

import subprocess
from pathlib import Path

import pytest

from e2e.cases import previous

BEGINNING = "c8873602dfdf1cb371b304d2d4ae4cf5af2db89e"
"""The first commit of main."""


def git(folder: Path, *arguments: str) -> str:
    who = (
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.com",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "tag.gpgsign=false",
    )
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three commits of a repository that stands in for this one, the oldest first."""
    git(tmp_path, "init", "--quiet")
    made = []
    for number in range(3):
        git(tmp_path, "commit", "--quiet", "--allow-empty", f"--message={number}")
        made.append(git(tmp_path, "rev-parse", "HEAD"))
    monkeypatch.setattr(previous, "REPOSITORY", tmp_path)
    monkeypatch.setattr(previous, "cache", lambda: tmp_path / "cache")
    return made


def test_the_newest_release_before_this_commit_is_the_one(commits: list[str], tmp_path: Path) -> None:
    git(tmp_path, "tag", "v0.1.0", commits[0])
    git(tmp_path, "tag", "v0.2.0", commits[1])
    git(tmp_path, "tag", "nightly", commits[1])
    assert previous.version() == commits[1]
    git(tmp_path, "tag", "--delete", "v0.2.0")
    assert previous.version() == commits[0]


def test_a_release_is_not_upgraded_from_itself(commits: list[str], tmp_path: Path) -> None:
    git(tmp_path, "tag", "v0.1.0", commits[0])
    git(tmp_path, "tag", "v0.2.0", commits[2])
    assert previous.version() == commits[0]


def test_before_the_first_release_it_is_a_named_commit(commits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previous, "FIRST", commits[1])
    assert previous.version() == commits[1]
    with pytest.raises(previous.Absent, match="is not built"):
        previous.built()


def test_a_clone_that_does_not_have_it_says_so_and_builds_nothing(
    commits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(previous.Absent, match=f"does not have {previous.FIRST}.*fetch --unshallow"):
        previous.version()
    assert previous.main() == 0
    assert "does not have" in capsys.readouterr().out


def test_a_whole_clone_of_this_repository_has_it() -> None:
    """Else the case would be skipped everywhere: a commit may leave the history of main when that is written anew."""
    history = previous._git("rev-list", "HEAD").split()
    if BEGINNING not in history:
        pytest.skip("not a whole clone")
    assert previous.version() in history
