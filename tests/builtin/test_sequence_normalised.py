"""``sequence-normalised``: v / n^exponent with n the trained tokens of a row, turn or message."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import maskkit
from maskkit.strategy import TokenScores
from maskkit.testing import token_tables
from tests.builtin.weighing import weigh
from tests.tables import make_tokens

TABLE = make_tokens(
    [
        ("user", False, 0), ("answer", True, 1), ("answer", True, 1), ("stop", True, 1),
        ("user", False, 2), ("stop", True, 3),
    ],
    ("user", "assistant", "user", "assistant"),
)  # fmt: skip


def spec(**options: object) -> dict[str, object]:
    return {"name": "sequence-normalised", **options}


def test_one_over_n():
    assert weigh(spec(), TABLE) == [0, 0.25, 0.25, 0.25, 0, 0.25]
    assert weigh(spec(exponent=0.5), TABLE) == [0, 0.5, 0.5, 0.5, 0, 0.5]
    assert weigh(spec(exponent=0), TABLE) == [0, 1, 1, 1, 0, 1]


def test_per_turn_and_per_message():
    third = pytest.approx(1 / 3)
    for per in ("turn", "message"):
        assert weigh(spec(per=per), TABLE) == [0, third, third, third, 0, 1]


def test_n_counts_tokens_not_weights():
    inner = {"name": "weighted", "answer": 2.0, "stop": 0}
    assert weigh(spec(strategy=inner), TABLE) == [0, 1, 1, 0, 0, 0]


def test_n_counts_what_is_trained_after_truncation_and_never_the_first_token():
    assert weigh(spec(), TABLE.truncated(2)) == [0, 1]
    assert weigh(spec(strategy="causal"), TABLE) == [pytest.approx(0.2)] * 6, "the first token is never predicted"


def test_n_does_not_count_tokens_of_unknown_or_mixed_origin():
    tables = token_tables()
    straddling = tables["tokens that straddle"]
    trained = ~straddling.straddle & straddling.where(kind="answer")
    assert 0 < trained.sum() < straddling.where(kind="answer").sum()
    assert set(np.array(weigh(spec(), straddling))[trained]) == {1 / trained.sum()}
    everything = {"name": "weighted", "rules": [{"where": {"generated": "any"}, "weight": 1}]}
    kinds = tables["every kind"]
    attributed = (kinds.kind != "unknown") & (np.arange(len(kinds)) > 0)
    assert set(weigh(spec(strategy=everything), kinds)) == {1 / attributed.sum()}


def test_rows_of_any_length_sum_to_one():
    from maskkit import embedded

    masker = maskkit.Masker(embedded.tiny_tokenizer(), spec())
    for reply in ("yes", "a much longer reply, of several words"):
        row = {"messages": [{"role": "user", "content": "well?"}, {"role": "assistant", "content": reply}]}
        np.testing.assert_allclose(masker(row).loss_weights.sum(), 1, rtol=1e-6)


def test_a_row_that_trains_nothing_stays_so():
    assert weigh(spec(), TABLE.truncated(1)) == [0]
    assert weigh(spec(strategy="reasoning-only"), TABLE) == [0] * 6


def test_it_declares_what_the_other_strategy_does():
    assert not maskkit.load_strategy(spec(strategy="causal")).needs_attribution
    assert maskkit.load_strategy(spec(strategy={"name": "from-data", "signed": True})).signed
    with pytest.raises(maskkit.UnknownNameError, match="asistant-only"):
        maskkit.load_strategy(spec(strategy="asistant-only"))


SCHEDULE = {"name": "schedule", "from": "assistant-only", "to": "causal", "start": 2, "end": 5}


def test_a_schedule_inside_is_refused_since_it_trains_other_tokens_at_each_step():
    for inner in (SCHEDULE, {"scale": 0.5, "strategy": SCHEDULE}, {"product": [SCHEDULE, "dft"]}, spec(strategy=SCHEDULE)):
        with pytest.raises(maskkit.ConfigError, match=r"as \{name: schedule, from: \{name: sequence-normalised, strategy: \.\.\.\}"):
            maskkit.load_strategy(spec(strategy=inner))
    assert maskkit.load_strategy(spec(strategy={"product": ["causal", "dft"]})).modifiers, "others act on what was normalised"


def test_in_a_schedule_of_normalised_strategies_each_row_sums_to_one_at_every_step():
    from maskkit import embedded

    both = {end: spec(strategy=SCHEDULE[end]) for end in ("from", "to")}
    masker = maskkit.Masker(embedded.tiny_tokenizer(), {**SCHEDULE, **both})
    (mixture,) = masker.strategy.modifiers
    for question in ("q", "a much longer question, of several words"):
        row = {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "it is one two three"}]}
        example = masker(row)
        trained = example.loss_weights != 0
        base = torch.tensor(example.loss_weights[trained], dtype=torch.float64)
        extras: Any = {name: torch.tensor(np.asarray(column)[trained]) for name, column in mixture.carry(example.tokens).items()}
        blank = torch.zeros(len(base), dtype=torch.int64)
        for step in (1, 3, 9):
            new = mixture.reweight(TokenScores(blank.double(), blank, blank, blank, step, extras), base)
            assert float(new.sum()) == pytest.approx(1, abs=1e-6)
