"""Scores of every shape, made without a model: what a loss modifier may be asked to weigh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from maskkit.kinds import GENERATED_KINDS, KINDS
from maskkit.strategy import LossModifier, TokenScores

if TYPE_CHECKING:
    from torch import Tensor

SHAPES: dict[str, tuple[int, ...]] = {
    "three rows": (7, 4, 9),
    "one row": (12,),
    "rows of one token": (1, 1, 1, 1, 1),
    "one token": (1,),
    "many": (80, 33, 120, 5),
}
"""Trained tokens of each row, by what they show."""


@dataclass(frozen=True)
class ScoreTable:
    """Trained tokens and what a model made of them."""

    scores: TokenScores
    base: Tensor
    """float64 [N]: the strategy's weights."""

    def part(self, chosen: Tensor) -> ScoreTable:
        """Those of the tokens that an index or a mask [N] chooses, in its order."""
        columns: dict[str, Any] = {name: column[chosen] for name, column in _tensors(self.scores).items()}
        extras = {name: column[chosen] for name, column in self.scores.extras.items()}
        return ScoreTable(replace(self.scores, **columns, extras=extras), self.base[chosen])

    def columns(self) -> dict[str, Tensor]:
        """Every tensor of it, by name."""
        return {**_tensors(self.scores), **{f"extras[{name!r}]": column for name, column in self.scores.extras.items()}, "base": self.base}


def score_tables(modifier: LossModifier, names: Iterable[str]) -> dict[str, ScoreTable]:
    """Tables by what they show: rows of every length, tokens of every probability, with what the modifier ``needs`` and nothing else.

    names: of what it carries; each is a column of log-probabilities here.
    """
    tables = {shape: _table(modifier, lengths, names, seed) for seed, (shape, lengths) in enumerate(SHAPES.items())}
    many = tables["many"]
    certain = {"log_prob": many.scores.log_prob * 0, "entropy": many.base * 0, "top_entropy": many.base * 0, "top1": many.scores.row >= 0}
    kept: dict[str, Any] = {name: column for name, column in certain.items() if getattr(many.scores, name) is not None}
    tables["a model that is certain"] = replace(many, scores=replace(many.scores, **kept))
    improbable = replace(many.scores, log_prob=many.scores.log_prob * 0 - 60.0)
    tables["tokens that are all but impossible"] = replace(many, scores=improbable)
    tables["a late step"] = replace(many, scores=replace(many.scores, step=10_000))
    return tables


def _table(modifier: LossModifier, lengths: tuple[int, ...], names: Iterable[str], seed: int) -> ScoreTable:
    import torch

    draw = torch.Generator().manual_seed(seed)

    def random() -> Tensor:
        return torch.rand(sum(lengths), generator=draw, dtype=torch.float64)

    log_prob = (random() ** 3 + 1e-9).log().float()
    kinds = torch.tensor([KINDS.index(kind) for kind in sorted(GENERATED_KINDS)])
    requested = {"entropy": (4 * random()).float(), "top_entropy": (2.9 * random()).float(), "top1": random() > 0.5}
    scores = TokenScores(
        log_prob=log_prob,
        target=(random() * 50_000).long(),
        row=torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)),
        kind=kinds[(random() * len(kinds)).long()],
        step=3,
        extras={name: (random() + 1e-6).log() for name in names},
        **{name: column for name, column in requested.items() if name in modifier.needs},
    )
    return ScoreTable(scores, random() + 0.05)


def _tensors(scores: TokenScores) -> Mapping[str, Tensor]:
    names = ("log_prob", "target", "row", "kind", "entropy", "top_entropy", "top1")
    return {name: column for name in names if (column := getattr(scores, name)) is not None}
