"""What is known beforehand, or looked up, is what the long way gives."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskkit.chat.containers import Message, at_path, trace, trace_message
from maskkit.chat.generated import TurnFinder
from maskkit.chat.labelling import Labeller, Overlay, Sweep
from maskkit.chat.markup import Markup
from maskkit.chat.output import assemble
from maskkit.chat.owners import _MARKS, NOBODY, Mark
from maskkit.chat.spans import Layout, Span, spans_of
from maskkit.chat.traced import DERIVED, EXACT, TEMPLATE, UNKNOWN, Run, literal, make, plain, runs_of
from maskkit.errors import TemplateError
from tests.chat.conversations import CONVERSATIONS
from tests.chat.tokenizers import renderer_for, tokenizer_for
from tests.real import real_tokenizer, trl_template

PIECES = ("<|im_start|>", "<|im_end|>", "<think>", "</think>", "<thi", "assistant", "\n", " ", "A", "a", "é", "e\u0301", "<|im_", "", "x y")
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


def finder(tokenizer_: Any) -> TurnFinder:
    return TurnFinder("", Layout([]), Markup(tokenizer_), lambda count, prompting: None, tokenizer_)


@settings(max_examples=200, deadline=None)
@given(opening=TEXTS, block=TEXTS, name=st.sampled_from(["small", "qwen3"]))
def test_tokens_that_need_no_tokenizer_are_the_tokenizers(opening: str, block: str, name: str) -> None:
    if block.startswith(opening):
        return
    found = finder(real_tokenizer("qwen3") if name == "qwen3" else tokenizer_for("<|im_start|><|im_end|><think></think>"))
    known = found._shared_surely(opening, block)
    assert known is None or known == found._shared_in_tokens(opening, block)


def test_a_header_alone_needs_no_tokenizer() -> None:
    found = finder(tokenizer_for("<|im_start|><|im_end|>"))
    assert found._shared_surely("<|im_start|><think>", "<|im_start|>answer") == len("<|im_start|>")
    assert found._shared_surely("<|im_start|>a b", "<|im_start|>a c") is None
    # A tokenizer may see no difference here.
    assert found._shared_surely("<|im_start|>A", "<|im_start|>a") is None
    assert found._shared_surely("<|im_start|>a", "<|im_start|>ね") is None


@given(text=TEXTS)
def test_tags_are_found_again(text: str) -> None:
    used = Markup(tokenizer_for("<|im_start|><|im_end|>"))
    assert used.tags(text) == used.tags(text) == Markup(tokenizer_for("<|im_start|><|im_end|>")).tags(text)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=5), st.lists(st.integers(1, 4), max_size=8))
def test_going_along_ranges_finds_what_looking_them_up_finds(gaps: list[tuple[int, int]], lengths: list[int]) -> None:
    ranges, at = [], 0
    for gap, length in gaps:
        ranges.append((at + gap, at + gap + length))
        at += gap + length
    overlay, sweep, start = Overlay(ranges), Sweep(ranges), 0
    for length in lengths:
        end = start + length
        sweep.move_to(start)
        cut = overlay.cut(Span(start, end, TEMPLATE, -1, DERIVED, NOBODY))
        assert (sweep.begin < end) == any(found is not None for _, _, found in cut)
        within = sweep.begin <= start and end <= sweep.end
        assert within == (cut == [(start, end, sweep.ranges[sweep.at] if sweep.begin < end else None)] and sweep.begin < end)
        start = end


ORIGINS = (TEMPLATE, UNKNOWN, ("messages", 0, "content"), ("messages", 1, "role"), ("messages", 2, "content"), ("tools",))
RUNS = st.tuples(st.integers(1, 3), st.sampled_from(ORIGINS), st.just(-1), st.just(EXACT), st.sampled_from([NOBODY, 0, 1, 2]))


@given(st.lists(RUNS, max_size=8))
def test_runs_are_laid_out_as_one_by_one(runs: list[Run]) -> None:
    expected: list[Span] = []
    at = 0
    for length, origin, offset, mapping, owner in runs:
        own = origin[0] == "messages" and owner == NOBODY
        expected.append(Span(at, at + length, origin, offset, mapping, origin[1] if own else owner))
        at += length
    for index in range(1, len(expected) - 1):
        before, span, after = expected[index - 1 : index + 2]
        if span.origin is TEMPLATE and span.owner != before.owner == after.owner != NOBODY:
            expected[index] = span._replace(owner=before.owner)
    layout = spans_of(make("x" * at, runs))
    assert list(layout) == expected
    owners = {span.owner for span in expected}
    assert {owner: layout.turn(owner) for owner in owners} == {
        owner: (min(s.start for s in expected if s.owner == owner), max(s.end for s in expected if s.owner == owner)) for owner in owners
    }
    assert layout.scaffolded == {span.owner for span in expected if not span.is_data}
    assert layout.last_message == max([NOBODY, *owners, *(span.message for span in expected)])


KEYS = st.one_of(st.sampled_from(["role", "content", "tool_calls"]), st.text(max_size=2), st.integers(0, 2), st.none())
VALUES = st.recursive(
    st.one_of(st.text(max_size=3), st.integers(), st.floats(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=2)),
    max_leaves=4,
)


def seen(value: Any) -> Any:
    """A traced value with all that it remembers."""
    if isinstance(value, dict):
        return type(value), value._maskkit_path, [(seen(key), seen(item)) for key, item in value.items()]
    if isinstance(value, list):
        return type(value), value._maskkit_path, [seen(item) for item in value]
    return type(value), getattr(value, "_maskkit_path", None), getattr(value, "_runs", None), repr(value)


@given(message=st.dictionaries(KEYS, VALUES, max_size=3), index=st.integers(0, 3))
def test_messages_are_traced_as_other_data_is(message: dict[Any, Any], index: int) -> None:
    assert seen(trace_message(message, index)) == seen(trace(message, ("messages", index), Message))


CHUNKS = st.one_of(
    st.sampled_from([literal("a"), literal("bc"), at_path("d", ("messages", 0, "content")), "e", literal("f")]),
    st.sampled_from([NOBODY, 0, 1]).map(lambda owner: _MARKS[owner]),
)


@given(st.lists(CHUNKS, max_size=8))
def test_chunks_are_joined_as_characters_are(chunks: list[str]) -> None:
    characters: list[tuple[Any, ...]] = []
    owner = NOBODY
    for chunk in chunks:
        if type(chunk) is Mark:
            owner = chunk._owner
        for _ in chunk:
            origin = runs_of(chunk)[0][1]
            characters.append((origin, owner))
    joined = assemble(chunks)
    assert plain(joined) == "".join(chunks)
    assert [(run[1], run[4]) for run in joined._runs for _ in range(run[0])] == characters
    ours = [(run[1], run[4]) for run in joined._runs]
    # Template text that stands together in one turn is one run.
    assert not any(one == other and one[0] is TEMPLATE for one, other in pairwise(ours))


class SlowLabeller(Labeller):
    """Takes no short way."""

    def _pieces(self) -> Any:
        for index, span in enumerate(self.spans):
            yield from self._in_parts(span, index)


@pytest.mark.parametrize("name", ["qwen3", "gptoss", "gemma4", "deepseekv3", "llama3_1"])
def test_labels_are_those_of_the_long_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = renderer_for(trl_template(name))
    for row in CONVERSATIONS.values():
        try:
            rendered = renderer.render(row)
        except TemplateError:
            continue
        with monkeypatch.context() as patched:
            patched.setattr("maskkit.chat.render.Labeller", SlowLabeller)
            assert renderer.render(row).segments == rendered.segments
            assert plain(rendered.text) == rendered.text
