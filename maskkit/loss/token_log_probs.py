"""Log-probability of each target token from hidden states, without ever holding the logits of all of them.

For N tokens, hidden size H and vocabulary V the logits alone take N x V numbers, by far the largest tensor of a training step. Here they
exist for one chunk of tokens at a time: the forward pass keeps the log-sum-exp of each row, and the backward pass recomputes the chunk:

    log p(t_i) = z_i[t_i] - logsumexp(z_i),     z_i = hidden_i @ head.T + bias
    d log p(t_i) / d z_i = onehot(t_i) - softmax(z_i)
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def token_log_probs(hidden: Tensor, head: Tensor, targets: Tensor, *, bias: Tensor | None = None, chunk: int = 256) -> Tensor:
    """Log-probabilities ``[N]`` of ``targets``, with gradients for hidden, head and bias.

    hidden [N, H], head [V, H], bias [V]: any floating dtype; targets [N]: int64, each in [0, V).
    The result has the input dtype, but never less than float32. Under autocast the products run in the autocast dtype, as those of a
    linear layer would, and gradients come back in the dtype of the inputs. ``chunk`` is how many tokens have logits at one time.
    First-order gradients only.
    """
    device = hidden.device.type
    compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.promote_types(hidden.dtype, head.dtype)
    return cast(Tensor, TokenLogProbs.apply(hidden, head, bias, targets, max(1, chunk), compute))  # type: ignore[no-untyped-call]


class TokenLogProbs(torch.autograd.Function):
    """The function behind `token_log_probs`; gradients are recomputed chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, bias: Tensor | None, targets: Tensor, chunk: int, compute: torch.dtype) -> Tensor:
        log_prob = hidden.new_empty(len(targets), dtype=torch.promote_types(compute, torch.float32))
        normalizer = torch.empty_like(log_prob)
        projection = head.to(compute)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(targets), chunk):
                rows = slice(start, start + chunk)
                logits = _logits(hidden[rows].to(compute), projection, bias, log_prob.dtype)
                normalizer[rows] = torch.logsumexp(logits, -1)
                log_prob[rows] = logits.gather(-1, targets[rows, None])[:, 0] - normalizer[rows]
        ctx.save_for_backward(hidden, head, bias, targets, normalizer)
        ctx.chunk, ctx.compute = chunk, compute
        return log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head, bias, targets, normalizer = ctx.saved_tensors
        needs_hidden, needs_head, needs_bias = ctx.needs_input_grad[:3]
        wide, compute = normalizer.dtype, ctx.compute
        projection = head.to(compute)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        # sums over all tokens stay in the wide dtype, else small chunks would be lost in bfloat16
        grad_head = torch.zeros(head.shape, dtype=wide, device=head.device) if needs_head else None
        grad_bias = torch.zeros(bias.shape, dtype=wide, device=bias.device) if needs_bias else None
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(targets), ctx.chunk):
                rows = slice(start, start + ctx.chunk)
                states = hidden[rows].to(compute)
                grad_rows = grad[rows, None].to(wide)
                delta = _logits(states, projection, bias, wide).sub_(normalizer[rows, None]).exp_().mul_(-grad_rows)
                delta.scatter_add_(1, targets[rows, None], grad_rows)
                if grad_bias is not None:
                    grad_bias += delta.sum(0)
                narrow = delta.to(compute)
                if grad_hidden is not None:
                    grad_hidden[rows] = (narrow @ projection).to(hidden.dtype)
                if grad_head is not None:
                    _add_product(grad_head, narrow, states)
        return grad_hidden, _as(grad_head, head), _as(grad_bias, bias), None, None, None


def _logits(states: Tensor, projection: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Fresh logits [n, V] in ``dtype`` (safe to change in place)."""
    logits = (states @ projection.T).to(dtype)
    return logits if bias is None else logits.add_(bias.to(dtype))


def _add_product(total: Tensor, delta: Tensor, states: Tensor) -> None:
    """``total += delta.T @ states``, without a temporary [V, H] where the dtypes allow it."""
    if delta.dtype == total.dtype:
        total.addmm_(delta.T, states)
    else:
        total += delta.T @ states


def _as(gradient: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return None if gradient is None or parameter is None else gradient.to(parameter.dtype)
