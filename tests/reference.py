"""What the loss of a global batch means, written down once more in the plainest way, for every other path to be compared with.

Each sequence is run alone, without padding, and scored from full logits; then the definition is applied as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from maskkit.kinds import CODE
from maskkit.masker import Example
from maskkit.records import to_record
from maskkit.tokens import Tokens

VOCABULARY = 97
NORMALIZATIONS = ("weights", "absolute", "tokens", "sequences")


def global_batch_loss(
    log_probs: list[Tensor],
    weights: list[Tensor],
    normalization: str,
    reweight: Sequence[Callable[[Any, Tensor], Tensor]] = (),
    normalize_by: str = "base",
    columns: dict[str, list[Tensor]] | None = None,
) -> Tensor:
    """log_probs, weights: per sequence [T], label-aligned; entry 0 has no prediction. Sums are float64.

    reweight: loss modifiers, each a function (scores, base) -> new weights of all trained tokens of the global batch. What a modifier
    contributes is the ratio new/base, and ratios multiply. normalize_by: which weights stand below the line. columns: what scores have
    beside ``log_prob`` and ``row``, per sequence [T].
    """
    trained = [weight != 0 for weight in weights]
    for keep in trained:
        keep[:1] = False

    def together(per_sequence: list[Tensor]) -> Tensor:
        return torch.cat([column[keep].double() for column, keep in zip(per_sequence, trained, strict=True)])

    log_prob, base = together(log_probs), together(weights)
    row = torch.repeat_interleave(torch.arange(len(weights)), torch.tensor([int(keep.sum()) for keep in trained]))
    scores = SimpleNamespace(log_prob=log_prob.detach(), row=row, **{name: together(each) for name, each in (columns or {}).items()})
    new = base.clone()
    for modifier in reweight:
        new = new * (modifier(scores, base) / base)
    below = new if normalize_by == "reweighted" else base
    if normalization == "sequences":
        rows = [row == number for number in row.unique()]
        return torch.stack([(new[mine] * -log_prob[mine]).sum() / below[mine].sum() for mine in rows]).mean()
    divisor = {"weights": below.sum(), "absolute": below.abs().sum(), "tokens": (below != 0).sum()}[normalization]
    return (new * -log_prob).sum() / divisor


def sequence_log_probs(model: Any, ids: Tensor) -> Tensor:
    """[T]: log-probability of each token given those before it; 0 for the first."""
    logits = model(input_ids=ids[None], use_cache=False).logits[0]
    log_prob = torch.log_softmax(logits[:-1], -1).gather(-1, ids[1:, None])[:, 0]
    return torch.cat([log_prob.new_zeros(1), log_prob])


def reference_step(model: Any, rows: list[Row], normalization: str, **reweighting: Any) -> tuple[float, dict[str, Tensor]]:
    """Loss of the global batch and its gradients. reweighting: the arguments of `global_batch_loss` about loss modifiers."""
    model.zero_grad()
    log_probs = [sequence_log_probs(model, row.ids) for row in rows]
    loss = global_batch_loss(log_probs, [row.weights for row in rows], normalization, **reweighting)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    return loss.item(), gradients


@dataclass
class Row:
    ids: Tensor
    weights: Tensor


def ragged_rows(count: int = 8, seed: int = 1, signed: bool = False) -> list[Row]:
    """Rows of unequal length with about half of the weights zero and very unequal totals."""
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for number in range(count):
        length = int(torch.randint(5, 24, (1,), generator=draw))
        ids = torch.randint(3, VOCABULARY, (length,), generator=draw)
        weights = torch.rand(length, generator=draw) * (torch.rand(length, generator=draw) > 0.5) * (number + 1) ** 1.5
        if signed:
            weights = weights * torch.where(torch.rand(length, generator=draw) > 0.8, -1.0, 1.0)
        rows.append(Row(ids, weights.float()))
    return rows


def as_example(row: Row, source: str = "row") -> Example:
    """The row as the data path would hand it over: a reply of the model; `given_weights` finds its weights again."""
    record = to_record({"messages": [{"role": "assistant", "content": "x" * len(row.ids)}]}, source=source)
    start = np.arange(len(row.ids))
    answer, first, yes, no = (np.full(len(row.ids), value) for value in (CODE["answer"], 0, True, False))
    weights = row.weights.numpy()
    extras = {"weights": weights} if len(weights) == len(start) else {}
    tokens = Tokens(row.ids.numpy(), start, start + 1, answer, first, yes, no, text="x" * len(start), record=record, extras=extras)
    return Example(tokens.ids, weights, tokens)


def given_weights(tokens: Tokens) -> Any:
    """A strategy: the weights that the row of `as_example` was made with."""
    return tokens.extras["weights"]


class ExactNorm(nn.Module):
    """Root-mean-square norm that keeps float64 (transformers' computes in float32, which depends on the shape in the last bits)."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    def forward(self, hidden: Tensor) -> Tensor:
        return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.eps)


def tiny_llama(seed: int = 0, **changes: Any) -> Any:
    """A two-layer Llama in float64."""
    torch.manual_seed(seed)
    shape = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    special = {"num_key_value_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = LlamaForCausalLM(LlamaConfig(**{**shape, **special, **changes})).double()
    for layer in model.model.layers:
        layer.input_layernorm, layer.post_attention_layernorm = ExactNorm(layer.input_layernorm), ExactNorm(layer.post_attention_layernorm)
    model.model.norm = ExactNorm(model.model.norm)
    return model


def largest_difference(model: Any, gradients: dict[str, Tensor]) -> float:
    """Largest absolute difference between the model's gradients and the given ones."""
    return max(float((p.grad - gradients[name]).abs().max()) for name, p in model.named_parameters())
