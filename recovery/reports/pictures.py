"""Stacked bars as inline SVG, readable without colour: every part has its own pattern.

A bar says nothing that the table beside it does not say in numbers; its text alternative repeats
them. Widths are shares; a part that would be too thin to see is drawn at a least width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 720
HEIGHT = 30
LEAST = 7  # width of the thinnest part
LABELLED = 64  # parts at least this wide carry their percentage


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a bar: its pattern, its name, how many, and the share as text."""

    pattern: str
    name: str
    count: int
    share: str


def bar(parts: Sequence[Part], alternative: str) -> Markup:
    """A stacked bar; an empty one when nothing is counted."""
    seen = [part for part in parts if part.count > 0]
    pieces = [
        Markup('<svg class="bar" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">').format(
            WIDTH, HEIGHT, alternative
        )
    ]
    left = 0.0
    for part, width in zip(seen, _widths(seen), strict=True):
        pieces.append(_piece(part, left, width))
        left += width
    frame = '<rect class="frame" x="0.5" y="0.5" width="{0}" height="{1}" rx="3"/></svg>'
    pieces.append(Markup(frame).format(WIDTH - 1, HEIGHT - 1))
    return Markup("").join(pieces)


def swatch(pattern: str) -> Markup:
    """The little square of a legend."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 18 18" aria-hidden="true">'
        '<rect class="frame" x="0.5" y="0.5" width="17" height="17" fill="url(#p-{0})"/></svg>'
    ).format(pattern)


def _piece(part: Part, left: float, width: float) -> Markup:
    piece = Markup(
        "<g><title>{0}: {1} ({2})</title>"
        '<rect x="{3:.1f}" y="0" width="{4:.1f}" height="{5}" fill="url(#p-{6})"/>'
        '<path class="edge" d="M{7:.1f} 0V{5}"/>'
    ).format(part.name, part.count, part.share, left, width, HEIGHT, part.pattern, left + width)
    if width < LABELLED:
        return piece + Markup("</g>")
    middle = left + width / 2
    return piece + Markup(
        '<rect class="paper" x="{0:.1f}" y="6" width="52" height="18" rx="9"/>'
        '<text x="{1:.1f}" y="19.5" text-anchor="middle">{2}</text></g>'
    ).format(middle - 26, middle, part.share)


def _widths(parts: Sequence[Part]) -> Sequence[float]:
    """Shares of the width, thin parts widened at the cost of the wide ones."""
    whole = sum(part.count for part in parts)
    widths = [max(WIDTH * part.count / whole, LEAST) for part in parts]
    excess = sum(widths) - WIDTH
    spare = sum(width - LEAST for width in widths)
    return [width - excess * (width - LEAST) / spare if spare else width for width in widths]


# Dark to light, and each with a texture of its own, so that a grey print still tells them apart.
PATTERNS: Mapping[str, str] = {
    "exactly": "proven",
    "probably": "derived",
    "your_decision": "undecided",
    "lost": "lost",
}
