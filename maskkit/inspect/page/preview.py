"""The page of a preview: rows under strategies, every token with what is known about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from markupsafe import Markup

from maskkit.inspect.looks import figure, top_weight
from maskkit.inspect.page.figures import Seen, triangle
from maskkit.inspect.preview import KindTotal
from maskkit.inspect.selections import in_one_line
from maskkit.kinds import KINDS
from maskkit.masker.never_trained import REASONS
from maskkit.pages.colors import LEVELS, level
from maskkit.pages.shell import render
from maskkit.pages.visible import pictures, visible

if TYPE_CHECKING:
    from maskkit.findings import Finding
    from maskkit.inspect.preview import Piece, Preview, RowPreview

MOST_OF_A_ROW, MOST = 20_000, 60_000
"""Tokens that are drawn of one row under one strategy, and in the whole page; the totals count all."""
SHORT = 48
"""Rows of at most so many tokens have their triangle drawn."""
PACKED = 64
"""Short rows that have no more tokens together are drawn as one packed sequence."""
LISTED = 400
"""So many targets are listed in the table of the shift."""


@dataclass(frozen=True, slots=True)
class Token:
    """One piece as the page writes it."""

    text: Markup
    about: str
    """Its number, id and text."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive tokens that look alike and have the same facts told about them."""

    classes: str
    weight: str
    about: str
    """Kind, weight, origin, whether the model emits them and why."""
    tokens: tuple[Token, ...]

    @property
    def css(self) -> str:
        """``about`` as a string of CSS, in which no character means anything."""
        return css_string(self.about)


@dataclass(frozen=True, slots=True)
class Total:
    """A row of the table of kinds, and the lengths of its bars in percent."""

    kind: str
    tokens: int
    trained: str
    trained_bar: float
    weight: str
    weight_bar: float
    negative: bool


@dataclass(frozen=True, slots=True)
class Column:
    """One row under one strategy."""

    name: str
    runs: tuple[Run, ...]
    totals: tuple[Total, ...]
    left_out: int
    """Tokens that are not drawn."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One line of the table of the shift: what is read, what is to be predicted, how much that counts."""

    position: int
    read: str
    target: str
    kind: str
    weights: tuple[str, ...]
    trained: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One example under all strategies."""

    number: int
    source: str
    tokens: int
    share: float
    """Percent of its tokens that some strategy trains."""
    columns: tuple[Column, ...]
    findings: tuple[Finding, ...]
    different: int
    """Tokens that the strategies weigh differently."""
    triangle: Markup | None
    shifts: tuple[Shift, ...]


def preview_page(preview: Preview, *, differences: bool = False) -> str:
    """A preview as one HTML file, which needs no network and works without scripts.

    differences: begin with only the differences between strategies highlighted.
    """
    examples = preview.examples()
    rows = list(_rows(examples))
    present = {total.kind for row in preview.rows for total in row.kinds}
    strategies = list(dict.fromkeys(in_one_line(row.strategy) for row in preview.rows))
    return render(
        "preview.html",
        title=f"Preview of {_data(preview)}",
        style="preview.css",
        script="preview.js",
        preview=preview,
        strategies=[visible(name) for name in strategies],
        modifiers=[visible(name) for name in preview.modifiers],
        kinds=[kind for kind in KINDS if kind in present],
        levels=range(1, LEVELS + 1),
        signed=any(weight < 0 for row in preview.rows for piece in row.pieces for weight in piece.weights),
        rows=rows,
        codes=Counter(code for row in rows for code in {finding.code for finding in row.findings}),
        packed=_packed(examples),
        differences=differences and len(strategies) > 1,
    )


def _data(preview: Preview) -> str:
    """The file that all rows come from, or how many rows there are."""
    files = {row.source.rpartition(":")[0] for row in preview.rows}
    (file,) = files if len(files) == 1 else ("",)
    rows = len(preview.examples())
    return visible(file) or f"{rows} row{'s' if rows > 1 else ''}"


def css_string(text: str) -> str:
    """A string of CSS with this value; anything but letters, digits and a few plain marks is written by its number."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " .,:()-[]") else f"\\{ord(c):x} " for c in text)
    return f'"{plain}"'


