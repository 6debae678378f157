"""Log-probabilities whose gradients are made in the forward pass, for a loss whose factors are known beforehand.

    L = s * sum_i(c_i * log p(t_i))

With the coefficients c given (weights under a normalization), the gradients of ``sum(c * log p)`` are made while the logits of a chunk are
there, and the backward pass only multiplies them by s. So the head costs three products instead of the four of
`maskkit.loss.token_log_probs`, and a little more memory between the two passes: the gradient of the head's matrix exists earlier.

The factor s is whatever the loss does with the sum. That the loss is such a sum is checked in the backward pass, not trusted.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskkit.errors import TrainingError
from maskkit.loss.entries import sum_dtype
from maskkit.loss.predicted import Predicted
from maskkit.loss.projection import ChunkProjection, Gradients, Projection
from maskkit.loss.token_log_probs import chunk_size, compute_dtype


def single_pass(hidden: Tensor, projection: Projection, targets: Tensor, coefficients: Tensor, *, chunk: int | None = None) -> Predicted:
    """Log-probabilities [N] of ``targets``, to be used in one loss of the form above and one backward pass.

    hidden [N, H], targets [N], chunk: as in `token_log_probs`. coefficients [N]: float, without gradients.
    The backward pass raises TrainingError where the log-probabilities were multiplied by anything but a multiple of ``coefficients``, or
    where it is run a second time.
    """
    found = SinglePassLogProbs.apply(  # type: ignore[no-untyped-call]
        hidden,
        projection.weight,
        projection.bias,
        targets,
        coefficients,
        projection.scale,
        projection.softcap,
        chunk_size(chunk, projection),
        compute_dtype(hidden, projection),
    )
    return Predicted(cast(Tensor, found))


class SinglePassLogProbs(torch.autograd.Function):
    """The function behind `single_pass`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        coefficients: Tensor,
        scale: float,
        softcap: float | None,
        chunk: int,
        compute: torch.dtype,
    ) -> Tensor:
        head = ChunkProjection.of(Projection(weight, bias, scale, softcap), compute)
        log_prob = hidden.new_empty(len(targets), dtype=head.wide)
        gradients = Gradients(hidden, head, ctx.needs_input_grad[:3])
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(targets), chunk):
                rows = slice(start, start + chunk)
                states, target = hidden[rows].to(compute), targets[rows, None]
                logits = head.logits(states)
                slope = head.slope(logits)
                logits.sub_(torch.logsumexp(logits, -1, keepdim=True))
                log_prob[rows] = logits.gather(-1, target)[:, 0]
                factor = coefficients[rows, None].to(head.wide)
                delta = logits.exp_().mul_(-factor).scatter_add_(1, target, factor)
                gradients.add(rows, states, delta if slope is None else delta.mul_(slope))
        ctx.save_for_backward(coefficients)
        ctx.gradients = gradients
        return log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise TrainingError("a second backward pass through log-probabilities of a single pass: use loss.backend 'recompute' for that")
        gradients, ctx.gradients = ctx.gradients, None  # handed over, not copied
        (coefficients,) = ctx.saved_tensors
        return (*gradients.scaled(_factor(grad, coefficients)).finished(), None, None, None, None, None, None)


def _factor(grad: Tensor, coefficients: Tensor) -> Tensor:
    """The number s with ``grad = s * coefficients``. Raises TrainingError if there is none."""
    exact = sum_dtype(grad.device)
    found, promised = grad.to(exact), coefficients.to(exact)
    factor = (found * promised).sum() / promised.square().sum().clamp_min(torch.finfo(exact).tiny)
    wrong = (found - factor * promised).abs().max() if len(grad) else factor.new_zeros(())
    if bool(wrong > 64 * torch.finfo(grad.dtype).eps * found.abs().max() if len(grad) else False):
        raise TrainingError(
            "log-probabilities of a single pass were multiplied by other numbers than the coefficients that they were made for: "
            "the loss has to be a multiple of their weighted sum; use loss.backend 'recompute' for anything else"
        )
    return factor
