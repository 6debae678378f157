"""Built-in loss modifiers, each against an example computed by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import maskkit
from maskkit.builtin.eaft import TOP as EAFT_TOP
from maskkit.builtin.ranking import largest
from maskkit.loss.predicted import TOP
from maskkit.plugins import load_part

LN = math.log


def ratios(
    spec: Any, probabilities: list[float], *, row: list[int] | None = None, extras: Any = None, **requested: list[float]
) -> list[float]:
    """What a modifier makes of a base weight of 2 for each token, halved."""
    count = len(probabilities)
    scores = maskkit.TokenScores(
        log_prob=torch.tensor([LN(p) for p in probabilities], dtype=torch.float64),
        target=torch.arange(count),
        row=torch.tensor(row or [0] * count),
        kind=torch.zeros(count, dtype=torch.long),
        extras={name: torch.tensor([LN(p) for p in column], dtype=torch.float64) for name, column in (extras or {}).items()},
        **{name: torch.tensor(column, dtype=torch.float64) for name, column in requested.items()},
    )
    modifier: Any = load_part(spec)
    return (modifier.reweight(scores, torch.full((count,), 2.0, dtype=torch.float64)) / 2).tolist()


def near(*values: float) -> Any:
    return pytest.approx(list(values), abs=1e-12)


def test_dft_is_the_probability():
    assert ratios("dft", [0.5, 0.25, 1.0]) == near(0.5, 0.25, 1)


def test_focal_is_a_power_of_what_is_missing():
    assert ratios("focal", [0.5, 0.9, 1.0]) == near(0.25, 0.01, 0)
    assert ratios({"name": "focal", "gamma": 1}, [0.5, 0.9]) == near(0.5, 0.1)
    assert ratios({"name": "focal", "gamma": 0}, [0.5, 1.0]) == near(1, 1)


def test_focal_stays_exact_where_almost_nothing_is_missing():
    assert ratios({"name": "focal", "gamma": 1}, [1 - 1e-12]) == [pytest.approx(1e-12, rel=1e-3)]


def test_entropy_keeps_the_most_uncertain():
    keep = {"name": "entropy", "keep": 0.4}
    assert ratios(keep, [0.5] * 5, entropy=[0.1, 3.0, 2.0, 0.2, 1.0]) == [0, 1, 1, 0, 0]
    assert load_part(keep).needs == {"entropy"}
    assert load_part(keep).scope == "global-batch"
    assert load_part({**keep, "scope": "micro-batch"}).scope == "micro-batch"


@pytest.mark.parametrize(
    ("share", "kept"), [(0.2, 2), (0.3, 3), (0.01, 1), (0.11, 2), (1.0, 10)], ids=["two", "three", "never none", "rounded up", "all"]
)
def test_a_share_is_rounded_up(share: float, kept: int):
    assert int(largest(torch.arange(10.0), share).sum()) == kept


def test_equal_values_are_kept_together():
    assert largest(torch.tensor([1.0, 2.0, 2.0, 0.0]), 0.25).tolist() == [False, True, True, False]


def test_eaft_divides_the_entropy_as_it_is_told():
    entropies = [LN(20), LN(20) / 2, 0.0]
    assert ratios("eaft", [0.5] * 3, top_entropy=entropies) == near(1, 0.5, 0)
    assert ratios({"name": "eaft", "exponent": 2}, [0.5] * 3, top_entropy=entropies) == near(1, 0.25, 0)
    assert ratios({"name": "eaft", "divisor": 3.0}, [0.5] * 3, top_entropy=[3.0, 1.5, 0.3]) == near(1, 0.5, 0.1)
    assert ratios({"name": "eaft", "divisor": 1}, [0.5], top_entropy=[0.7]) == near(0.7)
    assert EAFT_TOP == TOP
    with pytest.raises(maskkit.ConfigError, match="divisor"):
        load_part({"name": "eaft", "divisor": 0})


def test_selective_keeps_the_largest_excess_over_the_reference():
    """Losses 0.69, 2.30, 0.69, 2.30 and references 0.11, 2.30, 0.69, 1.61: excess 0.59, 0, 0, 0.69."""
    spec = {"name": "selective", "keep": 0.5}
    assert ratios(spec, [0.5, 0.1, 0.5, 0.1], extras={"reference_log_probs": [0.9, 0.1, 0.5, 0.2]}) == [1, 0, 0, 1]
    assert load_part({**spec, "column": "teacher"}).token_columns == ("teacher",)


def test_importance_is_the_clipped_ratio_of_a_row():
    probabilities, reference = [0.5, 0.5, 0.1, 0.9], {"reference_log_probs": [0.25, 0.5, 0.4, 0.9]}
    per_token = {"name": "importance", "per": "token", "min": 0.5, "max": 3}
    assert ratios(per_token, probabilities, extras=reference) == near(2, 1, 0.5, 1)
    per_row = {"name": "importance", "min": 0.3, "max": 3}
    assert ratios(per_row, probabilities, row=[7, 7, 3, 3], extras=reference) == near(2, 2, 0.3, 0.3)
    assert ratios({**per_row, "max": 1.5}, probabilities, row=[7, 7, 3, 3], extras=reference) == near(1.5, 1.5, 0.3, 0.3)
    with pytest.raises(maskkit.ConfigError, match="min to be the smaller"):
        load_part({"name": "importance", "min": 2, "max": 1})


def test_importance_of_a_long_row_does_not_overflow():
    reference = {"reference_log_probs": [1e-4] * 4000}
    assert ratios("importance", [0.9] * 4000, extras=reference) == near(*[10.0] * 4000)


def test_long_context_is_the_gain_over_a_short_one():
    short = {"short_log_probs": [0.2, 0.5, 0.01]}
    assert ratios("long-context", [0.4, 0.25, 0.9], extras=short) == near(2, 0.5, 5)
    assert ratios({"name": "long-context", "max": 1.5}, [0.4], extras={"short_log_probs": [0.2]}) == near(1.5)


@pytest.mark.parametrize("name", ["selective", "importance", "long-context"])
def test_a_row_without_the_column_is_named(name: str):
    from tests.tables import conversation_table

    modifier: Any = load_part(name)
    with pytest.raises(maskkit.DataError, match=f"has no column '{modifier.token_columns[0]}', expected 26 numbers"):
        modifier.carry(conversation_table())
