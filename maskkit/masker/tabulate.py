"""An excerpt in, its token table out: render, encode, attribute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import blake2b
from typing import NamedTuple

from maskkit.chat import ChatRenderer
from maskkit.chat.segments import RenderedText
from maskkit.chat.typed import typed_text
from maskkit.errors import DataError
from maskkit.findings import Finding
from maskkit.masker.encoded import Encoded
from maskkit.masker.encoder import Encoder
from maskkit.masker.excerpt import Excerpt
from maskkit.masker.given import given_ids
from maskkit.masker.plain import PlainEncoder, joined
from maskkit.masker.token_columns import token_columns
from maskkit.records import Record
from maskkit.tokens import Tokens, message_roles, tokens_of_segments


class Table(NamedTuple):
    """The tokens of one example before they are weighed, and what was noticed."""

    tokens: Tokens
    findings: tuple[Finding, ...]


class Tabulator:
    """Makes token tables.

    renderer: gives the chat renderer, asked only where a record has messages. seed: the run's. columns: those of a row that hold one number
    per token and become ``tokens.extras``.
    """

    def __init__(self, encoder: Encoder, renderer: Callable[[], ChatRenderer], seed: int, columns: Iterable[str] = ()) -> None:
        self._encoder = encoder
        self._renderer = renderer
        self._plain = PlainEncoder(encoder)
        self._seed = seed
        self._columns = tuple(columns)

    def __call__(self, excerpt: Excerpt) -> Table | Finding:
        """The table; a finding where a reply cannot be told from its prompt. Raises DataError for a row without any token."""
        found = self._encoded(excerpt)
        if isinstance(found, Finding):
            return found
        rendered, encoded = found
        record = excerpt.record
        if not len(encoded.ids):
            raise DataError(f"{record.source}: the row has no token at all")
        reply = excerpt.messages[-1] if excerpt.served else _given_reply(record)
        if excerpt.served:
            record = replace(record, source=f"{record.source}, message {reply}")
        tokens = tokens_of_segments(
            encoded.ids,
            encoded.start,
            encoded.end,
            rendered.segments,
            text=rendered.text,
            record=record,
            seed=self._seed_of(record.key, reply),
            messages=excerpt.messages or None,
            reply=reply,
            extras=token_columns(record, self._columns, encoded.ids),
            data_weights=None if record.tokens is None else record.tokens.weights,
        )
        findings = (*rendered.findings, *encoded.findings)
        return Table(tokens, (*findings, _straddling(tokens)) if tokens.straddle.any() else findings)

    def rendered(self, excerpt: Excerpt) -> RenderedText | Finding:
        """The text that a table is made of, with its segments; a finding where a reply cannot be told from its prompt."""
        found = self._encoded(excerpt)
        return found if isinstance(found, Finding) else found[0]

    def _encoded(self, excerpt: Excerpt) -> tuple[RenderedText, Encoded] | Finding:
        if excerpt.record.form == "ids":
            return given_ids(self._encoder, excerpt.record)
        if excerpt.record.form != "messages":
            return self._plain(excerpt.record)
        return self._served(excerpt) if excerpt.served else self._whole(excerpt)

    def _whole(self, excerpt: Excerpt) -> tuple[RenderedText, Encoded]:
        record = excerpt.rows
        rendered = self._renderer().render(record)
        return rendered, self._encode(rendered, excerpt)

    def _served(self, excerpt: Excerpt) -> tuple[RenderedText, Encoded] | Finding:
        """The prompt and what the model wrote behind it, encoded apart: so a server's tokens end and the model's begin."""
        turn = self._renderer().served(excerpt.rows_and_next, len(excerpt.messages) - 1)
        if isinstance(turn, Finding):
            return turn
        length = len(turn.prompt.text)
        reply = self._encode(turn.reply, excerpt, continues=True)
        moved = Encoded(reply.ids, reply.start + length, reply.end + length, reply.findings)
        segments = [replace(segment, start=segment.start + length, end=segment.end + length) for segment in turn.reply.segments]
        rendered = RenderedText(turn.prompt.text + turn.reply.text, (*turn.prompt.segments, *segments), turn.findings)
        return rendered, joined([self._encode(turn.prompt, excerpt), moved])

    def _encode(self, rendered: RenderedText, excerpt: Excerpt, *, continues: bool = False) -> Encoded:
        typed = typed_text(rendered.spans, message_roles(excerpt.rows))
        return self._encoder(rendered.text, typed, excerpt.record, continues=continues)

    def _seed_of(self, key: str, reply: int) -> int:
        """Of a row; each reply of it has one of its own."""
        name = f"{self._seed}:{key}" + (f":{reply}" if reply >= 0 else "")
        return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def _given_reply(record: Record) -> int:
    """The reply that a row of tokens says it is about; -1 for a whole row."""
    return record.tokens.attribution.reply if record.tokens and record.tokens.attribution else -1


def _straddling(tokens: Tokens) -> Finding:
    first = int(tokens.straddle.argmax())
    count = int(tokens.straddle.sum())
    return Finding("straddle", f"token {first} ({tokens.piece(first)!r}) touches prompt and generated text and weighs 0", count)
