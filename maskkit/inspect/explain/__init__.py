"""Explain one token: where it came from, what it weighs and why, and what a model expected in its place.

    told = maskkit.explain(rows, tokenizer, find="21", strategy={"name": "weighted", "reasoning": 0.3})
    print(told.weighed[0].weight, told.weighed[0].expression)

`origin` says where the token comes from, `expression` how its weight comes about, `score` what a model expects; `draw` writes it all down,
which the command ``maskkit explain`` prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskkit.errors import ConfigError, DataError, MaskkitError
from maskkit.findings import Finding
from maskkit.inspect.explain.expression import Term, weight_expression
from maskkit.inspect.explain.origin import Origin, origin_of
from maskkit.inspect.explain.score import Guess, Score, score
from maskkit.inspect.preview import several, template_name
from maskkit.inspect.reasons import whose
from maskkit.inspect.selections import named
from maskkit.masker import Masker
from maskkit.plugins import load_strategy, strategies
from maskkit.records import Record, records_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from maskkit.masker import Table
    from maskkit.strategy import Strategy
    from maskkit.tokens import Tokens

__all__ = ["Alternative", "Explanation", "Guess", "Origin", "Prediction", "Score", "Term", "Weighed", "explain"]


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the token weighs under one of the strategies that were asked about."""

    strategy: Any
    """The selection, as a config writes it."""
    weight: float
    """The float32 that the loss gets."""
    expression: Term
    """How it comes about."""
    modifiers: tuple[str, ...] = ()
    """Loss modifiers, which weigh the token anew when the loss is computed."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """What the token would weigh under another installed strategy, with the options that it has by default."""

    strategy: str
    weight: float | None
    """None where the strategy cannot weigh the row so."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The position that predicts the token: its loss is measured there, and labels are shifted by it in the loss alone."""

    position: int
    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One token of one row."""

    source: str
    tokenizer: str
    template: str
    token: int
    """Its number in the row, from 0."""
    tokens: int
    """How many the row has."""
    id: int
    text: str
    """The whole characters that it stands for; those of a split character all stand for it."""
    shares: tuple[int, ...]
    """All tokens of that character, where it is split; else the token alone."""
    kind: str
    generated: bool
    straddle: bool
    origin: Origin
    predicted_by: Prediction | None
    """None for the first token, which nothing predicts."""
    weighed: tuple[Weighed, ...]
    others: tuple[Alternative, ...]
    score: Score | None
    """None where no model was given, and for the first token."""
    found: tuple[int, ...]
    """First tokens of all places where the text that was looked for stands."""
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; a function in a selection stands by its name."""
        values = asdict(self)
        for weighed in values["weighed"]:
            weighed["strategy"] = named(weighed["strategy"])
        return values


