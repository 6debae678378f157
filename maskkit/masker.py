"""Record in, Example out: the whole data path on one page.

record -> rendered text -> tokens -> weights -> Example
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskkit.chat import ChatRenderer
from maskkit.chat.segments import RenderedText, Segment
from maskkit.errors import ConfigError, DataError, TokenizerError
from maskkit.findings import Finding
from maskkit.kinds import CODE, SegmentKind
from maskkit.plugins import load_strategy
from maskkit.records import Record, to_record, without_nulls
from maskkit.strategy import weights_of
from maskkit.tokens import Tokens, tokens_of_segments

if TYPE_CHECKING:
    from datetime import datetime

    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

MARKS = ("weight", "loss", "loss_scale", "loss_weight", "train", "trainable", "masked", "step_loss_mask")
"""Keys of a message or a content part by which data sets in the field say what to train."""

IGNORE = -100
"""Label of a token whose loss does not count, as everywhere in the field."""


@dataclass(frozen=True, eq=False)
class Example:
    """What a model trains on: ids and, for each, how much the loss of predicting it counts.

    input_ids: int64 [T]. loss_weights: float32 [T], label-aligned: entry t belongs to ``input_ids[t]``; entry 0 is always 0, since nothing
    predicts the first token. tokens: where each token came from. warnings: what was noticed.
    """

    input_ids: npt.NDArray[np.int64]
    loss_weights: npt.NDArray[np.float32]
    tokens: Tokens
    warnings: tuple[Finding, ...] = ()

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [T]: ``input_ids``, and -100 where the weight is 0."""
        return np.where(self.loss_weights != 0, self.input_ids, IGNORE)

    def __len__(self) -> int:
        return len(self.input_ids)


