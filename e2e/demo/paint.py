"""Colour and shades for a terminal, plain characters elsewhere. Used by everything in `e2e/demo` and `e2e/bench` that prints.

Colour is on for a terminal only, and off when NO_COLOR is set (https://no-color.org) or TERM is dumb.
"""

from __future__ import annotations

import os
import sys

COLOURED = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


def paint(text: str, *styles: str, coloured: bool = COLOURED) -> str:
    """`text` in the given styles, or as it is where there is no colour."""
    if not coloured or not styles:
        return text
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def bar(share: float, width: int = 20) -> str:
    """A bar of `width` characters, filled to `share` (0 to 1) in eighths of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width, "·")


def pixels(image: list[list[float]], *, coloured: bool = COLOURED) -> list[str]:
    """Lines of text for an image of brightnesses 0 to 1 with an even number of rows: two pixels in each character.

    With colour every pixel has its grey (the 24 greys of the 256-colour palette); without, ink is what is over 0.35.
    """
    pairs = zip(image[::2], image[1::2], strict=True)
    draw = _greys if coloured else _inks
    return ["".join(draw(upper, lower) for upper, lower in zip(*pair, strict=True)) for pair in pairs]


def _greys(upper: float, lower: float) -> str:
    return f"\x1b[38;5;{232 + round(upper * 23)};48;5;{232 + round(lower * 23)}m▀\x1b[0m"


def _inks(upper: float, lower: float) -> str:
    return " ▄▀█"[2 * (upper > 0.35) + (lower > 0.35)]
