"""What every loss modifier has to keep: each check is one function, whose failure says what was found and what to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from maskkit.errors import MaskkitError, StrategyError
from maskkit.plugins import load_part
from maskkit.strategy import LossModifier
from maskkit.strategy.modifier import ModifierFromFile
from maskkit.testing.declared import closed, documented, from_yaml, is_class_of_its_own, made_again
from maskkit.testing.generators import generators
from maskkit.testing.scores import ScoreTable, score_tables
from maskkit.testing.tables import token_tables
from maskkit.tokens import Tokens

if TYPE_CHECKING:
    from torch import Tensor

SPLITTING = ("micro-batch", "global-batch")
"""Scopes under which other rows may matter."""


@dataclass
class ModifierSubject:
    """The loss modifier under test, and what it is tried on."""

    modifier: LossModifier
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of every row, for a modifier that reads some in `LossModifier.carry`."""

    @property
    def label(self) -> str:
        return self.modifier.label

    @cached_property
    def tokens(self) -> dict[str, Tokens]:
        """Token tables that have the columns which the modifier reads."""
        return token_tables(self.columns, self.modifier.token_columns)

    @cached_property
    def tables(self) -> dict[str, ScoreTable]:
        """Score tables with what the modifier asks for, and nothing else."""
        return score_tables(self.modifier, sorted(self.carried("one turn")))

    def carried(self, name: str) -> dict[str, Any]:
        """What it carries of a token table; an AssertionError says what is wrong with that."""
        tokens = self.tokens[name]
        try:
            columns = {key: np.asarray(column, np.float64) for key, column in self.modifier.carry(tokens).items()}
        except MaskkitError as error:
            raise AssertionError(str(error)) from error
        except Exception as error:
            raise AssertionError(f"carry() of {self.label!r} fails on table {name!r}: {type(error).__name__}: {error}") from error
        for key, column in columns.items():
            if column.shape != (len(tokens),):
                raise AssertionError(
                    f"carry() of {self.label!r} gives {key!r} of shape {column.shape} for table {name!r}, expected ({len(tokens)},)"
                )
        return columns

    def ratios(self, table: ScoreTable, modifier: LossModifier | None = None) -> Tensor:
        """What it contributes, checked."""
        from maskkit.loss import ratios

        try:
            return ratios(modifier or self.modifier, table.scores, table.base)
        except StrategyError as error:
            raise AssertionError(str(error)) from error.__cause__


def modifier_subject(modifier: Any, *, columns: Mapping[str, Any] | None = None) -> ModifierSubject:
    """The subject for a loss modifier, its class or what a config may name. Raises TypeError for a strategy."""
    part = load_part(modifier)
    if not isinstance(part, LossModifier):
        raise TypeError(f"{part.label!r} is a strategy, expected a loss modifier: use StrategyConformance")
    return ModifierSubject(part, columns or {})


def is_documented(subject: ModifierSubject) -> None:
    """It has a name that configs can hold, and a docstring whose first line is a sentence for listings."""
    documented(subject.modifier)


def has_closed_options(subject: ModifierSubject) -> None:
    """A misspelled option is refused, options cannot be changed later, and none is called ``name``."""
    closed(subject.modifier)


def survives_a_config(subject: ModifierSubject) -> None:
    """Options written to YAML and read again give a modifier with the same selection and the same weights."""
    read = from_yaml(subject.modifier)
    again = made_again(subject.modifier, read if is_class_of_its_own(subject.modifier) else load_part(read))
    _same_everywhere(subject, cast(LossModifier, again), "made again from its own selection")


def gives_one_weight_per_token(subject: ModifierSubject) -> None:
    """On every table: one finite number per token, of the sign of the strategy's weight unless it declares ``signed = True``."""
    for table in subject.tables.values():
        subject.ratios(table)


def reads_what_it_carries(subject: ModifierSubject) -> None:
    """On rows of every shape, what it carries is one number per token, and the same when asked again."""
    for name in subject.tokens:
        first, second = subject.carried(name), subject.carried(name)
        for key, column in first.items():
            if key not in second or not np.array_equal(column, second[key], equal_nan=True):
                raise AssertionError(f"carry() of {subject.label!r} gives another {key!r} for table {name!r} when asked a second time")


def contributes_a_ratio(subject: ModifierSubject) -> None:
    """Whatever the strategy's weights are, its part is a factor: three times the weights give three times the result."""
    for name, table in subject.tables.items():
        three = subject.ratios(ScoreTable(table.scores, 3 * table.base))
        _same(subject, name, subject.ratios(table), three, "with three times the base weights: return base times a factor")


