"""Segments of text become a table of tokens: one row per token, read-only NumPy columns.

This is what a strategy sees. It never cuts a string and never tokenizes; it says which tokens count by asking `Tokens.where` and
`Tokens.matching`, both of which answer with ``bool [T]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from maskkit.chat.calls import call_ranges
from maskkit.chat.fields import names_field
from maskkit.chat.kinds import ASSISTANT_ROLES, USER_ROLES
from maskkit.data_weights import MarkedText, marked_text
from maskkit.errors import ConfigError, DataError, UnknownNameError
from maskkit.kinds import CODE, GENERATED_KINDS, KINDS
from maskkit.records.tools import tool_names, untold

if TYPE_CHECKING:
    from maskkit.chat.segments import Segment
    from maskkit.records import Record

Column = TypeVar("Column", bound=npt.NDArray[Any])
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int32]

_KIND_NAMES = np.array(KINDS)
_UNKNOWN = CODE["unknown"]


class _Auto:
    """The default of ``generated=``: only generated tokens of those kinds that a model emits."""

    def __repr__(self) -> str:
        return "<only generated tokens of generated kinds>"


AUTO = _Auto()


class Tokens:
    """A read-only table with one row per token of one example.

    Columns (all of length T):
        ids            int64    token ids, exactly as the model gets them
        kind           str      what the token is, a name of `SegmentKind`
        role           str      role of the message it belongs to, "" for none
        message        int32    index of that message in the record, -1 for none
        turn           int32    from one user message up to the next, counted from 0; -1 before the first
        generated      bool     would the model itself emit it at inference?
        field          str      path inside that message, such as content or tool_calls[0].function.arguments; "" for the template's text
        tool           str      the tool that is called, or whose result it is; "" for none
        straddle       bool     it touches prompt and generated characters
        char_start     int32    first character in `text`; tokens of one split character share its whole range
        char_end       int32    one past the last character
        data_weights   float32  the user's own weight from the data, NaN where there is none
        kind_codes     uint8    `kind` as a code of `maskkit.kinds.KINDS`

    Beside them: `text` (the rendered text), `record`, `row_key` (stable hash of the row), `seed` (for random masks: a function of the
    run's seed and the row, never of a worker), `extras` (aligned arrays such as reference scores) and `reply` (the assistant message that
    an as-served example is about; -1 where the example is a whole row).
    Message and turn numbers are those of the whole record, also after truncation.
    """

    def __init__(
        self,
        ids: npt.ArrayLike,
        char_start: npt.ArrayLike,
        char_end: npt.ArrayLike,
        kind_codes: npt.ArrayLike,
        message: npt.ArrayLike,
        generated: npt.ArrayLike,
        straddle: npt.ArrayLike,
        *,
        text: str,
        record: Record,
        seed: int = 0,
        data_weights: npt.ArrayLike | MarkedText | None = None,
        fields: Sequence[str] = ("",),
        field_codes: npt.ArrayLike | None = None,
        calls: npt.ArrayLike | None = None,
        extras: Mapping[str, npt.NDArray[Any]] | None = None,
        reply: int = -1,
    ) -> None:
        self.ids: npt.NDArray[np.int64] = _column(ids, np.int64)
        self.char_start: Ints = _column(char_start, np.int32)
        self.char_end: Ints = _column(char_end, np.int32)
        self.kind_codes: npt.NDArray[np.uint8] = _column(kind_codes, np.uint8)
        self.message: Ints = _column(message, np.int32)
        self.generated: Bools = _column(generated, np.bool_)
        self.straddle: Bools = _column(straddle, np.bool_)
        self._data_weights = data_weights
        self._fields = tuple(fields)
        self._field_codes: npt.NDArray[np.int16] = _column(np.zeros(len(self.ids)) if field_codes is None else field_codes, np.int16)
        self._calls: npt.NDArray[np.int16] = _column(np.full(len(self.ids), -1) if calls is None else calls, np.int16)
        self.text = text
        self.record = record
        self.row_key: str = record.key
        self.seed = seed
        self.reply = reply
        self.extras: Mapping[str, npt.NDArray[Any]] = {name: _freeze(np.array(column)) for name, column in (extras or {}).items()}
        columns = {"char_start": self.char_start, "char_end": self.char_end, "kind_codes": self.kind_codes, "message": self.message}
        columns |= {"generated": self.generated, "straddle": self.straddle, "field_codes": self._field_codes, "calls": self._calls}
        columns |= self.extras
        if data_weights is not None and not isinstance(data_weights, MarkedText):
            columns["data_weights"] = self.data_weights
        for name, column in columns.items():
            if len(column) != len(self.ids):
                raise ValueError(
                    f"token column {name!r} has {len(column)} rows, expected {len(self.ids)} (one per token of {record.source})"
                )

        self._sealed = True

    def __setattr__(self, name: str, value: object) -> None:
        """A table is built once: a strategy that could change it would change what the model reads."""
        if getattr(self, "_sealed", False):
            raise AttributeError(f"a token table is read-only: {name!r} cannot be set; return weights instead")
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """What the table was made of; what was worked out from that, such as the names of kinds, is worked out anew."""
        return {name: value for name, value in vars(self).items() if not isinstance(getattr(Tokens, name, None), cached_property)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in [*state.values(), *state["extras"].values()]:
            if isinstance(value, np.ndarray):
                _freeze(value)  # pickle forgets that it was
        vars(self).update(state)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Tokens of {self.record.source}: {len(self)} tokens, {int(self.generated.sum())} generated>"

    @cached_property
    def kind(self) -> npt.NDArray[np.str_]:
        """Name of each token's kind."""
        return _freeze(_KIND_NAMES[self.kind_codes])

    @cached_property
    def role(self) -> npt.NDArray[np.str_]:
        """Role of each token's message, "" for none."""
        return _freeze(np.array([*message_roles(self.record), ""])[self.message])

    @cached_property
    def turn(self) -> Ints:
        """Turn of each token's message; -1 for none and before the first user message."""
        return _freeze(np.array([*message_turns(self.record), -1], dtype=np.int32)[self.message])

    @cached_property
    def data_weights(self) -> npt.NDArray[np.float32]:
        """The user's own weights from the data; NaN where there is none.

        Raises DataError where the row says something that is no weight.
        """
        given = self._data_weights
        if isinstance(given, MarkedText):
            given = given.weights(self.char_start, self.char_end)
        return cast("npt.NDArray[np.float32]", _column(np.full(len(self), np.nan) if given is None else given, np.float32))

    @cached_property
    def field(self) -> npt.NDArray[np.str_]:
        """Path inside the message that each token's text comes from, "" for what the template writes."""
        return _freeze(np.array(self._fields, np.str_)[self._field_codes])

    @cached_property
    def tool(self) -> npt.NDArray[np.str_]:
        """Name of the tool that each token calls, its wrapper included, or whose result it is; "" for none."""
        names = tool_names(self.record) if self.record.tokens is None else []
        asked = np.flatnonzero((self._calls >= 0) | (self.kind_codes == CODE["tool_result"]))
        column = [""] * len(self)
        for index, message, call in zip(asked.tolist(), self.message[asked].tolist(), self._calls[asked].tolist(), strict=True):
            of_message = names[message] if 0 <= message < len(names) else []
            column[index] = of_message[max(call, 0)] if max(call, 0) < len(of_message) else ""
        return _freeze(np.array(column, np.str_))

    def piece(self, index: int) -> str:
        """The text that token ``index`` covers (whole characters, so tokens of a split character all give that character)."""
        return self.text[self.char_start[index] : self.char_end[index]]

    def where(
        self,
        kind: str | Iterable[str] | None = None,
        role: str | Iterable[str] | None = None,
        turn: int | Iterable[int] | None = None,
        message: int | Iterable[int] | None = None,
        generated: bool | _Auto | None = AUTO,
        field: str | Iterable[str] | None = None,
        tool: str | Iterable[str] | None = None,
    ) -> Bools:
        """Which tokens meet all the given conditions: ``bool [T]``.

        Each condition takes one value or several. For the kinds that a model emits (answer, reasoning, tool_call, stop) only generated
        tokens are selected unless ``generated`` is given; ``generated=None`` takes both. Negative ``turn`` counts turns from the end of
        the record; negative ``message`` counts assistant messages from the end, so ``message=-1`` is the last assistant message, also
        where the data calls its role ``model``. ``role`` is the name that the data gives.
        ``field`` names a field of the message or something it is part of: ``content``, ``arguments``, ``tool_calls[0]``; ``tool`` the tool
        that is called or gave the result.

        Raises UnknownNameError for a kind that does not exist, DataError for a field or tool asked of a row that is tokens already.
        """
        if self.record.tokens is not None and not (field is None and tool is None):
            raise DataError(untold(self.record, "fields" if tool is None else "tools"))
        selected = np.ones(len(self), np.bool_) if kind is None else self._of_kinds(tuple(_several(kind)), generated is AUTO)
        if generated is not AUTO and generated is not None:
            if not isinstance(generated, (bool, np.bool_)):
                raise ConfigError(f"where(generated={generated!r}): expected True, False or None")
            selected &= self.generated == generated
        if role is not None:
            selected &= np.isin(self.role, list(_several(role)))
        if turn is not None:
            total = max(message_turns(self.record), default=-1) + 1
            # a negative turn beyond the first selects nothing; it must not become -1, "before the first"
            wanted = [t if t >= 0 else total + t for t in _several(turn)]
            selected &= np.isin(self.turn, [t for t in wanted if t >= 0])
        if message is not None:
            selected &= np.isin(self.message, [m for m in map(self._message_number, _several(message)) if m >= 0])
        if field is not None:
            wanted_names = list(_several(field))
            codes = [code for code, path in enumerate(self._fields) if any(names_field(name, path) for name in wanted_names)]
            selected &= np.isin(self._field_codes, codes)
        if tool is not None:
            selected &= np.isin(self.tool, list(_several(tool)))
        return selected

    def _of_kinds(self, names: tuple[str, ...], emitted_only: bool) -> Bools:
        """The tokens of these kinds; of a generated kind only generated ones, if so asked."""
        wanted, wanted_and_emitted = _kind_tables(names)
        selected: Bools = wanted[self.kind_codes]
        if emitted_only:
            selected &= self.generated | ~wanted_and_emitted[self.kind_codes]
        return selected

    def _message_number(self, message: int) -> int:
        if message >= 0:
            return message
        replies = [i for i, role in enumerate(message_roles(self.record)) if role in ASSISTANT_ROLES]
        return replies[message] if -message <= len(replies) else -1

    def matching(self, regex: str | re.Pattern[str], within: Bools | str | Iterable[str] | None = None) -> Bools:
        """Which tokens touch a match of ``regex`` in the whole text: ``bool [T]``.

        The expression runs on the whole text, so look-behind and look-ahead see what is there. With ``within`` (a bool array such as
        `where` gives, or names of kinds) only matches that lie inside one contiguous run of those tokens count.
        Where the expression has named groups, what they captured counts in place of the whole match.
        A match of no characters selects nothing. Raises ``re.error`` for a bad expression.
        """
        pattern = re.compile(regex) if isinstance(regex, str) else regex
        names = tuple(pattern.groupindex) or (0,)
        return self.touching((match.span(name) for match in pattern.finditer(self.text) for name in names), within)

    def touching(self, spans: Iterable[tuple[int, int]], within: Bools | str | Iterable[str] | None = None) -> Bools:
        """Which tokens touch one of the given ranges of characters of `text`: ``bool [T]``.

        spans: (first, one past the last) of each, for strategies that find their ranges by something other than a regular expression: a
        parser, a list of sentences. An empty range selects nothing. ``within`` is that of `matching`: only ranges that lie inside one
        contiguous run of those tokens count.
        """
        allowed = self._mask(within)
        start, end = np.array([*spans], np.int64).reshape(-1, 2).T
        counts = start < end
        if allowed is not None:
            counts &= _inside(start, end, self._character_runs(allowed))
        first = np.searchsorted(self.char_end, start[counts], side="right")
        last = np.searchsorted(self.char_start, end[counts], side="left")
        opened = np.zeros(len(self) + 1, np.int64)
        np.add.at(opened, first, 1)
        np.add.at(opened, np.maximum(first, last), -1)
        selected = (np.cumsum(opened)[:-1] > 0) & (self.char_end > self.char_start)
        return selected if allowed is None else selected & allowed

    def runs(self, within: Bools | str | Iterable[str]) -> list[tuple[int, int]]:
        """The contiguous runs of the given tokens, as ranges of characters of `text`: ``text[first:end]`` is what a run says.

        within: a bool array such as `where` gives, or names of kinds.
        """
        mask = self._mask(within)
        assert mask is not None
        first, last = self._character_runs(mask)
        return [(int(start), int(end)) for start, end in zip(first, last, strict=True) if end > start]

    def _mask(self, within: Bools | str | Iterable[str] | None) -> Bools | None:
        if within is None:
            return None
        if isinstance(within, np.ndarray) and within.dtype == np.bool_:
            if within.shape != (len(self),):
                raise ValueError(f"within has shape {within.shape}, expected ({len(self)},): one bool per token")
            return cast(Bools, within)
        names = [within] if isinstance(within, str) else list(cast("Iterable[str]", within))
        if not all(isinstance(name, str) for name in names):
            raise ConfigError(f"within is {within!r}, expected a bool array of {len(self)} tokens, or names of kinds")
        return self.where(kind=names)

    def _character_runs(self, mask: Bools) -> tuple[Ints, Ints]:
        """First and one-past-last character of each contiguous run of True tokens."""
        edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
        first, last = edges[::2], edges[1::2] - 1
        return self.char_start[first], self.char_end[last]

    def truncated(self, length: int) -> Tokens:
        """The first ``length`` tokens; message and turn numbers stay those of the whole record."""
        return self if length >= len(self) else self.cut(0, length)

    def cut(self, start: int, end: int) -> Tokens:
        """Tokens ``start`` up to ``end``; message and turn numbers stay those of the whole record."""
        kept = slice(start, end)
        return self._rebuilt(kept, {name: column[kept] for name, column in self.extras.items()})

    def with_extras(self, extras: Mapping[str, npt.ArrayLike]) -> Tokens:
        """The same tokens with more columns in `extras`, each of length T."""
        return self._rebuilt(slice(None), {**self.extras, **{name: np.asarray(column) for name, column in extras.items()}})

    def _rebuilt(self, kept: slice, extras: Mapping[str, npt.NDArray[Any]]) -> Tokens:
        return Tokens(
            self.ids[kept],
            self.char_start[kept],
            self.char_end[kept],
            self.kind_codes[kept],
            self.message[kept],
            self.generated[kept],
            self.straddle[kept],
            text=self.text,
            record=self.record,
            seed=self.seed,
            data_weights=self._data_weights
            if self._data_weights is None or isinstance(self._data_weights, MarkedText)
            else self.data_weights[kept],
            fields=self._fields,
            field_codes=self._field_codes[kept],
            calls=self._calls[kept],
            extras=extras,
            reply=self.reply,
        )


