"""Faults that users of other training stacks reported, each with a test that fails where the fault is.

First the defects of string-cutting loss scales, then faults by theme: nothing trained and nothing said, a template's mask wrong, history
rewritten, the stop token, off by one. The names say the fault. Which reports a test stands for:

ms-swift 4.6.0, the defects of its loss scales
    1   weights change the tokens                       choosing_weights_changes_the_tokens, a_merge_over_the_end_of_a_tag
    2   ``loss: false`` trains the end token            a_reply_that_is_not_to_be_trained
    3   a float becomes one                             a_float_weight_silently_becomes_one
    4   the end token weighs one                        a_reply_that_weighs_less
    5   weights divided by a count                      weights_change_the_learning_rate
    6   negative weights are masked                     a_negative_weight_is_silently_masked
    7   regex groups and look-behind, keywords in prose a_regex_with_a_group, a_keyword_in_prose
    8   any template, but without weights               any_template_trains_everything
    9   thinking that inference strips is kept          training_keeps_thinking
    10  truncation leaves nothing                       truncation_leaves_a_row
    11  a bare KeyError, also for another order         an_unknown_name, the_order_of_a_combination

A   trl 6668, unsloth 2900 and 1128, marin 7237,        all_labels_are_masked
    liquid-finetune 37, UniVR 13, prime-rl 978
    trl 3927, ms-swift 10166                            max_length_cuts, truncation_leaves_a_row
    trl 6320 and 6025, trl 1053                         a_row_without_labels_makes_the_mean_nan

B   transformers 34172 and 30650, Megatron-Bridge 3927  a_template_without_generation_markers
    axolotl 2089 and 2123                               mistral_turns_are_not_found
    trl 598, 980, 1183 and 1820                         the_reply_marker_is_searched
    open-r1 517, 652 and 710                            the_prompt_was_trained_all_along
    nanochat 582                                        a_mask_that_is_dropped_on_the_way

C   verl 6854 and 7322, tinker-cookbook 863,            training_keeps_thinking, every_reply_of_a_rewriting_template
    torchtitan 3304 and 2769, slime 330,
    ArcticTraining 286, Automodel 2348
    NeMo-RL 2821                                        content_is_duplicated
    Automodel 3024                                      the_mask_runs_into_the_next_users_turn
    Automodel 3739                                      thinking_tags_that_the_prompt_gives, thinking_and_prompt_share_a_token
    unsloth 6695                                        a_closing_tag_cannot_be_left_out_alone
    fw-ai/cookbook 387                                  a_reply_of_weight_zero

D   axolotl 3754                                        gemmas_terminator
    prime-rl 2644, renderers 66, xtuner 1997            a_stop_marker_is_lost_or_doubled
    tinker-cookbook 932, trl 6044, torchtune 949        an_appended_eos, stop_tokens_of_the_generation_config
    slime 514 and 1490, fw-ai/cookbook 400              every_turn_trains_its_stop_token_once
    trl 1623 and 734                                    the_stop_token_is_masked_as_padding
    verl 3562                                           labels_are_shifted_twice

E   verl 3287 and 5362, OpenRLHF 973 and 362,           labels_are_shifted_twice, labels_do_not_stand_beside_their_tokens
    NeMo Speech 6409, alpaca-lora 306, minimind 621,
    Qwen3-ASR 212
    AReaL 1427                                          a_merge_over_the_end_of_the_prompt, one_token_of_a_split_emoji
"""

from __future__ import annotations

import re
from copy import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import maskkit
from maskkit.loss import weighted_cross_entropy
from tests.chat.tokenizers import DATE, tokenizer_for
from tests.real import TEMPLATE_PACKAGES, real_tokenizer, trl_template

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QUESTION = {"role": "user", "content": "What is 2 + 2?"}
TWICE = {"role": "user", "content": "Twice?"}


def says(text: str, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **fields}


def chat(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages), **fields}


def example(row: dict[str, Any], strategy: Any = "assistant-only", template: str = CHATML, **options: Any) -> maskkit.Example:
    return maskkit.Masker(tokenizer_for(template), strategy, date=DATE, **options)(row)


