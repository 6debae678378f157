"""Loss modifiers in the loop: the update is the gradient of the definition, in any split, under every normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import maskkit
from maskkit.engine.loop import training_loop
from maskkit.engine.metrics import read_metrics
from maskkit.engine.reweighting import Reweighting
from maskkit.engine.run import Run
from maskkit.errors import DataError, StrategyError, TrainingError
from maskkit.loss import Normalizer
from maskkit.strategy import Product, Strategy
from tests.engine.small import small_run
from tests.reference import NORMALIZATIONS, given_weights, ragged_rows, reference_step, tiny_llama

EXACT = 1e-12


class Dft(maskkit.LossModifier):
    """Times the token's own probability."""

    def reweight(self, scores: Any, base: Any) -> Any:
        return base * scores.log_prob.exp()


class Sharpest(maskkit.LossModifier):
    """The 30 % of tokens with the most entropy, of the whole global batch."""

    needs = frozenset({"entropy"})
    scope = "global-batch"

    def reweight(self, scores: Any, base: Any) -> Any:
        kept = max(1, int(len(scores.entropy) * 0.3))
        return base * (scores.entropy >= scores.entropy.topk(kept).values[-1])


class SharpestHere(Sharpest):
    """The same, of each micro-batch."""

    scope = "micro-batch"


class Excess(maskkit.LossModifier):
    """Times what a reference of the data says, scaled by the largest of the global batch."""

    scope = "global-batch"

    def carry(self, tokens: maskkit.Tokens) -> Any:
        return {"reference": reference_column(tokens.ids)}

    def reweight(self, scores: Any, base: Any) -> Any:
        excess = (scores.extras["reference"] - scores.log_prob).exp()
        return base * excess / excess.max()


class EqualRows(maskkit.LossModifier):
    """Each row counts as its most probable token."""

    scope = "global-batch"

    def reweight(self, scores: Any, base: Any) -> Any:
        best = torch.stack([scores.log_prob[scores.row == number].max() for number in scores.row])
        return base * best.exp()


def reference_column(ids: Any) -> Any:
    return -(np.asarray(ids) % 11) / 5.0


def excess(scores: Any, base: Any) -> Any:
    ratio = (scores.reference - scores.log_prob).exp()
    return base * ratio / ratio.max()


CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "none": ([], []),
    "dft": ([Dft], [Dft().reweight]),
    "entropy": ([Sharpest], [Sharpest().reweight]),
    "reference": ([Excess], [excess]),
    "rows": ([EqualRows], [EqualRows().reweight]),
    "several": ([EqualRows, Dft, Excess], [excess, Dft().reweight, EqualRows().reweight]),
}
"""Modifiers, and the functions that the definition is given for them: in another order."""


def columns_of(rows: list[Any]) -> dict[str, list[torch.Tensor]]:
    """What scores of the definition have beside log-probabilities."""
    entropy = []
    for row in rows:
        probabilities = torch.softmax(tiny_llama()(input_ids=row.ids[None], use_cache=False).logits[0].detach(), -1)
        before = torch.special.entr(probabilities).sum(-1)
        entropy.append(torch.cat([before.new_zeros(1), before[:-1]]))
    return {"entropy": entropy, "reference": [torch.tensor(reference_column(row.ids)) for row in rows]}


def signed_weights(tokens: maskkit.Tokens) -> Any:
    return given_weights(tokens)


signed_weights.signed = True  # type: ignore[attr-defined]

ROWS = ragged_rows(8)
HALVES = [[[0], [1], [2], [3]], [[4], [5], [6], [7]]]
"""Rows as they stand, in two micro-batches."""
COLUMNS = columns_of(ROWS)


def modified_run(
    path: Any, modifiers: list[Any], *, by: str = "base", normalization: str = "weights", signed: bool = False, **options: Any
) -> Run:
    strategy: Strategy = Product(signed_weights if signed else given_weights, *modifiers)
    run = small_run(path, options.pop("rows", ROWS), strategy=strategy, normalization=normalization, rows_per_step=8, **options)
    run.reweighting = Reweighting(strategy.modifiers, Normalizer(normalization, by), run.predict, run.ranks)
    return run


def moved(run: Run, before: dict[str, torch.Tensor], gradients: dict[str, torch.Tensor]) -> float:
    return max(float((before[name] - p.detach() - gradients[name]).abs().max()) for name, p in run.model.named_parameters())