class Masker:
    """Turns records into examples under one tokenizer and one strategy.

    tokenizer: a fast Hugging Face tokenizer. strategy: anything that `load_strategy` takes. max_length: longer rows are cut on the right,
    counted and shown. template_kwargs: passed to the chat template, below the row's own ``chat_template_kwargs``. date: what templates
    print as today; fixed once per Masker, now if not given. stop_token_ids: stop tokens beside the tokenizer's own, such as the
    generation config's. seed: of `Tokens.seed`, for strategies that draw at random.

    `counts` adds up the findings of every row it has made.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        strategy: Any = "assistant-only",
        *,
        max_length: int | None = None,
        history: str = "as-rendered",
        template_kwargs: Mapping[str, Any] | None = None,
        date: datetime | None = None,
        stop_token_ids: Iterable[int] = (),
        seed: int = 0,
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise TokenizerError(
                f"{type(tokenizer).__name__} gives no character offsets, so no weight can be placed exactly: use a fast tokenizer"
            )
        if max_length is not None and max_length < 2:
            raise ConfigError(f"max_length is {max_length}, expected 2 or more: the first token is never predicted")
        if history != "as-rendered":
            raise ConfigError(f"history is {history!r}; this version knows 'as-rendered'")
        self.tokenizer = tokenizer
        self.strategy = load_strategy(strategy)
        self.max_length = max_length
        self.history = history
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self._chat = {"template_kwargs": template_kwargs, "date": date, "stop_token_ids": frozenset(stop_token_ids)}
        self._renderer: ChatRenderer | None = None
        self._specials: tuple[list[int], list[int]] | None = None

    def __call__(self, record: Record | Mapping[str, Any]) -> Example:
        """The example of one record or row. Raises DataError, TemplateError or StrategyError, naming the row."""
        return self.example(*self.tokens(record))

    def batch(self, records: Iterable[Record | Mapping[str, Any]]) -> list[Example]:
        """The examples of many records, in order; rows are numbered in errors."""
        return [self(to_record(record, source=f"row {number}")) for number, record in enumerate(records)]

    def encode_batch(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[npt.NDArray[Any]]]:
        """For ``dataset.map(masker.encode_batch, batched=True, remove_columns=dataset.column_names)``.

        columns: one sequence per column of the data set. Returns the columns ``input_ids`` and ``labels`` (int64) and ``loss_weights``
        (float32) that any trainer takes; findings are counted in `counts` and logged once per sort.
        """
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        examples = self.batch(map(without_nulls, rows))
        return {
            "input_ids": [example.input_ids for example in examples],
            "labels": [example.labels for example in examples],
            "loss_weights": [example.loss_weights for example in examples],
        }

    def tokens(self, record: Record | Mapping[str, Any]) -> tuple[Tokens, tuple[Finding, ...]]:
        """Encode a record without asking the strategy: its token table after truncation, and what was noticed on the way."""
        record = to_record(record)
        tokens, findings = self._messages(record) if record.form == "messages" else self._strings(record)
        if not len(tokens):
            raise DataError(f"{record.source}: the row has no token at all")
        findings += _ignored_marks(record)
        if tokens.straddle.any():
            findings += (_straddling(tokens),)
        if self.max_length is not None and len(tokens) > self.max_length:
            findings += _lost(tokens, self.max_length)
            tokens = tokens.truncated(self.max_length)
        return tokens, findings

    def weigh(self, tokens: Tokens) -> npt.NDArray[np.float32]:
        """Ask the strategy: float32 [T], the weight of each token.

        Weights of unknown and straddling tokens are set to 0 unless the strategy declares ``needs_attribution = False``; the first
        token's always is. Raises StrategyError for anything but one finite weight per token.
        """
        weights = weights_of(self.strategy, tokens).astype(np.float32)
        if self.strategy.needs_attribution:
            weights[(tokens.kind_codes == CODE["unknown"]) | tokens.straddle] = 0
        weights[0] = 0
        return weights

    def example(self, tokens: Tokens, findings: tuple[Finding, ...] = ()) -> Example:
        """Weigh a token table, and say so if nothing is trained; a row of plain text that trains nothing is an error."""
        weights = self.weigh(tokens)
        if not weights.any():
            if tokens.record.form == "text" and self.strategy.needs_attribution:
                raise ConfigError(
                    f"{tokens.record.source} is plain text, and strategy {self.strategy.label!r} trains nothing of it: "
                    "use 'causal' for plain text"
                )
            findings += (Finding("trains-nothing", f"none of {len(tokens)} tokens has a weight", len(tokens)),)
        self._count(findings, tokens.record)
        return Example(tokens.ids, weights, tokens, findings)

    @property
    def renderer(self) -> ChatRenderer:
        """Renders conversations under the tokenizer's chat template; made when first needed."""
        if self._renderer is None:
            self._renderer = ChatRenderer(self.tokenizer, **self._chat)  # type: ignore[arg-type]
        return self._renderer

    def _messages(self, record: Record) -> tuple[Tokens, tuple[Finding, ...]]:
        rendered = self.renderer.render(record)
        # the same call that apply_chat_template(tokenize=True) makes on the text it rendered
        encoding = self.tokenizer(rendered.text, add_special_tokens=False, return_offsets_mapping=True)
        tokens = self._table(encoding["input_ids"], encoding["offset_mapping"], rendered, record)
        return tokens, rendered.findings

    def _strings(self, record: Record) -> tuple[Tokens, tuple[Finding, ...]]:
        """Plain text, or a prompt and its completion encoded apart and joined; with the tokenizer's special tokens, and eos last."""
        head, tail = self._added_specials()
        if record.form == "text":
            pieces = [(record.text, SegmentKind.TEXT, False, -1, "text")]
        else:
            pieces = [
                (record.prompt, SegmentKind.USER, False, 0, "prompt"),
                (record.completion, SegmentKind.ANSWER, True, 1, "completion"),
            ]
        eos = self.tokenizer.eos_token_id
        ending = [i for i in tail if i == eos]
        last_ids = self.tokenizer(pieces[-1][0], add_special_tokens=False)["input_ids"]
        if not ending and eos is not None and last_ids[-1:] != [eos]:
            ending = [eos]
        build = _Joined(self.tokenizer)
        build.specials(head, SegmentKind.TEMPLATE, False, -1)
        for text, kind, generated, message, field in pieces:
            build.text(text, kind, generated, message, field)
        replies = record.form == "completion"
        build.specials(ending, SegmentKind.STOP, replies, 1 if replies else -1)
        tokens = self._table(build.ids, build.offsets, RenderedText("".join(build.parts), tuple(build.segments)), record)
        return tokens, ()

    def _table(self, ids: Sequence[int], offsets: Sequence[tuple[int, int]], rendered: RenderedText, record: Record) -> Tokens:
        spans = np.array(offsets, np.int64).reshape(-1, 2)
        seed = int.from_bytes(blake2b(f"{self.seed}:{record.key}".encode(), digest_size=8).digest(), "big") >> 1
        return tokens_of_segments(ids, spans[:, 0], spans[:, 1], rendered.segments, text=rendered.text, record=record, seed=seed)

    def _added_specials(self) -> tuple[list[int], list[int]]:
        """The special tokens that the tokenizer puts before and after a plain text."""
        if self._specials is None:
            inner = self.tokenizer("a", add_special_tokens=False)["input_ids"]
            outer = self.tokenizer("a")["input_ids"]
            start = next((i for i in range(len(outer) - len(inner) + 1) if outer[i : i + len(inner)] == inner), None)
            if start is None:
                raise TokenizerError(
                    f"{type(self.tokenizer).__name__} changes a text when it adds special tokens: plain text cannot be attributed"
                )
            self._specials = outer[:start], outer[start + len(inner) :]
        return self._specials

    def _count(self, findings: Iterable[Finding], record: Record) -> None:
        for finding in findings:
            if not self.counts[finding.code]:
                logger.warning("%s: %s: %s (further rows are counted, not logged)", record.source, finding.code, finding.message)
            self.counts[finding.code] += 1


