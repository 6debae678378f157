"""From hidden states to logits, as the fast ways to a loss need to know it.

    z = cap * tanh(scale * (hidden @ weight.T + bias) / cap)

Most families have neither scale nor cap. Cohere multiplies its logits, Granite divides them, Gemma 2 caps them softly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Projection:
    """A language-model head. weight [V, H], bias [V] or None."""

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    """What the logits are multiplied by."""
    softcap: float | None = None
    """Logits come to lie between minus and plus this."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., H], with gradients."""
        logits = torch.nn.functional.linear(hidden, self.weight, self.bias) * self.scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


@dataclass(frozen=True, slots=True)
class ChunkProjection:
    """The same for chunks of states in a function that makes its own gradients: products in ``compute``, the rest in ``wide``."""

    projection: Projection
    compute: torch.dtype
    wide: torch.dtype
    weight: Tensor
    """The weight in ``compute``."""

    @classmethod
    def of(cls, projection: Projection, compute: torch.dtype) -> ChunkProjection:
        """products in ``compute``; sums in float32 or better."""
        return cls(projection, compute, torch.promote_types(compute, torch.float32), projection.weight.to(compute))

    def logits(self, states: Tensor) -> Tensor:
        """Fresh logits [n, V] in ``wide`` of states [n, H] in ``compute`` (safe to change in place)."""
        logits = (states @ self.weight.T).to(self.wide)
        if self.projection.bias is not None:
            logits.add_(self.projection.bias.to(self.wide))
        if self.projection.scale != 1.0:
            logits.mul_(self.projection.scale)
        cap = self.projection.softcap
        return logits if cap is None else logits.div_(cap).tanh_().mul_(cap)

    def slope(self, logits: Tensor) -> Tensor | None:
        """How fast the logits change with ``states @ weight.T``, [n, V]; None where they are equal."""
        scale, cap = self.projection.scale, self.projection.softcap
        if cap is not None:
            return (logits / cap).square_().neg_().add_(1.0).mul_(scale)
        return None if scale == 1.0 else logits.new_tensor(scale)


class Gradients:
    """Gradients of hidden states, weight and bias, added up chunk by chunk.

    Sums over all tokens stay in the wide dtype, else small chunks would be lost in bfloat16.
    """

    def __init__(self, hidden: Tensor, chunks: ChunkProjection, needs: tuple[bool, ...]) -> None:
        weight, bias = chunks.projection.weight, chunks.projection.bias
        self._chunks = chunks
        self.hidden = torch.zeros_like(hidden) if needs[0] else None
        self.weight = torch.zeros(weight.shape, dtype=chunks.wide, device=weight.device) if needs[1] else None
        self.bias = torch.zeros(bias.shape, dtype=chunks.wide, device=bias.device) if needs[2] and bias is not None else None

    def add(self, rows: Tensor | slice, states: Tensor, delta: Tensor) -> None:
        """``delta`` [n, V]: the gradient of ``states @ weight.T + bias``, for the tokens ``rows``; states [n, H] in the compute dtype."""
        if self.bias is not None:
            self.bias += delta.sum(0)
        narrow = delta.to(self._chunks.compute)
        if self.hidden is not None:
            self.hidden[rows] = (narrow @ self._chunks.weight).to(self.hidden.dtype)
        if self.weight is not None:
            _add_product(self.weight, narrow, states)

    def scaled(self, factor: Tensor) -> Gradients:
        """All of them times ``factor``, in place."""
        for gradient in (self.hidden, self.weight, self.bias):
            if gradient is not None:
                gradient.mul_(factor.to(gradient.dtype))
        return self

    def finished(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Of hidden states, weight and bias, each in the dtype of what it is a gradient of."""
        projection = self._chunks.projection
        return self.hidden, _as(self.weight, projection.weight), _as(self.bias, projection.bias)


def _add_product(total: Tensor, delta: Tensor, states: Tensor) -> None:
    """``total += delta.T @ states``, without a temporary [V, H] where the dtypes allow it."""
    if delta.dtype == total.dtype:
        total.addmm_(delta.T, states)
    else:
        total += delta.T @ states


def _as(gradient: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return None if gradient is None or parameter is None else gradient.to(parameter.dtype)
