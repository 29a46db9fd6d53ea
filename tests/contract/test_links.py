"""Every link between our pages leads somewhere, to the heading that it names; an index names all that it is an index of."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def pages() -> list[str]:
    """Those that git keeps, and those that it would."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    return subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


@cache
def anchors(page: Path) -> set[str]:
    """A page's headings, as GitHub makes anchors of them."""
    found: dict[str, int] = {}
    made = set()
    for heading in re.findall(r"^#{1,6} +(.*)$", _CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        times = found[anchor] = found.get(anchor, 0) + 1
        made.add(anchor if times == 1 else f"{anchor}-{times - 1}")
    return made


@pytest.mark.parametrize("page", pages())
def test_a_link_leads_to_a_file_and_to_a_heading_of_it(page: str) -> None:
    here = ROOT / page
    for link in _LINK.findall(_CODE.sub("", here.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        target = (here.parent / path).resolve() if path else here
        assert target.exists(), f"{page}: {link} is not there"
        assert not anchor or anchor in anchors(target), f"{page}: {link}: no such heading"


@pytest.mark.parametrize(
    ("index", "files"),
    [
        ("crds/examples/README.md", "*.yaml"),
        ("operator/decisions/README.md", "[0-9]*.md"),
        ("operator/tasks/README.md", "[a-z]*.md"),
    ],
)
def test_an_index_names_all(index: str, files: str) -> None:
    folder = (ROOT / index).parent
    named = _LINK.findall((ROOT / index).read_text(encoding="utf-8"))
    assert sorted(path.name for path in folder.glob(files)) == sorted(name for name in named if "/" not in name)


def test_decisions_are_numbered_as_their_files_and_called_as_in_the_index() -> None:
    folder = ROOT / "operator" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    for page in folder.glob("[0-9]*.md"):
        number, _, title = page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").partition(". ")
        assert int(page.name[:4]) == int(number), page.name
        assert f"| [{page.name[:4]}]({page.name}) | {title} |" in index
