"""From marks to characters to tokens: where a call ends, what an escaped character is, which mark a token takes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskkit
from maskkit import embedded
from maskkit.chat.calls import call_ranges
from maskkit.chat.fields import names_field
from maskkit.chat.segments import Segment
from maskkit.data_weights import Marked, _Runs, marked_text
from maskkit.kinds import SegmentKind
from maskkit.records import to_record
from maskkit.records.tools import tool_names
from tests.builtin.weighing import call

BETWEEN_CALLS = {
    "tags": ("}}\n</tool_call>\n", '<tool_call>\n{"name": "'),
    "a list": ('"}}, ', '{"name": "'),
    "brackets": ("}", "[TOOL_CALLS]"),
    "wide bars": ("}<｜tool▁call▁end｜>\n", "<｜tool▁call▁begin｜>"),
    "kimi": ("}<|tool_call_end|>", "<|tool_call_begin|>functions."),
    "pythonic": ("), ", "f("),
    "gemma": ('<|"|>}<tool_call|>', "<|tool_call>call:"),
    "muse": ("</atem:invoke><|eom|>", "<|start|>assistant to="),
    "fences": ("}\n```<｜tool▁call▁end｜>", "<｜tool▁call▁begin｜>"),
}


@pytest.mark.parametrize(("closing", "opening"), BETWEEN_CALLS.values(), ids=BETWEEN_CALLS)
def test_what_closes_a_call_belongs_to_it_and_what_opens_one_to_the_next(closing: str, opening: str):
    pieces = [
        ("<calls>", ""),
        ("one", "tool_calls[0].function.name"),
        (closing + opening, ""),
        ("two", "tool_calls[1].function.name"),
        ("</calls>", ""),
    ]
    segments, text = [], ""
    for piece, field in pieces:
        segments.append(Segment(len(text), len(text) + len(piece), SegmentKind.TOOL_CALL, True, 1, field, 0 if field else -1))
        text += piece
    first, second = call_ranges(segments, text)
    assert text[first[0] : first[1]] == "<calls>one" + closing
    assert text[second[0] : second[1]] == opening + "two</calls>"
    assert (first[2:], second[2:]) == ((1, 0), (1, 1))


def test_calls_of_two_messages_are_told_apart():
    fields = ["tool_calls[0].function.name"] * 2
    segments = [Segment(i * 3, i * 3 + 3, SegmentKind.TOOL_CALL, True, i, field, 0) for i, field in enumerate(fields)]
    assert call_ranges(segments, "onetwo") == [(0, 3, 0, 0), (3, 6, 1, 0)]


def weights(printed: str, content: str, mark: dict[str, object]) -> list[tuple[str, float]]:
    """The pieces of a reply that a mark covers, through a template that prints contents in that way."""
    tokenizer = embedded.tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ " + printed + " }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": content, **mark}]
    tokens = maskkit.Masker(tokenizer).tokens({"messages": messages}).tokens
    given = tokens.data_weights
    return [(tokens.piece(t), given[t]) for t in np.flatnonzero(~np.isnan(given))]


def test_text_of_a_reply_that_the_model_does_not_emit_has_no_weight():
    record = to_record({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "xyab", "weight": 2}]})
    segments = [
        Segment(0, 2, SegmentKind.ANSWER, False, 1, "content", 0),
        Segment(2, 4, SegmentKind.ANSWER, True, 1, "content", 2),
        Segment(4, 5, SegmentKind.TEMPLATE, False, 1),
    ]
    text = marked_text("xyab\n", segments, record)
    np.testing.assert_equal(text.weights(np.arange(5), np.arange(1, 6)), np.array([np.nan, np.nan, 2, 2, np.nan], np.float32))
    assert marked_text("q", [], to_record({"messages": [{"role": "user", "content": "q"}]})) is None


def test_an_escaped_character_is_one_character_of_the_field():
    detail = [{"begin_offset": 2, "end_offset": 2, "weight": 3}, {"begin_offset": 3, "end_offset": 3, "weight": 5}]
    found = weights("m.content | tojson", 'ab"cd', {"train_detail": detail})
    assert [piece for piece, weight in found if weight == 3] == ['\\"'] or [piece for piece, weight in found if weight == 3] == ["\\", '"']
    assert [piece for piece, weight in found if weight == 5] == ["c"]


def test_ranges_of_a_text_that_the_template_changes_cannot_be_placed():
    with pytest.raises(maskkit.DataError, match=r"row: messages\[1\]\.train_detail\[0\] gives a range .* does not print content as it is"):
        weights("m.content | urlencode", "abc", {"train_detail": [{"begin_offset": 0, "end_offset": 0, "train": True}]})
    assert weights("m.content | urlencode", "abc", {"weight": 0.5})[0] == ("a", 0.5), "a mark of the whole message needs no place"


def test_ranges_follow_the_characters_wherever_the_template_puts_them():
    assert weights("m.content[::-1]", "Q7", {"train_detail": [{"begin_offset": 1, "end_offset": 1, "train": True}]}) == [("7", 1), ("Q", 0)]


def test_ranges_of_a_text_that_the_template_trims_are_counted_in_the_field():
    found = weights("m.content | trim", "  Q7", {"train_detail": [{"begin_offset": 3, "end_offset": 3, "train": True}]})
    assert found == [("Q", 0), ("7", 1)]


@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 6), st.sampled_from([0.0, 0.5, 2.0]), st.integers(0, 2)), max_size=6),
    st.lists(st.integers(1, 11), max_size=6),
)
def test_a_token_takes_the_most_specific_mark_with_most_of_its_characters(ranges: list[tuple[int, int, float, int]], cuts: list[int]):
    """The rule as a loop over characters."""
    text = "ab cd  ef gh"
    marked = sorted(
        (Marked(start, min(start + length, 12), weight, level) for start, length, weight, level in ranges), key=lambda m: m.level
    )
    of_character: list[tuple[int, float, int]] = [(-1, float("nan"), -1)] * 12
    for mark in marked:
        of_character[mark.start : mark.end] = [(mark.level, mark.weight, 0)] * (mark.end - mark.start)
    changes = [k for k in range(1, 12) if repr(of_character[k]) != repr(of_character[k - 1])]
    run_of = [sum(k <= at for k in changes) for at in range(12)]
    edges = sorted({0, 12, *cuts})
    runs = _Runs(text, marked)
    for start, end in pairwise(edges):
        first = start + len(text[start:end]) - len(text[start:end].lstrip())
        last = end - len(text[start:end]) + len(text[start:end].rstrip())
        inner = range(first, last) if first < last else range(start, end)
        if len({run_of[at] for at in range(start, end)}) == 1:
            inner = range(start, end)
        level = max(of_character[at][0] for at in inner)
        candidates = [run_of[at] for at in inner if of_character[at][0] == level]
        chosen = max(candidates, key=candidates.count)
        np.testing.assert_equal(runs.of(start, end), of_character[run_of.index(chosen)][1])


@pytest.mark.parametrize(
    ("name", "field", "is_named"),
    [
        ("content", "content", True), ("content", "content[1].text", True), ("content", "reasoning_content", False),
        ("arguments", "tool_calls[0].function.arguments.city", True), ("tool_calls", "tool_calls[3].function.name", True),
        ("tool_calls[0]", "tool_calls[0].function.name", True), ("tool_calls[0]", "tool_calls[1].function.name", False),
        ("function.name", "tool_calls[0].function.name", True), ("name.function", "tool_calls[0].function.name", False),
        ("content", "", False), ("", "content", False),
    ],
)  # fmt: skip
def test_names_of_fields(name: str, field: str, is_named: bool):
    assert names_field(name, field) == is_named


def test_results_know_their_tool_by_id_by_name_or_in_order():
    def result(**more: str) -> dict[str, str]:
        return {"role": "tool", "content": "x", **more}

    calls = {"role": "assistant", "content": "", "tool_calls": [call("a", id="1"), call("b", id="2"), call("c", id="3")]}
    record = to_record({"messages": [calls, result(tool_call_id="2"), result(name="c"), result(), result(), calls, result()]})
    assert tool_names(record) == [["a", "b", "c"], ["b"], ["c"], ["a"], [""], ["a", "b", "c"], ["a"]]
