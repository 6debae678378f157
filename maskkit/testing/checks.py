"""What every strategy has to keep: each check is one function, whose failure says what was found and what to do.

`check_strategy` runs them all; `maskkit.testing.StrategyConformance` makes a test of each.
"""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from maskkit.errors import MaskkitError
from maskkit.plugins import load_part, load_strategy
from maskkit.strategy import FromFile, Function, LossModifier, Strategy, weights_of
from maskkit.testing.declared import closed, documented, from_yaml, is_class_of_its_own, made_again
from maskkit.testing.generators import generators
from maskkit.testing.modifier_checks import modifier_results
from maskkit.testing.tables import token_tables
from maskkit.testing.worker import weights_in_a_worker
from maskkit.tokens import Tokens

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """The strategy under test, what it declares, and the tables that it is tried on."""

    strategy: Strategy
    scaffolding: bool = False
    """It means to weigh the template's scaffolding, as base-model training does."""
    whole_row: bool = False
    """It looks at the whole row, as one that divides by a row's length does, so a cut row may weigh differently."""
    tables: Mapping[str, Tokens] = field(default_factory=token_tables)

    @property
    def label(self) -> str:
        return self.strategy.label

    def weights(self, name: str, tokens: Tokens | None = None) -> Weights:
        """The weights of a table, checked; an AssertionError says what is wrong with them."""
        return _weights(self.strategy, self.tables[name] if tokens is None else tokens)

    def fresh(self) -> Strategy:
        """The same strategy, made anew."""
        found = self.strategy
        if isinstance(found, Function):
            return Function(found.function)
        if isinstance(found, FromFile) or found.inner:
            return load_strategy(found.spec())
        return type(found)(found.options)


def subject_of(strategy: Any, *, columns: Mapping[str, Any] | None = None, scaffolding: bool = False, whole_row: bool = False) -> Subject:
    """The subject for a strategy, its class or anything that `load_strategy` takes.

    columns: further columns of every row, for strategies that read some.
    """
    return _subject(load_strategy(strategy), columns, scaffolding, whole_row)


def _subject(strategy: Strategy, columns: Mapping[str, Any] | None, scaffolding: bool, whole_row: bool) -> Subject:
    return Subject(strategy, scaffolding, whole_row, token_tables(columns, strategy.token_columns))


def is_documented(subject: Subject) -> None:
    """It has a name that configs can hold, and a docstring whose first line is a sentence for listings."""
    found = subject.strategy
    documented(found.strategy if isinstance(found, FromFile) else found)


def has_closed_options(subject: Subject) -> None:
    """A misspelled option is refused, options cannot be changed later, and none is called ``name``."""
    closed(subject.strategy)


def survives_a_config(subject: Subject) -> None:
    """Options written to YAML and read again give an equal strategy with the same weights."""
    found = subject.strategy
    if isinstance(found, Function):
        return
    read = from_yaml(found)
    again = made_again(found, read if is_class_of_its_own(found) else load_strategy(read))
    _same_everywhere(subject, cast(Strategy, again), "made again from its own selection")


def gives_one_weight_per_token(subject: Subject) -> None:
    """On every table: one finite number per token, none negative unless it declares ``signed = True``."""
    for name in subject.tables:
        subject.weights(name)


def leaves_its_input_alone(subject: Subject) -> None:
    """It changes neither the row, nor the tokens, nor its own options."""
    spec = copy.deepcopy(subject.strategy.spec())
    for name, tokens in subject.tables.items():
        before = copy.deepcopy((tokens.record.row, tokens.record.messages, dict(tokens.extras)))
        columns = {column: getattr(tokens, column).copy() for column in ("ids", "kind_codes", "message", "generated", "char_start")}
        subject.weights(name)
        if (tokens.record.row, tokens.record.messages) != before[:2] or dict(tokens.extras).keys() != before[2].keys():
            raise AssertionError(f"strategy {subject.label!r} changed the row of table {name!r}: a strategy only reads")
        for column, values in columns.items():
            if not np.array_equal(getattr(tokens, column), values):
                raise AssertionError(f"strategy {subject.label!r} changed the column {column!r} of table {name!r}: a strategy only reads")
    if subject.strategy.spec() != spec:
        raise AssertionError(f"strategy {subject.label!r} changed its own options from {spec!r} to {subject.strategy.spec()!r}")


