"""Preview: what each token of a row is and how much its loss counts, as typed objects.

    shown = maskkit.preview(rows, tokenizer, strategy="assistant-only")
    for piece in shown.rows[0].pieces:
        print(piece.kind, piece.weight, piece.text)

`maskkit.inspect.terminal` draws them for a terminal, `maskkit.inspect.page` as a page; the command ``maskkit preview`` prints that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskkit.findings import Finding
from maskkit.inspect.reasons import whose
from maskkit.inspect.selections import named
from maskkit.kinds import KINDS
from maskkit.masker import Example, Masker
from maskkit.masker.never_trained import never_trained
from maskkit.records import Record, records_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from maskkit.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Piece:
    """One token; or several that share a character (a split emoji), which have no text of their own."""

    text: str
    """Whole characters. Empty for a token that stands for no text."""
    kind: str
    generated: bool
    role: str
    message: int
    turn: int
    ids: tuple[int, ...]
    weights: tuple[float, ...]
    """One for each id."""
    first: int = 0
    """Number of its first token in the row."""
    field: str = ""
    """Path inside the message, such as ``content``; empty for text of the template."""
    whose: str = ""
    """Would the model itself emit it, and why?"""
    zeroed: str = ""
    """Why it weighs 0 whatever the strategy says, a key of `maskkit.masker.never_trained.REASONS`; empty where the strategy decides."""

    @property
    def weight(self) -> float:
        """The weight that is farthest from 0, where the tokens of one character differ."""
        return max(self.weights, key=abs)


@dataclass(frozen=True, slots=True)
class KindTotal:
    """What one kind amounts to in a row."""

    kind: str
    tokens: int
    trained: int
    """Tokens whose weight is not 0."""
    weight: float
    """Sum of their weights."""


@dataclass(frozen=True, slots=True)
class RowPreview:
    """One row under one strategy."""

    source: str
    strategy: Any
    """The selection, as a config writes it."""
    pieces: tuple[Piece, ...]
    kinds: tuple[KindTotal, ...]
    """Of the kinds that occur, in the order of `maskkit.kinds.KINDS`."""
    findings: tuple[Finding, ...]
    number: int = 0
    """Number of the example, counted from 0 over the preview: equal for one example under several strategies."""
    modifiers: tuple[str, ...] = ()
    """Loss modifiers of the strategy, which weigh these tokens anew when the loss is computed; the weights here are what they act on."""

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return sum(total.tokens for total in self.kinds)

    @property
    def trained(self) -> int:
        """Number of tokens whose weight is not 0."""
        return sum(total.trained for total in self.kinds)


@dataclass(frozen=True, slots=True)
class Preview:
    """Rows under strategies, and what rendered them."""

    tokenizer: str
    template: str
    """Name and hash of the chat template; ``none`` where the tokenizer has none."""
    max_length: int | None
    rows: tuple[RowPreview, ...]
    """Row by row (reply by reply under ``history: as-served``), and for each strategy by strategy."""

    def examples(self) -> list[tuple[RowPreview, ...]]:
        """The rows grouped: for each example, what it is under each strategy."""
        return [tuple(group) for _, group in groupby(self.rows, key=lambda row: row.number)]

    @property
    def modifiers(self) -> tuple[str, ...]:
        """Loss modifiers of all strategies, none of which has acted on the weights yet."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.modifiers))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; a function in a selection stands by its name."""
        return {**asdict(self), "rows": [{**asdict(row), "strategy": named(row.strategy)} for row in self.rows]}


