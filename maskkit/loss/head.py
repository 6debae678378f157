"""Is a model's head a plain linear map of the hidden states?

If it is, only the tokens that count need to reach it. Some families do more between hidden state and logits (Gemma 2 caps them, Granite
and Cohere scale them), and a new family may do anything. So `head_of` does not go by names: it compares the model's own logits with
``hidden @ weight.T + bias`` on a few tokens, and takes the short way only if they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_SOFTCAPS = ("final_logit_softcapping",)
_SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier")


@dataclass(frozen=True, slots=True)
class Head:
    """A model's language-model head, as far as a loss needs to know it."""

    backbone: Any
    """The module whose ``last_hidden_state`` the head reads, or None where the head is not plain."""
    linear: nn.Linear | None
    """The head itself, tied or not, with or without bias; None where it is not plain."""
    reason: str = ""
    """Why full logits are needed, as a word: ``no-backbone``, ``no-linear-head``, ``softcapped-logits``, ``scaled-logits``,
    ``other-logits``; empty where the head is plain."""

    @property
    def plain(self) -> bool:
        """True if logits are exactly ``hidden @ weight.T + bias``."""
        return self.linear is not None


@torch.no_grad()
def head_of(model: Any) -> Head:
    """Find a causal language model's head and prove on a few tokens that it is a plain linear map, or say why it is not.

    model: a transformers causal language model. Its mode (train or eval) and random state are left as they were.
    """
    backbone = getattr(model, "base_model", None)
    linear = model.get_output_embeddings()
    if backbone is None or backbone is model:
        return Head(None, None, "no-backbone")
    if type(linear) is not nn.Linear:
        return Head(None, None, "no-linear-head")
    hidden, logits = _probe(model, backbone, linear)
    if hidden is None or hidden.shape[-1] != linear.in_features:
        return Head(None, None, "no-backbone")
    expected = linear(hidden)
    # the same product in another shape may differ in its last bits, nothing like a scale or a cap
    tolerance = 64 * torch.finfo(expected.dtype).eps * float(expected.abs().max())
    if expected.shape != logits.shape or float((expected - logits.to(expected.dtype)).abs().max()) > tolerance:
        return Head(None, None, _reason(model.config))
    return Head(backbone, linear)


def _probe(model: Any, backbone: Any, linear: nn.Linear) -> tuple[Tensor | None, Tensor]:
    """(last hidden state or None, logits) of one short row of distinct tokens, without dropout."""
    input_ids = (torch.arange(6, device=linear.weight.device) * 7 % linear.out_features)[None]
    training = model.training
    model.eval()
    try:
        logits = model(input_ids=input_ids, use_cache=False).logits
        hidden = getattr(backbone(input_ids=input_ids, use_cache=False), "last_hidden_state", None)
    finally:
        model.train(training)
    return hidden, logits


def _reason(config: Any) -> str:
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    if any(getattr(text, name, None) for name in _SOFTCAPS):
        return "softcapped-logits"
    if any(getattr(text, name, None) not in (None, 1, 1.0) for name in _SCALES):
        return "scaled-logits"
    return "other-logits"
