"""A page for each rule, made from its docstring and its citations: `rules/ID.md`, and a list in `rules/README.md`."""

from pathlib import Path
from typing import Final

from e2e.conformance.models import model_name
from e2e.conformance.rule import RULES, Rule

FOLDER: Final = Path(__file__).parent / "rules"


def pages() -> dict[str, str]:
    """Every page by its file name."""
    written = {f"{one.id}.md": page(one) for one in RULES.values()}
    written["README.md"] = _list()
    return written


def write_pages(folder: Path = FOLDER) -> None:
    """Write every page, and take away those of rules that are gone."""
    folder.mkdir(exist_ok=True)
    made = pages()
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


def page(one: Rule) -> str:
    """The page of a rule."""
    lines = [f"# {one.id}: {one.title}", "", f"Level `{one.level}`, asked of the model `{model_name(one.role)}`.", ""]
    if one.page:
        lines += [one.page, ""]
    lines += ["It rests on:", "", *(f"* {cite}" for cite in one.cites), ""]
    return "\n".join(lines)


def _list() -> str:
    lines = ["# The rules", "", "Made by `python -m e2e.conformance pages` from the rules themselves.", ""]
    level = ""
    for one in RULES.values():
        if one.level != level:
            level = one.level
            lines += ["", f"## {level}", ""]
        lines.append(f"* [{one.id}]({one.id}.md): {one.title}")
    return "\n".join(lines) + "\n"
