"""Log-probability of each target token from hidden states, without ever holding the logits of all of them.

For N tokens, hidden size H and vocabulary V the logits alone take N x V numbers, by far the largest tensor of a training step. Here they
exist for one chunk of tokens at a time: the forward pass keeps the log-sum-exp of each row, and the backward pass recomputes the chunk:

    log p(t_i) = z_i[t_i] - logsumexp(z_i)
    d log p(t_i) / d z_i = onehot(t_i) - softmax(z_i)

That is four products with the head's matrix: logits, logits again, gradient of the hidden states, gradient of the matrix. Where it is known
beforehand what each log-probability will be multiplied by, `maskkit.loss.single_pass` needs three.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskkit.loss.predicted import Predicted, Statistics
from maskkit.loss.projection import ChunkProjection, Gradients, Projection

LOGITS_AT_ONCE = {"cpu": 3 * 2**21, "other": 2**27}
"""How many logits exist at one time, unless a chunk is given: 24 MiB of them in float32. Accelerators get more, 512 MiB, since they would
else spend their time reading the head's matrix, once for every chunk."""


def token_log_probs(hidden: Tensor, head: Tensor, targets: Tensor, *, bias: Tensor | None = None, chunk: int | None = None) -> Tensor:
    """Log-probabilities ``[N]`` of ``targets``, with gradients for hidden, head and bias.

    hidden [N, H], head [V, H], bias [V]: any floating dtype; targets [N]: int64, each in [0, V).
    The result has the input dtype, but never less than float32. Under autocast the products run in the autocast dtype, as those of a
    linear layer would, and gradients come back in the dtype of the inputs. ``chunk`` is how many tokens have logits at one time;
    unless given, as many as `LOGITS_AT_ONCE` allows. First-order gradients only.
    """
    return recomputed(hidden, Projection(head, bias), targets, chunk=chunk).log_prob


def recomputed(
    hidden: Tensor, projection: Projection, targets: Tensor, *, needs: Iterable[str] = (), chunk: int | None = None
) -> Predicted:
    """What `token_log_probs` gives, for any `Projection`, with the statistics ``needs`` of `maskkit.loss.predicted`."""
    found = TokenLogProbs.apply(  # type: ignore[no-untyped-call]
        hidden,
        projection.weight,
        projection.bias,
        targets,
        projection.scale,
        projection.softcap,
        tuple(needs),
        chunk_size(chunk, projection),
        compute_dtype(hidden, projection),
    )
    return Predicted(*cast("tuple[Tensor, ...]", found))


class TokenLogProbs(torch.autograd.Function):
    """The function behind `token_log_probs`; gradients are recomputed chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: float,
        softcap: float | None,
        needs: tuple[str, ...],
        chunk: int,
        compute: torch.dtype,
    ) -> tuple[Tensor | None, ...]:
        head = ChunkProjection.of(Projection(weight, bias, scale, softcap), compute)
        log_prob = hidden.new_empty(len(targets), dtype=head.wide)
        normalizer = torch.empty_like(log_prob)
        statistics = Statistics(log_prob, needs)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(targets), chunk):
                rows = slice(start, start + chunk)
                logits = head.logits(hidden[rows].to(compute))
                normalizer[rows] = torch.logsumexp(logits, -1)
                log_prob[rows] = logits.gather(-1, targets[rows, None])[:, 0] - normalizer[rows]
                statistics.add(rows, logits, normalizer[rows], targets[rows])
        ctx.save_for_backward(hidden, weight, bias, targets, normalizer)
        ctx.how = (scale, softcap, chunk, compute)
        columns = statistics.columns()
        ctx.mark_non_differentiable(*(column for column in columns if column is not None))
        return (log_prob, *columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, normalizer = ctx.saved_tensors
        scale, softcap, chunk, compute = ctx.how
        head = ChunkProjection.of(Projection(weight, bias, scale, softcap), compute)
        gradients = Gradients(hidden, head, ctx.needs_input_grad[:3])
        counting = grad.nonzero()[:, 0]  # a loss modifier may have set some weights to 0
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(counting), chunk):
                rows = counting[start : start + chunk]
                states = hidden[rows].to(compute)
                logits = head.logits(states)
                slope = head.slope(logits)
                grad_rows = grad[rows, None].to(head.wide)
                delta = logits.sub_(normalizer[rows, None]).exp_().mul_(-grad_rows)
                delta.scatter_add_(1, targets[rows, None], grad_rows)
                gradients.add(rows, states, delta if slope is None else delta.mul_(slope))
        return (*gradients.finished(), None, None, None, None, None, None)


def compute_dtype(hidden: Tensor, projection: Projection) -> torch.dtype:
    """The dtype of the products: autocast's where it is on, as for a linear layer."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return torch.promote_types(hidden.dtype, projection.weight.dtype)


def chunk_size(chunk: int | None, projection: Projection) -> int:
    """How many tokens have logits at one time."""
    if chunk is not None:
        return max(1, chunk)
    device = projection.weight.device.type
    return max(1, LOGITS_AT_ONCE.get(device, LOGITS_AT_ONCE["other"]) // len(projection.weight))