def _rows(examples: Sequence[tuple[RowPreview, ...]]) -> Iterator[Row]:
    left = MOST
    for example in examples:
        first = example[0]
        drawn = min(MOST_OF_A_ROW, max(left, 0) // len(example))
        left -= min(drawn, len(first.pieces)) * len(example)
        top = max(map(top_weight, example))
        texts = [shown(piece, picture) for piece, picture in zip(first.pieces[:drawn], _pictures(first.pieces), strict=False)]
        different = [len({row.pieces[number].weights for row in example}) > 1 for number in range(len(first.pieces))]
        yield Row(
            number=first.number,
            source=visible(first.source),
            tokens=first.tokens,
            share=100 * _trained_share(example),
            columns=tuple(_column(row, texts, different, top) for row in example if row.pieces),
            findings=tuple(
                dict.fromkeys(replace(finding, message=visible(finding.message)) for row in example for finding in row.findings)
            ),
            different=sum(len(piece.ids) for piece, differs in zip(first.pieces, different, strict=True) if differs),
            triangle=_triangle(example) if 0 < first.tokens <= SHORT else None,
            shifts=tuple(_shifts(example)),
        )


def _trained_share(example: Sequence[RowPreview]) -> float:
    trained = sum(any(any(row.pieces[number].weights) for row in example) for number in range(len(example[0].pieces)))
    return trained / max(len(example[0].pieces), 1)


def _column(row: RowPreview, texts: Sequence[Markup], different: Sequence[bool], top: float) -> Column:
    cut = len(texts)
    return Column(
        visible(in_one_line(row.strategy)),
        tuple(_runs(row.pieces[:cut], texts, different, top)),
        tuple(_totals(row)),
        sum(len(piece.ids) for piece in row.pieces[cut:]),
    )


def _runs(pieces: Sequence[Piece], texts: Sequence[Markup], different: Sequence[bool], top: float) -> Iterator[Run]:
    def key(number: int) -> tuple[object, ...]:
        piece = pieces[number]
        return (
            piece.kind,
            piece.weights[:1],
            len(set(piece.weights)),
            piece.message,
            piece.field,
            piece.whose,
            piece.zeroed,
            different[number],
        )

    runs = [list(numbers) for _, numbers in groupby(range(len(pieces)), key=key)]
    looks = [None, *(_look(pieces[run[0]], different[run[0]], top) for run in runs), None]
    for before, look, after, run in zip(looks, looks[1:], looks[2:], runs, strict=False):
        piece = pieces[run[0]]
        yield Run(
            " ".join([*(look or ()), *(["opens"] if look != before else []), *(["closes"] if look != after else [])]),
            figure(piece.weight),
            _about(piece),
            tuple(Token(texts[number], _named(pieces[number])) for number in run),
        )


def _look(piece: Piece, differs: bool, top: float) -> tuple[str, ...]:
    """The classes that say how a run looks; neighbours of one look are drawn as one."""
    marks = {"negative": piece.weight < 0, "zeroed": piece.zeroed not in ("", "first-token")}
    shown = [name for name, holds in marks.items() if holds]
    return piece.kind, f"w{level(piece.weight, top)}", *shown, "differs" if differs else "same"


def _about(piece: Piece) -> str:
    weights = f"weights {', '.join(map(figure, piece.weights))}" if len(set(piece.weights)) > 1 else f"weight {figure(piece.weight)}"
    place = f"message {piece.message} ({piece.role}){f', {piece.field}' if piece.field else ''}" if piece.message >= 0 else "no message"
    parts = [piece.kind, weights, place, f"generated: {piece.whose}"]
    return visible(" · ".join([*parts, f"weighs 0: {REASONS[piece.zeroed]}"] if piece.zeroed else parts))


def _named(piece: Piece) -> str:
    last = piece.first + len(piece.ids) - 1
    number = f"token {piece.first}" if len(piece.ids) == 1 else f"tokens {piece.first} to {last}"
    ids = f"id {piece.ids[0]}" if len(piece.ids) == 1 else f"ids {', '.join(map(str, piece.ids))}"
    return f"{number} · {ids} · '{visible(piece.text)}'"


def _pictures(pieces: Sequence[Piece]) -> list[list[str]]:
    """The characters of each piece as they are shown, seen in the whole text: what joins two emoji stays between them."""
    whole = iter(pictures("".join(piece.text for piece in pieces)))
    return [[next(whole) for _ in piece.text] for piece in pieces]


def shown(piece: Piece, picture: Sequence[str]) -> Markup:
    """A piece in HTML: pictures of invisible characters are marked as such, and line breaks break lines."""
    if not piece.text:
        return Markup("<i>{}</i>").format("".join(f"⟨{token_id}⟩" for token_id in piece.ids))
    parts = Markup("")
    for seen, group in groupby(zip(piece.text, picture, strict=True), key=lambda pair: pair[0] == pair[1]):
        characters = list(group)
        if seen:
            parts += "".join(character for character, _ in characters)
            continue
        for character, drawn in characters:
            parts += Markup("<i>{}</i>{}").format(drawn, "\n" if character == "\n" else "")
    return parts


def _totals(row: RowPreview) -> Iterator[Total]:
    largest = max((abs(total.weight) for total in row.kinds), default=0) or 1
    whole = KindTotal("all", row.tokens, row.trained, sum(total.weight for total in row.kinds))
    for total in (*row.kinds, whole):
        share = total.trained / total.tokens
        bar = min(100 * abs(total.weight) / largest, 100)
        yield Total(total.kind, total.tokens, f"{share:.0%}", 100 * share, figure(total.weight), bar, total.weight < 0)


def _seen(row: RowPreview, document: int = 0) -> list[Seen]:
    """The tokens of a row; of a split character each is a token of its own."""
    return [Seen(visible(piece.text) or "⟨⟩", piece.kind, weight, document) for piece in row.pieces for weight in piece.weights]


def _triangle(example: Sequence[RowPreview]) -> Markup:
    row = example[0]
    return triangle(_seen(row), f"{row.tokens} tokens: each sees itself and the tokens before it")


def _packed(examples: Sequence[tuple[RowPreview, ...]]) -> tuple[str, Markup] | None:
    """Some short rows as one packed sequence: which, and their triangle; None where there are not two."""
    tokens: list[Seen] = []
    packed: list[str] = []
    for example in examples:
        if 0 < example[0].tokens <= PACKED - len(tokens):
            tokens += _seen(example[0], len(packed))
            packed.append(str(example[0].number))
    if len(packed) < 2:
        return None
    return ", ".join(packed), triangle(tokens, f"rows {', '.join(packed)} packed into one sequence: each sees only itself")


def _shifts(example: Sequence[RowPreview]) -> Iterator[Shift]:
    """The first targets of a row: what the position before each has read, and what predicting it counts."""
    tokens = [(visible(piece.text) or "⟨⟩", piece.kind) for piece in example[0].pieces for _ in piece.ids][: LISTED + 1]
    weights = [[weight for piece in row.pieces for weight in piece.weights] for row in example]
    for target in range(1, len(tokens)):
        of_target = [column[target] for column in weights]
        yield Shift(target - 1, tokens[target - 1][0], *tokens[target], tuple(map(figure, of_target)), any(of_target))
