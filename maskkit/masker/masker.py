"""Record in, examples out: the whole data path on one page.

record -> excerpts -> rendered text -> tokens -> weights -> Example
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

import maskkit
from maskkit.chat import ChatRenderer
from maskkit.errors import ConfigError, DataError
from maskkit.findings import Finding
from maskkit.masker.encoder import Encoder
from maskkit.masker.example import Example
from maskkit.masker.excerpt import Excerpt, replies, whole
from maskkit.masker.fingerprints import Recognition
from maskkit.masker.never_trained import never_trained
from maskkit.masker.tabulate import Table, Tabulator
from maskkit.masker.truncation import Truncation
from maskkit.masker.unsaid import unsaid
from maskkit.plugins import load_strategy, origins_of
from maskkit.records import Record, to_record, without_nulls
from maskkit.records.batches import check_batched
from maskkit.records.marks import mark_paths
from maskkit.records.names import RowName
from maskkit.records.near_marks import near_marks, said_of
from maskkit.strategy import Strategy, weights_of
from maskkit.tokens import Tokens

if TYPE_CHECKING:
    from datetime import datetime

    from transformers import PreTrainedTokenizerBase

    from maskkit.chat.segments import Segment

logger = logging.getLogger("maskkit.masker")

HISTORIES = ("as-rendered", "as-served")
"""One example per row, as the template renders it; or one per assistant message, as it was served at that moment."""


class Tables(NamedTuple):
    """What one record comes to."""

    tables: list[Table]
    left_out: tuple[Finding, ...]
    """Why the record, or a reply of it, makes no example."""


class Masker:
    """Turns records into examples under one tokenizer and one strategy.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        strategy: anything that `load_strategy` takes.
        max_length: most tokens of an example; None for any length.
        truncation: what becomes of longer rows, counted and shown: ``right`` and ``left`` cut that end, ``turns`` leaves out whole turns
            from the front (system messages stay, and a row whose last turn is too long is dropped), ``drop`` makes no example of the row,
            ``error`` raises DataError.
        history: ``as-rendered``, one example per row; or ``as-served``, one per assistant message: the prompt as a server rendered it at
            that moment, and of the rest only what the model wrote, which alone is trained.
        control_tokens: what becomes of control tokens that a row typed, such as ``<|im_end|>`` in a user's message. ``escape``: they are
            encoded as ordinary text. ``error``: DataError. ``allow``: they control, as in other tools. Counted and shown.
        template_kwargs: passed to the chat template, below the row's own ``chat_template_kwargs``.
        date: what templates print as today; fixed once per Masker, now if not given.
        stop_token_ids: stop tokens beside the tokenizer's own, such as the generation config's.
        reasoning_tags: pairs of opening and closing tag that stand around thinking in a reply's content, beside those of the families known
            (`maskkit.chat.markup.REASONING_TAGS`).
        seed: of `Tokens.seed`, for strategies that draw at random.

    `counts` adds up the findings of every example it has made, and of every row it left out; what copies of it have made in other processes
    (``dataset.map(..., num_proc=8)``) is not in it.

    Raises TokenizerError for a tokenizer without offsets, ConfigError for an option that does not exist.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        strategy: Any = "assistant-only",
        *,
        max_length: int | None = None,
        truncation: str = "right",
        history: str = "as-rendered",
        control_tokens: str = "escape",
        template_kwargs: Mapping[str, Any] | None = None,
        date: datetime | None = None,
        stop_token_ids: Iterable[int] = (),
        reasoning_tags: Iterable[Sequence[str]] = (),
        seed: int = 0,
    ) -> None:
        stops = frozenset(stop_token_ids)
        if history not in HISTORIES:
            raise ConfigError(f"history is {history!r}, expected {' or '.join(map(repr, HISTORIES))}")
        self.tokenizer = tokenizer
        self.strategy = load_strategy(strategy)
        self._code = {"maskkit": maskkit.__version__, **origins_of(self.strategy)}  # with another release, its cache is not found again
        self.history = history
        self.seed = seed
        self.counts: Counter[str] = Counter()
        tags = [(opening, closing) for opening, closing in reasoning_tags]
        self._chat: dict[str, Any] = {"template_kwargs": template_kwargs, "date": date, "stop_token_ids": stops, "reasoning_tags": tags}
        self._renderer: ChatRenderer | None = None
        self._truncation = Truncation(truncation, max_length)
        self.recognise = Recognition(tokenizer)
        encoder = Encoder(tokenizer, control_tokens, stops, tags)
        self._tabulate = Tabulator(encoder, self._chat_renderer, seed, self.strategy.token_columns)

    def __getstate__(self) -> dict[str, Any]:
        """What it was made of: what it has counted and worked out stays behind, so that ``datasets`` knows it again and finds its cache."""
        return {**self.__dict__, "counts": Counter(), "_renderer": None}

    @property
    def max_length(self) -> int | None:
        """Most tokens of an example."""
        return self._truncation.max_length

    def __call__(self, record: Record | Mapping[str, Any]) -> Example:
        """The one example of a record or row.

        Raises DataError, TemplateError or StrategyError, naming the row; DataError also where it makes no example (``truncation: drop``)
        or several (``history: as-served``): `examples` gives those.
        """
        return self.example(*self.tokens(record))

    def examples(self, record: Record | Mapping[str, Any]) -> list[Example]:
        """All examples of a record or row: one; none where it is dropped; one per assistant message under ``history: as-served``."""
        record = to_record(record)
        tables, left_out = self.tables(record)
        self.note(left_out, record)
        return [self.example(*table) for table in tables]

    def stream(self, records: Iterable[Record | Mapping[str, Any]]) -> Iterator[Example]:
        """The examples of many records, in order, one record after another; rows are numbered in errors."""
        for number, record in enumerate(records):
            yield from self.examples(to_record(record, source=f"row {number}"))

    def batch(self, records: Iterable[Record | Mapping[str, Any]]) -> list[Example]:
        """The examples of many records, in order: as many as records unless some are dropped or served reply by reply."""
        return list(self.stream(records))

    def encode_batch(
        self, columns: Mapping[str, Sequence[Any]], indices: Sequence[int] | None = None, *, kinds: bool = False, findings: bool = False
    ) -> dict[str, list[Any]]:
        """For ``dataset.map(masker.encode_batch, batched=True, remove_columns=dataset.column_names)``.

        columns: one sequence per column of the data set. indices: numbers of the rows (``dataset.map(..., with_indices=True)``), by which
        errors then call them; else by their place in the batch, a column such as ``id``, and their first words. kinds: a column ``kinds``
        too, int64 codes (`maskkit.kinds.CODE`), for losses per kind (``dataset.map(..., fn_kwargs={"kinds": True})``). findings: a column
        ``findings`` too, the codes of what was noticed of the row, with blanks between. With ``num_proc`` only this reaches the caller,
        since each process counts for itself, and of rows left out only that they are not there. Returns the columns ``input_ids`` and
        ``labels`` (int64) and ``loss_weights`` (float32) that any trainer takes, a row per example; findings are counted in `counts` and
        logged once per sort.

        Raises ConfigError where it is mapped without ``batched=True``; and for a strategy with loss modifiers unless ``kinds`` is true:
        rows carry the weights before them, and the trainer has to be told of them.
        """
        check_batched(columns, indices, "dataset.map(masker.encode_batch, batched=True, remove_columns=dataset.column_names)")
        modifiers = self.strategy.modifiers
        if modifiers and not kinds:
            raise ConfigError(
                f"strategy {self.strategy.label!r} has the loss modifier {modifiers[0].label!r}, which acts where the loss is computed and "
                "sees kinds: map with fn_kwargs={'kinds': True}, and give the trainer modifiers=masker.strategy.modifiers"
            )
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        names = map(RowName, rows, range(len(rows))) if indices is None else (f"row {index}" for index in indices)
        examples = self.batch(to_record(without_nulls(row), str(name)) for row, name in zip(rows, names, strict=True))
        return {
            "input_ids": [example.input_ids for example in examples],
            "labels": [example.labels for example in examples],
            "loss_weights": [example.loss_weights for example in examples],
            **({"kinds": [example.tokens.kind_codes.astype(np.int64) for example in examples]} if kinds else {}),
            **({"findings": [" ".join(finding.code for finding in example.warnings) for example in examples]} if findings else {}),
        }

    def tokens(self, record: Record | Mapping[str, Any]) -> Table:
        """Encode a record without asking the strategy: its token table after truncation, and what was noticed on the way.

        Raises DataError also where the record makes no example or several: `tables` gives those.
        """
        record = to_record(record)
        tables, left_out = self.tables(record)
        if len(tables) == 1:
            return tables[0]
        if tables:
            raise DataError(
                f"{record.source}: the row makes {len(tables)} examples under history: as-served, one per assistant message: take them "
                "from masker.examples(row) or masker.batch(rows)"
            )
        why = "; ".join(f"{finding.code}: {finding.message}" for finding in left_out)
        raise DataError(f"{record.source}: the row makes no example ({why}): masker.examples(row) gives an empty list for it")

    def tables(self, record: Record | Mapping[str, Any]) -> Tables:
        """Encode a record without asking the strategy: a token table for each of its examples, and why others are left out.

        Raises TokenizerError for tokens of a prepared folder that were made with another tokenizer.
        """
        record = to_record(record)
        self.recognise(record.made_with)
        record = replace(record, made_with=None) if record.made_with else record  # it need not be kept with every example
        tables: list[Table] = []
        left_out: list[Finding] = []
        excerpts = replies(record) if self.history == "as-served" else iter((whole(record),))
        for excerpt in excerpts:
            table = self._tabulate(excerpt)
            if isinstance(table, Table):
                table = self._truncation(excerpt, table, self._tabulate)
            if isinstance(table, Table):
                tables.append(table)
            else:
                left_out.append(table)
        if not tables and not left_out:
            left_out.append(Finding("no-reply", "the row has no assistant message"))
        return Tables(tables, tuple(left_out))

    def segments(self, tokens: Tokens) -> tuple[Segment, ...]:
        """The segments, covering ``tokens.text``, that a table of this masker was made of: the row is rendered once more."""
        record = tokens.record
        made_of = Excerpt(record, tuple(range(tokens.reply + 1)), served=True) if tokens.reply >= 0 else whole(record)
        for excerpt in (made_of, *map(made_of.since, made_of.turns()[1:])):  # truncation may have left only the last turns
            rendered = self._tabulate.rendered(excerpt)
            if not isinstance(rendered, Finding) and rendered.text == tokens.text:
                return rendered.segments
        raise DataError(f"{record.source}: the token table was not made by this Masker: its text is rendered differently")

    def weigh(self, tokens: Tokens) -> npt.NDArray[np.float32]:
        """Ask the strategy: float32 [T], the weight of each token.

        Weights of unknown and straddling tokens are set to 0 unless the strategy declares ``needs_attribution = False``; the first
        token's always is, and so is everything but the reply of an as-served example, since its prompt comes again with the next reply.
        Raises StrategyError for anything but one finite weight per token.
        """
        weights = weights_of(self.strategy, tokens).astype(np.float32)
        for untrained in never_trained(tokens, self.strategy).values():
            weights[untrained] = 0
        return weights

    def example(self, tokens: Tokens, findings: tuple[Finding, ...] = ()) -> Example:
        """Weigh a token table, and say so if nothing is trained; a row of plain text that trains nothing is an error."""
        weights = self.weigh(tokens)
        findings += tuple(_marks(tokens, weights, self.strategy))
        silent = unsaid(tokens, weights) if self.strategy.needs_attribution else None
        findings += (silent,) if silent else ()
        if not weights.any():
            if tokens.record.form == "text" and self.strategy.needs_attribution:
                raise ConfigError(
                    f"{tokens.record.source} is plain text, and strategy {self.strategy.label!r} trains nothing of it: "
                    "use 'causal' for plain text"
                )
            if not tokens.record.attributed and self.strategy.needs_attribution and not self.strategy.reads_data_weights:
                raise ConfigError(
                    f"{tokens.record.source} is tokens without their messages, and strategy {self.strategy.label!r} trains none of "
                    "them: use 'from-data', which reads their mask, or 'causal'"
                )
            left = " that max_length left" if any(finding.code == "truncated" for finding in findings) else ""
            findings += (Finding("trains-nothing", f"none of {len(tokens)} tokens{left} has a weight", len(tokens)),)
        self.note(findings, tokens.record)
        return Example(tokens.ids, weights, tokens, findings, tuple(modifier.label for modifier in self.strategy.modifiers))

    @property
    def renderer(self) -> ChatRenderer:
        """Renders conversations under the tokenizer's chat template; made when first needed."""
        if self._renderer is None:
            self._renderer = ChatRenderer(self.tokenizer, **self._chat)
        return self._renderer

    def _chat_renderer(self) -> ChatRenderer:
        return self.renderer

    def note(self, findings: Iterable[Finding], record: Record) -> None:
        """Count what was noticed of a record, and log the first of each sort."""
        for finding in findings:
            if not self.counts[finding.code]:
                logger.warning("%s: %s: %s (further rows are counted, not logged)", record.source, finding.code, finding.message)
            self.counts[finding.code] += 1


def _marks(tokens: Tokens, weights: npt.NDArray[np.float32], strategy: Strategy) -> Iterator[Finding]:
    """Weights in the data that the strategy does not read, and keys that only look like some: training without them would be another."""
    record = tokens.record
    paths = [] if strategy.reads_data_weights else mark_paths(record)
    if paths and record.form == "ids" and record.attributed:
        differ = int((weights != tokens.data_weights).sum())
        if differ:
            said = (
                f"{strategy.label!r} weighs the row anew: {differ} tokens have another weight in {', '.join(paths)} ('from-data' reads it)"
            )
            yield Finding("stored-weights-replaced", said, differ)
    elif paths:
        said = f"the row says what to train in {', '.join(paths[:3])}, and {strategy.label!r} does not read it ('from-data' does)"
        yield Finding("data-weights-ignored", said, len(paths))
    near = near_marks(record, strategy.token_columns)
    if near:
        yield Finding("unknown-mark", said_of(near), len(near))
