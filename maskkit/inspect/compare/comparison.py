"""Several strategies, each with the runs of several seeds, and what can be said about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from maskkit.errors import DataError
from maskkit.inspect.compare.measures import Measures, read_measures, reading
from maskkit.inspect.compare.spread import Difference, Spread, difference
from maskkit.kinds import KINDS

INDEX = "comparison.json"
"""Which run folders belong to which strategy."""


@dataclass(frozen=True)
class Measure:
    """One number of a run."""

    name: str
    about: str
    of: Callable[[Measures], float | None]
    percent: bool = False

    def text(self, value: float | None) -> str:
        """The number as people read it."""
        if value is None:
            return "–"
        return f"{value:.1%}" if self.percent else f"{value:.3g}"


MEASURES: tuple[Measure, ...] = (
    Measure("exact match", "share of the held-out answers that are exactly right", lambda run: run.exact, percent=True),
    Measure("steps right", "share of the equations in the reasoning that hold", lambda run: run.steps, percent=True),
    Measure("steps per reply", "equations that the reasoning holds", lambda run: run.step_count),
    Measure(
        "stop accuracy", "share of the held-out stop tokens that the model finds the likeliest", lambda run: run.stop_accuracy, percent=True
    ),
    Measure("ended by itself", "share of the replies that end with a stop token", lambda run: run.stopped, percent=True),
)
"""What a model is judged by, beside the loss: its replies, and whether it knows where they end."""

COSTS: tuple[Measure, ...] = (
    Measure("trained tokens", "share of the tokens seen whose loss counted", lambda run: run.trained_share, percent=True),
    Measure("seconds", "of all training steps", lambda run: run.seconds),
)


@dataclass(frozen=True)
class Side:
    """One strategy."""

    label: str
    spec: Any
    """The selection, as a config writes it."""
    runs: Sequence[Measures]
    """By seed."""

    def spread(self, of: Callable[[Measures], float | None]) -> Spread | None:
        """A measure over the seeds; None where a run has none."""
        values = [of(run) for run in self.runs]
        return Spread(tuple(value for value in values if value is not None)) if None not in values else None


@dataclass(frozen=True)
class Comparison:
    """Strategies side by side: the same rows in the same order, seed by seed."""

    folder: Path
    sides: Sequence[Side]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs."""
        return [run.seed for run in self.sides[0].runs]

    def kinds(self) -> list[str]:
        """Kinds of tokens that held-out rows have, in the usual order."""
        found = {kind for side in self.sides for run in side.runs for kind in run.curves}
        return sorted(found, key=KINDS.index)

    def measures(self) -> list[Measure]:
        """Measures that every run has, and the held-out loss of every kind."""
        replies = [measure for measure in MEASURES if all(side.spread(measure.of) is not None for side in self.sides)]
        return [*replies, *(loss_of(kind) for kind in self.kinds())]

    def differences(self) -> Iterator[tuple[Side, Side, Measure, Difference]]:
        """Every pair of strategies under every measure."""
        for one, other in combinations(self.sides, 2):
            for measure in self.measures():
                a, b = one.spread(measure.of), other.spread(measure.of)
                if a is not None and b is not None:
                    yield one, other, measure, difference(a.values, b.values)

    def to_json(self) -> dict[str, Any]:
        """Means, spreads and differences, in JSON's types."""
        measured = [*self.measures(), *COSTS]
        return {
            "seeds": self.seeds,
            "strategies": [
                {"label": side.label, "strategy": side.spec, "measures": {m.name: _spread_json(side.spread(m.of)) for m in measured}}
                for side in self.sides
            ],
            "differences": [
                {"strategies": [one.label, other.label], "measure": m.name, **_spread_json(d.spread), "clear": d.clear}
                for one, other, m, d in self.differences()
            ],
        }


def loss_of(kind: str) -> Measure:
    """The held-out loss of a kind of token as a measure."""
    return Measure(f"loss of {kind}", f"mean held-out loss of {kind} tokens, in nats, trained or not", lambda run: run.losses.get(kind))


def read_comparison(folder: str | Path) -> Comparison:
    """What `compare` has written. Raises DataError where there is none, a file of it is damaged, or a run has not come to its end."""
    folder = Path(folder)
    try:
        with reading(folder / INDEX, "run maskkit compare again, which keeps the runs that are done"):
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            runs = [[read_measures(folder / run) for run in side["runs"]] for side in index["sides"]]
            sides = [Side(side["label"], side["strategy"], own) for side, own in zip(index["sides"], runs, strict=True)]
    except FileNotFoundError as error:
        raise DataError(f"{folder} holds no comparison: there is no {Path(error.filename).relative_to(folder)} in it") from None
    return Comparison(folder, sides)


def _spread_json(spread: Spread | None) -> dict[str, Any]:
    if spread is None:
        return {"mean": None, "values": []}
    return {"mean": spread.mean, "deviation": spread.deviation, "margin": spread.margin, "values": list(spread.values)}