def tokens_of_segments(
    ids: npt.ArrayLike,
    char_start: npt.ArrayLike,
    char_end: npt.ArrayLike,
    segments: Sequence[Segment],
    *,
    text: str,
    record: Record,
    seed: int = 0,
    messages: Sequence[int] | None = None,
    reply: int = -1,
    extras: Mapping[str, npt.NDArray[Any]] | None = None,
    data_weights: npt.ArrayLike | None = None,
) -> Tokens:
    """Give every token the kind, message and `generated` of the segments it touches.

    A token's kind is that of the first generated segment that it touches, else that of its first character. Tokens that share a
    character (a split emoji, byte fallback) are taken together, so they are all alike. A token that touches prompt and generated
    characters is marked in ``straddle``. A token without characters takes the segment at its position.

    ids, char_start, char_end: [T], offsets in characters of ``text``, in order. segments: cover ``text`` without gap, in order; their
    message numbers count the ``messages`` of the record, where only some of them were rendered. seed, reply, extras: those of `Tokens`.
    data_weights: the row's own weights where it gives one per token, else those of its marks.
    """
    start, end = _column(char_start, np.int32), _column(char_end, np.int32)
    if not len(start):
        empty = np.zeros(0)
        return Tokens(ids, start, end, empty, empty, empty, empty, text=text, record=record, seed=seed, reply=reply, extras=extras)
    opens = _shared_character_groups(start, end)
    group, first_of_group = np.cumsum(opens) - 1, np.flatnonzero(opens)
    group_start = np.minimum.reduceat(start, first_of_group)
    group_end = np.maximum.reduceat(end, first_of_group)
    begins = np.array([s.start for s in segments], np.int32)
    first = np.searchsorted(begins, group_start, side="right") - 1
    last = np.maximum(first, np.searchsorted(begins, group_end - 1, side="right") - 1)
    generated = np.array([s.generated for s in segments], np.bool_)
    count = np.concatenate(([0], np.cumsum(generated)))
    touched = count[last + 1] - count[first]
    chosen = np.where(touched > 0, _next_true(generated)[first], first)
    straddle = (touched > 0) & (touched < last + 1 - first)
    of_token = chosen[group]
    message = np.array([s.message for s in segments], np.int32)
    if messages is not None:
        message = np.array([*messages, -1], np.int32)[message]
    fields = sorted({segment.field for segment in segments})
    code = {field: number for number, field in enumerate(fields)}
    return Tokens(
        ids,
        start,
        end,
        np.array([CODE[s.kind] for s in segments], np.uint8)[of_token],
        message[of_token],
        generated[of_token],
        straddle[group],
        text=text,
        record=record,
        seed=seed,
        reply=reply,
        data_weights=marked_text(text, segments, record, messages) if data_weights is None else data_weights,
        fields=fields,
        field_codes=np.array([code[s.field] for s in segments])[of_token],
        calls=_calls(start, segments, text),
        extras=extras,
    )


