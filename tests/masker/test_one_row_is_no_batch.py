"""A function for batches that is mapped over single rows says so, instead of reading letters as rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from maskkit import Masker, embedded
from maskkit.errors import ConfigError
from maskkit.integrations.prepared import prepared_batch

TOKENIZER = embedded.tiny_tokenizer()
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
ROWS: list[dict[str, Any]] = [
    {"text": "abc"},
    {"text": "abc", "score": 0.5},
    {"text": "abc", "note": None},
    {"prompt": "ab", "completion": "cd"},
    {"prompt": TALK[:1], "completion": TALK[1:]},
    {"messages": TALK},
    {"messages": TALK, "tags": ["x", "y"]},
    {"conversations": TALK},
    {"messages": TALK, "chat_template_kwargs": {"enable_thinking": False}},
    {"input_ids": [5, 6], "labels": [5, 6]},
]
WITHOUT_ROLES = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}


def strategy_of(row: dict[str, Any]) -> str:
    return "from-data" if "input_ids" in row else "causal"


@pytest.mark.parametrize("row", [*ROWS, WITHOUT_ROLES], ids=lambda row: " ".join(row))
def test_one_row_is_told_from_a_batch(row: dict[str, Any]):
    masker = Masker(TOKENIZER, strategy_of(row))
    with pytest.raises(
        ConfigError, match=r"^one row was given where a batch of rows is expected \(\w+ is .*pass batched=True, as  dataset\.map\(m"
    ):
        masker.encode_batch(row)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row))
def test_batches_of_the_same_rows_are_taken(row: dict[str, Any]):
    masker = Masker(TOKENIZER, strategy_of(row))
    for count in (1, 2):
        assert len(masker.encode_batch({name: [value] * count for name, value in row.items()})["input_ids"]) == count
    assert masker.encode_batch({name: [] for name in row})["input_ids"] == []


@pytest.mark.parametrize("form", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_arrays_are_told_apart_too(form: Any):
    masker = Masker(TOKENIZER, "from-data")
    assert len(masker.encode_batch({"input_ids": form([[5, 6]]), "labels": form([[5, 6]])})["input_ids"]) == 1
    for row in ({"input_ids": form([5, 6]), "labels": form([5, 6])}, {"score": form(0.5)}):
        with pytest.raises(ConfigError, match="pass batched=True"):
            masker.encode_batch(row)


def test_messages_that_a_table_holds_as_columns_are_a_batch():
    from maskkit.records.batches import check_batched

    check_batched({"messages": [{"role": ["user", "assistant"], "content": ["a", "b"]}]}, [0], "")


def test_one_number_instead_of_several_is_told():
    with pytest.raises(ConfigError, match=r"indices is 3, expected a list of numbers\): pass batched=True"):
        Masker(TOKENIZER).encode_batch({}, 3)  # type: ignore[arg-type]


def test_rows_of_others_are_told_apart_as_well():
    with pytest.raises(ConfigError, match=r"input_ids is \[5, 6\].*pass batched=True, as  dataset\.map\(prepared_batch"):
        prepared_batch({"input_ids": [5, 6], "labels": [5, 6]})


def test_as_datasets_maps_it():
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    rows = datasets.Dataset.from_list([{"text": "abc"}])
    with pytest.raises(ConfigError, match=r"^one row was given .*text is 'abc'.*pass batched=True"):
        rows.map(Masker(TOKENIZER, "causal").encode_batch)
    with pytest.raises(ConfigError, match="pass batched=True"):
        rows.map(Masker(TOKENIZER, "causal").encode_batch, with_indices=True)
