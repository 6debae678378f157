"""The contract of a loss modifier: what the model predicted -> new weights, at the moment when the loss is computed.

    class Dft(maskkit.LossModifier):
        '''Weigh each token by its own probability.'''
        name = "dft"

        def reweight(self, scores, base):
            return base * scores.log_prob.exp()

A modifier weighs nothing by itself. It acts on the weights of a strategy, as ``{product: [assistant-only, dft]}``. What it contributes is
the ratio of the weights that it returns to ``base``, token by token; the ratios of several modifiers multiply, so their order says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskkit.errors import ConfigError, StrategyError
from maskkit.kinds import CODE
from maskkit.strategy.columns import column_of
from maskkit.strategy.options import Configured, selection_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from maskkit.strategy.contract import Strategy, StrategyLike
    from maskkit.tokens import Tokens

NEEDS = ("entropy", "top_entropy", "top1")
"""Scores that are computed on request."""

SCOPES = ("row", "micro-batch", "global-batch")
"""What a modifier looks at when it weighs one token."""


@dataclass(frozen=True)
class TokenScores:
    """What the model predicted, for N tokens whose weight is not 0. All tensors are detached, [N], in one order."""

    log_prob: Tensor
    """float: log-probability of the true token, in nats; the cross-entropy is its negative."""
    target: Tensor
    """int64: id of the true token."""
    row: Tensor
    """int64: number of the sequence it belongs to, distinct for all sequences among these tokens."""
    kind: Tensor
    """int64: what the token is, a code of `maskkit.kinds.KINDS`; `where` selects by name."""
    step: int = 1
    """Number of the optimizer step, counted from 1."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """float: what `LossModifier.carry` gave for each token."""
    entropy: Tensor | None = None
    """float: entropy of the model's distribution, in nats. On request: ``needs = frozenset({"entropy"})``."""
    top_entropy: Tensor | None = None
    """float: entropy of the 20 most probable tokens, their probabilities scaled to sum to 1. On request."""
    top1: Tensor | None = None
    """bool: is the true token the most probable one? On request."""

    def __len__(self) -> int:
        return len(self.log_prob)

    def where(self, kind: str | Iterable[str]) -> Tensor:
        """bool [N]: which tokens are of the given kind, or one of several. Raises ConfigError for a kind that does not exist."""
        import torch

        names = [kind] if isinstance(kind, str) else list(kind)
        unknown = [name for name in names if name not in CODE]
        if unknown:
            raise ConfigError(f"kind is {unknown[0]!r}, expected one of {', '.join(CODE)}")
        return torch.isin(self.kind, torch.tensor([CODE[name] for name in names], device=self.kind.device))


class LossModifier(Configured):
    """A named rule that weighs tokens anew by what the model predicted. Subclass it, give it a ``name`` and write `reweight`."""

    sort = "loss modifier"

    needs: frozenset[str] = frozenset()
    """Which of `NEEDS` it reads."""

    scope: str = "row"
    """``row``: what becomes of a token depends on its own row alone. Modifiers that rank or compare tokens of several rows say which:
    ``micro-batch`` (the result then depends on how rows are split into micro-batches), or ``global-batch``, all tokens of the optimizer
    step on all ranks (exact under any split; costs one more forward pass)."""

    signed: bool = False
    """Whether negative weights are meant."""

    def reweight(self, scores: TokenScores, base: Tensor) -> Tensor:
        """The new weights, [N], of the trained tokens.

        scores: see `TokenScores`. base [N]: float64, the strategy's weights, none 0; float32 where the device has no float64. Called
        without gradients, which pass through the log-probabilities alone. Must depend on its arguments and the options alone: on the
        training step only through ``scores.step``.
        """
        raise StrategyError(f"loss modifier {self.label!r} does not define reweight(self, scores, base)")

    def carry(self, tokens: Tokens) -> Mapping[str, npt.ArrayLike]:
        """What it reads of a row: arrays of T numbers, one per token, that come to `reweight` as ``scores.extras``.

        Asked as a strategy is asked for weights: it sees the row's tokens and the options. Unless overridden, the columns named in
        `token_columns`, as the row has them. Raises DataError where the row has no such column.
        """
        return {name: column_of(tokens, name) for name in self.token_columns}

    def __and__(self, other: StrategyLike) -> Strategy:
        from maskkit.strategy.combining import Product

        return Product(self, other)

    def __rand__(self, other: StrategyLike) -> Strategy:
        from maskkit.strategy.combining import Product

        return Product(other, self)

    def _refuse(self, other: object) -> Strategy:
        raise ConfigError(
            f"loss modifier {self.label!r} gives ratios, not weights, so it can be neither scaled nor compared with '|': multiply it with "
            f"a strategy, as {{product: [assistant-only, {self.label}]}}, and scale that"
        )

    __or__ = __ror__ = __mul__ = __rmul__ = _refuse

    def __repr__(self) -> str:
        return f"<LossModifier {self.spec()!r}>"


class ModifierFromFile(LossModifier):
    """A loss modifier whose class was loaded from a file; its spec is the file, not the class's name."""

    def __init__(self, selection: str, modifier: LossModifier) -> None:
        super().__init__()
        self.selection, self.modifier = selection, modifier
        for name in ("needs", "scope", "signed", "token_columns"):
            setattr(self, name, getattr(modifier, name))

    @property
    def label(self) -> str:
        return self.selection

    def reweight(self, scores: TokenScores, base: Tensor) -> Tensor:
        return self.modifier.reweight(scores, base)

    def carry(self, tokens: Tokens) -> Mapping[str, npt.ArrayLike]:
        return self.modifier.carry(tokens)

    def spec(self) -> Any:
        return selection_of(self.selection, self.modifier.options)


def as_modifier(value: object) -> LossModifier | None:
    """A loss modifier as it is, or one of a class; None for anything else."""
    if isinstance(value, type):
        return value() if issubclass(value, LossModifier) else None
    return value if isinstance(value, LossModifier) else None


def alone(modifier: LossModifier | type[LossModifier]) -> ConfigError:
    """The error for a modifier where a strategy is expected."""
    name = modifier.label if isinstance(modifier, LossModifier) else modifier.name or modifier.__name__
    return ConfigError(
        f"{name!r} is a loss modifier and weighs nothing by itself: multiply it with a strategy, as "
        f"strategy: {{product: [assistant-only, {name}]}}"
    )
