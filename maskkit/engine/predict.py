"""Predict every position: the log-probability that the model gives to each token, given the tokens before it.

The text itself is the input at every position (teacher forcing): the model never sees its own output here.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from maskkit.batching import model_inputs
from maskkit.loss import Head, LossEntries, head_of, logit_log_probs, token_log_probs

logger = logging.getLogger(__name__)


class Predictor:
    """A causal language model, asked for the log-probabilities of chosen tokens.

    Where the head is a plain linear map, only chosen tokens reach it; else full logits are made, and the log says why.
    bf16: run under bfloat16 autocast; parameters and gradients keep their own dtype.
    """

    def __init__(self, model: Any, *, bf16: bool = False, chunk: int = 256) -> None:
        self.model = model
        self.head: Head = head_of(model)
        self._bf16, self._chunk = bf16, chunk
        self.device: torch.device = next(model.parameters()).device
        self.forward: Callable[[dict[str, Tensor], LossEntries], Tensor] = self._log_probs
        """What computes; a model spread over ranks (`maskkit.engine.sharding`) has its parameters gathered before."""
        if not self.head.plain:
            logger.info("%s: full logits are computed for every token (%s)", type(model).__name__, self.head.reason)

    def __call__(self, tensors: dict[str, Tensor], entries: LossEntries) -> Tensor:
        """Log-probabilities [N] of the entries' targets, with gradients, whole before any backward pass.

        tensors: of B packs [B, T], as the collator makes them.
        """
        return self.forward(tensors, entries)

    def _log_probs(self, tensors: dict[str, Tensor], entries: LossEntries) -> Tensor:
        inputs = model_inputs(tensors)
        with self._precision():
            if self.head.linear is None:
                return logit_log_probs(self.model(**inputs).logits, entries)
            hidden = self.head.backbone(**inputs).last_hidden_state.flatten(0, 1)[entries.source]
            return token_log_probs(hidden, self.head.linear.weight, entries.target, bias=self.head.linear.bias, chunk=self._chunk)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without gradients and dropout; training goes on afterwards as if nothing had been measured."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(training)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self._bf16 else contextlib.nullcontext()
