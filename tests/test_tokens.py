"""Segments become tokens: kinds, straddling, split characters, selecting."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskkit
from maskkit.chat.segments import Segment
from maskkit.kinds import KINDS, SegmentKind
from maskkit.records import to_record
from maskkit.tokens import Tokens, tokens_of_segments
from tests.tables import conversation_table, make_tokens

RECORD = to_record({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})


def table(text: str, spans: list[tuple[int, int]], segments: list[Segment]) -> Tokens:
    starts, ends = zip(*spans, strict=True) if spans else ((), ())
    return tokens_of_segments(range(len(spans)), starts, ends, segments, text=text, record=RECORD)


PROMPT_THEN_REPLY = [Segment(0, 4, SegmentKind.USER, False, 0), Segment(4, 8, SegmentKind.ANSWER, True, 1)]


def test_a_token_inside_a_segment_has_its_kind():
    tokens = table("ask?yes!", [(0, 4), (4, 7), (7, 8)], PROMPT_THEN_REPLY)
    assert tokens.kind.tolist() == ["user", "answer", "answer"]
    assert tokens.generated.tolist() == [False, True, True]
    assert tokens.message.tolist() == [0, 1, 1]
    assert tokens.role.tolist() == ["user", "assistant", "assistant"]
    assert not tokens.straddle.any()


def test_a_token_over_the_edge_takes_the_generated_kind_and_straddles():
    tokens = table("ask?yes!", [(0, 3), (3, 5), (5, 8)], PROMPT_THEN_REPLY)
    assert tokens.kind.tolist() == ["user", "answer", "answer"]
    assert tokens.straddle.tolist() == [False, True, False]


def test_a_token_over_two_prompt_segments_takes_that_of_its_first_character():
    segments = [Segment(0, 2, SegmentKind.TEMPLATE, False, 0), Segment(2, 4, SegmentKind.USER, False, 0)]
    tokens = table("\n\nhi", [(0, 3), (3, 4)], segments)
    assert tokens.kind.tolist() == ["template", "user"]
    assert not tokens.straddle.any()


def test_a_token_over_two_generated_segments_takes_the_first_generated():
    segments = [
        Segment(0, 1, SegmentKind.TEMPLATE, False, 1),
        Segment(1, 2, SegmentKind.REASONING, True, 1),
        Segment(2, 3, SegmentKind.ANSWER, True, 1),
    ]
    assert table("abc", [(0, 3)], segments).kind.tolist() == ["reasoning"]
    assert table("abc", [(0, 1), (1, 3)], segments).straddle.tolist() == [False, False]


def test_tokens_of_a_split_character_are_alike():
    """Byte tokens of one emoji share its character; the last also covers the first character of the reply."""
    segments = [Segment(0, 1, SegmentKind.USER, False, 0), Segment(1, 3, SegmentKind.ANSWER, True, 1)]
    tokens = table("🙂ok", [(0, 1), (0, 1), (0, 2), (2, 3)], segments)
    assert tokens.straddle.tolist() == [True, True, True, False]
    assert tokens.kind.tolist() == ["answer"] * 4


def test_a_token_without_characters_takes_the_segment_at_its_place():
    tokens = table("ask?yes!", [(0, 4), (4, 4), (4, 8)], PROMPT_THEN_REPLY)
    assert tokens.kind.tolist() == ["user", "answer", "answer"]
    assert tokens.straddle.tolist() == [False, False, False]
    assert len(table("", [], [])) == 0


@st.composite
def attributed(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]], list[Segment]]:
    """A text cut twice at random: into segments, and into tokens."""
    length = draw(st.integers(1, 30))
    cuts = st.lists(st.integers(1, max(length - 1, 1)), max_size=8).map(
        lambda inner: sorted({0, length, *[c for c in inner if c < length]})
    )
    bounds, edges = draw(cuts), draw(cuts)
    segments = [
        Segment(a, b, draw(st.sampled_from(list(SegmentKind))), draw(st.booleans()), draw(st.integers(-1, 1))) for a, b in pairwise(bounds)
    ]
    return "x" * length, list(pairwise(edges)), segments


@given(attributed())
def test_kind_and_straddle_follow_the_definition(case: tuple[str, list[tuple[int, int]], list[Segment]]):
    """Invariant 3, written as a loop over characters."""
    text, spans, segments = case
    owner = [s for s in segments for _ in range(s.start, s.end)]
    tokens = table(text, spans, segments)
    for t, (start, end) in enumerate(spans):
        touched = owner[start:end]
        chosen = next((s for s in touched if s.generated), touched[0])
        assert tokens.kind[t] == chosen.kind
        assert tokens.message[t] == chosen.message
        assert tokens.generated[t] == chosen.generated
        assert tokens.straddle[t] == (len({s.generated for s in touched}) == 2)


def test_where_selects_only_generated_tokens_of_generated_kinds():
    tokens = make_tokens([("user", False, 0), ("answer", False, 1), ("answer", True, 1)], ("user", "assistant"))
    assert tokens.where(kind="answer").tolist() == [False, False, True]
    assert tokens.where(kind="answer", generated=None).tolist() == [False, True, True]
    assert tokens.where(kind="answer", generated=False).tolist() == [False, True, False]
    assert tokens.where(kind=["user", "answer"]).tolist() == [True, False, True]
    assert tokens.where(kind=SegmentKind.USER).tolist() == [True, False, False]
    assert tokens.where(generated=False).tolist() == [True, True, False]
    assert tokens.where().all()


def test_turns_and_messages_count_from_either_end():
    tokens = conversation_table()
    assert set(tokens.turn[tokens.message == 0]) == {-1}
    assert set(tokens.turn[np.isin(tokens.message, [1, 2, 3, 4])]) == {0}
    assert set(tokens.turn[np.isin(tokens.message, [5, 6])]) == {1}
    np.testing.assert_array_equal(tokens.where(turn=-1), tokens.turn == 1)
    np.testing.assert_array_equal(tokens.where(turn=-2), tokens.turn == 0)
    assert not tokens.where(turn=-3).any()
    np.testing.assert_array_equal(tokens.where(message=-1), tokens.message == 6)
    np.testing.assert_array_equal(tokens.where(message=-2), tokens.message == 4)
    np.testing.assert_array_equal(tokens.where(message=-3), tokens.message == 2)
    assert not tokens.where(message=-4).any()
    np.testing.assert_array_equal(tokens.where(message=[0, -1]), np.isin(tokens.message, [0, 6]))
    np.testing.assert_array_equal(tokens.where(role=("user", "tool")), np.isin(tokens.message, [1, 3, 5]))


def test_messages_of_the_model_count_whatever_the_data_calls_it():
    pieces = [("user", False, 0), ("answer", True, 1), ("user", False, 2), ("answer", True, 3)]
    tokens = make_tokens(pieces, ("user", "model", "user", "model"))
    assert tokens.where(message=-1).tolist() == [False, False, False, True]
    assert tokens.where(message=-2).tolist() == [False, True, False, False]
    mixed = make_tokens(pieces, ("user", "assistant", "user", "model"))
    assert mixed.where(message=-1).tolist() == [False, False, False, True]
    assert mixed.where(message=-2).tolist() == [False, True, False, False]
    assert mixed.where(role="assistant").tolist() == [False, True, False, False], "roles are the names that the data gives"
    assert mixed.where(role=("assistant", "model")).tolist() == [False, True, False, True]


def test_a_message_of_the_user_opens_a_turn_whatever_the_data_calls_it():
    pieces = [("user", False, 0), ("answer", True, 1), ("user", False, 2), ("answer", True, 3)]
    tokens = make_tokens(pieces, ("human", "model", "user", "model"))
    assert tokens.turn.tolist() == [0, 0, 1, 1]
    assert tokens.where(turn=0, kind="answer").tolist() == [False, True, False, False]
    assert make_tokens(pieces, ("human", "model", "human", "model")).where(turn=-1).tolist() == [False, False, True, True]


def test_a_message_that_is_not_there_is_no_token_without_a_message():
    tokens = make_tokens([("template", False, -1), ("user", False, 0), ("answer", True, 1)], ("user", "assistant"))
    assert tokens.where(message=0).tolist() == [False, True, False]
    for absent in (-2, -9, 5, [-9, 5]):
        assert not tokens.where(message=absent).any()


def test_truncation_keeps_the_numbers_of_the_whole_record():
    tokens = conversation_table()
    cut = tokens.truncated(12)
    assert len(cut) == 12
    assert not cut.where(turn=-1).any(), "the last turn of the record was cut away: the first must not become the last"
    assert not cut.where(message=-1).any()
    assert tokens.truncated(10_000) is tokens


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(maskkit.UnknownNameError, match="Did you mean 'answer'"):
        conversation_table().where(kind="anwser")


def test_columns_are_read_only():
    tokens = conversation_table()
    for column in (tokens.ids, tokens.kind, tokens.role, tokens.generated, tokens.turn, tokens.data_weights, tokens.kind_codes):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[1]


def test_kind_codes_index_the_kinds():
    tokens = conversation_table()
    assert [KINDS[c] for c in tokens.kind_codes] == tokens.kind.tolist()


REPLY = [("user", False, 0, "say 12 "), ("answer", True, 1, "ab 1"), ("answer", True, 1, "2 cd"), ("stop", True, 1, "<end>")]


def test_matching_runs_on_the_whole_text_and_selects_what_it_touches():
    tokens = make_tokens(REPLY, ("user", "assistant"))
    assert tokens.matching(r"\d+").tolist() == [True, True, True, False]
    assert tokens.matching(r"(?<=b )12").tolist() == [False, True, True, False], "look-behind sees the text before"
    assert tokens.matching(r"\d+", within=tokens.where(kind="answer")).tolist() == [False, True, True, False]
    assert tokens.matching(r"\d+", within="answer").tolist() == [False, True, True, False]


def test_a_match_must_lie_inside_one_run():
    tokens = make_tokens(REPLY, ("user", "assistant"))
    assert not tokens.matching(r"12 ab", within="answer").any()
    assert not tokens.matching(r"cd<end>", within="answer").any()
    assert not tokens.matching(r"x*", within="answer").any(), "an empty match selects nothing"
    with pytest.raises(ValueError, match="one bool per token"):
        tokens.matching("a", within=np.ones(2, bool))


@given(st.lists(st.text("ab ", min_size=1, max_size=4), min_size=1, max_size=8), st.sampled_from(["a+", "b", " a", "(?<=a)b", "ab|ba"]))
def test_matching_follows_the_definition(pieces: list[str], regex: str):
    import re

    tokens = make_tokens([("answer", True, 0, piece) for piece in pieces], ("assistant",))
    hit = {i for m in re.finditer(regex, tokens.text) for i in range(*m.span())}
    expected = [bool(hit & set(range(a, b))) for a, b in zip(tokens.char_start, tokens.char_end, strict=True)]
    assert tokens.matching(regex).tolist() == expected


@given(
    st.lists(st.text("ab ", min_size=1, max_size=4), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=4),
)
def test_touching_follows_the_definition(pieces: list[str], spans: list[tuple[int, int]]):
    tokens = make_tokens([("answer", True, 0, piece) for piece in pieces], ("assistant",))
    hit = {i for span in spans for i in range(*span)}
    expected = [bool(hit & set(range(a, b))) for a, b in zip(tokens.char_start, tokens.char_end, strict=True)]
    assert tokens.touching(spans).tolist() == expected


def test_a_range_must_lie_inside_one_run_too():
    tokens = make_tokens(REPLY, ("user", "assistant"))
    assert tokens.touching([(5, 8)], within="answer").sum() == 0, "it begins in the question"
    assert tokens.touching([(7, 8)], within="answer").tolist() == [False, True, False, False]


def test_runs_are_what_contiguous_tokens_say():
    tokens = make_tokens([*REPLY, ("answer", True, 1, "more")], ("user", "assistant"))
    assert [tokens.text[a:b] for a, b in tokens.runs("answer")] == ["ab 12 cd", "more"]
    assert tokens.runs(tokens.where(kind="user")) == [(0, 7)]
    assert tokens.runs("reasoning") == []


def test_a_table_cannot_be_changed_by_those_who_read_it():
    tokens = conversation_table()
    with pytest.raises(AttributeError, match="read-only"):
        tokens.ids = np.zeros(len(tokens), np.int64)
    assert pickle.loads(pickle.dumps(tokens)).kind.tolist() == tokens.kind.tolist(), "workers get tables through pickle"


@pytest.mark.parametrize("condition", [True, False])
def test_generated_takes_numpy_bools_and_nothing_else(condition: bool):
    tokens = conversation_table()
    np.testing.assert_array_equal(tokens.where(generated=np.bool_(condition)), tokens.where(generated=condition))
    with pytest.raises(maskkit.ConfigError, match="expected True, False or None"):
        tokens.where(generated=int(condition))
    with pytest.raises(maskkit.ConfigError, match="expected a bool array"):
        tokens.matching("a", within=[condition] * len(tokens))
