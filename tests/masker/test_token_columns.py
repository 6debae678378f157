"""Columns of a row with one number per token reach strategies and loss modifiers, beside the tokens they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import maskkit
from maskkit import embedded

TOKENIZER = embedded.tiny_tokenizer()
ROW = {"messages": [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "It is 5."}]}
IDS = maskkit.Masker(TOKENIZER)(ROW).input_ids.tolist()
SCORES = [None, *(-0.5 * n for n in range(1, len(IDS)))]


class Easy(maskkit.Strategy):
    """Answers that a reference model finds easy."""

    name = "easy"
    token_columns = ("scores",)

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return tokens.where(kind="answer") & (tokens.extras["scores"] > -1000)


def masker(**options: Any) -> maskkit.Masker:
    return maskkit.Masker(TOKENIZER, Easy(), **options)


def tokens_of(scores: Any, **options: Any) -> maskkit.Tokens:
    return masker(**options).tokens({**ROW, "scores": scores}).tokens


def test_a_column_stands_beside_its_tokens():
    column = tokens_of(SCORES).extras["scores"]
    assert np.isnan(column[0])
    assert column[1:].tolist() == SCORES[1:]
    assert tokens_of({"input_ids": IDS, "values": SCORES}).extras["scores"][3] == -1.5


@pytest.mark.parametrize(("side", "kept"), [("right", slice(0, 6)), ("left", slice(-6, None))])
def test_it_is_cut_with_them(side: str, kept: slice):
    assert tokens_of(SCORES, max_length=6, truncation=side).extras["scores"].tolist()[1:] == SCORES[kept][1:]


def test_only_what_somebody_reads_is_taken():
    assert "scores" not in maskkit.Masker(TOKENIZER).tokens({**ROW, "scores": "not even numbers"}).tokens.extras
    assert not masker().tokens({"text": "5"}).tokens.extras


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        (SCORES[1:], r"scores has shape \(\d+,\), expected \(\d+,\): one number per token. Was it made with another tokenizer"),
        ([[0.0]] * len(IDS), r"scores has shape \(\d+, 1\)"),
        ("high", "scores is not a list of numbers"),
        (["high"] * len(IDS), "scores is not a list of numbers"),
        ({"input_ids": IDS[1:], "values": SCORES[1:]}, r"scores is of \d+ tokens, expected \d+"),
        ({"input_ids": [IDS[0] + 1, *IDS[1:]], "values": SCORES}, f"scores is of other tokens: token 0 is {IDS[0] + 1}, expected {IDS[0]}"),
        ({"ids": IDS}, r"scores has the keys \['ids'\], expected input_ids and values"),
    ],
)
def test_numbers_of_other_tokens_are_refused(scores: Any, says: str):
    with pytest.raises(maskkit.DataError, match=f"row: {says}"):
        tokens_of(scores)


def test_a_row_without_the_column_is_an_error_of_whoever_reads_it():
    with pytest.raises(maskkit.DataError, match=r"row: the row has no column 'scores', expected \d+ numbers, one per token; the row has"):
        masker()(ROW)
