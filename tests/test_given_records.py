"""Rows that are tokens already: read, weighed by their own mask, previewed and trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskkit
from maskkit import embedded
from maskkit.errors import ConfigError, DataError
from maskkit.records import to_record

TOKENIZER = embedded.tiny_tokenizer()
CHAT = {"messages": [{"role": "user", "content": "🙂?"}, {"role": "assistant", "content": "\u3069\u3046 🙂"}]}


def encoded() -> maskkit.Example:
    return maskkit.Masker(TOKENIZER)(CHAT)


def given(**columns: Any) -> dict[str, Any]:
    """The chat's ids, with columns of another tool; all trained if there is none."""
    ids = encoded().input_ids.tolist()
    return {"input_ids": ids, **(columns or {"labels": ids})}


@pytest.mark.parametrize(
    ("columns", "weights"),
    [
        ({"labels": [-100, 6, 7]}, [0, 1, 1]),
        ({"loss_scale": [0, 0.2, 2]}, [0, 0.2, 2]),
        ({"labels": [-100, -100, 7], "loss_scale": [1, 1, 0.5]}, [0, 0, 0.5]),
        ({"completion_mask": [0, 1, 1], "assistant_masks": [1, 0, 1]}, [0, 0, 1]),
        ({"loss_mask": np.array([0, 1, 1])}, [0, 1, 1]),
        ({"labels": [-100, 6, -100], "attention_mask": [1, 1, 0], "position_ids": [0, 1, 0]}, [0, 1]),
    ],
)
def test_masks_are_read_under_their_names(columns: dict[str, Any], weights: list[float]):
    record = to_record({"input_ids": [5, 6, 7], **columns})
    assert record.form == "ids"
    assert record.tokens is not None
    assert list(record.tokens.weights) == weights
    assert list(record.tokens.ids) == [5, 6, 7][: len(weights)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"input_ids": [5]}, "neither labels nor loss_weights"),
        ({"input_ids": [], "labels": []}, "input_ids are empty"),
        ({"input_ids": ["a"], "labels": [1]}, "input_ids is ['a'], expected a list of numbers"),
        ({"input_ids": [0.5], "labels": [1]}, "input_ids has 0.5, expected token ids"),
        ({"input_ids": [5, 6], "labels": [5]}, "labels has 1 values, expected 2"),
        ({"input_ids": [5, 6], "labels": [6, -100]}, "the label of token 0 is 6, expected its own id 5 or -100"),
        ({"input_ids": [5, 6], "labels": [5, 6], "position_ids": [0, 0]}, "a pack of several documents"),
        ({"input_ids": [5, 6], "labels": [5, 6], "seq_lengths": [1, 1]}, "a pack of several documents"),
    ],
)
def test_what_is_wrong_is_named(row: dict[str, Any], said: str):
    with pytest.raises(DataError) as raised:
        to_record(row, "rows.jsonl:3")
    assert str(raised.value).startswith("rows.jsonl:3: ")
    assert said in str(raised.value)


def test_messages_beside_the_ids_are_the_data():
    assert to_record({**given(), **CHAT}).form == "messages"


def test_the_text_is_what_the_tokens_say_and_split_characters_stay_together():
    tokens = maskkit.Masker(TOKENIZER, "from-data")(given()).tokens
    assert tokens.text == encoded().tokens.text
    np.testing.assert_array_equal(tokens.char_start, encoded().tokens.char_start)
    np.testing.assert_array_equal(tokens.char_end, encoded().tokens.char_end)


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_the_text_of_ids_that_no_text_is_encoded_as(cut: int):
    """A word in single letters, a character that begins in its middle: what is read token by token says the same as the whole."""
    letters = [token for letter in "What?" for token in TOKENIZER(letter)["input_ids"]]
    ids = encoded().input_ids.tolist()
    emoji = next(number for number in range(len(ids)) if encoded().tokens.piece(number) == "🙂")
    ids = letters + ids[emoji + cut :]
    tokens = maskkit.Masker(TOKENIZER, "from-data")({"input_ids": ids, "loss_mask": [1] * len(ids)}).tokens
    assert tokens.text == TOKENIZER.decode(ids, skip_special_tokens=False)
    assert [tokens.piece(number) for number in range(5)] == list("What?")
    assert (tokens.char_start[1:] <= tokens.char_end[:-1]).all()


def test_from_data_trains_what_the_mask_says():
    example = encoded()
    row = given(labels=example.labels.tolist(), loss_scale=(example.loss_weights * 0.5).tolist())
    np.testing.assert_array_equal(maskkit.Masker(TOKENIZER, "from-data")(row).loss_weights, example.loss_weights * np.float32(0.5))
    cut = maskkit.Masker(TOKENIZER, "from-data", max_length=len(example) - 2)(row)
    np.testing.assert_array_equal(cut.loss_weights, example.loss_weights[:-2] * np.float32(0.5))


def test_other_strategies_say_that_the_mask_is_not_theirs():
    with pytest.raises(ConfigError, match="'assistant-only' trains none of them: use 'from-data', which reads their mask, or 'causal'"):
        maskkit.Masker(TOKENIZER)(given())
    whole = maskkit.Masker(TOKENIZER, "causal")(given())
    assert whole.loss_weights[1:].all()
    assert [finding.code for finding in whole.warnings] == ["data-weights-ignored"]


def test_ids_of_another_tokenizer():
    with pytest.raises(DataError, match=r"input_ids has 99999, and the tokenizer has \d+ tokens: is it theirs\?"):
        maskkit.Masker(TOKENIZER, "from-data")({"input_ids": [1, 99999], "labels": [1, 99999]})


def test_a_run_trains_on_them(tmp_path: Path):
    rows = [
        {"input_ids": e.input_ids.tolist(), "labels": e.labels.tolist()}
        for e in maskkit.Masker(TOKENIZER).batch(embedded.quickstart_rows()[:8])
    ]
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "model": "tiny",
        "data": {"train": str(tmp_path / "ids.jsonl"), "eval": None},
        "strategy": "from-data",
        "training": {"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3},
        "output_dir": str(tmp_path / "run"),
    }
    maskkit.train(maskkit.RunConfig.model_validate(config))
    assert (tmp_path / "run" / "model").is_dir()
