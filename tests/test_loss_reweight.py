"""What loss modifiers contribute are ratios, checked token by token; `Normalizer` says what they are divided by."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import maskkit
from maskkit.errors import StrategyError, UnknownNameError
from maskkit.kinds import CODE
from maskkit.loss import NORMALIZATIONS, NORMALIZE_BY, LossEntries, Normalizer, reweighted
from tests.reference import global_batch_loss

BASE = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)


def scores_of(*log_probs: float) -> maskkit.TokenScores:
    count = len(log_probs)
    kind = torch.full((count,), CODE["answer"])
    return maskkit.TokenScores(torch.tensor(log_probs), torch.arange(count), torch.zeros(count, dtype=torch.long), kind)


SCORES = scores_of(-0.1, -1.0, -3.0)


def modifier(function: Any, **declared: Any) -> maskkit.LossModifier:
    methods = {"name": "mine", "reweight": lambda self, scores, base: function(scores, base), **declared}
    made: maskkit.LossModifier = type("Mine", (maskkit.LossModifier,), methods)()
    return made


def test_ratios_multiply_so_order_says_nothing():
    double, probability = modifier(lambda s, b: 2 * b), modifier(lambda s, b: b * s.log_prob.exp())
    one, other = (reweighted([(m, SCORES) for m in order], BASE) for order in ((double, probability), (probability, double)))
    assert torch.allclose(one, other)
    assert torch.allclose(one, 2 * BASE * SCORES.log_prob.exp().double())


def test_each_modifier_sees_the_strategys_weights_and_cannot_change_them():
    def spoils(scores: Any, base: Any) -> Any:
        base *= 7
        return base

    seen = []
    looks = modifier(lambda s, b: seen.append(b.clone()) or b)
    found = reweighted([(modifier(spoils), SCORES), (looks, SCORES)], BASE)
    assert torch.equal(seen[0], BASE)
    assert torch.allclose(found, 7 * BASE)


def test_without_tokens_nobody_is_asked():
    fails = modifier(lambda s, b: s.log_prob.topk(1).values)
    assert len(reweighted([(fails, scores_of())], BASE[:0])) == 0


def test_it_runs_without_gradients_and_returns_none():
    parameter = torch.ones(3, requires_grad=True)
    assert not reweighted([(modifier(lambda s, b: b * parameter), SCORES)], BASE).requires_grad
    already = parameter * 2
    assert not reweighted([(modifier(lambda s, b: already), SCORES)], BASE).requires_grad


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda s, b: [1.0, 2.0, 3.0], "returned list, expected a tensor of 3 numbers"),
        (lambda s, b: b[:2], r"returned shape \[2\], expected \[3\]: one weight per token"),
        (lambda s, b: b.sum(), r"returned shape \[\]"),
        (lambda s, b: b / (s.log_prob + 1.0), r"gave trained token 1 of 3 \(kind answer, log-probability -1\) the weight inf"),
        (lambda s, b: b * float("nan"), "the weight nan, expected a finite number"),
        (lambda s, b: b - 1.5, "token 0 of 3 .* the weight -0.5, expected the sign .*declare signed = True"),
        (lambda s, b: s.entropy * b, "failed on 3 tokens: TypeError.*needs = frozenset"),
    ],
)
def test_a_result_that_is_no_weight_names_modifier_and_token(function: Any, says: str):
    with pytest.raises(StrategyError, match=f"loss modifier 'mine'.*{says}"):
        reweighted([(modifier(function), SCORES)], BASE)


def test_a_signed_modifier_may_turn_tokens_around():
    assert reweighted([(modifier(lambda s, b: b - 1.5, signed=True), SCORES)], BASE).tolist() == [-0.5, -1.0, 0.5]


def test_a_negative_weight_of_a_signed_strategy_stays_negative():
    base = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    assert reweighted([(modifier(lambda s, b: 2 * b), SCORES)], base).tolist() == [2, -2, 2]
    with pytest.raises(StrategyError, match="token 1 of 3"):
        reweighted([(modifier(lambda s, b: b.abs()), SCORES)], base)


def test_there_are_two_ways_to_divide():
    assert NORMALIZE_BY == ("base", "reweighted")
    with pytest.raises(UnknownNameError, match="normalize_by"):
        Normalizer("weights", "new")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_coefficients_and_denominators_give_the_definition(data: Any):
    """The algebra alone: any weights, new weights and rows, in one micro-batch or two."""
    lengths = data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=5))
    total, positive = sum(lengths), st.floats(0.01, 10)
    base = torch.tensor(data.draw(st.lists(positive, min_size=total, max_size=total)), dtype=torch.float64)
    ratio = torch.tensor(data.draw(st.lists(positive | st.just(0.0), min_size=total, max_size=total)), dtype=torch.float64)
    log_prob = -torch.tensor(data.draw(st.lists(st.floats(0, 9), min_size=total, max_size=total)), dtype=torch.float64)
    ratio[0] = ratio.cumsum(0)[-1] + 1  # something counts
    row = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    for number in range(len(lengths)):
        ratio[(row == number).nonzero()[0]] += 0.5  # in every row
    first_unpredicted = [torch.cat([torch.zeros(1), part]) for part in base.split(lengths)]
    padded = [torch.cat([torch.zeros(1), part]) for part in log_prob.split(lengths)]
    cut = data.draw(st.integers(0, len(lengths)))
    for normalization in NORMALIZATIONS:
        for by in NORMALIZE_BY:
            expected = global_batch_loss(padded, first_unpredicted, normalization, [lambda s, b: b * ratio], by)
            normalizer, numerator, denominator = Normalizer(normalization, by), 0.0, 0.0
            for mine in (row < cut, row >= cut):
                entries = LossEntries(row[mine], row[mine], base[mine], row[mine])
                new = base[mine] * ratio[mine]
                numerator += float((normalizer.coefficients(entries, new) * -log_prob[mine]).sum())
                denominator += float(normalizer.denominator(entries, new))
            assert numerator / denominator == pytest.approx(float(expected), rel=1e-9)