def preview(
    data: str | Path | Iterable[Record | Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    strategy: Any = "assistant-only",
    *,
    strategies: Sequence[Any] = (),
    max_length: int | None = None,
    truncation: str = "right",
    history: str = "as-rendered",
    control_tokens: str = "escape",
    template_kwargs: Mapping[str, Any] | None = None,
    stop_token_ids: Iterable[int] = (),
    reasoning_tags: Iterable[Sequence[str]] = (),
    tokenizer_name: str = "",
) -> Preview:
    """Encode rows once and weigh them under one strategy, or under each of several.

    data: a file, rows or records. strategy: anything that `load_strategy` takes; ``strategies``, where given, replaces it.
    tokenizer_name: by which name it was loaded. The other arguments are those of `Masker`. Raises what `Masker` raises.

    A row that is dropped, or a reply that cannot be served, is shown without tokens, with the finding that says why.
    """
    stops, tags = frozenset(stop_token_ids), tuple(reasoning_tags)
    maskers = [
        Masker(
            tokenizer,
            each,
            max_length=max_length,
            truncation=truncation,
            history=history,
            control_tokens=control_tokens,
            template_kwargs=template_kwargs,
            stop_token_ids=stops,
            reasoning_tags=tags,
        )
        for each in several(strategies) or [strategy]
    ]
    rows: list[RowPreview] = []
    for record in records_of(data):
        tables, left_out = maskers[0].tables(record)
        for table in tables:
            number = rows[-1].number + 1 if rows else 0
            rows += [_row(masker.example(*table), masker.strategy, number) for masker in maskers]
        if left_out:
            rows.append(RowPreview(record.source, maskers[0].strategy.spec(), (), (), left_out, rows[-1].number + 1 if rows else 0))
    return Preview(tokenizer_name or str(tokenizer.name_or_path), template_name(tokenizer), max_length, tuple(rows))


def several(strategies: Any) -> list[Any]:
    """Selections as a list; one that stands alone is a list of one."""
    return [strategies] if isinstance(strategies, (str, Mapping)) else list(strategies)


def template_name(tokenizer: PreTrainedTokenizerBase) -> str:
    """Which chat template a tokenizer has: the first 12 hexadecimal digits of its sha256, after its name where there are several."""
    template = tokenizer.chat_template
    if not template:
        return "none"
    named = template if isinstance(template, dict) else {"": template}
    return ", ".join(f"{name} sha256:{hashlib.sha256(text.encode()).hexdigest()[:12]}".strip() for name, text in named.items())


def _row(example: Example, strategy: Strategy, number: int) -> RowPreview:
    pieces = tuple(_pieces(example, strategy))
    modifiers = tuple(modifier.label for modifier in strategy.modifiers)
    return RowPreview(example.tokens.record.source, strategy.spec(), pieces, tuple(_totals(example)), example.warnings, number, modifiers)


def _pieces(example: Example, strategy: Strategy) -> Iterator[Piece]:
    tokens, weights = example.tokens, [float(str(weight)) for weight in example.loss_weights]  # 0.3, not 0.30000001192092896
    kinds, roles, fields, said = tokens.kind.tolist(), tokens.role.tolist(), tokens.field.tolist(), whose(tokens)
    zeroed = [*never_trained(tokens, strategy).items()]
    begin = int(tokens.char_start[0])
    end = begin if tokens.text[:begin].strip() else 0  # what truncation cut on the left is not shown
    for first, last in _groups(tokens.char_start.tolist(), tokens.char_end.tolist()):
        reach = max(end, int(tokens.char_end[first:last].max()))
        yield Piece(
            text=tokens.text[end:reach],  # from the end of the piece before: blanks that offsets leave out belong to some piece
            kind=kinds[first],
            generated=bool(tokens.generated[first]),
            role=roles[first],
            message=int(tokens.message[first]),
            turn=int(tokens.turn[first]),
            ids=tuple(tokens.ids[first:last].tolist()),
            weights=tuple(weights[first:last]),
            first=first,
            field=fields[first],
            whose=said[first],
            zeroed=next((reason for reason, chosen in zeroed if chosen[first]), ""),
        )
        end = reach


def _groups(start: Sequence[int], end: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of tokens, each the smallest that ends where a character ends."""
    first, reach = 0, 0
    for index in range(len(start)):
        if index > first and start[index] >= reach:
            yield first, index
            first = index
        reach = max(reach, end[index])
    if len(start):
        yield first, len(start)


def _totals(example: Example) -> Iterator[KindTotal]:
    codes, weights = example.tokens.kind_codes, example.loss_weights.astype(np.float64)
    for code, kind in enumerate(KINDS):
        of_kind = codes == code
        if of_kind.any():
            chosen = weights[of_kind]
            yield KindTotal(kind, int(of_kind.sum()), int(np.count_nonzero(chosen)), float(chosen.sum()))
