"""What a mask trains that it should not, and leaves out that it should not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from maskkit.chat.markup import REASONING_TAGS
from maskkit.checks.row import PROMPT_KINDS, REPLY_KINDS, Bools, MaskedRow, Seen, runs
from maskkit.checks.words import counted
from maskkit.kinds import CODE, KINDS

_TAGS = tuple(tag for pair in REASONING_TAGS for tag in pair if "analysis" not in pair[0] and tag != "<|end|>")
_TEMPLATE, _STOP = CODE["template"], CODE["stop"]


def trains_nothing(row: MaskedRow) -> Iterator[Seen]:
    """No weight at all; said apart where max_length left nothing that counts."""
    if row.trained.any():
        return
    if "trains-nothing" not in row.codes:
        yield Seen("trains-nothing", f"none of {len(row.tokens)} tokens has a weight", len(row.tokens))
    if "truncated" in row.codes:
        yield Seen("weight-truncated", f"none of the {len(row.tokens)} tokens that max_length left has a weight", len(row.tokens))


def prompt_trained(row: MaskedRow) -> Iterator[Seen]:
    """Text of others."""
    if row.everything:
        return
    wrong = row.trained & row.of_kinds(PROMPT_KINDS) & ~row.tokens.generated
    if wrong.any():
        first = int(wrong.argmax())
        yield Seen(
            "prompt-trained",
            f"{counted(int(wrong.sum()), 'token')} of the prompt ({KINDS[row.tokens.kind_codes[first]]})",
            int(wrong.sum()),
            first,
        )


def template_trained(row: MaskedRow) -> Iterator[Seen]:
    """Prefilled text, headers and separators."""
    if row.everything:
        return
    wrong = row.trained & (row.tokens.kind_codes == _TEMPLATE) & ~row.tokens.generated
    if row.appended is not None:
        wrong &= ~row.appended
    prefilled, separators = _prefilled(row), _blank(row, wrong)
    for code, chosen, what in (
        ("prefill-trained", wrong & prefilled, "text that the prompt supplies"),
        ("separator-trained", wrong & separators & ~prefilled, "blanks between messages"),
        ("header-trained", wrong & ~separators & ~prefilled, "text around messages"),
    ):
        if chosen.any():
            yield Seen(code, f"{counted(int(chosen.sum()), 'token')} of {what}", int(chosen.sum()), int(chosen.argmax()))
    if row.optional_prefill is not None and (maybe := row.optional_prefill & row.trained).any():
        said = f"{counted(int(maybe.sum()), 'token')} that the prompt supplies under other template arguments (enable_thinking, say)"
        yield Seen("prefill-trained", said, int(maybe.sum()), int(maybe.argmax()), "warning")


def _prefilled(row: MaskedRow) -> Bools:
    """What the prompt supplies of a reply: from a thinking tag on in the template's text right before it."""
    tokens = row.tokens
    found = np.zeros(len(tokens), np.bool_)
    for begin in row.reply_starts:
        first = begin
        while first > 0 and tokens.kind_codes[first - 1] == _TEMPLATE and not tokens.generated[first - 1]:
            first -= 1
        header = tokens.text[tokens.char_start[first] : tokens.char_start[begin]]
        tags = [at for tag in _TAGS if (at := header.find(tag)) >= 0]
        if first < begin and tags:
            found[first:begin] = tokens.char_end[first:begin] > tokens.char_start[first] + min(tags)
    return found


def _blank(row: MaskedRow, among: Bools) -> Bools:
    """Tokens of blanks alone that stand behind a stop token; blanks of a header belong to it."""
    found = np.zeros(len(among), np.bool_)
    for index in np.flatnonzero(among).tolist():
        behind = index > 0 and (row.tokens.kind_codes[index - 1] == _STOP or found[index - 1])
        found[index] = behind and not row.tokens.piece(index).strip()
    return found


def stops(row: MaskedRow, stop_ids: frozenset[int]) -> Iterator[Seen]:
    """Stop tokens that do not count behind a reply that does, and ones that count twice."""
    tokens, trained = row.tokens, row.trained
    stop = (tokens.kind_codes == _STOP) & tokens.generated
    forgotten, twice = [], []
    for first, end in runs(stop):
        before = first - 1
        replied = before >= 0 and tokens.generated[before] and tokens.message[before] == tokens.message[first] and trained[before]
        if replied and not trained[first:end].any() and not tokens.straddle[first:end].any():
            forgotten.append(first)
        behind = end
        while behind < len(tokens) - 1 and tokens.kind_codes[behind] == _TEMPLATE and not tokens.piece(behind).strip():
            behind += 1
        if behind < len(tokens) and trained[end - 1] and trained[behind] and int(tokens.ids[behind]) in stop_ids:
            twice.append(behind)
    if forgotten:
        said = f"no weight on {counted(len(forgotten), 'stop token')} behind trained replies"
        yield Seen("stop-not-trained", said, len(forgotten), forgotten[0])
    if twice:
        yield Seen("stop-trained-twice", f"{counted(len(twice), 'trained stop token')} behind another one", len(twice), twice[0])


def replies(row: MaskedRow) -> Iterator[Seen]:
    """Parts of replies of one kind that count only in part. A strategy may mean that, so it is asked of given masks alone."""
    if row.chosen:
        return
    tokens = row.tokens
    inside = row.of_kinds(REPLY_KINDS) & tokens.generated & ~tokens.straddle
    changes = np.flatnonzero((np.diff(tokens.kind_codes) != 0) | (np.diff(tokens.message) != 0)) + 1
    bounds = np.zeros(len(tokens) + 1, np.bool_)
    bounds[changes] = True
    partly = []
    for first, end in runs(inside):
        cuts = [first, *(np.flatnonzero(bounds[first + 1 : end]) + first + 1).tolist(), end]
        for begin, stop in pairwise(cuts):
            trained = row.trained[begin:stop]
            if trained.any() and not trained.all():
                partly.append(begin + int((~trained).argmax()))
    if partly:
        yield Seen("reply-partly-trained", f"{counted(len(partly), 'text')} of a reply trained in part", len(partly), partly[0])


def unfinished(row: MaskedRow) -> Iterator[Seen]:
    """The row ends in the midst of a reply that counts."""
    if "stop-truncated" in row.codes or row.chosen or not row.ends_with_stop or not len(row.tokens):
        return
    last = len(row.tokens) - 1
    if row.tokens.generated[last] and row.tokens.kind_codes[last] != _STOP and row.trained[last - 1 :].any():
        yield Seen("stop-truncated", "the row ends within a reply, before its stop token", 1, last)


def split_characters(row: MaskedRow) -> Iterator[Seen]:
    """Characters of several tokens of which some count and others do not, or that the row's end cuts."""
    tokens = row.tokens
    start, end = tokens.char_start, tokens.char_end
    if len(tokens) < 2:
        return
    opens = np.append(True, start[1:] >= np.maximum.accumulate(end)[:-1])
    firsts = np.flatnonzero(opens)
    sizes = np.diff(np.append(firsts, len(tokens)))
    halves = []
    for first, size in zip(firsts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        trained = row.trained[first : first + size]
        if first > 0 and trained.any() and not trained.all():
            halves.append(first)
    if halves:
        shown = tokens.piece(halves[0])
        yield Seen("split-character", f"{counted(len(halves), 'character')} trained in part, first {shown!r}", len(halves), halves[0])
