"""RESULTS.md, made from the reports in `reports/`: a table of levels, and of each server the rules that it does not keep."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import e2e.conformance.levels  # noqa: F401  -- registers the rules
from e2e.conformance.cites import OIP_GRPC, OIP_REST
from e2e.conformance.peers.catalogue import PEERS
from e2e.conformance.report import Verdict
from e2e.conformance.rule import RULES, Level, Rule

HERE: Final = Path(__file__).parent
PAGE: Final = HERE / "RESULTS.md"
ORDER: Final = ("modelward", *PEERS)
EXTENSIONS: Final = {Level.FLOATS, Level.BINARY, Level.REPOSITORY, Level.STREAMING}
"""Levels that the protocol's own text does not ask for, but for single rules that cite it."""
WORDS: Final = 110
"""So much of an answer stands in the table; the reports have more."""
OURS: Final = (
    "`modelward serve`, a process for each model, as it comes. The suite was written beside this server, and what it found was mended, "
    "so that this column says less than the others."
)
INTRODUCTION: Final = """# Results

Made by `python -m e2e.conformance.peers table` from the [reports](reports/), which `python -m e2e.conformance.peers run NAME` writes anew.

Each server has an environment of its own with pinned versions ([requirements](../peers/requirements/)), serves the suite's models by ONNX
Runtime, one thread, and is asked every rule on loopback. MLServer and KServe leave it to their users how an ONNX model is run; the
[adapters](peers/) follow their guides, use their decoders, and check names, datatypes and shapes as a careful user would. What is listed
below is what remains then. The newest releases at the time were asked; a later one may keep more.

A rule that rests on no text but on this suite's own wish is marked as a wish, and its page says so: not to keep it is no breach of the
protocol. Neither is it to lack an extension that a server does not list (its list stands in each section). BF16 is in no list of the
protocol's datatypes, and a server that does not know it was not asked about it. A level counts the rules that hold out of those that were
asked.
"""
OUTRO: Final = """
## Not asked

Triton Inference Server comes as an image, not as a package, and this is run without one. PyTriton 0.7.0, a package with Triton 2.51 inside,
has no report yet: the interpreter within its workers wants the standard library of its own patch release of Python 3.11, and did not start
with this project's. Asked by hand beside one that fits, it kept every rule of `binary-tensors`: they read the extension as its authors do.
"""


def load(folder: Path = HERE / "reports") -> dict[str, Any]:
    """Every report by its server's name."""
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ORDER}


def page(reports: Mapping[str, Any]) -> str:
    """The page."""
    sections = [INTRODUCTION, *_levels(list(reports.values()))]
    for name, report in reports.items():
        sections += ["", *_server(name, report)]
    return "\n".join(sections) + "\n" + OUTRO


def write_results() -> None:
    """Write the page, once every server has a report."""
    PAGE.write_text(page(load()), encoding="utf-8")


def _levels(reports: Sequence[Any]) -> list[str]:
    lines = [_row("level", *(report["server"] for report in reports)), _row(*["---"] * (len(reports) + 1))]
    lines += [_row(_named(level), *(_cell(_of(report, level)) for report in reports)) for level in Level]
    return [*lines, _row("**all**", *(f"**{_cell(report['rules'])}**" for report in reports))]


def _named(level: Level) -> str:
    return f"`{level}`, beyond the core" if level in EXTENSIONS else f"`{level}`"


def _of(report: Any, level: Level) -> list[Any]:
    return [result for result in report["rules"] if result["level"] == level]


def _cell(results: Sequence[Any]) -> str:
    kept = sum(result["verdict"] == Verdict.PASS for result in results)
    failed = [result for result in results if result["verdict"] == Verdict.FAIL]
    wishes = sum(RULES[result["id"]].wish for result in failed)
    unasked = len(results) - kept - len(failed)
    notes = [f"{wishes} of the rest a wish" if wishes else "", f"{unasked} not asked" if unasked else ""]
    more = "; ".join(filter(None, notes))
    return f"{kept} of {kept + len(failed)}" + (f" ({more})" if more else "")


def _server(name: str, report: Any) -> list[str]:
    listed = ", ".join(f"`{word}`" for word in report["extensions"]) or "none"
    about = PEERS[name].about if name in PEERS else OURS
    lines = [
        f"## {report['server']}",
        "",
        f"{about} Asked on {report['asked']}. Extensions that it lists: {listed}.",
        "",
    ]
    failed = [result for result in report["rules"] if result["verdict"] == Verdict.FAIL]
    if not failed:
        return [*lines, "It keeps every rule."]
    lines += [_row("rule", "rests on", "what came"), _row(*["---"] * 3)]
    return [*lines, *(_failure(result) for result in failed)]


def _failure(result: Any) -> str:
    name = f"[{result['id']}](rules/{result['id']}.md)"
    return _row(f"{name}: {result['title']}", _rests(RULES[result["id"]]), f"`{_short(result['message'])}`")


def _rests(rule: Rule) -> str:
    if rule.wish:
        return "a wish"
    protocol = any(cite.source in {OIP_REST, OIP_GRPC} for cite in rule.cites)
    return "an extension" if rule.level in EXTENSIONS and not protocol else "a text"


def _short(message: str) -> str:
    words = " ".join(message.split()).replace("`", "'").replace("|", "\\|")
    return words if len(words) <= WORDS else f"{words[:WORDS]} …"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
