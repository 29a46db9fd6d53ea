"""The examination as a person reads it. Called by `doctor_cli.py`."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from modelward_operator.plugin.examination import Finding, Result

WIDTH: Final = 118
MARKS: Final = {Result.OK: "+", Result.WARNING: "!", Result.FAILED: "x", Result.UNKNOWN: "?"}


def page(found: Sequence[tuple[str, Finding]]) -> str:
    """One line for what is well; what is not, with what to do."""
    return "\n".join(_lines(found))


def _lines(found: Sequence[tuple[str, Finding]]) -> Iterator[str]:
    for name, finding in found:
        told = f"{MARKS[finding.result]} {name:<11} {finding.message}"
        yield from textwrap.wrap(
            told, WIDTH, subsequent_indent=" " * 14, break_long_words=False, break_on_hyphens=False
        )
        if finding.next and finding.result is not Result.OK:
            indent = " " * 14
            told = f"{indent}-> {finding.next}"
            yield from textwrap.wrap(
                told,
                WIDTH,
                initial_indent="",
                subsequent_indent=indent + "   ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    failed = sum(finding.result is Result.FAILED for _, finding in found)
    warned = sum(finding.result is Result.WARNING for _, finding in found)
    yield ""
    yield (
        f"{failed} failed, {warned} to look at." if failed or warned else "Nothing is wrong that can be seen from here."
    )
