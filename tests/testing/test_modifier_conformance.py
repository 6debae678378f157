"""The conformance kit for loss modifiers: the built-ins pass, and each broken one is caught, by the check that is about it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import torch
from pydantic import ConfigDict

import maskkit
from maskkit.testing import MODIFIER_CHECKS, ModifierConformance, check_strategy
from maskkit.testing.modifier_checks import modifier_subject


class _Sound(maskkit.LossModifier):
    """Weigh by probability."""

    name = "broken"

    def reweight(self, scores: Any, base: Any) -> Any:
        return base * scores.log_prob.exp()


class Undocumented(maskkit.LossModifier):
    name = "broken"

    def reweight(self, scores: Any, base: Any) -> Any:
        return base


class OpenOptions(_Sound):
    """Weigh by probability."""

    class Options(maskkit.StrategyOptions):
        model_config = ConfigDict(extra="ignore")


class ForgetsOptions(_Sound):
    """Weigh by a power of the probability."""

    class Options(maskkit.StrategyOptions):
        power: float = 2.0
        """Which."""

    def spec(self) -> Any:
        return {"name": self.name, "power": 1.0}

    def reweight(self, scores: Any, base: Any) -> Any:
        return base * scores.log_prob.exp() ** self.options.power


class CarriesTooLittle(_Sound):
    """Carry one number for a row."""

    def carry(self, tokens: maskkit.Tokens) -> Any:
        return {"length": [len(tokens)]}


class CarriesTheClock(_Sound):
    """Carry the time of day."""

    def carry(self, tokens: maskkit.Tokens) -> Any:
        return {"now": [time.perf_counter_ns()] * len(tokens)}


class FailsToCarry(_Sound):
    """Carry the first message's length."""

    def carry(self, tokens: maskkit.Tokens) -> Any:
        return {"first": [len(tokens.record.messages[0]["content"])] * len(tokens)}


class TooShort(_Sound):
    """Leave one out."""

    def reweight(self, scores: Any, base: Any) -> Any:
        return base[:-1]


class NotFinite(_Sound):
    """Divide by the loss."""

    def reweight(self, scores: Any, base: Any) -> Any:
        return base / -scores.log_prob


class Negative(_Sound):
    """Push improbable tokens away."""

    def reweight(self, scores: Any, base: Any) -> Any:
        return base * (scores.log_prob + 1.0)


class DoesNotAsk(_Sound):
    """Weigh by entropy, which nobody asked for."""

    def reweight(self, scores: Any, base: Any) -> Any:
        return base * scores.entropy


class ForgetsTheBase(_Sound):
    """Return probabilities."""

    def reweight(self, scores: Any, base: Any) -> Any:
        return scores.log_prob.exp()


class ChangesScores(_Sound):
    """Turn log-probabilities into probabilities where they are."""

    def reweight(self, scores: Any, base: Any) -> Any:
        return base * scores.log_prob.exp_()


class Draws(_Sound):
    """Drop half of the tokens."""

    def reweight(self, scores: Any, base: Any) -> Any:
        return base * (torch.rand(len(base)) < 0.5)


class Remembers(_Sound):
    """Weigh by how the loss compares with that of the batch before."""

    def setup(self) -> None:
        self.last = 1.0

    def reweight(self, scores: Any, base: Any) -> Any:
        now, self.last = self.last, float(scores.log_prob.exp().mean()) + 0.1
        return base * (now if len(base) > 1 else 1.0)


class CountsPlaces(_Sound):
    """Weigh by place."""

    def reweight(self, scores: Any, base: Any) -> Any:
        return base * torch.arange(1, len(base) + 1)


class RanksWithoutASay(_Sound):
    """Keep what is less probable than the mean."""

    def reweight(self, scores: Any, base: Any) -> Any:
        return base * (scores.log_prob <= scores.log_prob.mean())


class Learns(_Sound):
    """Weigh by a parameter of its own."""

    def setup(self) -> None:
        self.factor = torch.ones((), requires_grad=True)

    def reweight(self, scores: Any, base: Any) -> Any:
        return base * self.factor


class HoldsALock(_Sound):
    """Weigh by probability."""

    def setup(self) -> None:
        self.lock = threading.Lock()


BROKEN = {
    Undocumented: ("is_documented", "loss modifier 'broken' has no docstring"),
    OpenOptions: ("has_closed_options", "takes unknown options"),
    ForgetsOptions: ("survives_a_config", "made again from its own selection"),
    CarriesTooLittle: ("reads_what_it_carries", r"'length' of shape \(1,\) for table 'one turn', expected"),
    CarriesTheClock: ("reads_what_it_carries", "another 'now' for table 'one turn' when asked a second time"),
    FailsToCarry: ("reads_what_it_carries", "fails on table 'prompt and completion': IndexError"),
    TooShort: ("gives_one_weight_per_token", "one weight per token"),
    NotFinite: ("gives_one_weight_per_token", "expected a finite number"),
    Negative: ("gives_one_weight_per_token", "declare signed = True"),
    DoesNotAsk: ("gives_one_weight_per_token", "needs = frozenset"),
    ForgetsTheBase: ("contributes_a_ratio", "with three times the base weights"),
    ChangesScores: ("leaves_its_input_alone", "changed log_prob of table"),
    Draws: ("draws_no_random_numbers", "asked a second time"),
    Remembers: ("does_not_remember", "after other batches"),
    CountsPlaces: ("does_not_depend_on_order", "with the tokens in reverse"),
    RanksWithoutASay: ("says_what_it_looks_at", "say scope = 'global-batch'"),
    Learns: ("lets_gradients_through_log_probabilities_alone", "require a gradient"),
    HoldsALock: ("can_be_pickled", "cannot be pickled"),
}


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_modifier_is_caught_by_the_check_that_is_about_it(cls: type[maskkit.LossModifier]):
    check, says = BROKEN[cls]
    with pytest.raises(AssertionError, match=says):
        next(c for c in MODIFIER_CHECKS if c.__name__ == check)(modifier_subject(cls))


def test_every_check_catches_something():
    assert {check for check, _ in BROKEN.values()} == {check.__name__ for check in MODIFIER_CHECKS}


BUILT_IN = [info.name for info in maskkit.strategies() if info.origin == "maskkit" and info.sort == "loss modifier"]
VARIANTS = [
    {"name": "importance", "per": "token"},
    {"name": "entropy", "scope": "micro-batch"},
    {"name": "selective", "column": "teacher"},
    {"name": "eaft", "divisor": 3.0, "exponent": 2},
]


@pytest.mark.parametrize("modifier", [*BUILT_IN, *VARIANTS], ids=str)
def test_the_built_ins_pass(modifier: Any):
    report = check_strategy(modifier)
    assert report.checks == tuple(check.__name__ for check in MODIFIER_CHECKS)
    assert report.microseconds is None


def test_a_strategy_is_no_modifier():
    with pytest.raises(TypeError, match="use StrategyConformance"):
        modifier_subject("assistant-only")


class TestDft(ModifierConformance):
    modifier = "dft"


def test_the_class_has_a_test_for_each_check():
    names = [name for name in dir(ModifierConformance) if name.startswith("test_it_")]
    assert sorted(names) == sorted(f"test_it_{check.__name__}" for check in MODIFIER_CHECKS)
