"""The conformance kit: the built-ins pass, and each of many broken strategies is caught, by the check that is about it."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

import maskkit
from maskkit.strategy import Product
from maskkit.testing import CHECKS, StrategyConformance, check_strategy, token_tables
from maskkit.testing.checks import subject_of


class _Answers(maskkit.Strategy):
    """Train answers."""

    name = "broken"

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return 1.0 * tokens.where(kind="answer")


class Undocumented(maskkit.Strategy):
    name = "broken"

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return 1.0 * tokens.where(kind="answer")


class UndocumentedOption(_Answers):
    """Train answers."""

    class Options(maskkit.StrategyOptions):
        strength: float = 1.0


class OpenOptions(_Answers):
    """Train answers."""

    class Options(maskkit.StrategyOptions):
        model_config = ConfigDict(extra="ignore")


class OpenInnerOptions(_Answers):
    """Train answers."""

    class Options(maskkit.StrategyOptions):
        class Where(BaseModel):
            kind: str = "answer"
            """A kind."""

        where: Where = Where()
        """Which tokens."""


class ForgetsOptions(_Answers):
    """Train answers."""

    class Options(maskkit.StrategyOptions):
        strength: float = 2.0
        """How much."""

    def spec(self) -> Any:
        return {"name": self.name, "strength": 1.0}

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return self.options.strength * tokens.where(kind="answer")


class TooShort(_Answers):
    """Train answers."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return super().weights(tokens)[:-1]


class GivesTexts(_Answers):
    """Train answers."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return super().weights(tokens).astype(str)


class ChangesItsOptions(_Answers):
    """Train answers."""

    class Options(maskkit.StrategyOptions):
        strength: float = 2.0
        """How much."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        self.options = self.Options(strength=3.0)
        return super().weights(tokens)


class FailsOnNoTokens(_Answers):
    """Train the last token."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        weights = super().weights(tokens)
        weights[len(tokens) - 1] = 0
        return weights


class NotFinite(_Answers):
    """Divide by the number of answer tokens."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        with np.errstate(all="ignore"):
            return super().weights(tokens) / super().weights(tokens).sum()


class Negative(_Answers):
    """Push away from digits."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return super().weights(tokens) - 2.0 * tokens.matching("[0-9]", within="answer")


class ChangesTheRow(_Answers):
    """Count calls in the row."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        if tokens.record.messages:
            tokens.record.messages[0]["seen"] = True
        return super().weights(tokens)


class DrawsFromTheGlobalGenerator(_Answers):
    """Drop half of the tokens."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return super().weights(tokens) * (np.random.random(len(tokens)) < 0.5)


class DrawsFromPython(_Answers):
    """Weigh rows at random."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return super().weights(tokens) * random.random()


class ReadsTheClock(_Answers):
    """Weigh by the time of day."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return super().weights(tokens) * (time.perf_counter_ns() % 1_000_003)


class Remembers(_Answers):
    """Train each answer once."""

    def setup(self) -> None:
        self.seen: set[str] = set()

    def weights(self, tokens: maskkit.Tokens) -> Any:
        new = not self.seen or tokens.row_key == self.last
        self.seen.add(tokens.row_key)
        self.last = tokens.row_key
        return super().weights(tokens) * (1.0 if new else 0.5)


class DependsOnTheCut(_Answers):
    """Train the last answer that is left."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        weights = super().weights(tokens)
        return weights * (tokens.message == tokens.message.max(initial=0))


class TrainsScaffolding(_Answers):
    """Train all of a reply's tokens."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return tokens.where(role="assistant")


class HoldsALock(_Answers):
    """Train answers."""

    def setup(self) -> None:
        self.lock = threading.Lock()


class CannotBeSentOnceUsed(_Answers):
    """Train answers."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        self.compiled = lambda: tokens
        return super().weights(tokens)


class OfTheProgram(_Answers):
    """Train answers."""

    __module__ = "__main__"


class TrainsTheFirstAssistant(_Answers):
    """Train the first reply, which there always is."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        first = [message["role"] for message in tokens.record.messages or [{"role": "assistant"}]].index("assistant")
        return super().weights(tokens) * (tokens.message == first)


class DependsOnHashes(_Answers):
    """Weigh rows by the hash of their key."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return super().weights(tokens) * (hash(tokens.row_key) % 1009)


class DependsOnOtherPlugins(_Answers):
    """Weigh by how many strategies there are."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return super().weights(tokens) * (1 + len(maskkit.strategies()))


class MisspellsAKind(_Answers):
    """Train answers."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return tokens.where(kind="anwser")


class Raises(_Answers):
    """Train answers."""

    def weights(self, tokens: maskkit.Tokens) -> Any:
        assert tokens.record.messages[1]["role"]
        return super().weights(tokens)


