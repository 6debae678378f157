"""Loss modifiers: how they are selected and combined, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import maskkit
from maskkit.config.loading import parsed_yaml
from maskkit.plugins import load_part, origins_of
from maskkit.strategy import Product, weights_of
from tests.tables import conversation_table

TOKENS = conversation_table()


class Halve(maskkit.LossModifier):
    """Half of everything."""

    name = "halve"
    token_columns = ("reference",)

    class Options(maskkit.StrategyOptions):
        times: int = 1
        """How often."""

    def reweight(self, scores: maskkit.TokenScores, base: torch.Tensor) -> torch.Tensor:
        return base / 2**self.options.times


class Signed(Halve):
    """Push away."""

    name = "signed"
    token_columns = ()
    signed = True


def test_a_modifier_in_a_product_leaves_the_weights_before_the_loss_alone():
    product = maskkit.load_strategy("assistant-only") & Halve()
    assert [modifier.name for modifier in product.modifiers] == ["halve"]
    assert weights_of(product, TOKENS).tolist() == weights_of(maskkit.load_strategy("assistant-only"), TOKENS).tolist()
    assert product.token_columns == ("reference",)
    assert product.label == "product(assistant-only, halve)"


@pytest.mark.parametrize("combine", [lambda s, m: s & m, lambda s, m: m & s, Product, lambda s, m: Product(m, s)])
def test_it_may_stand_on_either_side(combine: Any):
    assert combine(maskkit.load_strategy("causal"), Halve(times=2)).modifiers[0].options.times == 2
    assert combine(lambda tokens: tokens.where(kind="answer"), Halve()).modifiers == (Halve(),)


def test_what_is_made_of_a_product_carries_its_modifiers():
    product = maskkit.load_strategy("assistant-only") & Halve
    assert (0.5 * product).modifiers == product.modifiers
    assert (product & Signed()).modifiers == (*product.modifiers, Signed())


def test_a_signed_modifier_makes_the_product_signed():
    assert (maskkit.load_strategy("causal") & Signed()).signed
    assert not (maskkit.load_strategy("causal") & Halve()).signed


def test_alone_it_is_an_error_that_says_what_to_write():
    for refused in (Halve, Halve(), {"product": [Halve, Halve(times=3)]}, {"scale": 2, "strategy": Halve}):
        with pytest.raises(maskkit.ConfigError, match=r"'halve' is a loss modifier .*\{product: \[assistant-only, halve\]\}"):
            maskkit.load_strategy(refused)
    assert load_part(Halve) == Halve()


def test_ratios_are_neither_compared_nor_scaled():
    strategy = maskkit.load_strategy("causal")
    with pytest.raises(maskkit.ConfigError, match=r"\{product: \[\{max: \[\.\.\.\]\}, halve\]\}"):
        (strategy & Halve) | strategy
    for refused in (lambda: Halve() | strategy, lambda: strategy | Halve(), lambda: 0.5 * Halve(), lambda: Halve() * 0.5):
        with pytest.raises(maskkit.ConfigError, match="halve"):
            refused()


def test_options_are_checked_as_those_of_a_strategy():
    with pytest.raises(maskkit.ConfigError, match=r"loss modifier 'halve': unknown option 'tmes'\. Did you mean 'times'"):
        Halve(tmes=2)
    with pytest.raises(maskkit.ConfigError, match="loss modifier 'halve': times is 'x', expected a whole number"):
        Halve(times="x")


def test_one_from_a_file_goes_back_into_a_config(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "mine.py"
    file.write_text(
        "import maskkit\n\nclass Mine(maskkit.LossModifier):\n    token_columns = ('reference',)\n\n"
        "    class Options(maskkit.StrategyOptions):\n        power: float = 1.0\n\n"
        "    def reweight(self, scores, base):\n        return base * scores.log_prob.exp() ** self.options.power\n"
    )
    spec = {"product": ["assistant-only", {"name": f"{file}:Mine", "power": 2.0}]}
    with caplog.at_level(logging.WARNING):
        found = maskkit.load_strategy(spec)
    assert "executes the code" in caplog.text
    assert found.spec() == spec
    assert found.token_columns == ("reference",)
    assert origins_of(found)[f"{file}:Mine"].startswith("sha256:")


@pytest.mark.parametrize(
    "spec",
    [
        "dft",
        {"name": "eaft", "divisor": 3.0, "exponent": 2.0},
        {"name": "eaft", "divisor": "ln-20"},
        {"name": "selective", "column": "teacher", "keep": 0.3, "scope": "micro-batch"},
        {"name": "importance", "per": "token", "max": 2.0},
        {"product": [{"name": "schedule", "from": "causal", "to": {"name": "weighted", "reasoning": 0}, "end": 9}, "dft"]},
        {"product": [{"product": ["causal", "focal"]}, {"name": "sequence-normalised", "strategy": {"product": ["causal", "entropy"]}}]},
        {"scale": 0.5, "strategy": {"product": ["assistant-only", "long-context"]}},
    ],
    ids=str,
)  # fmt: skip
def test_one_survives_yaml_however_it_is_combined(spec: Any):
    part = load_part(spec)
    again = load_part(parsed_yaml(yaml.safe_dump(part.spec(), sort_keys=False), "config.yaml"))
    assert again == part
    assert yaml.safe_load(yaml.safe_dump(again.spec())) == again.spec()


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"needs": frozenset({"logits"})}, "needs 'logits', expected a set of names among entropy"),
        ({"needs": "entropy"}, "needs 'entropy', expected a set"),
        ({"scope": "step"}, "scope 'step', expected 'row' or 'micro-batch' or 'global-batch'"),
        ({"reweight": maskkit.LossModifier.reweight}, "does not define reweight"),
    ],
)
def test_what_a_class_declares_is_checked_when_it_is_registered(declared: dict[str, Any], says: str):
    from maskkit.plugins import _check_class

    _check_class(Halve)
    with pytest.raises(maskkit.PluginError, match=says):
        _check_class(type("Broken", (Halve,), declared))


def test_scores_are_selected_by_kind():
    from maskkit.kinds import CODE

    kinds = torch.tensor([CODE["answer"], CODE["stop"], CODE["reasoning"]])
    scores = maskkit.TokenScores(torch.zeros(3), torch.zeros(3), torch.zeros(3), kinds)
    assert scores.where("answer").tolist() == [True, False, False]
    assert scores.where(("stop", "reasoning")).tolist() == [False, True, True]
    with pytest.raises(maskkit.ConfigError, match="'anser'"):
        scores.where("anser")
