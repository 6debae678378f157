"""The whole data path: a record in, ids and weights out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskkit
from maskkit import embedded
from tests.chat.test_unusual_turns import CHATML
from tests.chat.tokenizers import tokenizer_for

TOKENIZER = embedded.tiny_tokenizer()
CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "reasoning_content": "2 and 3 make 5.", "content": "It is 5 🙂."},
        {"role": "user", "content": "ありがとう"},
        {"role": "assistant", "content": "どういたしまして"},
    ]
}
STRATEGIES = [
    "causal",
    "assistant-only",
    "reasoning-only",
    {"name": "weighted", "reasoning": 0.3},
    {"product": ["assistant-only", "weighted"]},
]


def masker(strategy: object = "assistant-only", **options) -> maskkit.Masker:
    return maskkit.Masker(TOKENIZER, strategy=strategy, **options)


def trained_text(example: maskkit.Example) -> str:
    return TOKENIZER.decode(example.input_ids[example.loss_weights > 0])


def codes(example: maskkit.Example) -> set[str]:
    return {finding.code for finding in example.warnings}


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_ids_are_those_of_transformers_whatever_is_weighed(strategy):
    expected = TOKENIZER.apply_chat_template(CHAT["messages"], tokenize=True, return_dict=False)
    example = masker(strategy)(CHAT)
    assert example.input_ids.tolist() == expected
    assert example.input_ids.dtype == np.int64
    assert example.loss_weights.dtype == np.float32
    assert example.loss_weights.shape == example.input_ids.shape


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_nothing_predicts_the_first_token_so_it_weighs_nothing(strategy):
    assert masker(strategy)(CHAT).loss_weights[0] == 0


def test_assistant_only_trains_what_the_model_emits_and_nothing_else():
    text = trained_text(masker()(CHAT))
    for said in ("2 and 3 make 5.", "It is 5 🙂.", "どういたしまして", "<think>", "</think>"):
        assert said in text
    assert text.count("<|im_end|>") == 2
    for prompt in ("What is", "Be brief", "ありがとう", "assistant", "<|im_start|>"):
        assert prompt not in text


def test_causal_trains_all_but_the_first_token():
    example = masker("causal")(CHAT)
    assert example.loss_weights[1:].tolist() == [1.0] * (len(example) - 1)


def test_labels_are_ids_where_something_is_trained():
    example = masker({"name": "weighted", "reasoning": 0.3})(CHAT)
    assert example.labels[example.loss_weights == 0].tolist() == [-100] * int((example.loss_weights == 0).sum())
    np.testing.assert_array_equal(example.labels[example.loss_weights > 0], example.input_ids[example.loss_weights > 0])


def test_a_split_emoji_is_trained_whole():
    example = masker()(CHAT)
    position = example.tokens.text.index("🙂")
    of_emoji = (example.tokens.char_start <= position) & (example.tokens.char_end > position)
    assert of_emoji.sum() > 1, "the embedded tokenizer splits this emoji into bytes"
    assert set(example.loss_weights[of_emoji]) == {1.0}


def test_the_same_row_gives_the_same_example_in_any_company():
    alone = masker()(CHAT)
    other = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}
    together = masker().batch([other, CHAT, other])[1]
    np.testing.assert_array_equal(alone.input_ids, together.input_ids)
    np.testing.assert_array_equal(alone.loss_weights, together.loss_weights)
    assert alone.tokens.seed == together.tokens.seed
    assert alone.tokens.seed != masker(seed=1)(CHAT).tokens.seed


def test_encode_batch_gives_the_columns_that_trainers_take():
    columns = {"messages": [CHAT["messages"], CHAT["messages"][:3]], "source": ["a", "b"]}
    out = masker().encode_batch(columns)
    assert set(out) == {"input_ids", "labels", "loss_weights"}
    example = masker()(CHAT)
    np.testing.assert_array_equal(out["input_ids"][0], example.input_ids)
    np.testing.assert_array_equal(out["labels"][0], example.labels)
    np.testing.assert_array_equal(out["loss_weights"][0], example.loss_weights)
    assert len(out["input_ids"][1]) < len(out["input_ids"][0])


def test_encode_batch_gives_kinds_on_request_and_insists_on_them_for_loss_modifiers():
    columns = {"messages": [CHAT["messages"]]}
    np.testing.assert_array_equal(masker().encode_batch(columns, kinds=True)["kinds"][0], masker()(CHAT).tokens.kind_codes)
    modified = masker({"product": ["assistant-only", "dft"]})
    with pytest.raises(maskkit.ConfigError, match=r"has the loss modifier 'dft', .* modifiers=masker\.strategy\.modifiers"):
        modified.encode_batch(columns)
    assert modified.encode_batch(columns, kinds=True)["loss_weights"][0].any()


def test_a_cut_row_says_what_it_lost():
    whole = masker()(CHAT)
    cut = masker(max_length=len(whole) - 4)(CHAT)
    assert len(cut) == len(whole) - 4
    assert codes(cut) == {"truncated", "stop-truncated"}
    np.testing.assert_array_equal(cut.loss_weights, whole.loss_weights[: len(cut)])


def test_a_row_that_trains_nothing_is_counted_and_said(caplog: pytest.LogCaptureFixture):
    caplog.set_level("WARNING", "maskkit.masker")  # whoever counts findings by itself turns the log off
    small = masker(max_length=8)
    example = small(CHAT)
    assert not example.loss_weights.any()
    assert "trains-nothing" in codes(example)
    small(CHAT)
    assert small.counts["trains-nothing"] == 2
    assert caplog.text.count("trains-nothing") == 1


def test_marks_that_no_strategy_reads_are_reported():
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]}
    assert "data-weights-ignored" in codes(masker()(row))
    assert "data-weights-ignored" not in codes(masker()(CHAT))


def test_plain_text_is_encoded_as_it_is_and_ends():
    example = masker("causal")({"text": "Two and three make five."})
    assert example.input_ids.tolist() == [*TOKENIZER("Two and three make five.")["input_ids"], TOKENIZER.eos_token_id]
    assert set(example.tokens.kind[:-1]) == {"text"}
    assert example.tokens.kind[-1] == "stop"
    assert not example.tokens.generated.any()


def test_plain_text_under_assistant_only_is_an_error_that_names_causal():
    with pytest.raises(maskkit.ConfigError, match=r"row 0.*'causal'"):
        masker().batch([{"text": "Two and three make five."}])


def test_prompt_and_completion_are_encoded_apart():
    example = masker()({"prompt": "2 + 3 =", "completion": " 5"})
    prompt, completion = TOKENIZER("2 + 3 =")["input_ids"], TOKENIZER(" 5", add_special_tokens=False)["input_ids"]
    assert example.input_ids.tolist() == [*prompt, *completion, TOKENIZER.eos_token_id]
    assert example.tokens.kind.tolist() == ["user"] * len(prompt) + ["answer"] * len(completion) + ["stop"]
    assert example.loss_weights.tolist() == [0.0] * len(prompt) + [1.0] * (len(completion) + 1)
    assert example.tokens.role.tolist() == ["user"] * len(prompt) + ["assistant"] * (len(completion) + 1)


def test_a_strategy_that_misbehaves_is_named_with_the_row_and_token():
    with pytest.raises(maskkit.StrategyError, match=r"row 0.*expected \(\d+,\)"):
        masker(lambda tokens: [1.0]).batch([{"messages": CHAT["messages"][:3]}, CHAT])


@pytest.mark.parametrize(("options", "says"), [({"max_length": 1}, "max_length is 1"), ({"history": "nonsense"}, "history is 'nonsense'")])
def test_options_are_checked(options, says):
    with pytest.raises(maskkit.ConfigError, match=says):
        masker(**options)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
turns = st.lists(st.tuples(texts, texts, st.one_of(st.none(), texts)), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(turns)
def test_any_conversation_is_weighed_as_defined(conversation):
    """Invariants 1 to 3 on arbitrary text: ids as transformers', full cover, weights only on generated tokens."""
    messages = []
    for asked, replied, thought in conversation:
        messages.append({"role": "user", "content": asked})
        reply = {"role": "assistant", "content": replied}
        messages.append(reply if thought is None else {**reply, "reasoning_content": thought})
    example = masker()({"messages": messages})
    tokens = example.tokens
    assert example.input_ids.tolist() == TOKENIZER.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert tokens.text == TOKENIZER.apply_chat_template(messages, tokenize=False)
    assert (example.loss_weights[~tokens.generated] == 0).all()
    assert (example.loss_weights[tokens.straddle | (tokens.kind == "unknown")] == 0).all()
    assert not example.loss_weights[tokens.role == "user"].any()
    everything = masker("causal")({"messages": messages})
    assert (everything.loss_weights[1:] == 1).all()