@pytest.mark.parametrize("micro", [1, 3, 8])
@pytest.mark.parametrize("by", ["base", "reweighted"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("case", CASES)
def test_a_step_is_the_gradient_of_the_definition_in_any_split(tmp_path, case, normalization, by, micro):
    modifiers, definition = CASES[case]
    model = tiny_llama()
    expected, gradients = reference_step(model, ROWS, normalization, reweight=definition, normalize_by=by, columns=COLUMNS)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    run = modified_run(tmp_path, [modifier() for modifier in modifiers], by=by, normalization=normalization, model=model, micro=micro)
    training_loop(run)
    assert run.losses == [pytest.approx(expected, abs=EXACT)]
    assert moved(run, before, gradients) < EXACT


@pytest.mark.parametrize("by", ["base", "reweighted"])
def test_a_modifier_of_the_micro_batch_sees_that_alone(tmp_path, by):
    """Two micro-batches of 4: the definition of each, added up."""
    model, here = tiny_llama(), SharpestHere().reweight

    def halves(scores: Any, base: Any) -> Any:
        first = scores.row < 4
        parts = [(scores.entropy[mine], base[mine]) for mine in (first, ~first)]
        return torch.cat([here(type("Scores", (), {"entropy": entropy}), part) for entropy, part in parts])

    expected, gradients = reference_step(model, ROWS, "weights", reweight=[halves], normalize_by=by, columns=COLUMNS)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    run = modified_run(tmp_path, [SharpestHere()], by=by, model=model, plans=HALVES)
    training_loop(run)
    assert run.losses == [pytest.approx(expected, abs=EXACT)]
    assert moved(run, before, gradients) < EXACT


def test_beside_one_of_the_global_batch_a_modifier_of_the_micro_batch_still_sees_that_alone(tmp_path):
    losses = []
    for modifiers in ([SharpestHere()], [SharpestHere(), Constant()]):
        run = modified_run(tmp_path / str(len(losses)), modifiers, plans=HALVES)
        training_loop(run)
        losses.append(run.losses[0])
    assert losses[0] == pytest.approx(losses[1], abs=EXACT)


class Constant(maskkit.LossModifier):
    """Changes nothing, having looked at everything."""

    scope = "global-batch"

    def reweight(self, scores: Any, base: Any) -> Any:
        return base


def test_tokens_whose_new_weight_is_known_to_be_zero_do_not_reach_the_head(tmp_path):
    run = modified_run(tmp_path, [Sharpest()], micro=4)
    training_loop(run)
    trained = sum(int((row.weights[1:] != 0).sum()) for row in ROWS)
    assert read_metrics(run.folder.metrics, "train")[0]["trained_tokens"] == int(trained * 0.3)


def test_the_step_is_counted_from_one(tmp_path):
    seen = []

    class Looks(maskkit.LossModifier):
        def reweight(self, scores: Any, base: Any) -> Any:
            seen.append(scores.step)
            return base

    training_loop(modified_run(tmp_path, [Looks()], steps=3, learning_rate=0.01, micro=8))
    assert seen == [1, 2, 3]


def test_looking_ahead_changes_no_update_and_draws_no_random_numbers(tmp_path):
    ends = []
    for number, modifiers in enumerate(([], [Constant()])):
        model = tiny_llama(attention_dropout=0.5)
        torch.manual_seed(0)
        run = modified_run(tmp_path / str(number), modifiers, model=model, steps=2, learning_rate=0.1)
        training_loop(run)
        ends.append({name: p.detach().clone() for name, p in model.named_parameters()})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_row_that_lacks_what_a_modifier_reads_is_named_before_training(tmp_path):
    class Reads(Dft):
        token_columns = ("reference_log_probs",)

    run = modified_run(tmp_path, [Reads()])
    with pytest.raises(DataError, match=r"data\.jsonl:1: the row has no column 'reference_log_probs', expected \d+ numbers"):
        run.reweighting.check(run.data.train)
    with pytest.raises(DataError):
        training_loop(run)


def test_what_is_carried_has_one_number_for_each_token(tmp_path):
    class Short(Dft):
        name = "short"

        def carry(self, tokens: maskkit.Tokens) -> Any:
            return {"half": [0.0]}

    run = modified_run(tmp_path, [Short()])
    with pytest.raises(StrategyError, match=r"'short' carries 'half' of shape \(1,\) for data\.jsonl:1, expected \(\d+,\)"):
        run.reweighting.check(run.data.train)


@pytest.mark.parametrize("micro", [1, 8])
def test_new_weights_that_leave_nothing_below_the_line_are_an_error(tmp_path, micro):
    class Nothing(Dft):
        def reweight(self, scores: Any, base: Any) -> Any:
            return 0 * base

    class NothingAtAll(Nothing):
        scope = "global-batch"

    for number, modifier in enumerate((Nothing(), NothingAtAll())):
        with pytest.raises(TrainingError, match=r"step 1: normalization 'weights'.* is zero"):
            training_loop(modified_run(tmp_path / str(number), [modifier], by="reweighted", micro=micro))


def test_a_row_without_a_mean_is_an_error_that_says_what_to_do(tmp_path):
    class Best(Dft):
        scope = "global-batch"

        def reweight(self, scores: Any, base: Any) -> Any:
            return base * (scores.log_prob == scores.log_prob.max())

    with pytest.raises(TrainingError, match="sum to zero, so it has no weighted mean; use normalize_by 'base'"):
        training_loop(modified_run(tmp_path, [Best()], by="reweighted", normalization="sequences"))


def test_an_evaluation_is_by_the_weights_of_the_strategy(tmp_path):
    """Held-out losses stay comparable, whatever the model makes of the weights."""
    held_out = ragged_rows(3, seed=9)
    found = [
        modified_run(tmp_path / str(number), modifiers, held_out=held_out).evaluate(0).loss
        for number, modifiers in enumerate(([], [Dft(), Sharpest()]))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("backend", ["recompute", "single-pass", "torch", "full-logits"])
def test_every_backend_makes_the_same_update(tmp_path, backend):
    from maskkit.engine.predict import Predictor

    model = tiny_llama()
    modifiers = [Constant()] if backend != "torch" else [EqualRows()]
    definition = [Constant().reweight] if backend != "torch" else [EqualRows().reweight]
    expected, gradients = reference_step(model, ROWS, "weights", reweight=definition)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    run = modified_run(tmp_path, modifiers, model=model, micro=3)
    run.predict = Predictor(model, backend=backend)
    run.reweighting = Reweighting(run.masker.strategy.modifiers, run.normalizer, run.predict)
    training_loop(run)
    assert run.losses == [pytest.approx(expected, abs=EXACT)]
    assert moved(run, before, gradients) < EXACT
