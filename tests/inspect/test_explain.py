"""Explain says where a token came from, what predicts it, what it weighs elsewhere, and what a model expected."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

import maskkit
from maskkit import embedded
from maskkit.inspect.explain import Explanation

TOKENIZER = embedded.tiny_tokenizer()
ROW: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "What is 12 + 9?"},
        {"role": "assistant", "reasoning_content": "12 + 9 = 21", "content": "It is 21 🎉"},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes."},
    ]
}


def told(given: Any = ROW, **options: Any) -> Explanation:
    return maskkit.explain([given], TOKENIZER, **options)


def test_where_a_token_comes_from():
    explained = told(find="= 21")
    origin = explained.origin
    assert (origin.message, origin.role, origin.turn, origin.field) == (1, "assistant", 0, "reasoning_content")
    assert ROW["messages"][1]["reasoning_content"][origin.offset :].startswith(explained.text)
    assert (origin.before + explained.text + origin.after).endswith("</think>It is 21 🎉<|im_end|>\n<|im_sta"[: len(origin.after)])
    assert explained.kind == "reasoning"


@pytest.mark.parametrize(("row", "find", "field", "offset"), [
    ({"text": "one two"}, "two", "text", 4),
    ({"prompt": "one", "completion": " two"}, "two", "completion", 1),
])  # fmt: skip
def test_rows_without_a_template_have_fields_too(row: dict[str, Any], find: str, field: str, offset: int):
    explained = told(row, find=find, strategy="causal")
    assert explained.origin.field == field
    assert explained.origin.offset + explained.text.find("t") == offset


@pytest.mark.parametrize(("find", "kind", "said"), [
    ("What", "user", "no, messages of role user are part of the prompt"),
    ("<|im_start|>assistant", "template", "no, the generation prompt of message 1 supplies it"),
    ("<think>", "reasoning", "yes, behind the prompt of message 1"),
    ("<|im_end|>", "template", "no, messages of role user are part of the prompt"),
])  # fmt: skip
def test_whose_it_is_and_why(find: str, kind: str, said: str):
    explained = told(find=find)
    assert (explained.kind, explained.origin.whose) == (kind, said)


def test_the_end_of_a_turn():
    stop, newline = told(token=-2), told(token=-1)
    assert (stop.kind, stop.origin.whose) == ("stop", "yes, to end the turn")
    assert (newline.kind, newline.origin.whose) == ("template", "no, it stands behind the stop token, where the model has stopped")


def test_the_position_before_predicts_it():
    explained = told(token=5)
    ids = maskkit.Masker(TOKENIZER)(ROW).input_ids
    assert explained.predicted_by is not None
    assert (explained.predicted_by.position, explained.predicted_by.id) == (4, ids[4])
    assert told(token=0).predicted_by is None
    assert told(token=0).weighed[0].expression.operation == "zero"


def test_all_places_of_a_text_are_told():
    explained = told(find="12")
    assert len(explained.found) == 2
    assert explained.token == explained.found[0]
    assert told(token=explained.found[1]).kind == "reasoning"


def test_a_split_character_names_all_its_tokens():
    explained = told(find="🎉")
    assert explained.text.strip() == "🎉"
    assert len(explained.shares) > 1
    assert explained.token in explained.shares


def test_every_strategy_asked_and_every_other_installed():
    explained = told(find="=", strategies=["causal", {"name": "weighted", "reasoning": 0.3}])
    assert [weighed.weight for weighed in explained.weighed] == pytest.approx([1.0, 0.3])
    others = {other.strategy: other for other in explained.others}
    assert "causal" not in others
    assert others["reasoning-only"].weight == 1.0
    assert others["tool-calls"].weight == 0.0
    assert others["row-weight"].weight is None
    assert "weight is missing" in others["row-weight"].problem


def test_loss_modifiers_are_named_and_weigh_nothing_yet():
    explained = told(find="=", strategy={"product": ["assistant-only", "dft"]})
    assert explained.weighed[0].modifiers == ("dft",)
    assert explained.weighed[0].weight == 1.0
    assert "dft" not in {other.strategy for other in explained.others}


def test_a_reply_as_it_was_served():
    first, last = told(token=-2, history="as-served", reply=0), told(token=-2, history="as-served")
    assert (first.origin.message, last.origin.message) == (1, 3)
    earlier = told(find="It", history="as-served")
    assert earlier.origin.whose == "no, an earlier reply is part of the prompt"
    assert (earlier.origin.field, earlier.origin.offset) == ("content", 0)
    assert earlier.weighed[0].expression.name == "served-prompt"


def test_the_model_is_asked_for_this_token():
    model = embedded.tiny_model()
    explained = told(find="=", model=model)
    ids = torch.tensor(maskkit.Masker(TOKENIZER)(ROW).input_ids)[None]
    with torch.no_grad():
        log_probs = torch.log_softmax(model(ids).logits[0, explained.token - 1].double(), -1)
    score = explained.score
    assert score is not None
    assert score.loss == pytest.approx(-float(log_probs[explained.id]), rel=1e-4)
    assert score.probability == pytest.approx(math.exp(-score.loss))
    assert score.rank == 1 + int((log_probs > log_probs[explained.id]).sum())
    assert score.entropy == pytest.approx(-float((log_probs * log_probs.exp()).sum()), rel=1e-4)
    assert [guess.id for guess in score.guesses] == log_probs.topk(5).indices.tolist()
    assert told(token=0, model=model).score is None


def test_json_has_the_same_content():
    read = json.loads(json.dumps(told(find="=", strategy=lambda tokens: tokens.where()).to_json()))
    assert read["weighed"][0]["strategy"] == "<lambda>"
    assert read["weighed"][0]["expression"]["value"] == 1.0
    assert read["origin"]["field"] == "reasoning_content"


@pytest.mark.parametrize(("options", "said"), [
    ({}, "one of token"),
    ({"token": 1, "find": "a"}, "one of token"),
    ({"token": 1.5}, "token is 1.5, expected a whole number"),
    ({"token": "1"}, "token is '1', expected a whole number"),
    ({"find": ""}, "find is empty"),
    ({"token": 99}, "there is no token 99; the row has"),
    ({"find": "zebra"}, "'zebra' does not stand in the rendered row"),
    ({"token": 1, "row": 7}, "there is no row 7"),
    ({"token": 1, "history": "as-served", "reply": 5}, "there is no reply 5"),
    ({"token": 1, "max_length": 9, "truncation": "drop"}, "makes no example (dropped"),
])  # fmt: skip
def test_what_is_not_there_is_one_line(options: dict[str, Any], said: str):
    with pytest.raises(maskkit.MaskkitError) as error:
        told(**options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