def trained(made: maskkit.Example) -> list[str]:
    """The runs of trained characters."""
    characters = np.zeros(len(made.tokens.text) + 2, np.int8)
    for start, end in zip(*(column[made.loss_weights > 0] for column in (made.tokens.char_start, made.tokens.char_end)), strict=True):
        characters[start + 1 : end + 1] = 1
    edges = np.flatnonzero(np.diff(characters))
    return [made.tokens.text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


def weight_of(made: maskkit.Example, text: str) -> float:
    """The one weight of all tokens of the first occurrence of a text."""
    start = made.tokens.text.index(text)
    touching = (made.tokens.char_end > start) & (made.tokens.char_start < start + len(text))
    (weight,) = set(made.loss_weights[touching].tolist())
    return float(weight)


def codes(made: maskkit.Example) -> list[str]:
    return [finding.code for finding in made.warnings]


@cache
def merging_tokenizer() -> Any:
    """A byte-level BPE whose merges run over the edges of tags and words: ``>\\n`` and ``" a"`` are one token each."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    merges = [(">", "Ċ"), ("Ġ", "a"), ("Ġa", "n")]
    alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(alphabet)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in ("<|im_start|>", "<|im_end|>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    tokenizer.chat_template = CHATML
    return tokenizer


# == strings cut into pieces with a weight each ====================================================================


@pytest.mark.parametrize("strategy", ["causal", "reasoning-only", {"name": "weighted", "reasoning": 0.3, "answer": 2.0}])
def test_choosing_weights_changes_the_tokens(strategy: Any) -> None:
    tokenizer = merging_tokenizer()
    row = chat(QUESTION, says("<think>\nhm\n</think>\nan answer"))
    expected = tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=False)
    assert maskkit.Masker(tokenizer, strategy)(row).input_ids.tolist() == expected


def test_a_merge_over_the_end_of_a_tag_splits_the_token_that_the_model_knows() -> None:
    tokenizer = merging_tokenizer()
    merged = tokenizer.convert_tokens_to_ids(">Ċ")
    made = maskkit.Masker(tokenizer, {"name": "weighted", "reasoning": 0.5})(chat(QUESTION, says("<think>\nhm</think>\nan answer")))
    of_tags = made.input_ids == merged
    assert of_tags.sum() == 2
    assert set(made.loss_weights[of_tags]) == {0.5}, "the blank after a tag belongs to the reasoning, and its token is weighed once"
    assert weight_of(made, "an answer") == 1


def test_a_reply_that_is_not_to_be_trained_still_trains_its_stop_token() -> None:
    made = example(chat(QUESTION, says("4"), QUESTION, says("5", loss=False)), "from-data")
    assert trained(made) == ["4<|im_end|>"]


def test_a_float_weight_silently_becomes_one() -> None:
    made = example(chat(QUESTION, says("four", loss_scale=0.3)), "from-data")
    assert weight_of(made, "four") == pytest.approx(0.3)


def test_a_reply_that_weighs_less_has_a_stop_token_that_weighs_one() -> None:
    made = example(chat(QUESTION, says("four", weight=0.3), QUESTION, says("five", weight=0.6)), "from-data")
    assert weight_of(made, "four<|im_end|>") == pytest.approx(0.3)
    assert weight_of(made, "five<|im_end|>") == pytest.approx(0.6)


def test_weights_change_the_learning_rate_because_the_sum_is_divided_by_a_count() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 6, 11), torch.randint(0, 11, (1, 6))
    weights = torch.tensor([[0, 1, 1, 0.5, 0.5, 1]])
    once, twice = (weighted_cross_entropy(logits, labels, factor * weights) for factor in (1, 2))
    assert once.item() == pytest.approx(twice.item())
    counted = [weighted_cross_entropy(logits, labels, factor * weights, normalization="tokens") for factor in (1, 2)]
    assert counted[1].item() == pytest.approx(2 * counted[0].item()), "and who wants the count says so by name"


def test_a_negative_weight_is_silently_masked() -> None:
    with pytest.raises(maskkit.DataError, match="the weight -1"):
        example(chat(QUESTION, says("4", weight=-1)), "from-data")
    with pytest.raises(maskkit.StrategyError, match="negative"):
        example(chat(QUESTION, says("4")), lambda tokens: -1.0 * tokens.where(kind="answer"))
    made = example(chat(QUESTION, says("4", weight=-1)), {"name": "from-data", "signed": True})
    assert made.loss_weights.min() == -1


@pytest.mark.parametrize(
    ("regex", "chosen"),
    [
        (r"(Action): \w+", "Action: look"),
        (r"(?<=Action: )\w+", "look"),
        (r"\w+(?= at it)", "look"),
    ],
)
def test_a_regex_with_a_group_crashes_and_one_that_looks_behind_never_matches(regex: str, chosen: str) -> None:
    rules = [{"where": {"regex": regex, "role": "assistant"}, "weight": 3.0}]
    made = example(chat({"role": "user", "content": "Action: talk"}, says("Action: look at it.")), {"name": "weighted", "rules": rules})
    start = made.tokens.text.index("Action: look") + len("Action: look") - len(chosen)
    heavy = made.loss_weights == 3
    assert "".join(made.tokens.text[a:b] for a, b in zip(made.tokens.char_start[heavy], made.tokens.char_end[heavy], strict=True)) == chosen
    assert made.tokens.char_start[heavy][0] == start


def test_a_keyword_in_prose_takes_the_weight_of_the_section_it_names() -> None:
    made = example(chat(QUESTION, says("The word Observation: is a noun. So it is 4.")), {"name": "weighted", "tool_result": 0.0})
    assert trained(made) == ["The word Observation: is a noun. So it is 4.<|im_end|>"]


def test_any_template_trains_everything_with_weight_one() -> None:
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|fin|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    made = example(chat(QUESTION, says("4")), {"name": "weighted", "answer": 0.5}, template)
    assert trained(made) == ["4<|fin|>"]
    assert weight_of(made, "4") == 0.5


def test_training_keeps_thinking_that_inference_strips() -> None:
    template = trl_template("qwen3")
    row = chat(QUESTION, says("4", reasoning_content="2 and 2"), TWICE, says("8", reasoning_content="4 and 4"))
    assert "history-rewritten" in codes(example(row, template=template))
    tokenizer = tokenizer_for(template)
    served = maskkit.Masker(tokenizer, history="as-served").examples(row)
    for made, count in zip(served, (1, 3), strict=True):
        prompt = tokenizer.apply_chat_template(row["messages"][:count], add_generation_prompt=True, tokenize=True, return_dict=False)
        assert made.input_ids[: len(prompt)].tolist() == prompt
        assert not made.loss_weights[: len(prompt)].any()
        assert made.loss_weights[len(prompt) :].all()
    assert ["4 and 4" in made.tokens.text for made in served] == [False, True]
    assert "2 and 2" not in served[1].tokens.text


def test_truncation_leaves_a_row_without_anything_to_learn() -> None:
    masker = maskkit.Masker(tokenizer_for(CHATML), max_length=12)
    made = masker(chat(QUESTION, says("4")))
    assert not made.loss_weights.any()
    assert {"truncated", "stop-truncated", "trains-nothing"} <= set(codes(made))
    assert masker.counts["trains-nothing"] == 1


@pytest.mark.parametrize("name", ["asistant-only", "hermess"])
def test_an_unknown_name_is_a_bare_key_error(name: str) -> None:
    with pytest.raises(maskkit.MaskkitError, match=rf"unknown strategy '{name}'\..*Available: .*assistant-only"):
        maskkit.load_strategy(name)


def test_the_order_of_a_combination_decides_whether_it_is_known() -> None:
    parts = ["assistant-only", {"name": "weighted", "answer": 0.5}]
    one, other = (example(chat(QUESTION, says("4")), {"product": order}).loss_weights for order in (parts, parts[::-1]))
    np.testing.assert_array_equal(one, other)


# == A. nothing was trained, and nothing said so ===================================================================


def test_all_labels_are_masked_and_the_loss_is_zero() -> None:
    made = example(chat(QUESTION))
    assert codes(made) == ["trains-nothing"]
    with pytest.raises(maskkit.TrainingError):
        weighted_cross_entropy(torch.randn(1, 4, 5), torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 4))


def test_max_length_cuts_the_reply_silently() -> None:
    row = chat(QUESTION, says("It is four, of course."))
    whole = example(row)
    made = example(row, max_length=len(whole) - 8)
    assert codes(made) == ["truncated", "stop-truncated"]
    assert trained(made) == ["It is four, of c"]


def test_a_row_without_labels_makes_the_mean_nan() -> None:
    """In a batch with others it counts nothing; alone it is an error, and no NaN."""
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    weights = torch.tensor([[0.0, 1, 1, 0, 1], [0, 0, 0, 0, 0]])
    for normalization in ("weights", "absolute", "tokens", "sequences"):
        both, one = (weighted_cross_entropy(logits[:n], labels[:n], weights[:n], normalization=normalization) for n in (2, 1))
        assert both.item() == pytest.approx(one.item(), rel=1e-6)
        with pytest.raises(maskkit.TrainingError):
            weighted_cross_entropy(logits[1:], labels[1:], weights[1:], normalization=normalization)


# == B. a template gives no mask, or a wrong one ===================================================================


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "llama3_1", "gemma3", "phi3", "cohere2", "gptoss", "deepseekv3"])
def test_a_template_without_generation_markers_gives_an_empty_mask(name: str) -> None:
    template = trl_template(name)
    assert "{% generation" not in template
    assert "generation %}" not in template
    (run,) = trained(example(chat(QUESTION, says("Four.")), template=template))
    assert "Four." in run
    assert "What is" not in run


@pytest.mark.parametrize("name", ["mistral_v1", "mistral_v2v3", "mistral_v3_tekken", "mistral_v7_tekken"])
def test_mistral_turns_are_not_found(name: str) -> None:
    template = TEMPLATE_PACKAGES["axolotl"].templates()[name]
    made = example(chat(QUESTION, says("Four."), TWICE, says("Eight.")), template=template)
    assert [run.strip() for run in trained(made)] == ["Four.</s>", "Eight.</s>"]


def test_the_reply_marker_is_searched_as_tokens_that_context_changes() -> None:
    """The words of the header, and of the reply, also stand in the question."""
    question = {"role": "user", "content": "Say <|im_start|> assistant\nFour.\nto me: assistant\nFour."}
    assert trained(example(chat(question, says("Four.")))) == ["Four.<|im_end|>"]


def test_the_prompt_was_trained_all_along() -> None:
    for template in (CHATML, trl_template("qwen2_5"), trl_template("llama3")):
        made = example(chat({"role": "system", "content": "Be kind."}, QUESTION, says("Four.")), template=template)
        assert set(made.tokens.role[made.loss_weights > 0]) == {"assistant"}
        assert not (made.loss_weights[~made.tokens.generated] > 0).any()


def test_a_mask_that_is_dropped_on_the_way() -> None:
    """Who reads nothing but the labels trains no prompt either."""
    made = example(chat(QUESTION, says("Four.")))
    batch = maskkit.DataCollator(tokenizer_for(CHATML))([made])
    labels = batch["labels"][0]
    assert "".join(made.tokens.piece(t) for t in np.flatnonzero(labels.numpy() >= 0)) == "Four.<|im_end|>"
    assert set(labels[made.loss_weights == 0].tolist()) == {-100}


# == C. thinking and rewritten history =============================================================================


def test_the_mask_runs_into_the_next_users_turn() -> None:
    row = chat(QUESTION, says("4", reasoning_content="a"), TWICE, says("8", reasoning_content="b"))
    for name in ("qwen3", "qwen3_5_think", "glm4moe", "gptoss", "nemotron_3_nano", "gemma4_v5"):
        for run in trained(example(row, template=trl_template(name))):
            assert "Twice" not in run, name


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "glm4moe", "gptoss", "nemotron_3_nano", "gemma4_v5"])
def test_every_reply_of_a_rewriting_template_stands_behind_its_prompt(name: str) -> None:
    tokenizer = tokenizer_for(trl_template(name))
    row = chat(QUESTION, says("4", reasoning_content="2 and 2"), TWICE, says("8", reasoning_content="4 and 4"), TWICE, says("16"))
    served = maskkit.Masker(tokenizer, history="as-served", date=DATE).examples(row)
    for made, count in zip(served, (1, 3, 5), strict=True):
        prompt = tokenizer.apply_chat_template(row["messages"][:count], add_generation_prompt=True, tokenize=True, return_dict=False)
        if name != "gptoss":  # which prints today's date
            assert made.input_ids[: len(prompt)].tolist() == prompt
        assert set(made.tokens.message[made.loss_weights > 0]) == {count}


def test_content_is_duplicated_where_thinking_is_stripped() -> None:
    row = chat(QUESTION, says("Four", reasoning_content="a"), QUESTION, says("Eight", reasoning_content="b"))
    made = example(row, template=trl_template("qwen3"))
    assert [made.tokens.text.count(word) for word in ("Four", "Eight")] == [1, 1]
    served = maskkit.Masker(tokenizer_for(trl_template("qwen3")), history="as-served").examples(row)
    assert [each.tokens.text.count("Four") for each in served] == [1, 1]


def test_thinking_tags_that_the_prompt_gives_are_trained() -> None:
    row = chat(QUESTION, says("4"), chat_template_kwargs={"enable_thinking": False})
    for name in ("qwen3", "qwen3_5_nothink", "glm4moe", "nemotron_3_nano"):
        (run,) = trained(example(row, template=trl_template(name)))
        assert "think" not in run, name


def test_a_closing_tag_cannot_be_left_out_alone() -> None:
    rules = [{"where": {"kind": "reasoning", "regex": "</think>"}, "weight": 0.0}]
    row = chat(QUESTION, says("4", reasoning_content="hm"))
    made = example(row, {"name": "weighted", "rules": rules}, trl_template("qwen3"))
    assert weight_of(made, "</think>") == 0
    assert weight_of(made, "hm") == 1
    assert weight_of(made, "4<|im_end|>") == 1


def test_a_reply_of_weight_zero_is_dropped_from_the_conversation() -> None:
    made = example(chat(QUESTION, says("bad", weight=0), QUESTION, says("good")), "from-data")
    assert "bad" in made.tokens.text
    assert trained(made) == ["good<|im_end|>"]


def test_thinking_and_prompt_share_a_token_that_is_trained_with_either() -> None:
    """Prompt and empty thinking, ``<think>\\n`` and ``\\n</think>``, meet in one token: it belongs to neither, and is reported."""
    tokenizer = real_tokenizer("qwen3")
    template = trl_template("qwen3_5_think")
    tokenizer = copy(tokenizer)
    tokenizer.chat_template = template
    made = maskkit.Masker(tokenizer)(chat(QUESTION, says("4")))
    assert codes(made) == ["straddle"]
    assert made.tokens.straddle.sum() == 1
    assert not made.loss_weights[made.tokens.straddle].any()


# == D. the stop token =============================================================================================


@pytest.mark.parametrize("name", ["gemma", "gemma3"])
def test_gemmas_terminator_is_never_trained_because_eos_is_another(name: str) -> None:
    """Gemma's tokenizer says <eos>; the model ends its turns with <end_of_turn>."""
    tokenizer = copy(tokenizer_for(trl_template(name)))
    tokenizer.eos_token = "</s>"
    made = maskkit.Masker(tokenizer)(chat(QUESTION, says("4"), QUESTION, says("5")))
    assert trained(made) == ["4<end_of_turn>", "5<end_of_turn>"]


@pytest.mark.parametrize(
    "name", ["qwen2_5", "qwen3", "llama3", "llama3_1", "gemma3", "phi3", "cohere2", "deepseekv3", "gptoss", "gemma4_v5"]
)
def test_every_turn_trains_its_stop_token_once(name: str) -> None:
    made = example(chat(QUESTION, says("Four"), TWICE, says("Eight"), QUESTION, says("Two")), template=trl_template(name))
    stops = made.tokens.where(kind="stop")
    assert made.tokens.message[stops].tolist() == [1, 3, 5]
    assert (made.loss_weights[stops] == 1).all()
    for end in np.flatnonzero(stops):
        assert end + 1 == len(made) or made.loss_weights[end + 1] == 0


CALLS = [{"type": "function", "function": {"name": "f", "arguments": {"x": str(number)}}} for number in range(30)]


def test_a_stop_marker_is_lost_or_doubled_with_parallel_calls() -> None:
    results = [{"role": "tool", "name": "f", "content": str(number)} for number in range(30)]
    row = chat(QUESTION, says("", tool_calls=CALLS), *results, says("Done."), QUESTION, says("Again."))
    made = example(row, template=trl_template("glm4moe"))
    stops = made.tokens.where(kind="stop")
    assert [made.tokens.piece(t) for t in np.flatnonzero(stops)] == ["<|observation|>", "<|user|>"]
    assert made.loss_weights[stops].all()
    assert made.tokens.text.count("<|observation|>") == 1
    assert not any("tool_response" in run for run in trained(made))
    assert "no-stop" in codes(made), "nothing ends the last turn, and that is said"


def test_the_stop_token_is_masked_as_padding() -> None:
    tokenizer = copy(tokenizer_for(CHATML))
    tokenizer.pad_token = tokenizer.eos_token
    masker = maskkit.Masker(tokenizer)
    made = [masker(chat(QUESTION, says("4"))), masker(chat(QUESTION, says("a longer reply")))]
    batch = maskkit.DataCollator(tokenizer)(made)
    eos = batch["input_ids"] == tokenizer.eos_token_id
    trained_stops = eos & (batch["loss_weights"] > 0)
    assert trained_stops.sum() == 2
    assert not batch["loss_weights"][batch["document_ids"] < 0].any()


def test_an_appended_eos_is_trained_behind_the_stop() -> None:
    made = example(chat(QUESTION, says("4")), template=trl_template("phi3"))
    assert made.tokens.text.endswith("<|end|>\n</s>")
    assert trained(made) == ["4<|end|>"]


def test_stop_tokens_of_the_generation_config_are_unknown() -> None:
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|a|><|b|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    first = tokenizer_for(template).convert_tokens_to_ids("<|a|>")
    assert trained(example(chat(QUESTION, says("4")), template=template, stop_token_ids=[first])) == ["4<|a|>"]


# == E. off by one =================================================================================================


def test_labels_are_shifted_twice_and_the_end_token_is_lost() -> None:
    """The only shift is in the loss: a model that is right about every next token has no loss, also on the last."""
    made = example(chat(QUESTION, says("4")))
    batch = maskkit.DataCollator(tokenizer_for(CHATML))([made])
    size = int(batch["input_ids"].max()) + 1
    right = torch.nn.functional.one_hot(batch["input_ids"].roll(-1, 1), size) * 50.0
    assert weighted_cross_entropy(right, batch["labels"], batch["loss_weights"]).item() < 1e-6
    wrong = torch.nn.functional.one_hot(batch["input_ids"], size) * 50.0
    assert weighted_cross_entropy(wrong, batch["labels"], batch["loss_weights"]).item() > 1
    assert batch["labels"][0, np.flatnonzero(made.tokens.where(kind="stop"))[0]] == tokenizer_for(CHATML).eos_token_id


def test_labels_do_not_stand_beside_their_tokens_in_a_padded_batch() -> None:
    masker = maskkit.Masker(tokenizer_for(CHATML))
    made = [masker(chat(QUESTION, says(text))) for text in ("4", "a longer reply", "5")]
    batch = maskkit.DataCollator(tokenizer_for(CHATML))(made)
    kept = batch["labels"] >= 0
    assert torch.equal(batch["labels"][kept], batch["input_ids"][kept])
    assert [row.tolist() for row in kept.sum(1)] == [int((each.loss_weights > 0).sum()) for each in made]


def test_a_merge_over_the_end_of_the_prompt_moves_the_boundary() -> None:
    template = "{% for m in messages %}{{ m.role + ':' + m.content + '<|im_end|>' }}{% endfor %}"
    template += "{% if add_generation_prompt %}assistant: {% endif %}"
    tokenizer = copy(merging_tokenizer())
    tokenizer.chat_template = template
    row = chat({"role": "user", "content": " q"}, says(" an answer"))
    made = maskkit.Masker(tokenizer)(row)
    joint = tokenizer.convert_tokens_to_ids("Ġan")
    assert joint in made.input_ids, "the prompt's last blank and the reply's first word are one token"
    (place,) = np.flatnonzero((made.input_ids == joint) & made.tokens.straddle)
    assert made.loss_weights[place] == 0
    assert "straddle" in codes(made)
    assert trained(made) == [" answer<|im_end|>"]


def test_one_token_of_a_split_emoji_is_trained_without_the_other() -> None:
    made = example(chat({"role": "user", "content": "🙂"}, says("🙃")))
    for emoji, weight in (("🙂", 0), ("🙃", 1)):
        of_emoji = made.tokens.char_start == made.tokens.text.index(emoji)
        assert of_emoji.sum() == 4
        assert set(made.loss_weights[of_emoji]) == {weight}


def test_the_list_above_names_tests() -> None:
    tests = [name.removeprefix("test_") for name in globals() if name.startswith("test_")]
    listed = re.findall(r"\b[a-z]+(?:_[a-z]+){2,}\b", __doc__ or "")
    assert len(listed) > 30
    assert [name for name in listed if not any(test.startswith(name) for test in tests)] == []
