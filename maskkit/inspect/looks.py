"""How weights and texts look in a terminal: colour says the kind, fill says how much a token counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from maskkit.pages.visible import NEWLINE, visible
from maskkit.palette import KIND_COLORS

if TYPE_CHECKING:
    from maskkit.inspect.preview import Piece, RowPreview

_FAINTEST = 0.35
"""How much of its colour the ground of the least weight has."""
_DARK = (0x0D, 0x11, 0x17)


def figure(weight: float) -> str:
    """A weight in at most five digits, none of them idle."""
    return f"{weight + 0.0:.4g}"  # + 0.0: a zero has no sign


def style(kind: str, weight: float, top: float) -> str:
    """How text of that kind and weight looks, where ``top`` is the largest weight (its absolute value) beside it."""
    color = KIND_COLORS[kind]
    if not weight:
        return f"dim {color}"
    share = _FAINTEST + (1 - _FAINTEST) * abs(weight) / top
    ground = [round(dark + (int(color[i : i + 2], 16) - dark) * share) for i, dark in zip((1, 3, 5), _DARK, strict=True)]
    bright = 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2] > 140
    ink = "#000000" if bright else "#ffffff"
    return f"{'strike ' if weight < 0 else ''}{ink} on #{''.join(f'{part:02x}' for part in ground)}"


def top_weight(row: RowPreview) -> float:
    """The largest weight of a row (its absolute value), 1 where nothing counts."""
    return max((abs(piece.weight) for piece in row.pieces), default=0.0) or 1.0


def shown_lines(pieces: Iterable[Piece]) -> list[str]:
    """The text of a run, invisible characters visible, cut where it has line breaks."""
    return lines_of(text_of(pieces))


def text_of(pieces: Iterable[Piece]) -> str:
    """The text of a run; tokens without text, such as half a character, by their ids."""
    return "".join(piece.text or "".join(f"⟨{token_id}⟩" for token_id in piece.ids) for piece in pieces)


def lines_of(text: str) -> list[str]:
    """A text, invisible characters visible, cut where it has line breaks."""
    *ended, rest = text.split("\n")
    return [visible(part) + NEWLINE for part in ended] + ([visible(rest)] if rest or not ended else [])
