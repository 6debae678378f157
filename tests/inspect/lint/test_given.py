"""Masks in whatever form a trainer has them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import maskkit
from maskkit.errors import ConfigError, DataError
from maskkit.inspect.lint.files import label_rows
from maskkit.inspect.lint.given import given_rows
from maskkit.records import Unreadable
from tests.inspect.lint.rows import Masked, assistant, linted, tiny, user


def _totals(rows: Any, **options: Any) -> dict[str, tuple[int, int]]:
    return {kind: (total.tokens, total.trained) for kind, total in linted(rows, **options).kinds.items()}


def test_labels_weights_tensors_and_mappings_say_the_same():
    made = Masked()
    mask = made.labels != -100
    expected = {"user": (10, 0), "answer": (6, 6), "stop": (1, 1), "template": (9, 0)}
    assert _totals(made.pair) == expected
    for row in (
        (torch.tensor(made.ids), torch.tensor(made.labels)),
        (made.ids, mask.astype(np.float32)),
        (made.ids.tolist(), mask.astype(int).tolist()),
        {"input_ids": made.ids, "labels": made.labels},
        {"input_ids": made.ids, "loss_weights": mask * 0.5},
        {"input_ids": made.ids, "completion_mask": mask},
        {"input_ids": made.ids, "labels": made.labels, **made.row},
    ):
        report = linted([row])
        assert {kind: (total.tokens, total.trained) for kind, total in report.kinds.items()} == expected
        assert not report.findings


def test_weights_beside_labels_are_the_weights():
    made = Masked()
    (row,) = given_rows({"input_ids": made.ids, "labels": made.labels, "loss_weights": made.weights * 0.3}, "row 0", None)
    assert row.labels is not None
    assert row.weights.max() == pytest.approx(0.3)


def test_padding_and_packing_are_undone():
    one, two = Masked(), Masked(user("Hi"), assistant("Yes"))
    pad = tiny().pad_token_id
    batch = {
        "input_ids": torch.tensor([[*one.ids], [*two.ids, *[pad] * (len(one.ids) - len(two.ids))]]),
        "labels": torch.tensor([[*one.labels], [*two.labels, *[-100] * (len(one.ids) - len(two.ids))]]),
        "attention_mask": torch.tensor([[1] * len(one.ids), [1] * len(two.ids) + [0] * (len(one.ids) - len(two.ids))]),
    }
    packed = {
        "input_ids": [*one.ids, *two.ids],
        "labels": [*one.labels, *two.labels],
        "position_ids": [*range(len(one.ids)), *range(len(two.ids))],
    }
    unpadded = linted([one.pair, two.pair])
    for given in (batch, packed):
        report = maskkit.lint(given, tiny())
        assert (report.rows, report.kinds, report.names) == (2, unpadded.kinds, ())


def test_a_stop_token_that_is_masked_with_the_padding_is_found():
    """Where padding is the stop token, masking padding by its id masks the reply's own end."""
    made = Masked()
    stop = made.tokens.where(kind="stop")
    ids = [*made.ids[: int(stop.argmax()) + 1], *[tiny().eos_token_id] * 4]
    labels = [*made.labels[: int(stop.argmax())], *[-100] * 5]
    assert "stop-not-trained" in linted([(ids, labels)]).names


def test_messages_beside_the_ids_say_what_the_ids_should_be():
    made = Masked()
    cut = made.place("21")
    report = linted([{"input_ids": made.ids[:cut], "labels": made.labels[:cut], **made.row}])
    assert set(report.names) == {"truncated", "stop-truncated"}
    other = {"messages": [user(), assistant("Something else.")]}
    assert "wrong-template" in linted([{"input_ids": made.ids, "labels": made.labels, **other}]).names


def test_typed_control_tokens_that_other_trainers_let_through_are_said():
    made = Masked(user("Say <|im_end|>."), assistant("No."), control_tokens="allow")
    assert "control-tokens" in linted([{"input_ids": made.ids, "labels": made.labels, **made.row}]).names
    assert "structure-not-recovered" in linted([made.pair]).names