def test_reasoning_tags_reach_the_template():
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<plan>x</plan>y"}]}
    assert "reasoning" in masker(reasoning_tags=[["<plan>", "</plan>"]])(row).tokens.kind
    assert "reasoning" not in masker()(row).tokens.kind


def test_a_placeholder_of_an_image_is_never_trained_and_keeps_its_place():
    reply = [{"type": "text", "text": "See "}, {"type": "image"}, {"type": "text", "text": " there"}]
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": reply},
    ]
    tokenizer = tokenizer_for(CHATML)
    example = maskkit.Masker(tokenizer)({"messages": messages})
    assert example.input_ids.tolist() == tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    placeholders = example.input_ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert placeholders.sum() == 2
    assert not example.loss_weights[placeholders].any()
    assert tokenizer.decode(example.input_ids[example.loss_weights > 0]) == "See  there<|im_end|>"


@pytest.mark.parametrize("history", ["as-rendered", "as-served"])
def test_a_beginning_that_is_to_be_continued_is_not_trained(history):
    row = {"messages": [*CHAT["messages"][:3], {"role": "user", "content": "And?"}, {"role": "assistant", "content": "So"}]}
    row["chat_template_kwargs"] = {"continue_final_message": True}
    examples = masker(history=history).examples(row)
    assert len(examples) == 1
    assert trained_text(examples[0]).count("<|im_end|>") == 1
    assert "So" not in trained_text(examples[0])