def _calls(start: Ints, segments: Sequence[Segment], text: str) -> npt.NDArray[np.int64]:
    """For each token the number of the tool call, in its message, that its first character belongs to; -1 for none."""
    ranges = call_ranges(segments, text)
    calls = np.full(len(start), -1)
    for first, end, _, call in ranges:
        calls[np.searchsorted(start, first) : np.searchsorted(start, end)] = call
    return calls


def message_roles(record: Record) -> Sequence[str]:
    """Role of each message; a prompt/completion pair counts as a user and an assistant message, plain text as none."""
    if record.form == "completion":
        return ("user", "assistant")
    if record.tokens is not None:
        return record.tokens.attribution.roles if record.tokens.attribution else ()
    return [str(message["role"]) for message in record.messages]


def message_turns(record: Record) -> list[int]:
    """Turn of each message: a user message opens a turn, everything up to the next belongs to it; -1 before the first."""
    turns, turn = [], -1
    for role in message_roles(record):
        turn += role in USER_ROLES
        turns.append(turn)
    return turns


def _shared_character_groups(start: Ints, end: Ints) -> Bools:
    """Which tokens open a group; tokens whose characters overlap are in one group."""
    reach = np.maximum.accumulate(end)
    opens = np.ones(len(start), np.bool_)
    opens[1:] = start[1:] >= reach[:-1]
    return opens