def draws_only_from_the_seed(subject: Subject) -> None:
    """Asked twice it answers the same, whatever the state of random generators and the clock."""
    for name in subject.tables:
        with generators(1):
            first = subject.weights(name)
        with generators(2):
            second = subject.weights(name)
        _same(subject, name, first, second, "asked a second time; draw random masks from numpy.random.default_rng(tokens.seed)")


def does_not_remember(subject: Subject) -> None:
    """A row weighs the same whichever rows were weighed before it, in whichever order, and by a strategy made anew."""
    forward = {name: subject.weights(name) for name in subject.tables}
    for name in reversed(list(subject.tables)):
        _same(subject, name, forward[name], subject.weights(name), "after other rows: keep nothing between calls of weights()")
    fresh = subject.fresh()
    for name in reversed(list(subject.tables)):
        found = _weights(fresh, subject.tables[name])
        _same(subject, name, forward[name], found, "by a strategy made anew that saw other rows first: keep nothing between calls")


def does_not_depend_on_what_is_cut(subject: Subject) -> None:
    """What is left of a cut row weighs what it weighed in the whole row, so that ``max_length`` changes nothing else."""
    if subject.whole_row:
        return
    for name, tokens in subject.tables.items():
        whole = subject.weights(name)
        for length in sorted({1, len(tokens) // 3, len(tokens) // 2, len(tokens) - 1} & set(range(len(tokens)))):
            cut = subject.weights(name, tokens.truncated(length))
            advice = f"cut to {length} tokens; if it means to look at the whole row, say whole_row = True"
            _same(subject, name, whole[:length], cut, advice)


def leaves_scaffolding_alone(subject: Subject) -> None:
    """The template's scaffolding, which the model never emits, weighs 0."""
    if subject.scaffolding:
        return
    for name, tokens in subject.tables.items():
        weights = subject.weights(name)
        bad = np.flatnonzero((weights != 0) & tokens.where(kind="template"))
        if len(bad):
            t = int(bad[0])
            raise AssertionError(
                f"strategy {subject.label!r} gives the scaffolding {tokens.piece(t)!r} (token {t} of table {name!r}) the weight "
                f"{weights[t]}: select by kind, or say scaffolding = True if that is meant"
            )


def works_in_a_worker(subject: Subject) -> None:
    """Once it was used it can still be sent to another process, which, with another hash seed and without other plugins, gives the same."""
    if isinstance(subject.strategy, (Function, FromFile)):
        return
    if type(subject.strategy).__module__ == "__main__":
        raise AssertionError(f"strategy {subject.label!r} is defined in the program itself, which no other process imports: use a module")
    here = {name: subject.weights(name) for name in subject.tables}
    try:
        pickle.dumps(subject.strategy)
    except Exception as error:
        raise AssertionError(
            f"strategy {subject.label!r} cannot be pickled for a worker ({type(error).__name__}: {error}): define the class at the top "
            "level of a module, and keep no open files, locks or lambdas in it"
        ) from None
    elsewhere = weights_in_a_worker(subject.strategy, subject.tables)
    for name in subject.tables:
        _same(subject, name, here[name], elsewhere[name], "in another process: depend on tokens and options alone, not on hash()")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    is_documented,
    has_closed_options,
    survives_a_config,
    gives_one_weight_per_token,
    leaves_its_input_alone,
    draws_only_from_the_seed,
    does_not_remember,
    does_not_depend_on_what_is_cut,
    leaves_scaffolding_alone,
    works_in_a_worker,
)
"""Every check, in the order in which a failure is most telling."""


@dataclass(frozen=True)
class Report:
    """What `check_strategy` found about a strategy that passed."""

    strategy: str
    checks: tuple[str, ...]
    """Names of the checks, all passed."""
    microseconds: float | None
    """Time per 1000 tokens; None for a loss modifier, which the model's own work hides."""
    times_assistant_only: float | None
    """The same, as a multiple of what ``assistant-only`` takes."""


def check_results(
    strategy: Any, *, columns: Mapping[str, Any] | None = None, scaffolding: bool = False, whole_row: bool = False
) -> dict[str, str]:
    """What each check found, by its name: "" where it passed. The arguments are those of `check_strategy`."""
    loaded = load_part(strategy)
    if isinstance(loaded, LossModifier):
        return modifier_results(loaded, columns=columns)
    results = {}
    for check in CHECKS:  # each on tables of its own, as the check before left nothing in them
        try:
            check(_subject(loaded, columns, scaffolding, whole_row))
        except AssertionError as error:
            results[check.__name__] = str(error)
        else:
            results[check.__name__] = ""
    return results


def check_strategy(
    strategy: Any, *, columns: Mapping[str, Any] | None = None, scaffolding: bool = False, whole_row: bool = False
) -> Report:
    """Run every check on a strategy or loss modifier, its class, or anything that a config can select.

    columns: further columns of every row, for strategies that read some. scaffolding: it means to weigh the template's scaffolding.
    whole_row: it looks at the whole row, so a cut row may weigh differently.
    Raises AssertionError that names every check that failed, with what was found.
    """
    results = check_results(strategy, columns=columns, scaffolding=scaffolding, whole_row=whole_row)
    failures = [f"{name}: {problem}" for name, problem in results.items() if problem]
    if failures:
        raise AssertionError(f"{len(failures)} of {len(results)} checks failed\n" + "\n".join(failures))
    taken, times = speed(strategy, columns=columns) or (None, None)
    return Report(load_part(strategy).label, tuple(results), taken, times)


def speed(strategy: Any, *, columns: Mapping[str, Any] | None = None) -> tuple[float, float] | None:
    """Microseconds per 1000 tokens of a long row, and the same as a multiple of what ``assistant-only`` takes; None for a loss modifier.

    The arguments are those of `check_strategy`. Raises AssertionError where the strategy cannot weigh the row.
    """
    part = load_part(strategy)
    if isinstance(part, LossModifier):
        return None
    tokens = token_tables(columns, part.token_columns)["long"]
    _weights(part, tokens)
    taken, usual = _microseconds(part, tokens), _microseconds(load_strategy("assistant-only"), tokens)
    return taken, taken / usual


def _weights(strategy: Strategy, tokens: Tokens) -> Weights:
    try:
        return weights_of(strategy, tokens)
    except MaskkitError as error:
        raise AssertionError(f"{error}{_missing_column(strategy, tokens, error.__cause__)}") from error.__cause__


def _missing_column(strategy: Strategy, tokens: Tokens, cause: BaseException | None) -> str:
    """What to do about a KeyError that may be a column which the rows of the checks do not have."""
    key = cause.args[0] if isinstance(cause, KeyError) and cause.args else None
    if not isinstance(key, str) or key in tokens.record.row:
        return ""
    own = strategy.strategy if isinstance(strategy, FromFile) else strategy
    ignored = "; columns of the strategy itself are not read" if hasattr(own, "columns") else ""
    return (
        f"; if {key!r} is a column of the row, give the rows of the checks one: columns = {{{key!r}: ...}} in the test class, "
        f"maskkit check strategy --columns '{{{key}: ...}}'{ignored}"
    )


def _same(subject: Subject, name: str, expected: Weights, found: Weights, when: str) -> None:
    if expected.shape == found.shape and np.array_equal(expected, found):
        return
    t = int(np.flatnonzero(expected != found)[0]) if expected.shape == found.shape else 0
    piece = subject.tables[name].piece(t)
    raise AssertionError(
        f"strategy {subject.label!r} gave token {t} ({piece!r}) of table {name!r} the weight {expected[t]}, and {found[t]} {when}"
    )


def _same_everywhere(subject: Subject, again: Strategy, when: str) -> None:
    for name, tokens in subject.tables.items():
        _same(subject, name, subject.weights(name), _weights(again, tokens), when)


def _microseconds(strategy: Strategy, tokens: Tokens) -> float:
    """Per 1000 tokens, the best of several."""
    best = min(_seconds(strategy, tokens) for _ in range(5))
    return best * 1e6 / len(tokens) * 1000


def _seconds(strategy: Strategy, tokens: Tokens) -> float:
    started = time.perf_counter()
    weights_of(strategy, tokens)
    return time.perf_counter() - started
