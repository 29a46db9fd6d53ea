"""The timeline as a picture: strips of block characters for a terminal (`page.py`), and SVG for everything else (`command.py`).

Both show the same four strips, and both take the most of each stretch, so that a short peak is not averaged away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape

from modelward_operator.simulation.outcome import Note, Outcome

WIDTH: Final = 72
"""Characters of a strip."""
BLOCKS: Final = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Strip:
    """One quantity over time."""

    name: str
    unit: str
    value: Callable[[Note, float], float]
    """Of a note and the seconds that it covers."""


STRIPS: Final = (
    Strip("requests", "/s", lambda note, seconds: note.requests / seconds),
    Strip("replicas", "", lambda note, _: float(note.replicas)),
    Strip("p99", "s", lambda note, _: note.p99),
    Strip("spent", "", lambda note, _: float(note.spent)),
)


def series(timeline: Sequence[Note], strip: Strip) -> list[float]:
    """Return the strip's value for each note."""
    begins = [0.0, *(note.time for note in timeline)]
    return [strip.value(note, max(note.time - begun, 1.0)) for note, begun in zip(timeline, begins, strict=False)]


def squeeze(values: Sequence[float], width: int) -> list[float]:
    """Return `width` values, each the most of its part; fewer where there are fewer."""
    width = min(width, len(values))
    cuts = [index * len(values) // width for index in range(width + 1)] if width else [0]
    return [max(values[low:high]) for low, high in pairwise(cuts)]


def strips(outcome: Outcome) -> list[str]:
    """Return a line for each strip: its name, the picture, and what a full block stands for."""
    lines = []
    for strip in STRIPS:
        values = squeeze(series(outcome.timeline, strip), WIDTH)
        most = max(values, default=0.0)
        steps = [round(value / most * (len(BLOCKS) - 1)) if most else 0 for value in values]
        picture = "".join(BLOCKS[max(step, 1 if value else 0)] for step, value in zip(steps, values, strict=True))
        unit = outcome.currency if strip.name == "spent" else strip.unit
        lines.append(f"{strip.name:>9} │{picture}│ {most:,.4g} {unit}".rstrip())
    return lines


_LEFT, _RIGHT, _HIGH, _GAP, _ACROSS = 90, 20, 90, 34, 900


def svg(outcome: Outcome) -> str:
    """Return the picture as a whole SVG file."""
    height = len(STRIPS) * (_HIGH + _GAP) + _GAP
    length = outcome.timeline[-1].time if outcome.timeline else 0.0
    box = f"0 0 {_LEFT + _ACROSS + _RIGHT} {height}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-size="14">{escape(outcome.name)}: {length / 3600:.1f} hours</text>',
    ]
    for row, strip in enumerate(STRIPS):
        parts += _panel(outcome, strip, top=_GAP + row * (_HIGH + _GAP))
    return "\n".join([*parts, "</svg>", ""])


def _panel(outcome: Outcome, strip: Strip, top: int) -> list[str]:
    values = squeeze(series(outcome.timeline, strip), _ACROSS)
    most = max(values, default=0.0)
    bottom, step = top + _HIGH, _ACROSS / max(len(values), 1)
    points = []
    for index, value in enumerate(values):
        y = bottom - (value / most * _HIGH if most else 0.0)
        points += [f"{_LEFT + index * step:.1f},{y:.1f}", f"{_LEFT + (index + 1) * step:.1f},{y:.1f}"]
    unit = outcome.currency if strip.name == "spent" else strip.unit
    return [
        f'<text x="{_LEFT - 8}" y="{top + 10}" text-anchor="end">{most:,.4g} {unit}</text>',
        f'<text x="{_LEFT - 8}" y="{bottom}" text-anchor="end">{strip.name}</text>',
        f'<rect x="{_LEFT}" y="{top}" width="{_ACROSS}" height="{_HIGH}" fill="#f4f6f8"/>',
        f'<polyline fill="none" stroke="#1f5fa8" stroke-width="1.2" points="{" ".join(points)}"/>',
    ]
