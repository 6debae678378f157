"""``schedule``: at every step the update is that of the mixture of the two strategies."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import maskkit
from maskkit.engine.loop import training_loop
from maskkit.engine.reweighting import Reweighting
from maskkit.loss import NORMALIZATIONS, Normalizer
from maskkit.strategy import Strategy
from tests.builtin.weighing import weigh
from tests.engine.small import small_run
from tests.reference import ragged_rows, reference_step, tiny_llama
from tests.tables import conversation_table

SPEC = {"name": "schedule", "from": "assistant-only", "to": {"name": "reasoning-only", "stop": 0.5}, "end": 5}


def test_before_the_loss_a_token_weighs_the_larger_of_both():
    tokens = conversation_table()
    begin, end = weigh(SPEC["from"], tokens), weigh({"name": "causal"}, tokens)
    assert weigh({**SPEC, "to": {"scale": 0.5, "strategy": "causal"}}, tokens) == [max(b, 0.5 * e) for b, e in zip(begin, end, strict=True)]


@pytest.mark.parametrize(
    ("shape", "shares"), [("linear", [0, 0, 0.25, 0.5, 0.75, 1, 1]), ("cosine", [0, 0, 0.1464466, 0.5, 0.8535534, 1, 1])]
)
def test_it_goes_from_start_to_end(shape: str, shares: list[float]):
    schedule: Any = maskkit.load_strategy({**SPEC, "start": 2, "end": 6, "shape": shape})
    assert [schedule.share(step) for step in range(1, 8)] == pytest.approx(shares)


def test_it_can_change_at_once():
    schedule: Any = maskkit.load_strategy({**SPEC, "start": 3, "end": 4})
    assert [schedule.share(step) for step in range(1, 7)] == [0, 0, 0, 1, 1, 1]


def test_it_goes_back_into_a_config():
    assert maskkit.load_strategy(SPEC).spec() == SPEC
    assert maskkit.load_strategy({"product": [SPEC, "dft"]}).spec() == {"product": [SPEC, "dft"]}


def test_what_makes_no_sense_is_refused():
    with pytest.raises(maskkit.ConfigError, match="end is 3 and start 3, expected a later step"):
        maskkit.load_strategy({**SPEC, "start": 3, "end": 3})
    with pytest.raises(maskkit.ConfigError, match=r"multiply afterwards, as \{product: \[\{name: schedule, \.\.\.\}, dft\]\}"):
        maskkit.load_strategy({**SPEC, "from": {"product": ["causal", "dft"]}})
    with pytest.raises(maskkit.ConfigError, match=r"\{max: \[\.\.\.\]\}"):
        maskkit.load_strategy({"max": [SPEC, "causal"]})
    with pytest.raises(maskkit.ConfigError, match="'to'"):
        maskkit.load_strategy({"name": "schedule", "end": 3})


class Odd(maskkit.Strategy):
    """Every other token."""

    name = "odd"

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return tokens.ids % 2


class Push(Odd):
    """Push away what is odd, keep the rest."""

    name = "push"
    signed = True

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return 1.0 - 1.5 * (tokens.ids % 2)


def scheduled(monkeypatch: pytest.MonkeyPatch, **classes: type[Strategy]) -> Strategy:
    load = maskkit.load_strategy
    monkeypatch.setattr(maskkit, "load_strategy", lambda spec: classes[spec]() if spec in classes else load(spec))
    return load({"name": "schedule", "from": "first", "to": "second", "end": 3})


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_step_half_way_is_that_of_half_of_each(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, normalization: str):
    class Even(Odd):
        def weights(self, tokens: maskkit.Tokens) -> Any:
            return 3.0 * (tokens.ids % 2 == 0) + 0.5

    rows, strategy = ragged_rows(6), scheduled(monkeypatch, first=Odd, second=Even)
    for step, mix in ((1, 0.0), (2, 0.5), (3, 1.0)):
        for row in rows:
            odd = (row.ids % 2).float()
            row.weights = (1 - mix) * odd + mix * (3.0 * (1 - odd) + 0.5)
        model = tiny_llama()
        expected, gradients = reference_step(model, rows, normalization)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        run = small_run(tmp_path / str(step), rows, model=model, strategy=strategy, rows_per_step=6, micro=2, normalization=normalization)
        run.reweighting = Reweighting(strategy.modifiers, Normalizer(normalization, "reweighted"), run.predict)
        monkeypatch.setattr(type(run), "remaining_steps", lambda self, step=step: iter([step]))
        training_loop(run)
        assert run.losses == [pytest.approx(expected, abs=1e-12)]
        assert max(float((before[n] - p.detach() - gradients[n]).abs().max()) for n, p in model.named_parameters()) < 1e-12


def test_negative_weights_can_be_faded_in(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    strategy = scheduled(monkeypatch, first=Odd, second=Push)
    assert strategy.signed
    rows = ragged_rows(4)
    for row in rows:
        odd = (row.ids % 2).float()
        row.weights = 0.5 * odd + 0.5 * (1 - 1.5 * odd)
    model = tiny_llama()
    expected, _ = reference_step(model, rows, "absolute")
    run = small_run(tmp_path, rows, model=model, strategy=strategy, normalization="absolute")
    run.reweighting = Reweighting(strategy.modifiers, Normalizer("absolute", "reweighted"), run.predict)
    monkeypatch.setattr(type(run), "remaining_steps", lambda self: iter([2]))
    training_loop(run)
    assert run.losses == [pytest.approx(expected, abs=1e-12)]
    assert torch.isfinite(torch.tensor(run.losses)).all()
