"""Asks a server all the rules and tells: lines for people, JSON for machines, a table a level for a page."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from e2e.conformance.rule import RULES, Level, Rule
from e2e.conformance.target import Endpoint, Target

MESSAGE_LIMIT = 400


class Verdict(StrEnum):
    """What became of a rule."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "not asked"


@dataclass(frozen=True, slots=True)
class Result:
    """One rule, asked."""

    id: str
    level: str
    title: str
    verdict: str
    message: str
    seconds: float


def ask(
    endpoints: Mapping[str, Endpoint], levels: Iterable[Level], token: str = "", timeout: float = 30.0
) -> list[Result]:
    """Ask every rule of these levels; `endpoints` says by role where a model is served."""
    wanted = set(levels)
    targets = {role: Target(endpoint, token, timeout) for role, endpoint in endpoints.items()}
    try:
        return [_ask(one, targets.get(one.role)) for one in RULES.values() if one.level in wanted]
    finally:
        for target in targets.values():
            target.close()


def _ask(one: Rule, target: Target | None) -> Result:
    begun = time.perf_counter()
    if target is None:
        verdict, message = Verdict.SKIP, f"the server serves no model conformance-{one.role}"
    else:
        verdict, message = _judge(one, target)
    return Result(one.id, one.level, one.title, verdict, message[:MESSAGE_LIMIT], round(time.perf_counter() - begun, 3))


def _judge(one: Rule, target: Target) -> tuple[Verdict, str]:
    try:
        one.check(target)
    except AssertionError as error:
        return Verdict.FAIL, str(error)
    except Exception as error:  # noqa: BLE001  a server may fail in ways that no rule foresaw: that is a failure of the server's
        return Verdict.FAIL, f"{type(error).__name__}: {error}"
    return Verdict.PASS, ""


def count(results: Sequence[Result]) -> dict[str, dict[str, int]]:
    """Results by level and verdict, in the order of the levels."""
    counts: dict[str, dict[str, int]] = {}
    for result in results:
        level = counts.setdefault(result.level, {str(verdict): 0 for verdict in Verdict})
        level[result.verdict] += 1
    return counts


def as_json(server: str, results: Sequence[Result]) -> dict[str, Any]:
    """The whole report for machines."""
    return {"server": server, "levels": count(results), "rules": [asdict(result) for result in results]}


def as_text(server: str, results: Sequence[Result]) -> str:
    """The report for a terminal: what failed and why, then a line a level."""
    lines = [f"{server}: Open Inference Protocol v2, {len(results)} rules", ""]
    for result in results:
        if result.verdict != Verdict.PASS:
            lines.append(f"{result.verdict:<10}{result.id:<22}{result.title}")
            lines.append(f"{'':<32}{result.message}")
    for level, counts in count(results).items():
        asked = counts[Verdict.PASS] + counts[Verdict.FAIL]
        unasked = f", {counts[Verdict.SKIP]} not asked" if counts[Verdict.SKIP] else ""
        lines.append(f"{level:<18}{counts[Verdict.PASS]:>3} of {asked} pass{unasked}")
    return "\n".join(lines) + "\n"
