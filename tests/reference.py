"""What the loss of a global batch means, written down once more in the plainest way, for every other path to be compared with.

Each sequence is run alone, without padding, and scored from full logits; then the definition is applied as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
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


def global_batch_loss(log_probs: list[Tensor], weights: list[Tensor], normalization: str) -> Tensor:
    """log_probs, weights: per sequence [T], label-aligned; entry 0 has no prediction. Sums are float64."""
    per_sequence = []
    for log_prob, weight in zip(log_probs, weights, strict=True):
        trained = weight != 0
        trained[:1] = False
        w, ce = weight[trained].double(), -log_prob[trained].double()
        per_sequence.append(((w * ce).sum(), w.sum(), w.abs().sum(), int(trained.sum())))
    if normalization == "sequences":
        means = [total / weight for total, weight, _, count in per_sequence if count]
        return torch.stack(means).mean()
    column = {"weights": 1, "absolute": 2, "tokens": 3}[normalization]
    return sum(s[0] for s in per_sequence) / sum(s[column] for s in per_sequence)


def sequence_log_probs(model: Any, ids: Tensor) -> Tensor:
    """[T]: log-probability of each token given those before it; 0 for the first."""
    logits = model(input_ids=ids[None], use_cache=False).logits[0]
    log_prob = torch.log_softmax(logits[:-1], -1).gather(-1, ids[1:, None])[:, 0]
    return torch.cat([log_prob.new_zeros(1), log_prob])


def reference_step(model: Any, rows: list[Row], normalization: str) -> tuple[float, dict[str, Tensor]]:
    """Loss of the global batch and its gradients."""
    model.zero_grad()
    loss = global_batch_loss([sequence_log_probs(model, row.ids) for row in rows], [row.weights for row in rows], normalization)
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