def leaves_its_input_alone(subject: ModifierSubject) -> None:
    """It changes neither scores nor weights, which other modifiers are given too."""
    for name, table in subject.tables.items():
        before = {key: column.clone() for key, column in table.columns().items()}
        subject.ratios(table)
        for key, column in table.columns().items():
            if not bool((column == before[key]).all()):
                raise AssertionError(f"loss modifier {subject.label!r} changed {key} of table {name!r}: compute on a copy, without '_'")


def draws_no_random_numbers(subject: ModifierSubject) -> None:
    """Asked twice it answers the same, whatever the state of random generators and the clock: each rank has to come to the same."""
    for name, table in subject.tables.items():
        with generators(1):
            first = subject.ratios(table)
        with generators(2):
            second = subject.ratios(table)
        _same(subject, name, first, second, "asked a second time: draw nothing at random")


def does_not_remember(subject: ModifierSubject) -> None:
    """A batch weighs the same whichever batches came before, so that a resumed run goes on as it would have."""
    first = {name: subject.ratios(table) for name, table in subject.tables.items()}
    for name in reversed(list(subject.tables)):
        _same(subject, name, first[name], subject.ratios(subject.tables[name]), "after other batches: keep nothing between calls")


def does_not_depend_on_order(subject: ModifierSubject) -> None:
    """Tokens in another order weigh the same: their order is that of micro-batches and ranks."""
    import torch

    for name, table in subject.tables.items():
        order = torch.arange(len(table.base)).flip(0)
        found = subject.ratios(table.part(order))[order]
        _same(subject, name, subject.ratios(table), found, "with the tokens in reverse: look at values, not at places")


def says_what_it_looks_at(subject: ModifierSubject) -> None:
    """Unless its ``scope`` says that it ranks tokens of several rows, each row by itself weighs the same."""
    import torch

    if subject.modifier.scope in SPLITTING:
        return
    for name, table in subject.tables.items():
        alone = torch.empty_like(table.base)
        for row in torch.unique(table.scores.row):
            mine = table.scores.row == row
            alone[mine] = subject.ratios(table.part(mine))
        advice = "with each row by itself: say scope = 'global-batch' if other rows matter"
        _same(subject, name, subject.ratios(table), alone, advice)


def lets_gradients_through_log_probabilities_alone(subject: ModifierSubject) -> None:
    """What it returns requires no gradient: nothing would update parameters of its own."""
    import torch

    table = next(iter(subject.tables.values()))
    with torch.enable_grad():
        found = subject.modifier.reweight(table.scores, table.base.clone())
    if isinstance(found, torch.Tensor) and found.requires_grad:
        raise AssertionError(f"the weights of {subject.label!r} require a gradient: it has parameters of its own, and nothing trains those")


def can_be_pickled(subject: ModifierSubject) -> None:
    """A copy in another process, where rows are read, gives the same."""
    if isinstance(subject.modifier, ModifierFromFile):
        return
    try:
        again = pickle.loads(pickle.dumps(subject.modifier))
    except Exception as error:
        raise AssertionError(
            f"loss modifier {subject.label!r} cannot be pickled for a worker ({type(error).__name__}: {error}): define the class at the "
            "top level of a module, and keep no open files, locks or lambdas in it"
        ) from None
    _same_everywhere(subject, again, "as a copy")


MODIFIER_CHECKS: tuple[Callable[[ModifierSubject], None], ...] = (
    is_documented,
    has_closed_options,
    survives_a_config,
    reads_what_it_carries,
    gives_one_weight_per_token,
    contributes_a_ratio,
    leaves_its_input_alone,
    draws_no_random_numbers,
    does_not_remember,
    does_not_depend_on_order,
    says_what_it_looks_at,
    lets_gradients_through_log_probabilities_alone,
    can_be_pickled,
)
"""Every check, in the order in which a failure is most telling."""


def modifier_results(modifier: Any, *, columns: Mapping[str, Any] | None = None) -> dict[str, str]:
    """What each check found about a loss modifier, by its name: "" where it passed."""
    results = {}
    for check in MODIFIER_CHECKS:  # each on tables of its own, as the check before left nothing in them
        try:
            check(modifier_subject(modifier, columns=columns))
        except AssertionError as error:
            results[check.__name__] = str(error)
        else:
            results[check.__name__] = ""
    return results


def _same_everywhere(subject: ModifierSubject, again: LossModifier, when: str) -> None:
    for name, table in subject.tables.items():
        _same(subject, name, subject.ratios(table), subject.ratios(table, again), when)


def _same(subject: ModifierSubject, name: str, expected: Tensor, found: Tensor, when: str) -> None:
    """Equal but for the rounding of sums in another order."""
    different = ~((expected - found).abs() <= 1e-9 * (1 + expected.abs()))
    if bool(different.any()):
        token = int(different.nonzero()[0, 0])
        raise AssertionError(
            f"loss modifier {subject.label!r} multiplied token {token} of table {name!r} by {float(expected[token]):.6g}, and by "
            f"{float(found[token]):.6g} {when}"
        )
