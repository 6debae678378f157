"""One row under several strategies, for a terminal: a column of weights for each, and a mark where they differ."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import chop_cells
from rich.text import Text

from maskkit.inspect.looks import figure, shown_lines, style, top_weight
from maskkit.inspect.preview import KindTotal
from maskkit.inspect.selections import in_one_line
from maskkit.pages.visible import visible

if TYPE_CHECKING:
    from maskkit.inspect.preview import Piece, RowPreview

DIFFERS = "≠"
"""Stands before what the strategies weigh differently."""
_KIND, _WEIGHT, _TOKENS = 11, 7, 6
_TRAINED, _SUM = 9, 9
_TEXT = 20
"""At least so many cells are left for text."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive tokens of one kind, that each of the strategies weighs alike."""

    kind: str
    weights: tuple[float, ...]
    """One for each strategy."""
    pieces: tuple[Piece, ...]

    @property
    def differs(self) -> bool:
        """Do the strategies weigh it differently?"""
        return len(set(self.weights)) > 1


def runs_of(example: Sequence[RowPreview]) -> Iterator[Run]:
    """The runs of one example, which ``example`` holds under each strategy."""

    def key(pieces: tuple[Piece, ...]) -> tuple[str, tuple[float, ...]]:
        return pieces[0].kind, tuple(piece.weight for piece in pieces)

    for (kind, weights), run in groupby(zip(*(row.pieces for row in example), strict=True), key=key):
        yield Run(kind, weights, tuple(pieces[0] for pieces in run))


def names(strategies: int) -> list[str]:
    """A letter for each strategy: A, B, C, ..."""
    return [string.ascii_uppercase[number % 26] * (number // 26 + 1) for number in range(strategies)]


def side_by_side(example: Sequence[RowPreview], *, differences: bool, width: int | None) -> Iterator[Text]:
    """The lines of one example. differences: only the runs that the strategies weigh differently. width: as `terminal.draw` has it."""
    letters = names(len(example))
    for letter, row in zip(letters, example, strict=True):
        yield Text(f"{letter}  {visible(in_one_line(row.strategy))}")
    yield Text()
    columns = "".join(f" {letter:>{_WEIGHT}}" for letter in letters)
    yield Text(f"  {'kind':<{_KIND}}{columns} {'tokens':>{_TOKENS}} text", style="dim")
    tops = [top_weight(row) for row in example]
    runs = list(runs_of(example))
    for run in runs:
        if run.differs or not differences:
            yield from _listed(run, tops, width)
    different = sum(len(piece.ids) for run in runs if run.differs for piece in run.pieces)
    yield Text(f"{DIFFERS} {different} of {example[0].tokens} tokens weigh differently")
    yield Text()
    yield from _totals(example, letters, width)


def _listed(run: Run, tops: Sequence[float], width: int | None) -> Iterator[Text]:
    head = Text(f"{DIFFERS if run.differs else ' '} {run.kind:<{_KIND}}")
    for weight, top in zip(run.weights, tops, strict=True):
        head.append(" ").append(f"{figure(weight):>{_WEIGHT}}", style(run.kind, weight, top) if run.differs else "")
    head.append(f" {sum(len(piece.ids) for piece in run.pieces):>{_TOKENS}} ")
    margin = len(head.plain)
    largest = max(run.weights, key=abs)
    look = style(run.kind, largest, max(tops))
    for line in shown_lines(run.pieces):
        for part in chop_cells(line, max(width - margin, _TEXT)) if width else [line]:
            yield head.append(part, look)
            head = Text(" " * margin)


def _totals(example: Sequence[RowPreview], letters: Sequence[str], width: int | None) -> Iterator[Text]:
    """Per kind: tokens, and for each strategy the share that is trained and the sum of weights; beneath each other what does not fit."""
    fitting = len(example) if width is None else max((width - _KIND - 8) // (_TRAINED + _SUM + 2), 1)
    for first in range(0, len(example), fitting):
        rows = example[first : first + fitting]
        columns = "".join(f" {f'{letter} trained':>{_TRAINED}} {f'{letter} sum':>{_SUM}}" for letter in letters[first : first + fitting])
        yield Text(f"{'kind':<{_KIND}} {'tokens':>7}{columns}", style="dim")
        for totals in zip(*(row.kinds for row in rows), strict=True):
            yield _total(totals[0].kind, totals)
        yield _total("all", [KindTotal("all", row.tokens, row.trained, sum(total.weight for total in row.kinds)) for row in rows])


def _total(name: str, totals: Sequence[KindTotal]) -> Text:
    line = Text(f"{name:<{_KIND}} {totals[0].tokens:>7}", style="bold" if name == "all" else "")
    for total in totals:
        line.append(f" {total.trained / total.tokens:>{_TRAINED}.0%} {figure(total.weight):>{_SUM}}")
    return line
