"""Pictures for pages: drawn in SVG, coloured by the page's own custom properties, so they follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup, escape

from maskkit.inspect.attention import Block, blocks

CELL = 13
"""Pixels of one token in a triangle."""
_NAMES, _BARS = 84, 40
"""Pixels for the text of each token, and for the weight of its prediction."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One token of a triangle."""

    text: str
    """As it is shown."""
    kind: str
    weight: float
    document: int = 0


def triangle(tokens: Sequence[Seen], name: str) -> Markup:
    """Who sees whom: a row for each token, a column for each that it sees, in its kind's colour; a bar for the weight of what it predicts.

    Tokens of one document see each other, of two documents never. name: what the picture shows, for those who do not see it.
    """
    size = len(tokens) * CELL
    top = max((abs(token.weight) for token in tokens), default=0) or 1
    parts = [Markup('<svg class="triangle" role="img" width="{0}" height="{1}" viewBox="0 0 {0} {1}"><title>{2}</title>').format(
        _NAMES + size + _BARS, size + 2, name
    )]  # fmt: skip
    parts.append(Markup('<g transform="translate({},1)">').format(_NAMES))
    for block in blocks([token.document for token in tokens]):
        parts += [_seen(kind, run, block) for kind, run in _runs(tokens, block)]
        parts += [_query(tokens, row, block, top) for row in range(block.start, block.end)]
    return Markup("").join([*parts, Markup("</g></svg>")])


def _runs(tokens: Sequence[Seen], block: Block) -> list[tuple[str, Block]]:
    """Consecutive tokens of one kind inside a document."""
    found, start = [], block.start
    for kind, run in groupby(tokens[block.start : block.end], key=lambda token: token.kind):
        end = start + sum(1 for _ in run)
        found.append((kind, Block(start, end)))
        start = end
    return found


def _seen(kind: str, run: Block, block: Block) -> Markup:
    """The keys of a run, with all the queries that see them: down from the diagonal to the end of the document."""
    start, stairs = run.start * CELL, f"h{CELL}v{CELL}" * (run.end - run.start)
    path = f"M{start} {start}{stairs}V{block.end * CELL}H{start}Z"
    return Markup('<path class="{}" d="{}"/>').format(kind, path)


def _query(tokens: Sequence[Seen], row: int, block: Block, top: float) -> Markup:
    """One token as a query: its text on the left, itself on the diagonal, on the right the weight of the token that it predicts."""
    y, token = row * CELL, tokens[row]
    drawn = Markup('<rect class="self {}" x="{}" y="{}" width="{}" height="{}"/>').format(token.kind, y + 1, y + 1, CELL - 2, CELL - 2)
    drawn += Markup('<text x="-6" y="{}" text-anchor="end">{}</text>').format(y + CELL - 3, _shortened(token.text))
    following = tokens[row + 1] if row + 1 < block.end else None
    if following is not None and following.weight:
        length = max(abs(following.weight) / top * (_BARS - 10), 2)
        bar = '<rect class="bar {}{}" x="{}" y="{}" width="{:.1f}" height="{}"/>'
        drawn += Markup(bar).format(following.kind, " negative" if following.weight < 0 else "", y + CELL + 4, y + 3, length, CELL - 6)
    return drawn


def _shortened(text: str) -> Markup:
    return escape(text.replace(" ", "␣") if not text.strip() else text if len(text) <= 11 else text[:10] + "…")
