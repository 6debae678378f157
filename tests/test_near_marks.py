"""Keys that look like marks: misspelt ones are told with the mark that is meant, ordinary keys of chat data are left alone."""

from __future__ import annotations

from typing import Any

import pytest

from maskkit import Masker, embedded
from maskkit.records import to_record
from maskkit.records.marks import KNOWN
from maskkit.records.near_marks import meant_by, near_marks

MISSPELT = {
    "weight": "weigth wieght wegith weigt weiqht Weight WEIGHT weights my_weight my_weigth sample-weight weighted",
    "loss_weight": "lossweight loss-weight lossWeight loss_wieght loss.weight",
    "loss": "Loss losss lsos",
    "loss_scale": "lossScale losscale loss-scale loss_scal",
    "train": "trainn Train trian isTrain notrain no_train should_train trained",
    "training": "trianing Training",
    "trainable": "trainble traniable isTrainable",
    "masked": "maskd Masked maksed",
    "step_loss_mask": "loss_mask lossmask stepLossMask mask",
    "train_detail": "train_details trainDetail",
}

ORDINARY = (
    "name content role tool_call_id id type text index author timestamp model provider finish_reason refusal audio "
    "annotations logprobs metadata language score rating quality rank reward label labels topic tags task tasks category "
    "subject summary prefix phase channel recipient turn weather height heights eight freight sleight width wait right bright "
    "wright weekday worth weigher website reasoning reasoning_content thinking tool_calls function arguments training_set "
    "training_data train_split training_run trainer trainee terrain strain brain rain trait trail trailing tracking trading "
    "tran transcript asked marked market marker mapped matched mashed list last lost lose less lossy lossless boss class "
    "glass cache_control citations parent_id is_error toxicity difficulty developer location latitude caller hidden visible "
    "token_count "
)


@pytest.mark.parametrize(("meant", "key"), [(mark, key) for mark, keys in MISSPELT.items() for key in keys.split()])
def test_a_misspelt_mark_is_told_with_the_one_it_means(meant: str, key: str):
    assert meant_by(key) == meant


@pytest.mark.parametrize("key", [*ORDINARY.split(), *sorted(KNOWN)])
def test_ordinary_keys_and_marks_are_none(key: str):
    assert meant_by(key) == ""


def chat(**columns: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}], **columns}


def found(row: dict[str, Any], read: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return [tuple(mark) for mark in near_marks(to_record(row), read)]


def test_parts_and_tool_calls_are_looked_at():
    row = chat()
    row["messages"][1] = {
        "role": "assistant",
        "content": [{"type": "text", "text": "So.", "weigth": 0}],
        "tool_calls": [{"type": "function", "function": {"name": "clock", "arguments": {}}, "lossWeight": 2}],
    }
    assert found(row) == [("messages[1].content[0].weigth", "weight"), ("messages[1].tool_calls[0].lossWeight", "loss_weight")]


@pytest.mark.parametrize(("column", "value", "meant"), [
    ("weights", [0, 1], "weight"),
    ("weigths", [0, 1], "weight"),
    ("weight", [0.5, 1], "weight"),
    ("loss_mask", [0, 1], "step_loss_mask"),
    ("loss_weights", [0.0, 0.5, 1.0], "loss_weight"),
    ("completion_mask", [0, 1, 1, 1], "train"),
    ("train", [False, True], "train"),
    ("loss", [0, 1], "loss"),
    ("labels", [0, 1], "train"),
    ("labels", [-100, -100, 5], "train"),
])  # fmt: skip
def test_a_column_of_weights_beside_messages_is_told(column: str, value: Any, meant: str):
    assert found(chat(**{column: value})) == [(column, meant)]


@pytest.mark.parametrize("columns", [
    {"weight": 0.5, "quality": 3, "score": [1, 2], "reward": 1.0},
    {"labels": ["math", "hard"]},
    {"labels": [3]},
    {"loss": 2.5, "reference_loss": [2.25, 0.5, 1.75]},
    {"attention_mask": [1, 1, 1], "special_tokens_mask": [0, 0, 1]},
    {"train_split": [1, 2], "training_set": "a", "train": True},
    {"weights": []},
    {"weights": None},
])  # fmt: skip
def test_other_columns_are_left_alone(columns: dict[str, Any]):
    assert found(chat(**columns)) == []


def test_a_column_that_the_strategy_reads_is_not_told():
    assert found(chat(token_weights=[0.5, 1.0]), read=("token_weights",)) == []


def test_the_mask_of_ready_tokens_is_read_and_not_told():
    assert found({"input_ids": [1, 2], "labels": [-100, 2], "loss_mask": [0, 1]}) == []


def test_tokens_beside_messages_are_not_read_and_their_labels_told():
    assert found(chat(input_ids=[1, 2, 3], labels=[1, 2, 3])) == [("labels", "train")]


def test_the_finding_says_where_the_weight_belongs():
    [finding] = Masker(embedded.tiny_tokenizer(), "from-data")(chat(weights=[0, 1])).warnings
    assert finding.code == "unknown-mark"
    assert finding.message == "weights looks like a weight, and is none that is read: did you mean 'weight' of a message?"


def test_several_are_told_in_one_line():
    row = chat(loss_mask=[0, 1])
    row["messages"][1]["lossWeight"] = 0
    [finding] = Masker(embedded.tiny_tokenizer(), "from-data")(row).warnings
    assert finding.message == (
        "messages[1].lossWeight, loss_mask look like weights, and none of them is read: did you mean 'loss_weight', 'step_loss_mask'?"
    )
    assert finding.count == 2