class _Joined:
    """Pieces encoded apart and joined, each with its segment: ids, offsets and text grow in one place, so they cannot drift."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.offsets: list[tuple[int, int]] = []
        self.parts: list[str] = []
        self.segments: list[Segment] = []
        self.length = 0

    def text(self, text: str, kind: SegmentKind, generated: bool, message: int, field: str) -> None:
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        self._append(encoding["input_ids"], encoding["offset_mapping"], text, kind, generated, message, field)

    def specials(self, ids: Sequence[int], kind: SegmentKind, generated: bool, message: int) -> None:
        for token_id in ids:
            content = str(self.tokenizer.convert_ids_to_tokens(token_id))
            self._append([token_id], [(0, len(content))], content, kind, generated, message, "")

    def _append(
        self,
        ids: Sequence[int],
        offsets: Sequence[tuple[int, int]],
        text: str,
        kind: SegmentKind,
        generated: bool,
        message: int,
        field: str,
    ) -> None:
        self.ids += ids
        self.offsets += [(start + self.length, end + self.length) for start, end in offsets]
        self.parts.append(text)
        if text:
            self.segments.append(Segment(self.length, self.length + len(text), kind, generated, message, field, 0 if field else -1))
        self.length += len(text)


def _ignored_marks(record: Record) -> tuple[Finding, ...]:
    """Weights in the data that no strategy of this version reads: training without them would be another training."""
    found = []
    for index, message in enumerate(record.messages):
        found += [f"messages[{index}].{mark}" for mark in MARKS if mark in message]
        parts = message.get("content")
        for number, part in enumerate(parts if isinstance(parts, (list, tuple)) else ()):
            found += [f"messages[{index}].content[{number}].{mark}" for mark in MARKS if mark in part]
    if not found:
        return ()
    return (Finding("data-weights-ignored", f"the row says what to train in {', '.join(found[:3])}, and no strategy reads it", len(found)),)


def _straddling(tokens: Tokens) -> Finding:
    first = int(tokens.straddle.argmax())
    count = int(tokens.straddle.sum())
    return Finding("straddle", f"token {first} ({tokens.piece(first)!r}) touches prompt and generated text and weighs 0", count)


def _lost(tokens: Tokens, length: int) -> tuple[Finding, ...]:
    """What truncation cost: always said, and said apart where a turn lost its stop token."""
    cut = Finding("truncated", f"{len(tokens)} tokens, max_length is {length}", len(tokens) - length)
    stops = tokens.where(kind="stop")[length:]
    if not stops.any():
        return (cut,)
    return cut, Finding("stop-truncated", f"{int(stops.sum())} stop tokens lie behind max_length {length}", int(stops.sum()))