def _next_true(flags: Bools) -> npt.NDArray[np.int64]:
    """For each index, the first index at or after it whose flag is set (len(flags) where there is none)."""
    positions = np.where(flags, np.arange(len(flags)), len(flags))
    return np.minimum.accumulate(positions[::-1])[::-1]


def _inside(start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], runs: tuple[Ints, Ints]) -> Bools:
    """Which ranges lie inside one of the runs."""
    if not len(runs[0]):
        return np.zeros(len(start), np.bool_)
    run = np.searchsorted(runs[0], start, side="right") - 1
    return (run >= 0) & (end <= runs[1][run])


def _several(value: Any) -> Iterable[Any]:
    return (value,) if isinstance(value, (str, int, np.integer)) else value


@lru_cache(maxsize=256)
def _kind_tables(names: tuple[str, ...]) -> tuple[Bools, Bools]:
    """For each code, is it one of these kinds? And is it one that a model emits?"""
    wanted, emitted = np.zeros(len(KINDS), np.bool_), np.array([kind in GENERATED_KINDS for kind in KINDS])
    for name in names:
        if str(name) not in CODE:
            raise UnknownNameError("kind", str(name), KINDS)
        wanted[CODE[str(name)]] = True
    return wanted, wanted & emitted


def _column(values: npt.ArrayLike, dtype: Any) -> Any:
    column = np.array(values, dtype=dtype)
    if column.ndim != 1:
        raise ValueError(f"a token column is one-dimensional, found shape {column.shape}")
    return _freeze(column)


def _freeze(column: Column) -> Column:
    column.flags.writeable = False
    return column
