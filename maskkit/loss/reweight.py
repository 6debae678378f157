"""What loss modifiers make of weights: the ratios of all of them, multiplied.

new_t = base_t * prod_m( m(scores, base)_t / base_t )
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from maskkit.errors import MaskkitError, StrategyError
from maskkit.kinds import KINDS
from maskkit.strategy import NEEDS, LossModifier, TokenScores


def reweighted(parts: Iterable[tuple[LossModifier, TokenScores]], base: Tensor) -> Tensor:
    """The new weights [N], in the dtype of base.

    parts: the loss modifiers, each with the scores that it sees, of the same N tokens in the same order. base [N]: float64, none 0.
    Raises StrategyError, naming modifier and token, for anything but one finite weight per token, and for one whose sign is not that of its
    base weight unless the modifier declares ``signed = True``.
    """
    new = base.clone()
    for modifier, scores in parts:
        new *= ratios(modifier, scores, base)
    return new


@torch.no_grad()
def ratios(modifier: LossModifier, scores: TokenScores, base: Tensor) -> Tensor:
    """What one modifier contributes, [N]. Without tokens it is not asked. Raises as `reweighted` does."""
    return checked_weights(modifier, scores, base) / base if len(base) else torch.ones_like(base)


def checked_weights(modifier: LossModifier, scores: TokenScores, base: Tensor) -> Tensor:
    """What one modifier returns, in the dtype and on the device of base. Raises as `reweighted` does."""
    returned = _asked(modifier, scores, base)
    if not isinstance(returned, Tensor) or returned.is_complex():
        found = type(returned).__name__
        raise StrategyError(f"loss modifier {modifier.label!r} returned {found}, expected a tensor of {len(base)} numbers")
    if returned.shape != base.shape:
        raise StrategyError(
            f"loss modifier {modifier.label!r} returned shape {list(returned.shape)}, expected {list(base.shape)}: one weight per token"
        )
    weights = returned.detach().to(base)
    bad = ~torch.isfinite(weights)
    if bool(bad.any()):
        raise StrategyError(_bad_weight(modifier, scores, weights, int(bad.nonzero()[0, 0]), "a finite number"))
    flipped = weights * base.sign() < 0
    if not modifier.signed and bool(flipped.any()):
        expected = "the sign of the strategy's weight; declare signed = True if negative weights are meant"
        raise StrategyError(_bad_weight(modifier, scores, weights, int(flipped.nonzero()[0, 0]), expected))
    return weights


def _asked(modifier: LossModifier, scores: TokenScores, base: Tensor) -> Any:
    """What a modifier returns; whatever it raises names it."""
    try:
        return modifier.reweight(scores, base.clone())
    except StrategyError:
        raise
    except (Exception, SystemExit) as error:  # a modifier is a stranger's code
        reason = str(error) if isinstance(error, MaskkitError) else f"{type(error).__name__}: {error}"
        if "NoneType" in reason:
            reason += f" (what is computed on request has to be asked for: needs = frozenset({{...}}) of {', '.join(NEEDS)})"
        raise StrategyError(f"loss modifier {modifier.label!r} failed on {len(base)} tokens: {' '.join(reason.split())}") from error


def _bad_weight(modifier: LossModifier, scores: TokenScores, weights: Tensor, token: int, expected: str) -> str:
    return (
        f"loss modifier {modifier.label!r} gave trained token {token} of {len(weights)} (kind {KINDS[int(scores.kind[token])]}, "
        f"log-probability {float(scores.log_prob[token]):.4g}) the weight {float(weights[token])}, expected {expected}"
    )