def explain(
    data: str | Path | Iterable[Record | Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    strategy: Any = "assistant-only",
    *,
    row: int = 0,
    token: int | None = None,
    find: str | None = None,
    reply: int = -1,
    model: Any = None,
    strategies: Sequence[Any] = (),
    max_length: int | None = None,
    truncation: str = "right",
    history: str = "as-rendered",
    control_tokens: str = "escape",
    template_kwargs: Mapping[str, Any] | None = None,
    stop_token_ids: Iterable[int] = (),
    reasoning_tags: Iterable[Sequence[str]] = (),
    tokenizer_name: str = "",
) -> Explanation:
    """Explain one token of one row.

    data: a file, rows or records; ``row`` counts them from 0. One of: ``token``, its number, negative from the end; ``find``, a text,
    whose first token is taken where it first stands in the rendered row. reply: under ``history: as-served``, which of the row's replies,
    negative from the end. model: a transformers causal language model, asked how likely it finds the token. The other arguments are those
    of `maskkit.preview`.

    Raises ConfigError where not exactly one of token and find is given, DataError for a row, token or text that is not there, and what
    `Masker` raises.
    """
    if (token is None) == (find is None):
        raise ConfigError("explain needs one of token (a number) and find (a text that stands in the row)")
    if find == "":
        raise ConfigError("find is empty, expected a text that stands in the row")
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
    table = _table(maskers[0], _record(data, row), reply)
    tokens = table.tokens
    found = _places(tokens, find) if find is not None else ()
    t = found[0] if found else _number(tokens, token or 0)
    return Explanation(
        source=tokens.record.source,
        tokenizer=tokenizer_name or str(tokenizer.name_or_path),
        template=template_name(tokenizer),
        token=t,
        tokens=len(tokens),
        id=int(tokens.ids[t]),
        text=tokens.piece(t),
        shares=_shares(tokens, t),
        kind=str(tokens.kind[t]),
        generated=bool(tokens.generated[t]),
        straddle=bool(tokens.straddle[t]),
        origin=origin_of(maskers[0], tokens, t, whose(tokens)[t]),
        predicted_by=Prediction(t - 1, int(tokens.ids[t - 1]), tokens.piece(t - 1)) if t else None,
        weighed=tuple(_weighed(masker.strategy, masker, tokens, t) for masker in maskers),
        others=tuple(_others([masker.strategy for masker in maskers], tokens, t)),
        score=None if model is None or not t else score(model, tokenizer, tokens, t),
        found=found,
        findings=maskers[0].example(*table).warnings,
    )


def _record(data: Any, row: int) -> Record:
    record = next(islice(records_of(data), row, None), None) if row >= 0 else None
    if record is None:
        raise DataError(f"{data if isinstance(data, (str, Path)) else 'the data'}: there is no row {row}; rows are counted from 0")
    return record


def _table(masker: Masker, record: Record, reply: int) -> Table:
    tables, left_out = masker.tables(record)
    if not tables:
        raise DataError(f"{record.source}: the row makes no example ({'; '.join(f'{f.code}: {f.message}' for f in left_out)})")
    if not -len(tables) <= reply < len(tables):
        raise DataError(f"{record.source}: there is no reply {reply}; the row makes {len(tables)} examples, counted from 0")
    return tables[reply]


def _number(tokens: Tokens, token: int) -> int:
    if not isinstance(token, Integral):
        raise ConfigError(f"token is {token!r}, expected a whole number")
    if not -len(tokens) <= token < len(tokens):
        raise DataError(f"{tokens.record.source}: there is no token {token}; the row has {len(tokens)} tokens, counted from 0")
    return token % len(tokens)


def _places(tokens: Tokens, text: str) -> tuple[int, ...]:
    """The first token of each place where a text stands. Raises DataError if it stands nowhere."""
    places, end = [], int(tokens.char_end.max())
    start = tokens.text.find(text, int(tokens.char_start[0]), end) if text else -1
    while start >= 0:
        places.append(int((tokens.char_end > start).argmax()))
        start = tokens.text.find(text, start + len(text), end)
    if not places:
        raise DataError(f"{tokens.record.source}: {text!r} does not stand in the rendered row; see it with  maskkit preview")
    return tuple(places)


def _shares(tokens: Tokens, t: int) -> tuple[int, ...]:
    """The tokens that stand for the same characters."""
    same = (tokens.char_start == tokens.char_start[t]) & (tokens.char_end == tokens.char_end[t])
    return tuple(same.nonzero()[0].tolist()) if tokens.piece(t) else (t,)


def _weighed(strategy: Strategy, masker: Masker, tokens: Tokens, t: int) -> Weighed:
    modifiers = tuple(modifier.label for modifier in strategy.modifiers)
    return Weighed(strategy.spec(), float(masker.weigh(tokens)[t]), weight_expression(strategy, tokens)(t), modifiers)


def _others(asked: Sequence[Strategy], tokens: Tokens, t: int) -> Iterator[Alternative]:
    for info in strategies():
        if info.sort != "strategy":  # a loss modifier weighs nothing by itself
            continue
        name = info.name if info.origin == "maskkit" else f"{info.origin}:{info.name}"
        try:
            other = load_strategy(name)
            if other not in asked:
                yield Alternative(name, float(np.float32(weight_expression(other, tokens)(t).value)))
        except MaskkitError as error:  # it needs options, or columns that the row does not have: worth knowing, no reason to stop
            yield Alternative(name, None, str(error))
