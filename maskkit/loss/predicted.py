"""What a model predicted for each token, beside the log-probability of the true one.

    entropy        -sum_v p_v log p_v                 over the whole vocabulary, in nats
    top_entropy    the same over the `TOP` most probable tokens, their probabilities scaled to sum to 1
    top1           is the true token the most probable one?

Each is computed only on request, from logits that exist for a chunk of tokens at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

TOP = 20
"""How many tokens ``top_entropy`` is about."""


class Predicted(NamedTuple):
    """For N tokens. Gradients pass through the log-probabilities alone."""

    log_prob: Tensor
    """float32 or better [N]."""
    entropy: Tensor | None = None
    """As log_prob; None where it was not asked for."""
    top_entropy: Tensor | None = None
    """As log_prob; None where it was not asked for."""
    top1: Tensor | None = None
    """bool [N]; None where it was not asked for."""

    def detached(self) -> Predicted:
        """The same without gradients."""
        return self._replace(log_prob=self.log_prob.detach())


class Statistics:
    """Collects what was asked for, chunk by chunk. needs: names of `Predicted`, beside log_prob."""

    def __init__(self, like: Tensor, needs: Iterable[str]) -> None:
        self._asked = {name: torch.empty_like(like, dtype=torch.bool if name == "top1" else like.dtype) for name in needs}

    def add(self, rows: slice, logits: Tensor, log_sum_exp: Tensor, targets: Tensor) -> None:
        """logits [n, V], which stay as they are, and log_sum_exp [n], of the tokens ``rows``."""
        for name, column in self._asked.items():
            column[rows] = _MEASURES[name](logits, log_sum_exp, targets)

    def columns(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """In the order of `Predicted`."""
        return self._asked.get("entropy"), self._asked.get("top_entropy"), self._asked.get("top1")


def _entropy(logits: Tensor, log_sum_exp: Tensor, targets: Tensor) -> Tensor:
    """log sum exp z - sum p z"""
    probabilities = (logits - log_sum_exp[:, None]).exp_()
    return log_sum_exp - probabilities.mul_(logits).sum(-1)


def _top_entropy(logits: Tensor, log_sum_exp: Tensor, targets: Tensor) -> Tensor:
    top = logits.topk(min(TOP, logits.shape[-1]), dim=-1).values
    return _entropy(top, top.logsumexp(-1), targets)


def _top1(logits: Tensor, log_sum_exp: Tensor, targets: Tensor) -> Tensor:
    return logits.gather(-1, targets[:, None])[:, 0] >= logits.amax(-1)


_MEASURES = {"entropy": _entropy, "top_entropy": _top_entropy, "top1": _top1}