def test_examples_and_rows_of_data_are_looked_at_too():
    masker = maskkit.Masker(tiny())
    assert not linted([masker({"messages": [user(), assistant()]})]).findings
    report = linted([{"text": "plain"}], strategy="causal")
    assert report.kinds["text"].trained > 0
    assert linted([{"nothing": 1}]).names == ("row-refused",)


def test_a_sample_is_spread_over_the_rows():
    rows = [{"messages": [user(str(number)), assistant("yes" if number < 8 else "")]} for number in range(10)]
    assert linted(rows, sample=5).rows == 5
    assert "empty-turn" in linted(rows, sample=5).names


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (([1, 2, 3], [1, 2]), r"^labels has shape \(2,\), expected \(3,\)"),
        ({"input_ids": [1, 2]}, "neither labels nor loss_weights"),
        ({"input_ids": "text", "labels": [1]}, "input_ids is 'text', expected numbers"),
        ({"input_ids": [0.5, 1.5], "labels": [1, 1]}, "expected whole numbers"),
    ],
)
def test_what_is_no_mask_is_a_finding_that_names_it_and_the_other_rows_are_looked_at(row: Any, said: str):
    report = linted([Masked().pair, row])
    (finding,) = report.findings
    assert (finding.code.name, finding.places[0].source, report.rows) == ("row-refused", "row 1", 2)
    assert re.search(said, finding.places[0].message)


@pytest.mark.parametrize(("by", "what"), [(-1, "the next token"), (1, "the token before")])
def test_shifted_labels_are_one_finding_and_the_mask_is_judged_where_it_belongs(by: int, what: str):
    made = Masked()
    report = linted([(made.ids, np.roll(made.labels, by))])
    (finding,) = report.findings
    assert (finding.code.name, finding.places[0].message) == ("labels-shifted", f"each label is {what}: trainers shift themselves")


def test_files_of_labels_name_their_lines(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = Masked()
    row = {"input_ids": made.ids.tolist(), "labels": made.labels.tolist()}
    lines, table = tmp_path / "labels.jsonl", tmp_path / "labels.parquet"
    lines.write_text(f"\n{json.dumps(row)}\n", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([row]), table)
    assert list(label_rows(lines)) == [(f"{lines}:2", row)]
    assert list(label_rows(table)) == [(f"{table}: row 0", row)]
    lines.write_text('{"messages": []}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"labels.jsonl:1: found the fields 'messages', expected input_ids"):
        list(label_rows(str(lines)))
    lines.write_text(f'{{\n{json.dumps(row)}\n{{"text": ""}}\n', encoding="utf-8")
    torn, good, other = label_rows(lines)
    assert isinstance(torn, Unreadable)
    assert str(torn.error).startswith(f"{lines}:1: not JSON")
    assert good == (f"{lines}:2", row)
    assert isinstance(other, Unreadable)
    assert "found the fields 'text'" in str(other.error)
    with pytest.raises(DataError, match="there is no file"):
        list(label_rows(str(tmp_path / "absent.jsonl")))


def test_a_tokenizer_without_a_template_checks_what_needs_none():
    made = Masked()
    bare = tiny.__wrapped__("")
    bare.chat_template = None
    shifted = (made.ids, np.append(made.labels[1:], -100))
    assert set(linted([shifted], bare).names) >= {"labels-shifted"}
    assert "wrong-template" in linted([made.pair], bare).names or "structure-not-recovered" in linted([made.pair], bare).names


@pytest.mark.parametrize("nothing", [None, 5])
def test_what_holds_no_rows_is_one_line(nothing: Any):
    with pytest.raises(DataError, match=f"^examples are {nothing}, expected a path or rows"):
        maskkit.lint(nothing, tiny())


def test_more_rows_of_a_finding_are_named_on_request():
    rows = [{"nothing": number} for number in range(5)]
    assert [len(linted(rows, **options).findings[0].places) for options in ({}, {"first": 4})] == [3, 4]
    with pytest.raises(ConfigError, match="first is 0"):
        linted(rows, first=0)
