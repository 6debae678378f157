"""Rows longer than max_length: five ways, each counted and shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskkit
from tests.masker.tokenizers import TEMPLATE, tokenizer_of

TOKENIZER = tokenizer_of("byte_level")
ROW = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is it true?"},
        {"role": "assistant", "content": "Yes, it is."},
        {"role": "user", "content": "And then?"},
        {"role": "assistant", "content": "It sleeps."},
        {"role": "user", "content": "Fox?"},
        {"role": "assistant", "content": "Brown."},
    ]
}


def masker(truncation: str = "right", max_length: int | None = None, **options) -> maskkit.Masker:
    return maskkit.Masker(TOKENIZER, truncation=truncation, max_length=max_length, **options)


WHOLE = masker()(ROW)


def codes(example: maskkit.Example) -> list[str]:
    return [finding.code for finding in example.warnings]


def test_right_keeps_the_beginning_and_left_the_end():
    right, left = masker("right", 60)(ROW), masker("left", 60)(ROW)
    np.testing.assert_array_equal(right.input_ids, WHOLE.input_ids[:60])
    np.testing.assert_array_equal(left.input_ids, WHOLE.input_ids[-60:])
    np.testing.assert_array_equal(right.loss_weights, WHOLE.loss_weights[:60])
    np.testing.assert_array_equal(left.loss_weights[1:], WHOLE.loss_weights[-59:])
    np.testing.assert_array_equal(left.tokens.message, WHOLE.tokens.message[-60:])
    np.testing.assert_array_equal(left.tokens.turn, WHOLE.tokens.turn[-60:])
    lost = len(WHOLE) - 60
    assert right.warnings[0].message == f"{len(WHOLE)} tokens, max_length is 60: the last {lost} are cut"
    assert left.warnings[0].message == f"{len(WHOLE)} tokens, max_length is 60: the first {lost} are cut"
    assert codes(right) == ["truncated", "stop-truncated"]
    assert codes(left) == ["truncated"]
    assert codes(masker("left", 40)(ROW)) == ["truncated", "stop-truncated"]


def test_nothing_predicts_the_first_token_that_is_left():
    """Also where the cut falls into a reply."""
    inside = int(np.flatnonzero(WHOLE.loss_weights)[3])
    cut = masker("left", len(WHOLE) - inside)(ROW)
    assert cut.loss_weights[0] == 0
    assert cut.loss_weights[1] == 1


def test_turns_leaves_whole_turns_out_and_keeps_the_system_message():
    """What is left is rendered as a row of its own, with the numbers of the whole."""
    reduced = {"messages": [ROW["messages"][i] for i in (0, 3, 4, 5, 6)]}
    expected = masker()(reduced)
    for length in (len(expected), len(WHOLE) - 1):
        cut = masker("turns", length)(ROW)
        np.testing.assert_array_equal(cut.input_ids, expected.input_ids)
        np.testing.assert_array_equal(cut.loss_weights, expected.loss_weights)
        assert sorted(set(cut.tokens.message.tolist()) - {-1}) == [0, 3, 4, 5, 6]
        assert sorted(set(cut.tokens.turn.tolist())) == [-1, 1, 2]
        assert cut.tokens.where(message=-1).any()
        assert cut.tokens.row_key == WHOLE.tokens.row_key
        assert codes(cut) == ["truncated"]
        assert cut.warnings[0].count == len(WHOLE) - len(cut)
    shorter = masker("turns", len(expected) - 1)(ROW)
    assert sorted(set(shorter.tokens.turn.tolist())) == [-1, 2]


def test_a_last_turn_that_is_too_long_alone_is_dropped():
    cut = masker("turns", 8)
    assert cut.examples(ROW) == []
    assert cut.counts == {"dropped": 1}


def test_the_last_turn_is_rendered_before_it_is_called_too_long():
    """A template that says less of a short conversation: counted by what the long one says, the last turn would not fit."""
    wordy = tokenizer_of("byte_level", TEMPLATE + "{{ 'Remember all of this. ' * 9 if messages|length > 3 }}")
    alone = {"messages": [ROW["messages"][i] for i in (0, 5, 6)]}
    expected = maskkit.Masker(wordy)(alone)
    cutting = maskkit.Masker(wordy, truncation="turns", max_length=len(expected))
    (cut,) = cutting.examples(ROW)
    np.testing.assert_array_equal(cut.input_ids, expected.input_ids)
    assert set(cut.tokens.turn.tolist()) == {-1, 2}
    assert cutting.counts["dropped"] == 0


def test_a_greeting_before_the_first_question_goes_first():
    greeting = {"messages": [ROW["messages"][0], {"role": "assistant", "content": "Hello, I am the fox."}, *ROW["messages"][1:]]}
    cut = masker("turns", len(masker()(greeting)) - 1)(greeting)
    assert cut.input_ids.tolist() == WHOLE.input_ids.tolist()
    assert sorted(set(cut.tokens.message.tolist()) - {-1}) == [0, 2, 3, 4, 5, 6, 7]


def test_dropped_rows_are_counted_and_make_no_example():
    short = {"messages": ROW["messages"][:3]}
    drop = masker("drop", len(WHOLE) - 1)
    assert [len(example) for example in drop.batch([ROW, short, ROW])] == [len(masker()(short))]
    assert drop.counts == {"dropped": 2}
    assert drop.examples(ROW) == []
    assert len(drop.encode_batch({"messages": [ROW["messages"], short["messages"]]})["input_ids"]) == 1
    with pytest.raises(maskkit.DataError, match=rf"row: the row makes no example \(dropped: {len(WHOLE)} tokens, max_length is"):
        drop(ROW)
    assert len(masker("drop", len(WHOLE)).batch([ROW])) == 1


def test_error_names_row_and_lengths():
    with pytest.raises(maskkit.DataError, match=rf"row 1: {len(WHOLE)} tokens, expected at most max_length 30.*'turns' or 'drop'"):
        masker("error", 30).batch([{"messages": [{"role": "user", "content": "a"}]}, ROW])


def test_a_row_that_lost_all_its_weight_says_so():
    cut = masker("right", 12)(ROW)
    assert codes(cut) == ["truncated", "stop-truncated", "trains-nothing"]
    assert cut.warnings[-1].message == "none of 12 tokens that max_length left has a weight"


def test_replies_that_were_served_are_cut_each_by_itself():
    examples = masker(history="as-served").examples(ROW)
    limit = len(examples[1])
    cut = masker("turns", limit, history="as-served").examples(ROW)
    assert [example.tokens.reply for example in cut] == [2, 4, 6]
    assert [example.input_ids.tolist() for example in cut[:2]] == [example.input_ids.tolist() for example in examples[:2]]
    assert cut[2].tokens.text.startswith("<s><|im_start|>system\nBe brief.")
    assert "Is it true?" not in cut[2].tokens.text
    assert set(cut[2].tokens.message[cut[2].loss_weights > 0]) == {6}
    dropped = masker("drop", limit, history="as-served")
    assert len(dropped.examples(ROW)) == 2
    assert dropped.counts == {"dropped": 1}


def test_strings_have_no_turns():
    row = {"prompt": "Is it true?" * 5, "completion": " Yes"}
    assert masker("turns", 10).examples(row) == []
    assert len(masker("left", 10)(row)) == 10


def test_unknown_ways_are_refused():
    with pytest.raises(maskkit.ConfigError, match="truncation is 'middle', expected 'right', 'left', 'drop', 'error', 'turns'"):
        masker("middle", 10)


words = st.lists(st.sampled_from(["fox", "is", "it", "sleeps"]), min_size=1, max_size=4).map(" ".join)


modes = st.sampled_from(["right", "left", "turns", "drop"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=5), st.booleans(), st.integers(2, 120), modes)
def test_whatever_is_left_fits_and_keeps_its_numbers(turns, system, limit, mode):
    messages = [{"role": "system", "content": "brown"}] if system else []
    for asked, replied in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": replied}]
    whole = masker()({"messages": messages})
    cutting = masker(mode, limit)
    examples = cutting.examples({"messages": messages})
    if len(whole) <= limit:
        assert examples[0].input_ids.tolist() == whole.input_ids.tolist()
        assert not cutting.counts
        return
    assert cutting.counts["truncated"] + cutting.counts["dropped"] == 1
    for example in examples:
        assert len(example) <= limit
        for index in set(example.tokens.message[example.tokens.kind == "user"].tolist()):
            said = "".join(
                example.tokens.piece(i) for i in np.flatnonzero((example.tokens.message == index) & (example.tokens.kind == "user"))
            )
            assert said in messages[index]["content"]
        if mode == "turns":
            assert example.tokens.turn.max() == len(turns) - 1
            assert (example.tokens.role == "system").any() == system
            longer = len(turns) - len(set(example.tokens.turn.tolist()) - {-1}) - 1
            assert len(masker()({"messages": messages[: int(system)] + messages[int(system) + 2 * longer :]})) > limit, (
                "one turn more would fit"
            )
