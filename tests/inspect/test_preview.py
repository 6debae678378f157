"""A preview tells every token's kind and weight, and splits no character."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import maskkit
from maskkit import embedded
from maskkit.inspect.page import preview_page
from maskkit.inspect.preview import Preview, RowPreview, template_name
from maskkit.inspect.terminal import draw

TOKENIZER = embedded.tiny_tokenizer()
ROW: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "𠮷野家? 👨‍👩‍👧"},
        {"role": "assistant", "reasoning_content": "家は🎉", "content": "はい"},
    ]
}
WEIGHTED = {"name": "weighted", "reasoning": 0.25, "answer": 1.0}


def shown(row: dict[str, Any] = ROW, **options: Any) -> RowPreview:
    return maskkit.preview([row], TOKENIZER, **options).rows[0]


def test_the_pieces_are_the_text_and_the_tokens_are_the_models():
    example = maskkit.Masker(TOKENIZER, "assistant-only")(ROW)
    row = shown()
    assert "".join(piece.text for piece in row.pieces) == example.tokens.text
    assert [token_id for piece in row.pieces for token_id in piece.ids] == example.input_ids.tolist()
    assert np.allclose([weight for piece in row.pieces for weight in piece.weights], example.loss_weights)


def test_tokens_that_share_a_character_are_one_piece():
    split = [piece for piece in shown().pieces if len(piece.ids) > 1]
    assert "𠮷" in [piece.text for piece in split]
    assert all(len(piece.weights) == len(piece.ids) for piece in split)
    assert not any("\ufffd" in piece.text for piece in shown().pieces)


def test_kinds_are_counted_with_their_weights():
    row = shown(strategy=WEIGHTED)
    totals = {total.kind: total for total in row.kinds}
    assert totals["user"].trained == 0
    assert totals["reasoning"].trained == totals["reasoning"].tokens > 0
    assert totals["reasoning"].weight == 0.25 * totals["reasoning"].tokens
    assert sum(total.tokens for total in row.kinds) == row.tokens == sum(len(piece.ids) for piece in row.pieces)
    assert row.trained == sum(weight != 0 for piece in row.pieces for weight in piece.weights)


def test_rows_are_encoded_once_and_weighed_by_every_strategy():
    preview = maskkit.preview([ROW, ROW], TOKENIZER, strategies=["causal", WEIGHTED])
    assert [row.source for row in preview.rows] == ["row 0", "row 0", "row 1", "row 1"]
    assert [row.strategy for row in preview.rows[:2]] == ["causal", WEIGHTED]
    assert [piece.ids for piece in preview.rows[0].pieces] == [piece.ids for piece in preview.rows[1].pieces]


def test_what_was_noticed_stands_with_its_row():
    row = shown(max_length=5)
    assert {"truncated", "trains-nothing"} <= {finding.code for finding in row.findings}
    assert row.tokens == 5


def test_what_rendered_the_rows_is_named():
    preview = maskkit.preview([ROW], TOKENIZER, tokenizer_name="tiny")
    assert preview.tokenizer == "tiny"
    assert preview.template == template_name(TOKENIZER)
    assert preview.template.startswith("sha256:")


def test_templates_with_names_keep_them():
    several: Any = SimpleNamespace(chat_template={"default": "a", "tool_use": "b"})
    assert re.fullmatch(r"default sha256:ca978112ca1b, tool_use sha256:[0-9a-f]{12}", template_name(several))
    none: Any = SimpleNamespace(chat_template=None)
    assert template_name(none) == "none"


def test_a_token_without_text_is_shown_too():
    row = shown({"text": "a"}, strategy="causal")
    assert row.pieces[-1].kind == "stop"
    assert sum(len(piece.ids) for piece in row.pieces) == len(maskkit.Masker(TOKENIZER, "causal")({"text": "a"}).input_ids)


def test_json_has_the_same_content():
    preview: Preview = maskkit.preview([ROW], TOKENIZER)
    read = json.loads(json.dumps(preview.to_json()))
    assert [piece["text"] for piece in read["rows"][0]["pieces"]] == [piece.text for piece in preview.rows[0].pieces]
    assert read["rows"][0]["kinds"][0]["kind"] == preview.rows[0].kinds[0].kind


def test_a_function_stands_by_its_name_in_json():
    def everything(tokens: maskkit.Tokens) -> Any:
        return tokens.where()

    shown = maskkit.preview([ROW], TOKENIZER, {"product": ["causal", everything]})
    read = json.loads(json.dumps(shown.to_json()))
    assert read["rows"][0]["strategy"] == {"product": ["causal", "everything"]}


def test_a_file_is_data_and_a_single_row_is_not(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(ROW)}\n")
    assert maskkit.preview(tmp_path / "rows.jsonl", TOKENIZER).rows[0].source == f"{tmp_path}/rows.jsonl:1"
    with pytest.raises(maskkit.DataError, match="a list of one row"):
        maskkit.preview(ROW, TOKENIZER)


def test_loss_modifiers_are_named_since_they_act_later():
    two = maskkit.preview([ROW], TOKENIZER, strategies=["assistant-only", {"product": ["assistant-only", "focal", "dft"]}])
    assert [row.modifiers for row in two.rows] == [(), ("focal", "dft")]
    assert two.rows[0].kinds == two.rows[1].kinds
    lines = [line.plain for line in draw(two, weights=True)]
    assert "acts on these weights when the loss is computed, which is not shown: focal, dft" in lines
    assert "act on the weights shown here when the loss is computed" in preview_page(two)
    assert "when the loss is computed" not in preview_page(maskkit.preview([ROW], TOKENIZER))


def test_one_strategy_where_several_are_expected_is_one():
    assert maskkit.preview([ROW], TOKENIZER, strategies="causal").rows == maskkit.preview([ROW], TOKENIZER, "causal").rows
