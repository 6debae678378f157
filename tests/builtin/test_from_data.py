"""``from-data``: every dialect of marks, through a real template, against weights worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import maskkit
from maskkit import embedded
from maskkit.errors import DataError
from maskkit.records import to_record
from maskkit.records.marks import MARKS
from tests.builtin.weighing import call
from tests.chat.tokenizers import tokenizer_for

TOKENIZER = embedded.tiny_tokenizer()


def weighed(*messages: dict[str, Any], **options: Any) -> list[tuple[str, float]]:
    """Runs of text of one weight, those of weight 0 left out."""
    example = maskkit.Masker(TOKENIZER, {"name": "from-data", **options})({"messages": list(messages)})
    assert not {finding.code for finding in example.warnings} & {"data-weights-ignored", "unknown-mark"}
    runs: list[tuple[str, float]] = []
    for t, weight in enumerate(example.loss_weights.round(6).tolist()):
        piece = example.tokens.piece(t)
        if runs and runs[-1][1] == weight:
            runs[-1] = (runs[-1][0] + piece, weight)
        else:
            runs.append((piece, weight))
    return [(text, pytest.approx(weight)) for text, weight in runs if weight]


def user(content: Any = "Why?", **marks: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **marks}


def reply(content: Any = "So.", **marks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **marks}


STOP = "<|im_end|>"


def test_without_marks_it_is_assistant_only():
    assert weighed(user(), reply()) == [("So." + STOP, 1)]


def test_a_message_s_weight_covers_reasoning_calls_and_stop():
    marked = reply("So.", reasoning_content="Hm.", tool_calls=[call("clock")], weight=0.5)
    [(text, weight)] = weighed(user(), marked)
    assert weight == 0.5
    assert text.startswith("<think>Hm.</think>So.<tool_call>")
    assert text.endswith("</tool_call>" + STOP)


OFF = {"masked": True, "weight": 0, "loss": False, "step_loss_mask": 0}


@pytest.mark.parametrize("mark", MARKS)
def test_every_mark_turns_a_message_off_and_on(mark: str):
    off, on = (OFF.get(mark, False), not OFF.get(mark, False))
    assert weighed(user(), reply("no", **{mark: off}), user(), reply("yes", **{mark: on})) == [("yes" + STOP, 1)]


@pytest.mark.parametrize("mark", [mark for mark in MARKS if mark != "masked"])
def test_every_mark_may_be_a_number(mark: str):
    assert weighed(user(), reply(**{mark: 0.3})) == [("So." + STOP, 0.3)]


def test_marks_on_one_message_multiply():
    assert weighed(user(), reply(loss=True, loss_scale=0.3)) == [("So." + STOP, 0.3)]
    assert weighed(user(), reply(train=False, weight=2)) == []


def test_a_user_s_message_can_be_trained_but_never_the_scaffolding():
    assert weighed(user(weight=0.25), reply()) == [("Why?", 0.25), ("So." + STOP, 1)]


def test_a_part_s_mark_wins_over_its_message_s():
    parts = [
        {"type": "text", "text": "Good"},
        {"type": "text", "text": " bad", "train": False},
        {"type": "text", "text": " fair", "weight": 0.4},
    ]
    assert weighed(user(), reply(parts, weight=2)) == [("Good", 2), (" fair", 0.4), (STOP, 2)]


def test_a_call_s_mark_covers_its_wrapper():
    calls = [call("one", weight=0), call("two", weight=3), call("three")]
    (two, three), (rest, one) = weighed(user(), reply("", tool_calls=calls))
    assert (three, one) == (3, 1)
    assert two.startswith("<tool_call>")
    assert '"two"' in two
    assert two.endswith("</tool_call>")
    assert '"three"' in rest
    assert rest.endswith(STOP)


def test_characters_win_over_all_and_the_rest_of_the_field_counts_0():
    detail = [{"begin_offset": 0, "end_offset": 1, "train": True}, {"begin_offset": 3, "end_offset": 4, "weight": 0.5}]
    assert weighed(user(), reply("it is so", train_detail=detail)) == [("it", 1), (" is", 0.5), (STOP, 1)]
    assert weighed(user(), reply("it is so", training_detail=detail, weight=2)) == [("it", 1), (" is", 0.5), (STOP, 2)]


def test_the_blank_that_a_token_begins_with_does_not_decide():
    assert "Ġis" in TOKENIZER.tokenize("it is so")
    first, second = {"begin_offset": 0, "end_offset": 2, "train": True}, {"begin_offset": 3, "end_offset": 7, "train": False}
    assert weighed(user(), reply("it is so", train_detail=[first])) == [("it", 1), (STOP, 1)], "the range ends with the blank of ' is'"
    assert weighed(user(), reply("it is so", train_detail=[first, second])) == [("it", 1), (STOP, 1)]


@pytest.mark.parametrize(
    "body", ["m.content | replace('no', 'NAY')", "m.content.replace('no', 'NAY')", "m.content.split('no') | join('NAY')"]
)
def test_what_a_template_puts_in_place_of_marked_characters_keeps_the_weight_of_its_message(body: str):
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ " + body + " }}<|im_end|>\n{% endfor %}"
    masker = maskkit.Masker(tokenizer_for(template + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"), "from-data")
    for marked in (True, False):
        detail = [{"begin_offset": 0, "end_offset": 3, "train": True}, {"begin_offset": 4, "end_offset": 5, "train": marked}]
        reply = {"role": "assistant", "content": "yes no yes", "weight": 0.5, "train_detail": detail}
        example = masker({"messages": [{"role": "user", "content": "q"}, reply]})
        weights = example.loss_weights[example.tokens.where(kind="answer")]
        assert weights.tolist() == [1.0] * 4 + [0.5] * 3 + [0.0] * 4  # "yes ", "NAY", " yes"; one token a letter
        assert [finding.code for finding in example.warnings] == ["dropped-text"]


def test_ranges_of_the_reasoning():
    detail = [{"begin_offset": 3, "end_offset": 4, "train": True}]
    marked = reply(reasoning_content="it is so", reasoning_train_detail=detail)
    assert weighed(user(), marked) == [("<think>", 1), (" is", 1), ("</think>So." + STOP, 1)]


def test_options():
    rows = user(), reply("no"), user(), reply("yes", weight=2)
    assert weighed(*rows, unmarked=0) == [("yes" + STOP, 2)]
    assert weighed(*rows, unmarked=0.5, stop=0.1) == [("no", 0.5), (STOP, 0.05), ("yes", 2), (STOP, 0.2)]
    assert weighed(*rows, last_turn=True) == [("yes" + STOP, 2)]
    assert weighed(user(), reply(weight=-1), signed=True) == [("So." + STOP, -1)]


def test_a_negative_weight_must_be_meant():
    with pytest.raises(DataError, match=r"row: the row gives token \d+ .*signed: true"):
        weighed(user(), reply(weight=-1))


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (reply(weight="high"), r"messages\[0\]\.weight is 'high', expected true, false or a number"),
        (reply(weight=float("inf")), r"messages\[0\]\.weight is inf"),
        (reply(masked=0.5), r"messages\[0\]\.masked is 0\.5, expected true or false"),
        (reply([{"type": "text", "text": "a", "train": "no"}]), r"messages\[0\]\.content\[0\]\.train is 'no'"),
        (reply("", tool_calls=[call("f", loss="x")]), r"messages\[0\]\.tool_calls\[0\]\.loss is 'x'"),
        (reply(train_detail=3), r"messages\[0\]\.train_detail is 3, expected a list"),
        (reply(train_detail=[{"begin_offset": 0, "end_offset": 9, "train": True}]), r"train_detail\[0\]\.end_offset is 9, .*0 to 2"),
        (reply(train_detail=[{"begin_offset": 1, "end_offset": 0, "train": True}]), r"train_detail\[0\] is .*expected a list"),
        (reply(train_detail=[{"begin_offset": 0, "end_offset": 1}]), r"train_detail\[0\] is .*expected a list"),
        (reply([{"type": "text", "text": "a"}], train_detail=[{"begin_offset": 0}]), "content is .*, expected text"),
    ],
)  # fmt: skip
def test_a_mark_that_is_no_weight_is_named(message: dict[str, Any], says: str):
    with pytest.raises(maskkit.DataError, match=says):
        weighed(message)


def test_strategies_that_read_no_marks_are_not_stopped_by_a_bad_one_but_say_so():
    example = maskkit.Masker(TOKENIZER)({"messages": [user(), reply(weight="high")]})
    assert [finding.code for finding in example.warnings] == ["data-weights-ignored"]


@pytest.mark.parametrize("strategy", [{"product": ["causal", "from-data"]}, {"scale": 2, "strategy": "from-data"}, {"max": ["from-data"]},
                                      {"name": "row-weight", "strategy": "from-data", "default": 1}])  # fmt: skip
def test_combinations_that_read_the_marks_do_not_ignore_them(strategy: dict[str, Any]):
    example = maskkit.Masker(TOKENIZER, strategy)({"messages": [user(), reply(weight=0.5)]})
    assert example.warnings == ()


def test_keys_that_only_look_like_marks_are_reported():
    [finding] = maskkit.Masker(TOKENIZER, "from-data")({"messages": [user(), reply(loss_mask=1, contrast="x")]}).warnings
    assert (finding.code, finding.count) == ("unknown-mark", 1)
    assert finding.message == "messages[1].loss_mask looks like a weight, and is none that is read: did you mean 'step_loss_mask'?"


def test_marks_survive_truncation():
    row = {"messages": [user(), reply("one two three", weight=0.5)]}
    whole = maskkit.Masker(TOKENIZER, "from-data")(row)
    cut = maskkit.Masker(TOKENIZER, "from-data", max_length=len(whole) - 2)(row)
    np.testing.assert_array_equal(cut.loss_weights, whole.loss_weights[: len(cut)])


def test_marks_in_as_served_examples_are_those_of_their_message():
    row = {"messages": [user(), reply("no", weight=0), user(), reply("yes", weight=0.5)]}
    first, second = maskkit.Masker(TOKENIZER, "from-data", history="as-served").examples(row)
    assert not first.loss_weights.any()
    assert set(second.loss_weights[second.loss_weights != 0].tolist()) == {0.5}


def test_prompt_and_completion_as_messages_may_have_marks():
    record = to_record({"prompt": [user()], "completion": [reply(weight=0.5)]})
    assert set(maskkit.Masker(TOKENIZER, "from-data")(record).loss_weights.tolist()) == {0, 0.5}
