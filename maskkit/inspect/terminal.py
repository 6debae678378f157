"""Draws a preview for a terminal: colour says the kind, fill says how much a token counts.

A token that counts stands on a ground of its kind's colour, the stronger the more it counts; one that does not is dim. Without colour,
or on request, text is listed run by run with kind, weight and number of tokens beside it. Colours and widths are rich's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import chop_cells
from rich.text import Text

from maskkit.inspect.looks import figure, lines_of, style, text_of, top_weight
from maskkit.inspect.selections import in_one_line
from maskkit.inspect.side_by_side import side_by_side
from maskkit.pages.visible import NEWLINE, visible

if TYPE_CHECKING:
    from maskkit.inspect.preview import Piece, Preview, RowPreview

_LEGEND = 8
"""At most so many weights are explained."""
_COLUMNS = (11, 7, 6)
"""Widths of kind, weight and number of tokens."""


def draw(preview: Preview, *, weights: bool, differences: bool = False, width: int | None = None) -> Iterator[Text]:
    """The lines to print.

    weights: list runs with their weights in figures, rather than the text as it flows; several strategies are then columns side by side,
    else one under another. differences: of several strategies, only where their weights differ. width: of the terminal, in cells, at which
    listed text is wrapped; None leaves it in one line, for pipes.
    """
    yield headline(preview)
    if preview.modifiers:
        yield Text(f"acts on these weights when the loss is computed, which is not shown: {visible(', '.join(preview.modifiers))}")
    for example in preview.examples():
        beside = len(example) > 1 and bool(example[0].pieces) and (weights or differences)
        for row in example[:1] if beside else example:
            yield Text()
            yield Text(
                f"{visible(row.source)}, strategy {_selection(row)}" if len(example) > 1 and not beside else visible(row.source), "bold"
            )
            if row.pieces and not beside:
                yield from _listed(row, width) if weights else _flowing(row)
                yield from _totals(row)
            elif row.pieces:
                yield from side_by_side(example, differences=differences, width=width)
            for finding in row.findings:
                yield Text(f"! {finding.code}: {visible(finding.message)}", style="bold red")


def headline(preview: Preview) -> Text:
    """What rendered the rows and what weighs them."""
    strategies = " | ".join(dict.fromkeys(map(_selection, preview.rows)))
    parts = [f"tokenizer {preview.tokenizer}", f"template {preview.template}", f"strategy {strategies or '-'}"]
    return Text(visible(", ".join(parts + ([f"max_length {preview.max_length}"] if preview.max_length else []))))


def _flowing(row: RowPreview) -> Iterator[Text]:
    """The text as it stands, in lines of its own."""
    top, line = top_weight(row), Text()
    for kind, weight, _, text in _runs(row.pieces):
        *ended, rest = text.split("\n")
        for part in ended:
            yield line.append(visible(part) + NEWLINE, style(kind, weight, top))
            line = Text()
        line.append(visible(rest), style(kind, weight, top))
    if line:
        yield line
    yield Text()
    legend = Text("weights ")
    for weight in sorted({0.0, *(piece.weight for piece in row.pieces)})[:_LEGEND]:
        legend.append(f" {figure(weight)} ", style("text", weight, top)).append(" ")
    yield legend.append(" a ground: counts, dim: does not")


def _listed(row: RowPreview, width: int | None) -> Iterator[Text]:
    """One run of tokens of equal kind and weight after another: kind, weight, number of tokens, text."""
    top, margin = top_weight(row), sum(_COLUMNS) + len(_COLUMNS)
    yield Text(f"{'kind':<{_COLUMNS[0]}} {'weight':>{_COLUMNS[1]}} {'tokens':>{_COLUMNS[2]}} text", style="dim")
    for kind, weight, count, text in _runs(row.pieces):
        look = style(kind, weight, top)
        head = Text(f"{kind:<{_COLUMNS[0]}} {figure(weight):>{_COLUMNS[1]}} {count:>{_COLUMNS[2]}} ")
        for part in lines_of(text):
            for piece in chop_cells(part, max(width - margin, 20)) if width else [part]:
                yield head.append(piece, look)
                head = Text(" " * margin)


def _runs(pieces: tuple[Piece, ...]) -> Iterator[tuple[str, float, int, str]]:
    """(kind, weight, number of tokens, text) of each maximal run of equal kind and weight."""
    for (kind, weight), run in groupby(pieces, key=lambda piece: (piece.kind, piece.weight)):
        group = list(run)
        yield kind, weight, sum(len(piece.ids) for piece in group), text_of(group)


def _totals(row: RowPreview) -> Iterator[Text]:
    top = top_weight(row)
    yield Text()
    yield Text(f"{'kind':<{_COLUMNS[0]}} {'tokens':>7} {'trained':>8} {'sum of weights':>15}", style="dim")
    for total in row.kinds:
        weight = total.weight / total.trained if total.trained else 0.0
        name = Text().append(total.kind, style(total.kind, weight, top)).append(" " * (_COLUMNS[0] - len(total.kind)))
        yield name.append(f" {total.tokens:>7} {total.trained / total.tokens:>8.0%} {figure(total.weight):>15}")
    weight = sum(total.weight for total in row.kinds)
    yield Text(f"{'all':<{_COLUMNS[0]}} {row.tokens:>7} {row.trained / row.tokens:>8.0%} {figure(weight):>15}", style="bold")


def _selection(row: RowPreview) -> str:
    return in_one_line(row.strategy)
