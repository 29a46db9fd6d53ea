"""Bar charts as SVG, from nothing but the standard library: a grid of panels, each with horizontal bars from zero on a scale of its own.

Drawn for a README: fixed width, fonts of the reader's system, readable on a light and on a dark page because it brings its own ground. The
same figures give the same bytes. `plots.py` says what is drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH, MARGIN, GAP = 960, 16, 18
TITLE, HEAD, BAR, FOOT = 30, 24, 17, 22
"""Heights: the chart's title, a panel's head, a bar with the space below it, the note at the foot."""
LABEL: Final = 0.36
"""Share of a panel's width for the bars' names."""
NUMBER: Final = 58
"""Width for a bar's value behind it."""
OURS, PEER, YARDSTICK = "#1a7f5a", "#8a97a8", "#c9b26b"
INK, PALE, GROUND = "#1c2430", "#5c6876", "#ffffff"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `colour` says whose it is."""

    label: str
    value: float
    colour: str = PEER


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of the grid; without bars it is left empty and says `empty`."""

    title: str
    bars: Sequence[Bar]
    empty: str = ""


def draw(title: str, rows: Sequence[Sequence[Panel]], foot: str) -> str:
    """The whole picture: rows of panels below a title, a note at the foot."""
    heights = [HEAD + BAR * max([len(panel.bars) for panel in row] + [1]) for row in rows]
    height = TITLE + sum(heights) + GAP * len(rows) + FOOT + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="11">'
    )
    lines = [
        head,
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{GROUND}"/>',
        _text(MARGIN, MARGIN + 10, title, size=14, weight=600),
    ]
    top = float(TITLE + GAP)
    for row, tall in zip(rows, heights, strict=True):
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        for at, panel in enumerate(row):
            lines += _panel(panel, MARGIN + at * (width + GAP), top, width)
        top += tall + GAP
    lines += [_text(MARGIN, height - MARGIN + 4, foot, colour=PALE), "</svg>"]
    return "\n".join(lines) + "\n"


def spell(value: float) -> str:
    """Three digits, thousands apart."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _panel(panel: Panel, left: float, top: float, width: float) -> Iterator[str]:
    yield _text(left, top + 12, panel.title, weight=600)
    if not panel.bars:
        yield _text(left, top + HEAD + 10, panel.empty, colour=PALE)
        return
    room = width * (1 - LABEL) - NUMBER
    most = max(bar.value for bar in panel.bars) or 1.0
    for at, bar in enumerate(panel.bars):
        y, x = top + HEAD + at * BAR, left + width * LABEL
        long = max(room * bar.value / most, 1.0)
        weight = 600 if bar.colour == OURS else 400
        yield _text(x - 6, y + 10, bar.label, anchor="end", weight=weight)
        yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{long:.1f}" height="{BAR - 4}" rx="2" fill="{bar.colour}"/>'
        yield _text(x + long + 5, y + 10, spell(bar.value), weight=weight)


def _text(
    x: float, y: float, text: str, *, size: int = 11, weight: int = 400, colour: str = INK, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{colour}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
