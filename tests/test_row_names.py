"""A row that is wrong can be found in its data set, also where only its place in a batch is known."""

from __future__ import annotations

from typing import Any

import pytest

import maskkit
from maskkit import embedded
from maskkit.errors import DataError
from maskkit.integrations.guards import CheckedCollator
from maskkit.records.names import RowName

TOKENIZER = embedded.tiny_tokenizer()
GOOD = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 12 + 9, and why is it not less?"}]
BAD = [*GOOD, {"role": "assistant", "content": 3}]


@pytest.mark.parametrize(
    ("row", "called"),
    [
        ({}, ""),
        ({"id": 0}, " (id 0)"),
        ({"id": "a17", "uuid": "9f", "text": "Once"}, " (id 'a17', 'Once')"),
        ({"id": None, "idx": 4}, " (idx 4)"),
        ({"messages": GOOD}, " ('What is 12 + 9, and why is it not less?')"),
        ({"text": "so " * 20}, " ('so so so so so so so so so so so so so …')"),
        ({"messages": [{"role": "assistant", "content": " "}, {"role": "tool", "content": "5"}]}, " ('5')"),
        ({"conversations": [{"from": "gpt", "value": "Hi"}, {"from": "human", "value": "Ho"}]}, " ('Ho')"),
        ({"prompt": 3, "messages": [7, None]}, ""),
    ],
)
def test_a_row_is_called_by_what_tells_it_apart(row: dict[str, Any], called: str):
    assert str(RowName(row, 3)) == f"row 3 of the batch{called}"


def test_a_bad_row_of_a_mapped_data_set_can_be_found():
    columns = {"messages": [GOOD, BAD], "id": ["a16", "a17"]}
    masker = maskkit.Masker(TOKENIZER)
    with pytest.raises(DataError, match=r"^row 1 of the batch \(id 'a17', 'What is 12 \+ 9.*'\): messages\[2\]\.content is 3"):
        masker.encode_batch(columns)
    with pytest.raises(DataError, match=r"^row 2017: messages\[2\]\.content is 3"):
        masker.encode_batch(columns, [2016, 2017])


def test_datasets_gives_the_numbers(tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    rows = datasets.Dataset.from_dict({"text": [f"Row {n}" if n != 17 else "" for n in range(20)]})
    masker = maskkit.Masker(TOKENIZER, "causal")
    mapped = rows.map(masker.encode_batch, batched=True, batch_size=6, with_indices=True, remove_columns=rows.column_names)
    assert len(mapped) == 20
    with pytest.raises(maskkit.ConfigError, match=r"^row 0 is plain text"):
        rows.map(maskkit.Masker(TOKENIZER).encode_batch, batched=True, with_indices=True)


@pytest.mark.parametrize("checked", [False, True])
def test_a_mapped_row_is_called_by_its_first_words(checked: bool):
    ids = TOKENIZER("What is 12 + 9, and why?")["input_ids"]
    collator: Any = maskkit.DataCollator(TOKENIZER)
    collator = CheckedCollator(collator) if checked else collator
    rows = [{"input_ids": ids, "loss_weights": [1.0] * len(ids)}, {"input_ids": ids, "loss_weights": [1.0]}]
    with pytest.raises(DataError, match=r"^row 1 of the batch \('What is 12"):
        collator(rows)
    with pytest.raises(DataError, match=r"^row 0 of the batch has no column 'loss_weights'"):
        collator([{"input_ids": [-1, 2]}])
