"""maskkit beside a renderer of the package ``renderers``, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np

from maskkit.errors import ConfigError, TemplateError
from maskkit.integrations.renderers.changed_labels import changed_labels
from maskkit.integrations.renderers.changed_tokens import changed_tokens
from maskkit.integrations.renderers.package import MalformedError, RefusedError, SecondRenderer
from maskkit.integrations.renderers.reasons import UNEXPLAINED, Difference
from maskkit.integrations.renderers.rendering import Rendering
from maskkit.masker import Masker
from maskkit.records import Record, to_record

Outcome = Literal["compared", "template-refuses", "renderer-refuses", "malformed"]


@dataclass(frozen=True, slots=True)
class RowComparison:
    """What the two say of one conversation."""

    source: str
    outcome: Outcome
    """``compared``; or who did not render it. ``malformed``: what the renderer gave is not one label per token."""
    why: str = ""
    """In whose words it was not compared."""
    tokens: int = 0
    """How many tokens maskkit has."""
    agreed: int = 0
    """How many of them are the renderer's too, with the same labels."""
    is_transformers: bool = True
    """Are maskkit's tokens those of transformers, but for control tokens that the row itself typed?"""
    without: tuple[str, ...] = ()
    """Labels that the renderer does not give: ``generated``, ``content``."""
    differences: tuple[Difference, ...] = ()

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        """Differences without a reason."""
        return tuple(difference for difference in self.differences if difference.reason == UNEXPLAINED)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the two say of all rows."""

    renderer: str
    rows: tuple[RowComparison, ...]

    @property
    def compared(self) -> tuple[RowComparison, ...]:
        """The rows that both rendered."""
        return tuple(row for row in self.rows if row.outcome == "compared")

    @property
    def reasons(self) -> Counter[str]:
        """How many tokens differ for each reason."""
        found: Counter[str] = Counter()
        for row in self.rows:
            for difference in row.differences:
                found[difference.reason] += difference.size
        return found

    @property
    def agrees(self) -> bool:
        """Were rows compared, does every difference have a reason, and are maskkit's tokens transformers'?"""
        explained = all(row.outcome != "malformed" and row.is_transformers and not row.unexplained for row in self.rows)
        return explained and bool(self.compared)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"agrees": self.agrees, "reasons": dict(self.reasons), **asdict(self)}


def compare(
    tokenizer: Any,
    rows: Iterable[Record | Mapping[str, Any]],
    renderer: Any = None,
    *,
    date: datetime | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
    stop_token_ids: Iterable[int] = (),
) -> Comparison:
    """Compare maskkit's tokens and labels of conversations with those of a renderer.

    The renderer never sees the chat template: its families are written by hand. transformers is the referee. Compared are the tokens; for
    each, the message that owns it; whether the model would emit it; and whether it comes from the conversation. Weights play no part.

    Args:
        tokenizer: a fast Hugging Face tokenizer with its chat template; or a `Masker`, whose tokenizer and options are taken.
        rows: conversations, as `Masker` takes them.
        renderer: a name such as ``qwen3``; a mapping with ``name`` and the renderer's options; a config or renderer of the package; or None
            for the one that the package takes for the tokenizer's ``name_or_path``.
        date: what both print as today; now if not given.
        template_kwargs: arguments for the template and the renderer, below the row's own ``chat_template_kwargs``.
        stop_token_ids: of the model's generation config.

    Raises ConfigError for a renderer that does not fit the tokenizer, or a Masker that cuts or divides rows; DataError for a bad row.
    """
    masker = _masker(tokenizer, date, template_kwargs, stop_token_ids)
    second = SecondRenderer(masker.tokenizer, renderer, masker.renderer.date)
    records = (to_record(row, source=f"row {number}") for number, row in enumerate(rows))
    return Comparison(second.name, tuple(_compared(masker, second, record) for record in records))


def _masker(tokenizer: Any, date: datetime | None, template_kwargs: Mapping[str, Any] | None, stop_token_ids: Iterable[int]) -> Masker:
    stops = frozenset(stop_token_ids)
    if not isinstance(tokenizer, Masker):
        return Masker(tokenizer, date=date, template_kwargs=template_kwargs, stop_token_ids=stops)
    if date is not None or template_kwargs is not None or stops:
        raise ConfigError("date, template_kwargs and stop_token_ids are those of the Masker: give them there")
    if tokenizer.max_length is not None or tokenizer.history != "as-rendered":
        raise ConfigError("the Masker cuts or divides rows, and a renderer does not: expected max_length None and history 'as-rendered'")
    return tokenizer


def _compared(masker: Masker, second: SecondRenderer, record: Record) -> RowComparison:
    if record.form != "messages":
        raise ConfigError(f"{record.source} is {record.form}, expected a conversation ('messages'): renderers render nothing else")
    try:
        tokens, findings = masker.tokens(record)
        reference = masker.renderer.transformers_ids(record)
    except TemplateError as error:
        return RowComparison(record.source, "template-refuses", str(error))
    try:
        opinion = second(record, masker.renderer.template_arguments(record))
    except RefusedError as error:
        return RowComparison(record.source, "renderer-refuses", str(error), len(tokens))
    except MalformedError as error:
        return RowComparison(record.source, "malformed", str(error), len(tokens))
    row = Rendering(masker, tokens, masker.segments(tokens), findings, opinion, reference)
    differences = (*changed_tokens(row), *changed_labels(row))
    differs = np.ones(len(tokens), np.bool_)
    differs[row.alignment.ours] = False
    for difference in differences:
        differs[difference.start : difference.end] = True
    return RowComparison(
        source=record.source,
        outcome="compared",
        tokens=len(tokens),
        agreed=int((~differs).sum()),
        is_transformers=row.ours_is_reference,
        without=tuple(name for name in ("generated", "content") if getattr(opinion, name) is None),
        differences=differences,
    )