BROKEN = {
    Undocumented: ("is_documented", "has no docstring"),
    UndocumentedOption: ("is_documented", "option strength of 'broken' is not documented"),
    OpenOptions: ("has_closed_options", "takes unknown options"),
    OpenInnerOptions: ("has_closed_options", "where. of 'broken'"),
    ForgetsOptions: ("survives_a_config", "and 1.0 made again from its own selection"),
    TooShort: ("gives_one_weight_per_token", "one weight per token"),
    GivesTexts: ("gives_one_weight_per_token", "entries are of type"),
    FailsOnNoTokens: ("gives_one_weight_per_token", "IndexError"),
    NotFinite: ("gives_one_weight_per_token", "expected a finite float32"),
    Negative: ("gives_one_weight_per_token", "declare signed = True"),
    MisspellsAKind: ("gives_one_weight_per_token", "Did you mean 'answer'"),
    Raises: ("gives_one_weight_per_token", r"failed on .*IndexError.*test_conformance.py:\d+"),
    ChangesTheRow: ("leaves_its_input_alone", "changed the row"),
    ChangesItsOptions: ("leaves_its_input_alone", "changed its own options"),
    DrawsFromTheGlobalGenerator: ("draws_only_from_the_seed", "tokens.seed"),
    DrawsFromPython: ("draws_only_from_the_seed", "tokens.seed"),
    ReadsTheClock: ("draws_only_from_the_seed", "asked a second time"),
    Remembers: ("does_not_remember", "keep nothing between calls"),
    DependsOnTheCut: ("does_not_depend_on_what_is_cut", "whole_row = True"),
    TrainsScaffolding: ("leaves_scaffolding_alone", "scaffolding '<start>assistant'|scaffolding '<start>'"),
    HoldsALock: ("works_in_a_worker", "cannot be pickled"),
    OfTheProgram: ("works_in_a_worker", "use a module"),
    TrainsTheFirstAssistant: ("gives_one_weight_per_token", "'assistant' is not in list"),
    CannotBeSentOnceUsed: ("works_in_a_worker", "cannot be pickled"),
    DependsOnHashes: ("works_in_a_worker", "in another process"),
}


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_strategy_is_caught_by_the_check_that_is_about_it(cls: type[maskkit.Strategy]):
    check, says = BROKEN[cls]
    with pytest.raises(AssertionError, match=says):
        next(c for c in CHECKS if c.__name__ == check)(subject_of(cls))


def test_what_depends_on_installed_plugins_is_caught_where_some_are_installed(monkeypatch: pytest.MonkeyPatch):
    listed = maskkit.strategies()
    monkeypatch.setattr(maskkit, "strategies", lambda: [*listed, listed[0], listed[0]])
    with pytest.raises(AssertionError, match="in another process"):
        next(c for c in CHECKS if c.__name__ == "works_in_a_worker")(subject_of(DependsOnOtherPlugins))


def test_every_check_catches_something():
    assert {check for check, _ in BROKEN.values()} == {check.__name__ for check in CHECKS}


KINDLY = {"columns": {"weight": 0.5}}
PASSING: dict[str, tuple[Any, dict[str, Any]]] = {
    "causal": ("causal", {"scaffolding": True}),
    "assistant-only": ({"name": "assistant-only", "last_turn": True}, {}),
    "reasoning-only": ("reasoning-only", {}),
    "weighted": ({"name": "weighted", "rules": [{"where": {"regex": r"\d", "kind": "answer"}, "weight": 2}]}, {}),
    "tool-calls": ("tool-calls", {}),
    "prompt-weighted": ({"name": "prompt-weighted", "template": 0}, {}),
    "from-data": ("from-data", {}),
    "row-weight": ("row-weight", KINDLY),
    "sequence-normalised": ("sequence-normalised", {"whole_row": True}),
    "schedule": ({"name": "schedule", "to": "reasoning-only", "end": 100}, {}),
    "product": (Product(maskkit.load_strategy("weighted"), maskkit.load_strategy("row-weight")), KINDLY),
    "function": (lambda tokens: tokens.where(kind="answer"), {}),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_is_sound_passes(name: str):
    strategy, declared = PASSING[name]
    report = check_strategy(strategy, **declared)
    assert report.checks == tuple(check.__name__ for check in CHECKS)
    assert report.microseconds > 0


def test_every_built_in_is_among_them():
    assert {info.name for info in maskkit.strategies() if info.origin == "maskkit" and info.sort == "strategy"} <= set(PASSING)


class WrongTwice(ChangesTheRow):
    def weights(self, tokens: maskkit.Tokens) -> Any:
        return super().weights(tokens) + tokens.where(kind="template")


def test_several_failures_are_all_named_each_by_its_check():
    with pytest.raises(AssertionError) as error:
        check_strategy(WrongTwice)
    head, *failures = str(error.value).splitlines()
    assert head == "3 of 10 checks failed"
    assert [failure.partition(":")[0] for failure in failures] == ["is_documented", "leaves_its_input_alone", "leaves_scaffolding_alone"]


def test_the_tables_show_every_sort_of_token():
    tables = token_tables({"quality": 3})
    assert {kind for tokens in tables.values() for kind in tokens.kind.tolist()} == set(maskkit.SegmentKind)
    assert any(tokens.straddle.any() for tokens in tables.values())
    assert {len(tables["one token"]), len(tables["no token"])} == {1, 0}
    assert all(tokens.record.row["quality"] == 3 for tokens in tables.values())
    assert {tokens.record.form for tokens in tables.values()} == {"messages", "completion", "text"}


class TestAssistantOnly(StrategyConformance):
    strategy = "assistant-only"


class TestAFunction(StrategyConformance):
    def strategy(tokens):
        return tokens.where(kind="answer")


def test_the_class_has_a_test_for_each_check():
    names = [name for name in dir(StrategyConformance) if name.startswith("test_it_")]
    assert sorted(names) == sorted(f"test_it_{check.__name__}" for check in CHECKS)
